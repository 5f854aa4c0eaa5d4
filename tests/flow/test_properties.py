"""What holds for all histories, through the real handlers and a real table."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.local.engine import clock_at
from infra.local.stack import LocalStack, local_stack
from leadscoring.interaction import to_text
from tests.flow.acts import ACTS, counters, ledger_sums, send

NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)
HISTORIES = st.lists(
    st.tuples(st.sampled_from(sorted(ACTS)), st.integers(0, 29 * 24 * 60)), min_size=1, max_size=12
)
EXAMPLES = settings(
    max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)

_leads = count()


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalStack]:
    with local_stack() as stack:
        yield stack


def play(
    stack: LocalStack, email: str, history: list[tuple[str, int]], order: list[int], cuts: set[int]
) -> None:
    """Send the history's messages in this order; a cut sends what has gathered, and drains."""
    gathered: list[dict[str, Any]] = []
    with clock_at(NOW):
        for place, index in enumerate(order):
            act, minutes_ago = history[index]
            at = to_text(NOW - timedelta(minutes=minutes_ago))
            message = {**ACTS[act], "userId": email, "messageId": f"m-{index}", "timestamp": at}
            gathered.append(message)
            if place in cuts or place == len(order) - 1:
                send(stack, gathered, secret=True)
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
