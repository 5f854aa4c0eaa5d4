"""The sweeper: what the stream left behind is published all the same, and once."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from leadscoring.items import SHARDS
from leadscoring.settings import MODEL_FILE
from leadscoring.table import Busy
from tests.flow.acts import ACTS, send
from tests.flow.own_model import deploy

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PEOPLE = ["jane@example.com", "joe@example.com", "jim@example.com"]


def promote_without_relay(
    stack: LocalStack,
    monkeypatch: pytest.MonkeyPatch,
    people: Sequence[str] = PEOPLE,
    at: datetime = NOON,
) -> None:
    """Promote these people, and let the relay fail until the stream gives up."""

    def out_of_order(_event: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as outage, clock_at(at):
        outage.setitem(stack.functions, "relay", out_of_order)
        for email in people:
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


def test_who_has_waited_longest_is_told_of_first(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = [f"{number}@example.com" for number in range(8)]
    for number, email in enumerate(crowd):
        promote_without_relay(stack, monkeypatch, [email], NOON + timedelta(minutes=number))
    monkeypatch.setattr(stack.functions["sweep"].module, "MESSAGES", 3)

    assert sweep(stack, timedelta(hours=1)) == crowd[:3]
    assert stack.metrics["PendingAge"] == 60 * 60
    assert sweep(stack, timedelta(hours=1)) == crowd[3:6]
    assert stack.metrics["PendingAge"] == 60 * 60 + 57 * 60


def test_what_a_sweep_came_to_is_measured_before_it_publishes(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_nobody(stack, monkeypatch, ["kim@example.com"])
    promote_without_relay(stack, monkeypatch)
    module = stack.functions["sweep"].module
    monkeypatch.setattr(module, "PARTS", 1)
    measured: list[Counter[str]] = []

    def publish(_message: object) -> None:
        measured.append(stack.metrics.copy())
        raise ConnectionError

    monkeypatch.setattr(module.publisher, "publish", publish)
    assert sweep(stack, timedelta(minutes=10)) == []
    assert (measured[0]["LostLeadsFound"], measured[0]["PendingAge"]) == (1, 10 * 60)


def test_what_the_relay_has_published_is_nothing_to_sweep(stack: LocalStack) -> None:
    with clock_at(NOON):
        send(stack, [{**ACTS["demo"], "userId": PEOPLE[0]}])
        stack.pump()

    assert sweep(stack, timedelta(hours=1)) == []
    assert len(stack.received) == 1


# The lost-lead guard


def promote_nobody(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, people: Sequence[str] = PEOPLE
) -> None:
    """Let these people ask for a demo at noon, and lose what the stream says of it."""
    with monkeypatch.context() as lost, clock_at(NOON):
        lost.setattr(stack, "mappings", [])
        for email in people:
            send(stack, [{**ACTS["demo"], "userId": email}])
        stack.pump()
    assert {lead["stage"] for lead in stack.leads()} == {"captured"}


def guard(stack: LocalStack, at: datetime) -> Counter[str]:
    done: Counter[str] = Counter()
    stack.functions["sweep"].module.guard(at, done)
    return done


def test_who_was_lost_is_found_within_a_day_and_once(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_nobody(stack, monkeypatch)
    monkeypatch.setattr(stack.functions["sweep"].module, "PARTS", 12)
    start = NOON + timedelta(minutes=10)

    runs = [guard(stack, start + timedelta(minutes=n)) for n in range(24)]

    found = [run["LostLeadsFound"] for run in runs]
    assert (sum(found[:12]), sum(found[12:])) == (len(PEOPLE), 0)
    stack.pump()
    assert len(stack.promoted()) == len(PEOPLE)
    # Where parts are many, one run never looks at all.
    assert max(found) < len(PEOPLE)


def test_each_lead_is_in_one_part_of_the_table(stack: LocalStack) -> None:
    for number in range(40):
        send(stack, [{**ACTS["page"], "userId": f"{number}@example.com"}])
    store = stack.functions["sweep"].module.store
    found = [lead_id for part in range(7) for lead_id, _ in store.leads_in(part, 7)]
    assert sorted(found) == sorted(lead["id"] for lead in stack.leads())


def test_minutes_that_were_missed_are_made_up_for_a_few_at_a_time(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = stack.functions["sweep"].module
    looked_at: list[int] = []

    def leads_in(part: int, _parts: int) -> list[object]:
        looked_at.append(part)
        return []

    monkeypatch.setattr(module.store, "leads_in", leads_in)
    midnight = datetime(2026, 3, 3, tzinfo=UTC)
    for minute, parts in ((0, [0]), (1, [1]), (8, [2, 3, 4, 5, 6]), (9, [7, 8, 9])):
        guard(stack, midnight + timedelta(minutes=minute))
        assert looked_at[-len(parts) :] == parts
    assert looked_at == list(range(10))

    # The same minute again, or an earlier one, is nothing new; nor does it go back.
    guard(stack, midnight + timedelta(minutes=9))
    guard(stack, midnight)
    until = module.store.guarded_until()
    module.store.note_guarded(until - 5)
    assert (len(looked_at), module.store.guarded_until()) == (10, until)

    # After an outage of days every part still has its turn, the oldest first.
    looked_at.clear()
    for minute in range(400):
        guard(stack, midnight + timedelta(days=5, minutes=minute))
    assert set(looked_at) == set(range(module.PARTS))
    assert len(looked_at) == module.PARTS + 399


def test_a_minute_that_fails_is_looked_at_again(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stack.functions["sweep"].module.store
    guard(stack, NOON)

    def unreachable(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as outage:
        outage.setattr(store, "leads_in", unreachable)
        with pytest.raises(ConnectionError):
            guard(stack, NOON + timedelta(minutes=1))
    assert store.guarded_until() == NOON.timestamp() // 60


def test_the_guard_leaves_to_the_stream_what_happened_a_moment_ago(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_nobody(stack, monkeypatch)
    monkeypatch.setattr(stack.functions["sweep"].module, "PARTS", 1)
    assert guard(stack, NOON + timedelta(minutes=2))["LostLeadsFound"] == 0
    assert guard(stack, NOON + timedelta(minutes=3))["LostLeadsFound"] == len(PEOPLE)


# What time alone does


def demos(stack: LocalStack, number: int) -> None:
    """Let so many people ask for a demo at noon, under a model that gives sales two days."""
    deploy(stack, MODEL_FILE.read_text(encoding="utf-8") + "\n[reply]\nhours = 48\n")
    with clock_at(NOON):
        for one in range(number):
            send(stack, [{**ACTS["demo"], "userId": f"{one}@example.com"}])
        stack.pump()


def reminders(stack: LocalStack, after: timedelta) -> int:
    """Run the schedule so long after noon, then the stream; return how often sales is reminded."""
    already = len(stack.received)
    sweep(stack, after)
    stack.pump()
    found = [message["type"] for message in stack.received[already:]]
    assert set(found) <= {"mqlambda.lead.reply_overdue.v1"}
    return len(found)


def test_a_lead_that_fails_stops_neither_timers_nor_guard(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    demos(stack, 3)
    module = stack.functions["sweep"].module
    first, *others = module.store.due(NOON + timedelta(days=3), 10)
    assert len(others) == 2
    ring = module.promoter.ring

    def failing(lead_id: str, now: datetime) -> object:
        if lead_id == first:
            raise ConnectionError
        return ring(lead_id, now)

    with monkeypatch.context() as patched:
        patched.setattr(module.promoter, "ring", failing)
        assert reminders(stack, timedelta(days=3)) == 2
    assert stack.metrics["SweepFailures"] == 1
    assert module.store.guarded_until() is not None
    assert reminders(stack, timedelta(days=3, minutes=1)) == 1


@pytest.mark.parametrize("part", ["due", "leads_in"])
def test_what_fails_as_a_whole_stops_no_other_part_and_is_the_runs_failure(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    promote_without_relay(stack, monkeypatch)

    def busy(*_asked: object) -> NoReturn:
        raise Busy

    monkeypatch.setattr(stack.functions["sweep"].module.store, part, busy)
    with pytest.raises(Busy):
        sweep(stack, timedelta(minutes=3))
    assert list(stack.items("OUTBOX#")) == []


def test_timers_leave_the_others_their_time(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    demos(stack, 6)
    left = iter(range(60, 0, -6))
    remaining = "infra.local.stack._Context.get_remaining_time_in_millis"
    with monkeypatch.context() as hurried:
        hurried.setattr(remaining, lambda _context: next(left) * 1000)
        assert reminders(stack, timedelta(days=3)) == 3
    assert reminders(stack, timedelta(days=3, minutes=1)) == 3


def test_a_run_hears_so_many_timers_and_the_next_one_the_others(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    demos(stack, 40)
    monkeypatch.setattr(stack.functions["sweep"].module, "TIMERS", 3)
    heard = [reminders(stack, timedelta(days=3, minutes=minute)) for minute in range(6)]
    assert sum(heard) == 40
    assert heard[0] <= 3 * SHARDS
    assert heard[1] > 0
