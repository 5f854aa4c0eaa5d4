"""What an interaction pays, and what a lead is worth at an instant."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal

from leadscoring import matching
from leadscoring.decay import Counter
from leadscoring.interaction import Interaction, Trust
from leadscoring.lead import DimensionScore, Entry, Lead, Payment, Reason, Scorecard
from leadscoring.model import Dimension, Model, Rule

_DISPLAYED = Decimal("0.001")


def pay(interaction: Interaction, model: Model) -> tuple[Payment, ...]:
    """Return what each rule that the interaction matches pays for it."""
    payments = []
    for rule in model.rules:
        if _applies(rule, interaction):
            half_life = model.dimensions[rule.dimension].half_life_days
            counter = Counter.earning(rule.dimension, half_life, interaction.occurred_at)
            units = counter.units(rule.points, interaction.occurred_at)
            payments.append(Payment(rule.name, rule.points, counter.name, units))
    return tuple(payments)


def enter(interaction: Interaction, model: Model) -> Entry:
    """Return the ledger entry of the interaction, paid by this model."""
    return Entry(
        message_id=interaction.message_id,
        trust=interaction.trust,
        name=interaction.name,
        occurred_at=interaction.occurred_at,
        received_at=interaction.received_at,
        fingerprint=interaction.fingerprint,
        model=model.number,
        paid=pay(interaction, model),
        properties={
            key: value for key, value in interaction.properties.items() if key in model.properties
        },
    )


def scorecard(lead: Lead, model: Model, now: datetime) -> Scorecard:
    """Return the lead's score at `now`: each dimension from 0 to its cap, then their sum.

    What is shown is what is decided on: points are rounded to three decimals here, once.
    """
    earned = dict.fromkeys(model.dimensions, Decimal(0))
    for name, units in lead.units.items():
        counter = Counter.parse(name)
        if counter and counter.dimension in earned:
            earned[counter.dimension] += counter.points(units, now)
    points = {name: _clamp(earned[name], part) for name, part in model.dimensions.items()}
    return Scorecard(
        score=_displayed(sum(points.values(), Decimal(0))),
        dimensions={
            name: DimensionScore(_displayed(earned[name]), _displayed(points[name]))
            for name in model.dimensions
        },
        model=model.number,
        at=now,
    )


def reasons(entries: Iterable[Entry], now: datetime) -> list[Reason]:
    """Return what every interaction paid, the most points now first."""
    return sorted(_reasons(entries, now), key=lambda r: (-r.points_now, r.occurred_at, r.rule))


def trusted_share(given: Iterable[Reason]) -> float:
    """Return which share of the points now came from servers, from 0 to 1; 0 without points."""
    points = dict.fromkeys(Trust, 0.0)
    for reason in given:
        points[reason.trust] += max(reason.points_now, 0)
    total = sum(points.values())
    return round(points[Trust.TRUSTED] / total, 3) if total else 0.0


def _applies(rule: Rule, interaction: Interaction) -> bool:
    if interaction.name not in rule.on:
        return False
    if rule.trusted and interaction.trust is not Trust.TRUSTED:
        return False
    return matching.matches(
        rule.when,
        {
            "properties": interaction.properties,
            "traits": interaction.traits,
            "context": interaction.context,
        },
    )


def _reasons(entries: Iterable[Entry], now: datetime) -> Iterator[Reason]:
    for entry in entries:
        for payment in entry.paid:
            counter = Counter.parse(payment.counter)
            if counter and payment.points:
                yield Reason(
                    rule=payment.rule,
                    name=entry.name,
                    dimension=counter.dimension,
                    points=float(payment.points),
                    points_now=_displayed(counter.points(payment.units, now)),
                    occurred_at=entry.occurred_at,
                    trust=entry.trust,
                )


def _clamp(points: Decimal, dimension: Dimension) -> Decimal:
    capped = points if dimension.cap is None else min(points, dimension.cap)
    return max(capped, Decimal(0))


def _displayed(points: Decimal) -> float:
    return float(points.quantize(_DISPLAYED)) + 0.0
