"""A process dies, a request or its answer is lost: at each write from a POST to its promotion."""

from collections.abc import Iterator
from itertools import count

import pytest

from infra.local.stack import SECRET_KEY
from tests.life.world import MISHAPS, World, world
from tests.trust.promises import assert_kept


@pytest.fixture(scope="module")
def here() -> Iterator[World]:
    with world() as shared:
        yield shared


def insist(here: World, call: str, name: str, **body: object) -> str:
    """Send this until it is taken, as Segment's clients do; return its message id."""
    message_id = f"{name}-{call}"
    for _ in range(3):
        sent = {"writeKey": SECRET_KEY, "messageId": message_id, **body}
        answer = here.request("POST", f"/v1/{call}", sent)
        if answer and answer.status == 200:
            return message_id
    raise AssertionError("nobody takes it")


def story(here: World, name: str) -> list[str]:
    """Let a visitor come, tell who it is, and be promoted; return the ids of all it sent."""
    who = {"userId": f"{name}@acme.example"}
    visit = insist(here, "track", name, anonymousId=name, event="Visited")
    known = insist(here, "identify", name, anonymousId=name, **who)
    asked = [
        {"type": "track", "event": "Demo Requested", "messageId": f"{name}-{n}", **who}
        for n in range(2)
    ]
    insist(here, "batch", name, batch=asked)
    for mapping in 2 * here.stack.mappings:
        here.deliver(mapping)
    return [visit, known, *(str(message["messageId"]) for message in asked)]


@pytest.mark.parametrize("kind", MISHAPS)
def test_whatever_happens_to_any_write_from_the_first_post_to_the_settled_message(
    here: World, kind: str
) -> None:
    here.begin()
    sent: list[str] = []
    people: list[str] = []
    for step in count(1):
        name = f"at-{step}"
        with here.mishaps.at((step, kind)) as mishaps:
            sent += story(here, name)
            happened = mishaps.happened
        here.settle(lambda: None)
        people.append(f"{name}@acme.example")
        if not happened:
            break

    assert_kept(here.stack, here.now, sent=sent, promoted=people)
    assert len(people) > 8
