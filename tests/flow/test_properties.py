"""What holds for all histories, through the real handlers and a real table."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from leadscoring.interaction import to_text
from tests.flow.acts import ACTS, Message, allowances, counters, ledger_sums, ledger_uses, send
from tests.flow.own_model import stack_with

NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)

# Beside the tests' model: rules with limits. Their points stay, so no order is worth more.
MODEL = (
    (Path(__file__).parents[1] / "model.toml").read_text(encoding="utf-8")
    + """
[dimensions.loyalty]

[[rules]]
name = "visit"
on = "Visited"
points = 2
dimension = "loyalty"
limit = { times = 2, per = "day" }

[[rules]]
name = "call"
on = "Called"
points = 5
dimension = "loyalty"
limit = { points = 12, per = "week" }

[[rules]]
name = "asset"
on = "Asset Opened"
points = 7
dimension = "loyalty"
limit = { times = 1, per = "ever", by = "title" }
"""
)
LIMITED: dict[str, Message] = {
    "visit": {"type": "track", "event": "Visited"},
    "call": {"type": "track", "event": "Called"},
    "A": {"type": "track", "event": "Asset Opened", "properties": {"title": "A"}},
    "B": {"type": "track", "event": "Asset Opened", "properties": {"title": "B"}},
}
ALL = ACTS | LIMITED
MINUTES_AGO = st.integers(0, 29 * 24 * 60)
HISTORIES = st.lists(st.tuples(st.sampled_from(sorted(ALL)), MINUTES_AGO), min_size=1, max_size=12)
# On few days, so that limits bind.
BUSY_HISTORIES = st.lists(
    st.tuples(st.sampled_from(sorted(LIMITED)), st.sampled_from([0, 5, 800, 24 * 60, 9 * 24 * 60])),
    min_size=3,
    max_size=16,
)
EXAMPLES = settings(
    max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)

_leads = count()


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalStack]:
    with stack_with(MODEL) as stack:
        yield stack


def play(
    stack: LocalStack,
    email: str,
    history: list[tuple[str, int]],
    order: list[int],
    cuts: set[int],
    *,
    secret: bool = True,
) -> None:
    """Send the history's messages in this order; a cut sends what has gathered, and drains."""
    gathered: list[dict[str, Any]] = []
    with clock_at(NOW):
        for place, index in enumerate(order):
            act, minutes_ago = history[index]
            at = to_text(NOW - timedelta(minutes=minutes_ago))
            message = {**ALL[act], "userId": email, "messageId": f"m-{index}", "timestamp": at}
            gathered.append(message)
            if place in cuts or place == len(order) - 1:
                send(stack, gathered, secret=secret)
                gathered = []
                stack.pump()


@EXAMPLES
@given(HISTORIES, st.data())
def test_any_order_repetition_and_batching_gives_the_same_counters_and_the_same_scorecard(
    shared: LocalStack, history: list[tuple[str, int]], data: st.DataObject
) -> None:
    number = next(_leads)
    plain, mixed = f"plain{number}@example.com", f"mixed{number}@example.com"
    indices = list(range(len(history)))
    repeated = data.draw(st.lists(st.sampled_from(indices), max_size=4))
    order = data.draw(st.permutations(indices + repeated))
    cuts = data.draw(st.sets(st.integers(0, len(order) - 1)))

    play(shared, plain, history, indices, set(indices))
    play(shared, mixed, history, order, cuts)

    assert counters(shared, mixed) == counters(shared, plain) == ledger_sums(shared, mixed)
    assert allowances(shared, mixed) == allowances(shared, plain) == ledger_uses(shared, mixed)
    for days in (0, 1, 45, 400):
        with clock_at(NOW + timedelta(days=days)):
            cards = [
                shared.request("POST", "/leads/find", {"email": email}).json()["scorecard"]
                for email in (plain, mixed)
            ]
        assert cards[0] == cards[1]


@EXAMPLES
@given(HISTORIES, st.data())
def test_a_lead_is_promoted_at_most_once_and_exactly_once_where_it_ends_above_the_bar(
    shared: LocalStack, history: list[tuple[str, int]], data: st.DataObject
) -> None:
    email = f"lead{next(_leads)}@example.com"
    order = data.draw(st.permutations(range(len(history))))
    cuts = data.draw(st.sets(st.integers(0, len(order) - 1)))

    play(shared, email, history, order, cuts)

    with clock_at(NOW):
        lead = shared.request("POST", "/leads/find", {"email": email}).json()
    promoted = [m for m in shared.promoted().values() if m["data"]["lead"]["id"] == lead["id"]]
    raw = [m for m in shared.received if m["data"]["lead"]["id"] == lead["id"]]
    assert len(promoted) <= 1
    assert len(raw) == len({message["id"] for message in raw})
    acts = {act for act, _ in history}
    if "unsubscribed" not in acts:
        assert len(promoted) == (lead["scorecard"]["score"] >= 100 or "demo" in acts)


def used_up(history: list[tuple[str, int]], *, secret: bool) -> dict[str, list[Decimal]]:
    """Return by hand what this uses of each rule's allowances, the smallest first."""
    wanted: Counter[tuple[str, object]] = Counter()
    for act, minutes_ago in history:
        # What the public says of the time counts for nothing.
        at = NOW - timedelta(minutes=minutes_ago) if secret else NOW
        match act:
            case "visit":
                wanted["visit", at.date()] += 1
            case "call":
                wanted["call", at.isocalendar()[:2]] += 5
            case title:
                wanted["asset", title] += 1
    most = {"visit": 2, "call": 12, "asset": 1}
    used: dict[str, list[Decimal]] = {}
    for (rule, _), amount in wanted.items():
        used.setdefault(rule, []).append(Decimal(min(amount, most[rule])))
    return {rule: sorted(amounts) for rule, amounts in used.items()}


@EXAMPLES
@given(BUSY_HISTORIES, st.data())
def test_whatever_the_order_and_the_batches_a_limit_pays_exactly_what_it_allows(
    shared: LocalStack, history: list[tuple[str, int]], data: st.DataObject
) -> None:
    secret = data.draw(st.booleans())
    email = f"limited{next(_leads)}@example.com"
    indices = list(range(len(history)))
    repeated = data.draw(st.lists(st.sampled_from(indices), max_size=4))
    order = data.draw(st.permutations(indices + repeated))
    cuts = data.draw(st.sets(st.integers(0, len(order) - 1)))

    play(shared, email, history, order, cuts, secret=secret)

    by_rule: dict[str, list[Decimal]] = {}
    for name, used in sorted(allowances(shared, email).items(), key=lambda item: item[1]):
        by_rule.setdefault(name.partition("#")[0], []).append(used)
    assert by_rule == used_up(history, secret=secret)
    points = {"visit": 2, "call": 1, "asset": 7}
    paid = sum(points[rule] * sum(amounts) for rule, amounts in by_rule.items())
    assert counters(shared, email)["points:loyalty"] == paid * 10**6
    assert counters(shared, email) == ledger_sums(shared, email)
    assert allowances(shared, email) == ledger_uses(shared, email)
