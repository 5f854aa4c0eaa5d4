"""When something happened: stated by strangers' clocks, believed within limits."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from infra.local.engine import clock_at
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack, local_stack
from leadscoring.interaction import from_text
from tests.flow.acts import ACTS
from tests.flow.asking import lead, ledger

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
PUBLIC_DAYS = 30
RETAINED = NOON - timedelta(days=730) + timedelta(milliseconds=1)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with local_stack() as shared:
        yield shared


def track(
    stack: LocalStack, email: str, at: datetime = NOON, key: str = PUBLIC_KEY, **message: object
) -> None:
    body = {"writeKey": key, "userId": email, "event": "Webinar Attended", **message}
    with clock_at(at):
        answer = stack.request("POST", "/v1/track", body)
    assert answer.status == 200, answer.body


def occurred(stack: LocalStack, email: str) -> datetime:
    (entry,) = ledger(stack, email=email)
    return from_text(entry["occurred_at"])


@pytest.mark.parametrize(
    ("stated", "key", "believed"),
    [
        ("2027-03-02T12:00:00Z", PUBLIC_KEY, NOON),
        ("2027-03-02T12:00:00Z", SECRET_KEY, NOON),
        ("1970-01-01T00:00:00Z", PUBLIC_KEY, NOON - timedelta(days=PUBLIC_DAYS)),
        ("2024-03-02T12:00:00.001Z", SECRET_KEY, RETAINED),
        ("2025-12-24T18:00:00Z", PUBLIC_KEY, NOON - timedelta(days=PUBLIC_DAYS)),
        ("2025-12-24T18:00:00Z", SECRET_KEY, datetime(2025, 12, 24, 18, tzinfo=UTC)),
        ("2026-03-01T08:30:00.123456Z", PUBLIC_KEY, datetime(2026, 3, 1, 8, 30, 0, 123_000, UTC)),
        ("2026-03-01T08:30:00", PUBLIC_KEY, datetime(2026, 3, 1, 8, 30, tzinfo=UTC)),
        ("2026-03-01T08:30:00+02:00", PUBLIC_KEY, datetime(2026, 3, 1, 6, 30, tzinfo=UTC)),
        (None, PUBLIC_KEY, NOON),
    ],
)
def test_a_stated_time_is_believed_within_what_the_door_allows(
    stack: LocalStack, stated: str | None, key: str, believed: datetime
) -> None:
    email = f"{stated}.{key}@example.com".replace(":", "-")
    track(stack, email, key=key, timestamp=stated)
    assert occurred(stack, email) == believed


def test_what_a_server_says_of_before_the_retention_is_acknowledged_and_dropped(
    stack: LocalStack,
) -> None:
    email, before = "long.ago@example.com", stack.metrics["PastRetention"]
    for stated in ("1970-01-01T00:00:00Z", "2024-03-02T12:00:00Z"):
        track(stack, email, key=SECRET_KEY, timestamp=stated)
    assert stack.request("POST", "/leads/find", {"email": email}).status == 404
    assert stack.metrics["PastRetention"] - before == 2


@pytest.mark.parametrize("call", ["track", "batch"])
def test_a_clock_that_is_wrong_is_corrected_by_when_it_says_it_sent(
    stack: LocalStack, call: str
) -> None:
    """Segment's formula: receivedAt - (sentAt - originalTimestamp)."""
    email = f"skewed.{call}@example.com"
    fast = timedelta(hours=5)
    message: dict[str, Any] = {
        **ACTS["webinar"],
        "userId": email,
        "originalTimestamp": (NOON - timedelta(minutes=10) + fast).isoformat(),
        "timestamp": "2026-02-20T00:00:00Z",
    }
    sent = {"sentAt": (NOON + fast).isoformat()}
    body = {"batch": [message]} if call == "batch" else message
    with clock_at(NOON):
        stack.request("POST", f"/v1/{call}", {"writeKey": PUBLIC_KEY, **body, **sent})

    assert occurred(stack, email) == NOON - timedelta(minutes=10)


ABSURD = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59.999999-14:00",
    "2026-03-02T12:00:00+23:59",
    -62_135_596_800,
    0,
    253_402_300_799,
]


@pytest.mark.parametrize(
    ("number", "stated", "sent"),
    [(number, *clocks) for number, clocks in enumerate(product(ABSURD, [None, *ABSURD]))],
)
def test_an_absurd_clock_is_no_error(
    stack: LocalStack, number: int, stated: str | int, sent: str | int | None
) -> None:
    email = f"absurd{number}@example.com"
    track(stack, email, timestamp=stated, sentAt=sent)
    assert NOON - timedelta(days=PUBLIC_DAYS) <= occurred(stack, email) <= NOON


@pytest.mark.parametrize(
    ("change", "times"),
    [
        ({}, 1),
        ({"sentAt": "2026-03-02T12:04:00Z"}, 1),
        ({"timestamp": "2026-03-02T11:00:01Z"}, 2),
        ({"event": "Webinar Registered"}, 2),
    ],
)
def test_a_message_without_id_but_with_a_time_is_known_by_its_content(
    stack: LocalStack, change: dict[str, Any], times: int
) -> None:
    email = f"no.id.{'.'.join(change)}@example.com"
    message: dict[str, Any] = {
        "timestamp": "2026-03-02T11:00:00Z",
        "sentAt": "2026-03-02T12:00:00Z",
    }

    track(stack, email, **message)
    track(stack, email, at=LATER, **(message | change))

    assert lead(stack, email=email)["interactions"] == times


def test_a_message_without_id_and_time_counts_each_time_it_is_sent(stack: LocalStack) -> None:
    email = "nameless@example.com"
    message = {**ACTS["webinar"], "userId": email}
    with clock_at(NOON):
        for _ in range(2):
            body = {"writeKey": PUBLIC_KEY, "batch": [message, message]}
            assert stack.request("POST", "/v1/batch", body).status == 200

    assert lead(stack, email=email)["interactions"] == 4
