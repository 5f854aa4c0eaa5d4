"""Why a lead has its score: reasons that add up, at any instant and under any model."""

from collections import Counter as Multiset
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from leadscoring import matching, scoring
from leadscoring.decay import Counter
from leadscoring.interaction import Trust
from leadscoring.lead import (
    Change,
    Entry,
    Explanation,
    Lead,
    Line,
    Payment,
    Reason,
    Scorecard,
)
from leadscoring.model import FIT, Model

NO_RULE_MATCHED = "no rule matched"
ALL_WITHHELD = "all that it did is withheld"
NOTHING_PAID = "the rules that matched pay 0 points"

_THOUSANDTH = Decimal("0.001")


def explain(lead: Lead, entries: Iterable[Entry], model: Model, now: datetime) -> Explanation:
    """Return the lead's scorecard at `now` by these entries alone, and every reason for it."""
    ledger = list(entries)
    remembered = scoring.remember(lead, ledger)
    card = scoring.scorecard(remembered, model, now)
    who = scoring.subject(remembered)
    reasons = [
        reason
        for dimension, total in card.dimensions.items()
        for reason in _reasons(ledger, dimension, total.earned, who, model, now)
    ]
    lines = list(_lines(card, who, model))
    withheld = Multiset(e.withheld_by for e in ledger if e.withheld_by and e.is_withheld)
    return Explanation(
        scorecard=card,
        reasons=sorted(reasons, key=lambda r: (-r.points_now, r.occurred_at, r.rule)),
        lines=lines,
        note=None if reasons or lines else _note(ledger, withheld),
        withheld=withheld,
    )


def _note(ledger: Sequence[Entry], withheld: Mapping[str, int]) -> str:
    """Return why there are no points."""
    if any(entry.paid for entry in ledger):
        return NOTHING_PAID
    all_withheld = ledger and len(ledger) == sum(withheld.values())
    return ALL_WITHHELD if all_withheld else NO_RULE_MATCHED


def as_of(
    lead: Lead, entries: Iterable[Entry], changes: Iterable[Change], instant: datetime
) -> tuple[Lead, list[Entry], list[Change]]:
    """Return the lead, its ledger and its changes, as far as they had arrived by an instant.

    The entries are those of what was part of the lead by then.
    """
    every = sorted(changes, key=lambda change: change.number)
    made = [change for change in every if change.at <= instant]
    arrived = [entry for entry in entries if entry.received_at <= instant]
    if len(made) < len(every):
        following, last = every[len(made)], made[-1] if made else None
        began = (change.seen_before for change in reversed(made) if change.seen_before is not None)
        lead = replace(
            lead,
            stage=following.from_stage,
            cycle=last.cycle if last else 1,
            changes=following.number - 1,
            stage_since=last.at if last else None,
            gate=last.gate if last else None,
            seen_before=next(began, {}),
        )
    return scoring.remember(lead, arrived), arrived, made


def trusted_share(reasons: Iterable[Reason]) -> float:
    """Return which share of the points now the public did not bring, 0 to 1; 0 without points."""
    gained = [(reason, max(reason.points_now, 0)) for reason in reasons]
    total = sum(points for _, points in gained)
    ours = sum(points for reason, points in gained if reason.trust is not Trust.PUBLIC)
    return round(ours / total, 3) if total else 0.0


def _reasons(
    ledger: Sequence[Entry],
    dimension: str,
    earned: float,
    who: Mapping[str, Any],
    model: Model,
    now: datetime,
) -> Iterator[Reason]:
    """Return what every payment in the dimension is worth now, together exactly `earned`."""
    paid = [
        (entry, payment, counter)
        for entry in ledger
        for payment in entry.paid
        if payment.earned
        and (counter := Counter.parse(payment.counter))
        and counter.dimension == dimension
    ]
    worths = [scoring.worth(counter, p.units, who, model, now) for _, p, counter in paid]
    shares = _shared(worths, Decimal(str(earned)))
    for (entry, payment, counter), share in zip(paid, shares, strict=True):
        yield Reason(
            rule=payment.rule,
            name=entry.name,
            dimension=dimension,
            earned=float(payment.earned),
            points=float(payment.points),
            points_now=float(share) + 0.0,
            taken=_taken(payment, counter, share, who, model),
            occurred_at=entry.occurred_at,
            trust=entry.trust,
        )


def _taken(
    payment: Payment, counter: Counter, share: Decimal, who: Mapping[str, Any], model: Model
) -> dict[str, float]:
    outside = counter.audience and not scoring.belongs(counter.audience, who, model)
    since = "audience" if outside else "decay"
    taken = {"limit": payment.earned - payment.points, since: payment.points - share}
    return {by: float(points) for by, points in taken.items() if points}


def _shared(worths: Sequence[Decimal], total: Decimal) -> list[Decimal]:
    """Round to thousandths so that the sum is the total: the largest remainders are rounded up."""
    floors = [worth.quantize(_THOUSANDTH, "ROUND_FLOOR") for worth in worths]
    missing = int((total - scoring.total(floors)) / _THOUSANDTH)
    by_remainder = sorted(range(len(worths)), key=lambda i: floors[i] - worths[i])
    for index in by_remainder[:missing]:
        floors[index] += _THOUSANDTH
    return floors


def _lines(card: Scorecard, who: Mapping[str, Any], model: Model) -> Iterator[Line]:
    """Return fit, rule by rule, and what caps and the floor of 0 change."""
    for rule in model.fit.rules:
        if matching.matches(rule.when, who):
            yield Line(of=FIT, by=rule.name, points=float(rule.points))
    for name, part in card.dimensions.items():
        cap = model.fit.cap if name == FIT else model.dimensions[name].cap
        if part.points != part.earned:
            by = f"cap {cap}" if part.points < part.earned else "never below 0"
            yield Line(of=name, by=by, points=_difference(part.points, part.earned))
    for name, score in model.all_scores.items():
        parts = (card.dimensions[d].points for d in score.dimensions if d in card.dimensions)
        uncapped = float(scoring.total(Decimal(str(points)) for points in parts))
        if uncapped != card.scores[name]:
            by = f"cap {score.cap}"
            yield Line(of=name, by=by, points=_difference(card.scores[name], uncapped))


def _difference(after: float, before: float) -> float:
    return float(Decimal(str(after)) - Decimal(str(before)))
