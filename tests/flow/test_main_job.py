"""The whole way: a call in, the ledger and the counters, the stream, a promotion in a queue."""

from datetime import UTC, datetime

import pytest

from infra.local.__main__ import SAMPLE
from infra.local.engine import clock_at
from infra.local.replay import at, read_messages, replay
from infra.local.stack import LocalStack
from leadscoring.contract import LeadPromoted, from_sns
from tests.flow.plain import promotions

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DEMO = {
    "writeKey": "local-public",
    "userId": "Jane@Example.com ",
    "messageId": "m-1",
    "event": "Demo Requested",
}


def test_a_demo_request_sent_twice_is_one_ledger_entry_and_one_promotion(
    stack: LocalStack,
) -> None:
    with clock_at(NOON):
        answers = [stack.request("POST", "/v1/track", DEMO) for _ in range(2)]
        stack.pump()

    assert [(answer.status, answer.json()) for answer in answers] == [(200, {"success": True})] * 2
    assert [item["sk"]["S"] for item in stack.items("INTERACTION#")] == ["INTERACTION#public#m-1"]
    (received,) = stack.received
    promoted = from_sns(received)
    assert isinstance(promoted, LeadPromoted)
    assert promoted.time == NOON
    assert promoted.data.lead.email == "jane@example.com"
    assert promoted.data.why == "demo-requested seen 1 of 1"
    assert [reason.rule for reason in promoted.data.reasons] == ["demo-requested"]
    assert list(stack.items("OUTBOX#")) == []
    (change,) = stack.items("CHANGE#")
    assert change["published_as"]["S"] == promoted.id


def test_the_reasons_of_a_lead_are_found_by_its_address(stack: LocalStack) -> None:
    with clock_at(NOON):
        stack.request("POST", "/v1/track", DEMO)
        stack.pump()
        found = stack.request("POST", "/leads/find", {"email": "jane@example.com"}).json()

    assert found["stage"] == "mql"
    assert found["scorecard"]["score"] == 60
    assert found["reasons"] == [
        {
            "rule": "demo-requested",
            "name": "Demo Requested",
            "dimension": "intent",
            "earned": 60.0,
            "points": 60.0,
            "points_now": 60.0,
            "taken": {},
            "occurred_at": "2026-03-02T12:00:00.000Z",
            "trust": "public",
        }
    ]
    (change,) = found["changes"]
    assert (change["from_stage"], change["to_stage"]) == ("captured", "mql")


def test_nothing_is_published_while_the_stream_stands_still(stack: LocalStack) -> None:
    stack.request("POST", "/v1/track", DEMO)

    assert stack.received == []
    assert stack.status()["pending"] > 0


def test_no_promotion_arrives_while_the_pump_stands_still(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = read_messages(SAMPLE, datetime.now(UTC).date())
    first = min(promotions(messages).values())
    monkeypatch.setattr(LocalStack, "pump", lambda _stack: None)

    replay(stack, [message for message in messages if at(message) <= first])

    assert stack.received == []
    assert stack.status()["pending"] > 0
    monkeypatch.undo()
    stack.pump()
    assert len(stack.promoted()) == 1
