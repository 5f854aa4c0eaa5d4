"""Hearing timers costs what is due, not what there is: read units among few leads and many.

All that a minute's sweep reads is counted; the guard's share grows with the table, as it must.

`uv run python -m tests.flow.test_due_cost 1000 100000` prints them for any numbers.
"""

import copy
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from moto.dynamodb.models.dynamo_type import DynamoType

from infra.local import engine
from infra.local.engine import clock_at
from infra.local.stack import LocalStack, local_stack
from leadscoring import items
from leadscoring.interaction import to_text
from tests.flow.acts import ACTS, lead_item, send
from tests.unit.test_costs import size

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DUE = 20


def cause(params: Mapping[str, Any]) -> str:
    """Return what the sweep reads this for: its timers, the guard or the relay."""
    match params:
        case {"IndexName": "pending"}:
            return "relay"
        case {"TotalSegments": _} | {"Key": {"pk": {"S": "SWEEP"}}}:
            return "guard"
        case _:
            return "timers"


@contextmanager
def reads(dynamodb: "DynamoDBClient", table_bytes: int) -> Iterator[Counter[str]]:
    """Count the halves of read units of a client's calls, as the developer guide prices them.

    What a part of the table holds is reckoned: moto cuts it into 256 at most.
    """
    counted: Counter[str] = Counter()
    asked: list[dict[str, Any]] = []

    def ask(params: dict[str, Any], **_: object) -> None:
        asked.append(params)

    def answer(model: Any, parsed: dict[str, Any], **_: object) -> None:
        params = asked[-1]
        match model.name:
            case "TransactWriteItems":
                return
            case "Scan":
                found: float = table_bytes / params["TotalSegments"]
            case "Query":
                found = sum(map(size, parsed["Items"]))
            case "GetItem":
                found = size(parsed.get("Item", {}))
            case name:
                raise AssertionError(f"what does {name} read?")
        four_kb = max(1, math.ceil(found / 4096))
        counted[cause(params)] += four_kb * (2 if params.get("ConsistentRead") else 1)

    dynamodb.meta.events.register("provide-client-params.dynamodb", ask)
    dynamodb.meta.events.register("after-call.dynamodb", answer)
    yield counted
    dynamodb.meta.events.unregister("provide-client-params.dynamodb", ask)
    dynamodb.meta.events.unregister("after-call.dynamodb", answer)


def fill(stack: LocalStack, leads: int) -> None:
    """Put so many leads straight into the table, copies of one; of a few the timer has rung."""
    with clock_at(NOON):
        send(stack, [{**ACTS["page"], "userId": "first@example.com"}])
        stack.pump()
    table = engine._table(stack.table_name)
    first = lead_item(stack, "first@example.com")
    row = table.items[DynamoType(first["pk"])][DynamoType(first["sk"])]
    for number in range(leads):
        lead_id = f"{number:032x}"
        due_at = NOON + DAY * (1 if number < DUE else 300)
        other = copy.copy(row)
        timer = items.timer(lead_id, due_at)
        other.hash_key = DynamoType({"S": f"LEAD#{lead_id}"})
        other.attrs = copy.copy(row.attrs)
        other.attrs |= {n: DynamoType({"S": v}) for n, v in timer.items()}
        other.attrs["pk"] = other.hash_key
        table.items[other.hash_key][row.range_key] = other


def units(leads: int) -> dict[str, float]:
    """Return the read units of a minute's sweep among so many leads, and what they are for."""
    with local_stack() as stack, clock_at(NOON + DAY):
        fill(stack, leads)
        table_bytes = sum(map(size, stack.items("LEAD")))
        sweep = stack.functions["sweep"]
        store = sweep.module.store
        with reads(store._table._dynamodb, table_bytes) as counted:
            done = sweep({"time": to_text(NOON + DAY)})
        assert not done.get("SweepFailures")
        assert not list(store.due(NOON + DAY, 10))
        return {name: halves / 2 for name, halves in counted.items()}


def test_hearing_what_is_due_costs_the_same_among_few_leads_and_many() -> None:
    few, many = units(1_000), units(20_000)
    # A half for each shard of an index, and one for each question that is asked of a lead whose
    # timer rang: is its retention over, has it cooled.
    index = items.SHARDS / 2
    assert few["timers"] == many["timers"] == index + 2 * DUE
    assert few["relay"] == many["relay"] == index
    # Where its scan stands, and a 1,440th of the table: of so few leads it has less than 4 KB.
    assert few["guard"] == many["guard"] == 1.5


if __name__ == "__main__":
    for leads in map(int, sys.argv[1:]):
        came_to = units(leads)
        parts = ", ".join(f"{name} {came_to[name]:g}" for name in ("timers", "relay", "guard"))
        said = f"{leads:,} leads, {DUE} of them due: {parts} read units\n"
        sys.stdout.write(said)
