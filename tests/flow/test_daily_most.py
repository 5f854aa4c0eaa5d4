"""A public key adds so many interactions to one lead in a day; a server as many as it likes."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from tests.flow.acts import ACTS, counters, lead_item, ledger_sums, send
from tests.flow.own_model import stack_with

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MOST = 5
MODEL = (Path(__file__).parents[1] / "model.toml").read_text(encoding="utf-8") + (
    f"[public]\nmost_per_day = {MOST}\n"
)
NEW = count()


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL) as stack:
        yield stack


@pytest.fixture
def email() -> str:
    return f"lead-{next(NEW)}@example.com"


def visit(
    stack: LocalStack, email: str, times: int, day: float = 0, *, secret: bool = False
) -> None:
    with clock_at(NOON + timedelta(days=day)):
        pages = [
            {**ACTS["page"], "userId": email, "messageId": f"m-{next(NEW)}"} for _ in range(times)
        ]
        send(stack, pages, secret=secret)


def kept(stack: LocalStack, email: str) -> int:
    """Return how many interactions the lead has, by the ledger and by its counter."""
    assert counters(stack, email) == ledger_sums(stack, email)
    return counters(stack, email)["interactions"]


def test_what_is_over_the_most_is_acknowledged_and_dropped(stack: LocalStack, email: str) -> None:
    before = stack.metrics["OverDailyMost"]
    for _ in range(3):
        visit(stack, email, MOST)
    # The day on which a lead passes the most of its life may come to twice as many.
    assert kept(stack, email) == 2 * MOST
    assert stack.metrics["OverDailyMost"] - before == MOST
    visit(stack, email, MOST, day=1)
    visit(stack, email, MOST, day=1)
    assert kept(stack, email) == 3 * MOST


def test_a_batch_is_cut_at_the_most(stack: LocalStack, email: str) -> None:
    visit(stack, email, 4 * MOST)
    assert kept(stack, email) == MOST
    visit(stack, email, 4 * MOST, day=1)
    assert kept(stack, email) == 2 * MOST


@pytest.mark.parametrize("cold", [False, True], ids=["the same container", "another one"])
def test_what_was_kept_before_takes_nothing_of_the_rest(
    stack: LocalStack, email: str, *, cold: bool
) -> None:
    visit(stack, email, MOST)
    pages = [{**ACTS["page"], "userId": email, "messageId": f"{email}-{n}"} for n in range(MOST)]
    with clock_at(NOON + timedelta(days=1)):
        send(stack, pages[:3])
        if cold:
            stack.load_functions()
        send(stack, pages)
    assert kept(stack, email) == 2 * MOST


def test_a_server_is_never_cut(stack: LocalStack, email: str) -> None:
    visit(stack, email, 4 * MOST, secret=True)
    assert kept(stack, email) == 4 * MOST
    visit(stack, email, MOST)
    visit(stack, email, MOST)
    visit(stack, email, 1, secret=True)
    assert kept(stack, email) == 5 * MOST + 1


def test_a_lead_within_the_most_of_its_life_has_no_count_of_its_day(
    stack: LocalStack, email: str
) -> None:
    visit(stack, email, MOST)
    assert "public_today" not in lead_item(stack, email)
    visit(stack, email, 1)
    assert "public_today" in lead_item(stack, email)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    visits=st.lists(
        st.tuples(
            st.integers(1, 8), st.integers(0, 2), st.sampled_from(["public", "secret", "cold"])
        ),
        min_size=1,
        max_size=12,
    )
)
def test_whatever_comes_no_day_after_the_first_has_more_than_the_most(
    stack: LocalStack, visits: list[tuple[int, int, str]]
) -> None:
    email = f"lead-{next(NEW)}@example.com"
    day, sent, servers = 0, Counter[int](), 0
    for times, later, sender in visits:
        day += later
        if sender == "cold":
            stack.load_functions()
        visit(stack, email, times, day, secret=sender == "secret")
        sent[day] += times if sender != "secret" else 0
        servers += times if sender == "secret" else 0

    assert counters(stack, email) == ledger_sums(stack, email)
    pk, arrived = lead_item(stack, email)["pk"], Counter[str]()
    for entry in stack.items("INTERACTION#"):
        if entry["pk"] == pk:
            trust = entry["sk"]["S"].split("#")[1]
            arrived[trust if trust == "trusted" else entry["received_at"]["S"][:10]] += 1
    assert arrived.pop("trusted", 0) == servers
    full = [date for date, times in arrived.items() if times > MOST]
    assert len(full) <= 1
    assert all(arrived[date] <= 2 * MOST for date in full)
    for number, times in sent.items():
        date = (NOON + timedelta(days=number)).date().isoformat()
        assert arrived[date] >= min(times, MOST)
