"""When does time alone change something about a lead?

A timer is lazy: it is set when a lead is captured or changes its stage, and rings too early where
the lead did something since. Whoever hears it looks, acts, and sets it again. Scores never rise by
themselves, so a lead that stays at an instant has stayed until then.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from leadscoring import lifecycle, scoring
from leadscoring.interaction import to_millisecond
from leadscoring.lead import Lead
from leadscoring.model import Model

_SECOND = timedelta(seconds=1)


def due_at(lead: Lead, model: Model, now: datetime) -> datetime:
    """Return the first instant after `now` at which the lead may have to be moved or forgotten.

    A reminder that is owed already is due at once; an objector is owed none.
    """
    if lifecycle.overdue(lead, now, model):
        return now + _SECOND
    end = forgotten_at(lead, model, now)
    instants = (
        cools_at(lead, model, now, end),
        lifecycle.reply_due_at(lead, model),
        lifecycle.cool_down_ends_at(lead, model),
        # What is due while a ledger is being paid again is looked at when that is over.
        lead.rescoring_until,
    )
    ahead = [instant for instant in instants if instant and now < instant < end]
    return min(ahead, default=max(end, now + _SECOND))


def forgotten_at(lead: Lead, model: Model, now: datetime) -> datetime:
    """Return when retention ends for the oldest of all that the lead did."""
    return (lead.since or lead.updated_at or now) + timedelta(days=model.retention_days)


def cools_at(lead: Lead, model: Model, now: datetime, end: datetime) -> datetime | None:
    """Return the first instant until `end`, to a second, at which fading points move the lead."""

    def moves(instant: datetime) -> bool:
        card = scoring.scorecard(lead, model, instant)
        return lifecycle.decide(lead, card, model) is not None

    if now >= end or not moves(end):
        return None
    return to_millisecond(_first(moves, now, end))


def _first(holds: Callable[[datetime], bool], before: datetime, at: datetime) -> datetime:
    """Return by bisection the first instant at which it holds: it does not before, it does at."""
    while at - before > _SECOND:
        middle = before + (at - before) / 2
        before, at = (before, middle) if holds(middle) else (middle, at)
    return at
