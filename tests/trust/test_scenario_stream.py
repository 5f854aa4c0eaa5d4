"""The stream repeats itself, mixes leads up, meets two promoters and poison, is off for a day."""

import importlib
import random
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from infra.local.engine import clock_at
from infra.local.mapping import Record
from infra.local.stack import Function, LocalStack
from tests.trust.promises import assert_kept
from tests.trust.town import HOUR, MINUTE, NOON, PEOPLE, all_ask, ask, pump, sweep


def lives(stack: LocalStack) -> list[str]:
    """Let everybody do several things; return the ids of their messages."""
    acts = ("page", "newsletter", "demo", "pricing", "form")
    return [
        ask(stack, email, NOON + minute * MINUTE, act)
        for minute, act in enumerate(acts)
        for email in PEOPLE
    ]


def mixed(records: Sequence[Record], seed: int) -> list[Record]:
    """Return the records in another order that keeps each item's own, with repeats among them."""
    chance = random.Random(seed)
    waiting: dict[str, list[Record]] = {}
    for record in records:
        waiting.setdefault(str(record["dynamodb"]["Keys"]), []).append(record)
    told: list[Record] = []
    while waiting:
        item = chance.choice(sorted(waiting))
        told.append(waiting[item].pop(0))
        if not waiting[item]:
            del waiting[item]
        if chance.random() < 0.3:
            told.append(chance.choice(told))
    return told


@pytest.mark.parametrize("seed", range(5))
def test_records_that_come_again_and_in_another_order_promote_nobody_twice(
    stack: LocalStack, seed: int
) -> None:
    promote, relay = stack.mappings
    sent = lives(stack)
    images = stack.stream.read()
    told: list[Record] = []
    with clock_at(NOON + HOUR):
        for batch in (images, images, mixed(images, seed)):
            promote.deliver(batch)
            told += stack.stream.read()
        relay.deliver([*told, *told])
        relay.deliver(mixed(told, seed))
        promote.deliver(mixed([*images, *told], seed))
    pump(stack, NOON + 2 * HOUR)

    assert assert_kept(stack, NOON + 2 * HOUR, sent=sent, promoted=PEOPLE) == 0


class InStep:
    """Lets two containers of one function make each of these calls at the same time."""

    def __init__(self, function: str, operation: str) -> None:
        self.containers = [self._container(function) for _ in range(2)]
        self.calls = 0
        self._barrier = Barrier(2, timeout=60)
        for container in self.containers:
            module: Any = container.module
            owner = (
                module.publisher._sns if operation == "Publish" else module.store._table._dynamodb
            )
            owner.meta.events.register_first(f"before-send.*.{operation}", self)

    def _container(self, function: str) -> Function:
        sys.modules.pop(function, None)
        return Function(importlib.import_module(function))

    def __call__(self, **_request: object) -> None:
        self.calls += 1
        self._barrier.wait()

    def deliver(self, records: Sequence[Record]) -> list[Any]:
        """Hand the same records to both at once; return what they answer."""
        with ThreadPoolExecutor(2) as threads:
            event = {"Records": list(records)}
            return [done.result() for done in [threads.submit(c, event) for c in self.containers]]


def test_two_promoters_and_two_relays_on_the_same_images_at_once_tell_it_once(
    stack: LocalStack,
) -> None:
    promoters = InStep("promote", "TransactWriteItems")
    relays = InStep("relay", "Publish")
    sent = all_ask(stack)
    promote, relay = stack.mappings

    images = [record for record in stack.stream.read() if promote.wants(record)]
    assert promoters.deliver(images) == 2 * [{"batchItemFailures": []}]
    messages = [record for record in stack.stream.read() if relay.wants(record)]
    assert relays.deliver(messages) == 2 * [{"batchItemFailures": []}]
    pump(stack, NOON + HOUR)

    assert promoters.calls >= relays.calls == 2 * len(PEOPLE)
    assert assert_kept(stack, NOON + HOUR, sent=sent, promoted=PEOPLE) == len(PEOPLE)


POISON = {"pk": {"S": "LEAD#poison"}, "sk": {"S": "LEAD"}, "interactions": {"S": "so many"}}


def test_a_lead_that_nobody_can_read_ends_in_the_bucket_and_stops_nobody_else(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote, _ = stack.mappings
    monkeypatch.setattr(stack.functions["sweep"].module, "PARTS", 1)
    sent = [ask(stack, email, NOON) for email in PEOPLE[:3]]
    with clock_at(NOON):
        stack.dynamodb.put_item(TableName=stack.table_name, Item=POISON)
    sent += [ask(stack, email, NOON) for email in PEOPLE[3:]]
    pump(stack, NOON)

    assert POISON["pk"] in [record["dynamodb"]["Keys"]["pk"] for record in promote.on_failure]
    assert len(stack.promoted()) == len(PEOPLE)
    # Nor does it stop the guard: whom the stream loses now is found all the same.
    sent.append(ask(stack, "gina@example.com", NOON + HOUR))
    stack.stream.read()
    for minutes in (3, 6):
        sweep(stack, NOON + HOUR + minutes * MINUTE)
        pump(stack, NOON + HOUR + minutes * MINUTE)
    stack.dynamodb.delete_item(
        TableName=stack.table_name, Key={name: POISON[name] for name in ("pk", "sk")}
    )
    assert_kept(stack, NOON + 2 * HOUR, sent=sent, promoted=[*PEOPLE, "gina@example.com"])


def test_a_record_that_kills_its_function_is_isolated_by_bisecting(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote, _ = stack.mappings
    handler = stack.functions["promote"].module.handler
    deadly = all_ask(stack)[0]
    (email,) = [email for email in PEOPLE if email in deadly]

    def out_of_memory(event: dict[str, Any], context: object) -> Any:
        if email in str(event):
            raise MemoryError
        return handler(event, context)

    with monkeypatch.context() as patched:
        patched.setattr(stack.functions["promote"].module, "handler", out_of_memory)
        pump(stack, NOON)

    assert {r["dynamodb"]["NewImage"]["email"]["S"] for r in promote.on_failure} == {email}
    assert {m["data"]["lead"]["email"] for m in stack.promoted().values()} == {*PEOPLE} - {email}
    ask_again = ask(stack, email, NOON + HOUR, "page")
    pump(stack, NOON + HOUR)
    sent = [f"demo-{person}-02-12-00" for person in PEOPLE]
    assert_kept(stack, NOON + HOUR, sent=[*sent, ask_again], promoted=PEOPLE)


def test_a_stream_that_was_off_for_more_than_a_day_is_made_up_for_by_scan_and_next_interaction(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack.functions["sweep"].module, "PARTS", 30)
    promote, _ = stack.mappings
    *early, late = PEOPLE
    promoted_unheard, lost = early[:2], early[2:]
    sent = [ask(stack, email, NOON) for email in promoted_unheard]
    with clock_at(NOON):
        promote.deliver(stack.stream.read())
    sent += [ask(stack, email, NOON) for email in lost]
    sent.append(ask(stack, late, NOON + 10 * HOUR))

    on_again = NOON + 25 * HOUR
    assert stack.stream.trim(on_again) > 0
    pump(stack, on_again)
    assert {m["data"]["lead"]["email"] for m in stack.promoted().values()} == {late}
    comes_back = lost[0]
    sent.append(ask(stack, comes_back, on_again, "page"))
    pump(stack, on_again)
    assert {m["data"]["lead"]["email"] for m in stack.promoted().values()} == {late, comes_back}
    for minute in range(30):
        sweep(stack, on_again + minute * MINUTE)
        pump(stack, on_again + minute * MINUTE)

    assert_kept(stack, on_again + HOUR, sent=sent, promoted=PEOPLE)
    assert stack.metrics["LostLeadsFound"] == len(lost) - 1
    assert stack.metrics["SweptOutboxItems"] == len(promoted_unheard)
