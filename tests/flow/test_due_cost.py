"""Sweeping costs what is due, not what there is: read units, counted at few leads and at many.

`uv run python -m tests.flow.test_due_cost 1000 100000` prints them for any numbers.
"""

import copy
import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from moto.dynamodb.models.dynamo_type import DynamoType

from infra.local import engine
from infra.local.engine import clock_at
from infra.local.stack import LocalStack, local_stack
from leadscoring import items
from tests.flow.acts import ACTS, lead_item, send
from tests.unit.test_costs import size

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DUE = 20


@contextmanager
def reads(dynamodb: "DynamoDBClient") -> Iterator[Counter[str]]:
    """Count the read units of a client's calls, as the developer guide tells their price."""
    counted: Counter[str] = Counter()
    consistent: list[bool] = []

    def asked(params: dict[str, Any], **_: object) -> None:
        consistent.append(params.get("ConsistentRead", False))

    def answered(model: Any, parsed: dict[str, Any], **_: object) -> None:
        found = parsed.get("Items", [parsed.get("Item", {})])
        four_kb = max(1, math.ceil(sum(map(size, found)) / 4096))
        counted[model.name] += four_kb * (2 if consistent[-1] else 1)  # in halves of a unit

    names = ("Query", "GetItem")
    for name in names:
        dynamodb.meta.events.register(f"provide-client-params.dynamodb.{name}", asked)
        dynamodb.meta.events.register(f"after-call.dynamodb.{name}", answered)
    yield counted
    for name in names:
        dynamodb.meta.events.unregister(f"provide-client-params.dynamodb.{name}", asked)
        dynamodb.meta.events.unregister(f"after-call.dynamodb.{name}", answered)


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


def units(leads: int) -> float:
    """Return the read units of hearing what is due among so many leads."""
    with local_stack() as stack:
        fill(stack, leads)
        sweep = stack.functions["sweep"].module
        done: Counter[str] = Counter()
        with reads(sweep.store._table._dynamodb) as counted:
            sweep.ring(NOON + DAY, done)
        assert not done["SweepFailures"]
        assert not list(sweep.store.due(NOON + DAY, 10))
        return counted.total() / 2


def test_hearing_what_is_due_costs_the_same_among_few_leads_and_many() -> None:
    few, many = units(1_000), units(20_000)
    assert few == many
    # A half for each shard of the index, and one for each question that is asked of such a lead:
    # is its retention over, has it cooled.
    assert few == items.SHARDS / 2 + 2 * DUE


if __name__ == "__main__":
    for leads in map(int, sys.argv[1:]):
        said = f"{leads:,} leads, {DUE} of them due: {units(leads):g} read units\n"
        sys.stdout.write(said)
