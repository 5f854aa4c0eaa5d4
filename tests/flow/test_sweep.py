"""The sweeper: what the stream left behind is published all the same, and once."""

from datetime import UTC, datetime, timedelta

import pytest

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from tests.flow.acts import ACTS, send

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PEOPLE = ["jane@example.com", "joe@example.com", "jim@example.com"]


def promote_without_relay(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promote all people at noon, and let the relay fail until the stream gives up."""

    def out_of_order(_event: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as outage, clock_at(NOON):
        outage.setitem(stack.functions, "relay", out_of_order)
        for email in PEOPLE:
            send(stack, [{**ACTS["demo"], "userId": email}])
        stack.pump()


def sweep(stack: LocalStack, after: timedelta) -> list[str]:
    """Run the schedule so long after noon; return whom the customer now hears of."""
    already = len(stack.received)
    (schedule,) = stack.template.schedules
    with clock_at(NOON + after):
        stack.run_schedule(schedule)
    return sorted(message["data"]["lead"]["email"] for message in stack.received[already:])


def test_a_message_that_the_stream_lost_is_published_when_it_is_two_minutes_old(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_without_relay(stack, monkeypatch)
    assert len(list(stack.items("OUTBOX#"))) == len(PEOPLE)

    assert sweep(stack, timedelta(minutes=2)) == []
    assert sweep(stack, timedelta(minutes=2, milliseconds=1)) == sorted(PEOPLE)
    assert sweep(stack, timedelta(minutes=3)) == []

    assert list(stack.items("OUTBOX#")) == []
    published = [item["published_at"]["S"] for item in stack.items("CHANGE#")]
    assert published == ["2026-03-02T12:02:00.001Z"] * len(PEOPLE)


def test_a_record_that_the_stream_delivers_after_all_publishes_nothing_again(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_without_relay(stack, monkeypatch)
    sweep(stack, timedelta(minutes=5))
    (relay,) = [mapping for mapping in stack.mappings if mapping.on_failure]

    lost = relay.on_failure.copy()
    relay.deliver(lost)
    stack.pump()

    assert relay.on_failure == lost
    assert len(stack.received) == len(PEOPLE)


def test_a_message_that_fails_does_not_stop_the_others(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_without_relay(stack, monkeypatch)
    store = stack.functions["sweep"].module.store
    first = next(iter(store.pending(NOON + timedelta(hours=1))))
    key = {"pk": {"S": f"LEAD#{first.lead_id}"}, "sk": {"S": f"OUTBOX#{first.number:06d}"}}
    broken = {**key, "message": {"S": "{}"}}
    (whole,) = [i for i in stack.items("OUTBOX#") if i["pk"] == key["pk"]]
    stack.dynamodb.put_item(TableName=stack.table_name, Item={**whole, **broken})

    assert len(sweep(stack, timedelta(minutes=5))) == len(PEOPLE) - 1
    assert [item["pk"] for item in stack.items("OUTBOX#")] == [key["pk"]]
    assert (stack.metrics["SweptOutboxItems"], stack.metrics["SweepFailures"]) == (2, 1)

    stack.dynamodb.put_item(TableName=stack.table_name, Item=whole)
    assert len(sweep(stack, timedelta(minutes=6))) == 1
    assert len(stack.promoted()) == len(PEOPLE)


def test_what_the_relay_has_published_is_nothing_to_sweep(stack: LocalStack) -> None:
    with clock_at(NOON):
        send(stack, [{**ACTS["demo"], "userId": PEOPLE[0]}])
        stack.pump()

    assert sweep(stack, timedelta(hours=1)) == []
    assert len(stack.received) == 1
