"""What every story must end with: nothing lost, nothing counted twice, nobody promoted twice."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from infra.workbench.verifying import verify
from leadscoring.model import MQL, Model
from leadscoring.table import plain

type Row = dict[str, Any]


def assert_kept(
    stack: LocalStack,
    now: datetime,
    *,
    sent: Collection[str],
    promoted: Collection[str],
    models: Sequence[Model] = (),
) -> int:
    """Assert that each message counts once, and each of these people is promoted once.

    `models` are all that paid, where that is not only the one in force.

    Return how often a message came again to the customer, who knows it by its id.
    """
    with clock_at(now):
        stack._receive()
    leads = stack.functions["leads"].module
    by_number = {model.number: model for model in models or [leads.model]}
    report = verify(leads.store, by_number, now)
    assert [str(difference) for difference in report.differences] == []
    entered = Counter(row["sk"]["S"].split("#", 2)[2] for row in stack.items("INTERACTION#"))
    assert entered == dict.fromkeys(sent, 1)

    changes = [plain(row) for row in stack.items("CHANGE#")]
    decided = {_message_id(row) for row in changes if "kind" not in row and row["to"] == MQL}
    told = stack.promoted()
    assert [row for row in changes if row.get("published_as") != _message_id(row)] == []
    assert told.keys() == decided
    assert Counter(m["data"]["lead"]["email"] for m in told.values()) == dict.fromkeys(promoted, 1)
    cycles = Counter((m["subject"], m["data"]["cycle"]) for m in told.values())
    assert max(cycles.values(), default=1) == 1
    assert stack.pending() == 0
    return len(stack.received) - len({message["id"] for message in stack.received})


def _message_id(change: Row) -> str:
    """Return the id of the message that tells of a change."""
    return f"{change['pk'].partition('#')[2]}:{int(change['sk'].partition('#')[2])}"
