"""How much one may say: at a limit it is taken, past it it is refused, and the limit is named."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra.local.stack import PUBLIC_KEY, LocalStack, local_stack
from leadscoring.request import (
    BATCH_BYTES,
    BATCH_MESSAGES,
    DEPTH,
    MESSAGE_BYTES,
    NAME_CHARACTERS,
    NAMES,
)
from tests.flow.attack import Sent, call, form, message, send


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalStack]:
    with local_stack() as stack:
        yield stack


def track(**said: object) -> dict[str, Any]:
    return {"writeKey": PUBLIC_KEY, **message("track", **said)}


def padded(sent: Sent, size: int) -> Sent:
    """Return the request with blanks behind its body, to this many bytes."""
    return sent.changed(body=sent.body.ljust(size))


def deep(levels: int) -> Sent:
    inside: Any = "x"
    for _ in range(levels - 1):
        inside = {"a": inside}
    return call("track", track(properties=inside))


def wide(names: int) -> Sent:
    document = track(properties={})
    said = len(document) + sum(len(v) for v in document["context"].values()) + 2
    document["properties"] = {f"p{number}": 1 for number in range(names - said)}
    return call("track", document)


def batch(messages: int) -> Sent:
    said = {"type": "page", "userId": "jane@example.com", "messageId": "m"}
    return call("batch", {"writeKey": PUBLIC_KEY, "batch": [said] * messages})


AT: dict[str, tuple[int, int, Callable[[int], Sent]]] = {
    "bytes of a message": (MESSAGE_BYTES, 413, lambda n: padded(call("track", track()), n)),
    "bytes of a form": (
        MESSAGE_BYTES,
        413,
        lambda n: form("contact", {"email": "jane@example.com", "x": "y" * (n - 27)}),
    ),
    "bytes of a batch": (BATCH_BYTES, 413, lambda n: padded(batch(1), n)),
    "messages of a batch": (BATCH_MESSAGES, 413, batch),
    "levels": (DEPTH, 400, deep),
    "names": (NAMES, 400, wide),
    "characters of a name": (
        NAME_CHARACTERS,
        400,
        lambda n: call("track", track(properties={"ü" * n: 1})),
    ),
}


@pytest.mark.parametrize("what", AT)
def test_at_a_limit_it_is_taken_and_past_it_refused_with_the_limit_named(
    shared: LocalStack, what: str
) -> None:
    limit, status, sent = AT[what]
    assert send(shared, sent(limit)).status in (200, 303)

    refused = send(shared, sent(limit + 1).changed())
    assert refused.status == status
    assert str(limit) in refused.body.decode()


def test_a_batch_takes_what_is_good_and_names_the_rest_by_index(shared: LocalStack) -> None:
    good = [message("track", messageId=f"good-{number}") for number in range(3)]
    bad = {
        "too large": message("track", properties={"title": "x" * MESSAGE_BYTES}),
        "too deep": json.loads(deep(DEPTH + 1).body),
        "too many names": json.loads(wide(NAMES + 1).body),
        "too long a name": message("track", properties={"x" * (NAME_CHARACTERS + 1): 1}),
        "no message": 5,
        "no kind": {"userId": "jane@example.com"},
    }
    sent = [good[0], *bad.values(), good[1], good[2]]

    answer = send(shared, call("batch", {"writeKey": PUBLIC_KEY, "batch": sent}))

    assert answer.status == 200
    rejected = answer.json()["rejected"]
    assert [fault["index"] for fault in rejected] == [1, 2, 3, 4, 5, 6]
    assert [fault["code"] for fault in rejected] == ["too_large", *["invalid"] * 5]
    limits = (MESSAGE_BYTES, DEPTH, NAMES, NAME_CHARACTERS)
    assert all(
        str(limit) in fault["message"] for limit, fault in zip(limits, rejected, strict=False)
    )
    kept = {item["sk"]["S"] for item in shared.items("INTERACTION#public#good-")}
    assert kept == {f"INTERACTION#public#good-{number}" for number in range(3)}
