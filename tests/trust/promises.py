"""What every story must end with: nothing lost, nothing counted twice, nobody promoted twice."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime

from infra.local.stack import LocalStack
from infra.workbench.verifying import verify
from leadscoring.table import plain

PROMOTED = "mqlambda.lead.promoted.v1"


def assert_kept(
    stack: LocalStack, now: datetime, *, sent: Collection[str], promoted: Collection[str]
) -> int:
    """Assert that each message counts once, and each of these people is promoted once.

    Return how often a message came again to the customer, who knows it by its id.
    """
    leads = stack.functions["leads"].module
    report = verify(leads.store, {leads.model.number: leads.model}, now)
    assert [str(difference) for difference in report.differences] == []
    entered = Counter(row["sk"]["S"].split("#", 2)[2] for row in stack.items("INTERACTION#"))
    assert entered == dict.fromkeys(sent, 1)

    changes = [plain(row) for row in stack.items("CHANGE#")]
    decided = {
        f"{row['pk'].partition('#')[2]}:{int(row['sk'].partition('#')[2])}": row for row in changes
    }
    unpublished = [name for name, row in decided.items() if row.get("published_as") != name]
    assert unpublished == []
    told = stack.promoted()
    assert told.keys() == {
        name for name, row in decided.items() if "kind" not in row and row["to"] == "mql"
    }
    assert Counter(m["data"]["lead"]["email"] for m in told.values()) == dict.fromkeys(promoted, 1)
    assert set(Counter((m["subject"], m["data"]["cycle"]) for m in told.values()).values()) <= {1}
    assert stack.pending() == 0
    return len(stack.received) - len({message["id"] for message in stack.received})
