"""Somebody objects between any two steps from a POST to the published promotion."""

from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest

from infra.local.stack import PUBLIC_KEY, SECRET_KEY
from infra.workbench.verifying import verify
from leadscoring.model import Model
from tests.life.world import MODEL, World, world
from tests.trust.meanwhile import Meanwhile


@pytest.fixture(scope="module")
def here() -> Iterator[World]:
    with world() as shared:
        shared.begin()
        yield shared


def call(here: World, kind: str, **body: Any) -> None:
    answer = here.request("POST", f"/v1/{kind}", body)
    assert answer
    assert answer.status == 200, answer.body


def story(here: World, email: str) -> None:
    """Ask for two demos in one go, and be promoted."""
    asked = {"type": "track", "event": "Demo Requested", "userId": email}
    batch = [{**asked, "messageId": f"{email}-{n}"} for n in range(2)]
    call(here, "batch", writeKey=PUBLIC_KEY, batch=batch)
    for mapping in here.stack.mappings:
        here.deliver(mapping)


def test_who_objects_before_the_relay_has_looked_is_never_handed_over(here: World) -> None:
    meanwhile = Meanwhile(here)
    too_late: dict[str, bool] = {}
    for step in count(1):
        email = f"at-{step}@acme.example"
        objects: dict[str, Any] = {
            "writeKey": SECRET_KEY,
            "userId": email,
            "traits": {"consent": False},
        }
        with meanwhile.before(step, partial(call, here, "identify", **objects)):
            story(here, email)
        too_late[email] = not meanwhile.happened or "Publish" in meanwhile.calls
        if not meanwhile.happened:
            break
    here.settle(lambda: None)

    promoted = sorted(m["data"]["lead"]["email"] for m in here.stack.received)
    assert promoted == sorted(email for email, late in too_late.items() if late)
    assert 10 < len(too_late) > len(promoted) > 1
    model = Model.parse(MODEL)
    store = here.stack.functions["leads"].module.store
    assert verify(store, {model.number: model}, here.now).differences == []
    withheld = {r["published_as"]["S"] for r in here.rows("CHANGE#")} - {
        m["id"] for m in here.stack.received
    }
    assert withheld == {"withheld: consent"}
