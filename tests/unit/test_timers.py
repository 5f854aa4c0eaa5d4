"""A timer never rings too late: until then nothing moves the lead, and nobody is overdue."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from leadscoring import lifecycle, scoring, timers
from leadscoring.lead import Lead
from leadscoring.model import Model

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MODEL = Model.parse("""
number = 1
name = "fading"
retention_days = 365
properties = []
traits = []
rules = []
dimensions.slow = { half_life_days = 30, cap = 200 }
dimensions.fast = { half_life_days = 7, cap = 200 }
recycling.cool_down_days = 14
reply.hours = 48

[[stages]]
name = "captured"

[[stages]]
name = "engaged"
enter.score = 40
exit.below.score = 20

[[stages]]
name = "mql"
enter.score = 100
exit.below.dimensions.fast = 10
exit.below.score = 30
""")
DAY = timedelta(days=1)
YEAR = datetime(2026, 1, 1, tzinfo=UTC)
LATEST = NOW + timedelta(days=400)


def units(slow: int, fast: int) -> dict[str, int]:
    """Return the counters of a lead that has so many points in each dimension now."""
    return {
        f"points:{name}:{days}d:2026": round(points * 2 ** ((NOW - YEAR).days / days) * 10**6)
        for name, days, points in (("slow", 30, slow), ("fast", 7, fast))
    }


ages = st.timedeltas(timedelta(), timedelta(days=60)) | st.timedeltas(timedelta(), 2 * DAY)
leads = st.builds(
    Lead,
    id=st.just("0" * 32),
    stage=st.sampled_from(["captured", "engaged", "mql", "recycled", "sql", "disqualified"]),
    email=st.just("jane@example.com"),
    units=st.builds(units, st.integers(0, 200), st.integers(0, 200)),
    stage_since=ages.map(lambda age: NOW - age),
    updated_at=ages.map(lambda age: NOW - age),
    overdue_cycle=st.sampled_from([None, 1]),
)


def happens(lead: Lead, at: datetime) -> bool:
    card = scoring.scorecard(lead, MODEL, at)
    moves = lifecycle.decide(lead, card, MODEL) is not None
    return moves or lifecycle.overdue(lead, at, MODEL) is not None


@given(leads)
def test_nothing_happens_before_the_timer_rings(lead: Lead) -> None:
    assume(not happens(lead, NOW))
    due_at = timers.due_at(lead, MODEL, NOW)
    assert NOW < due_at < LATEST
    # The instant of cooling is found to a second.
    last = due_at - timedelta(seconds=1) - NOW
    assert not [part for part in range(21) if happens(lead, NOW + part / 20 * last)]


def test_a_reminder_that_is_owed_already_is_due_at_once_and_nobodys_whom_none_is_owed() -> None:
    owed = Lead(
        id="0" * 32, stage="mql", units=units(200, 200), stage_since=NOW - 3 * DAY, updated_at=NOW
    )
    assert timers.due_at(owed, MODEL, NOW) == NOW + timedelta(seconds=1)
    for other in (
        replace(owed, traits={"consent": False}),
        replace(owed, overdue_cycle=1),
        replace(owed, stage="customer"),
    ):
        assert timers.due_at(other, MODEL, NOW) > NOW + DAY


def test_what_was_due_while_a_ledger_was_paid_again_is_looked_at_right_after() -> None:
    until = NOW + timedelta(minutes=5)
    lead = Lead(
        id="0" * 32,
        stage="mql",
        units=units(100, 100),
        stage_since=NOW - timedelta(hours=48),
        updated_at=NOW,
        rescoring_until=until,
    )
    assert not happens(lead, NOW)
    assert timers.due_at(lead, MODEL, NOW) == until
    assert lifecycle.overdue(lead, until, MODEL)
    assert timers.due_at(replace(lead, rescoring_until=None), MODEL, NOW) != until
