"""A company's own tests of its criteria: the examples that stand beside the rules in the model."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from leadscoring import lifecycle, scoring
from leadscoring.interaction import Interaction, Trust, normalise_email, to_millisecond
from leadscoring.lead import Entry, Lead, Scorecard
from leadscoring.limits import Tally
from leadscoring.model import Act, Example, Model


def play(example: Example, model: Model) -> tuple[Lead, Scorecard, list[Decimal]]:
    """Let the example happen; return the lead, its scorecard then, and what each act was paid.

    The lead is judged after every act and once more at the end, as the stream would have it.
    """
    at = to_millisecond(example.at if example.at.tzinfo else example.at.replace(tzinfo=UTC))
    acts = sorted(enumerate(example.interactions), key=lambda act: (-act[1].days_before, act[0]))
    email = normalise_email(example.email) if example.email else None
    lead = Lead(id="example", stage=model.first_stage, email=email)
    paid = [Decimal(0)] * len(acts)
    tally, entries = Tally(model), list(_introduction(example, at, model))
    for index, act in acts:
        then = at - timedelta(days=float(act.days_before))
        for turn in range(act.times):
            interaction = _interaction(f"{index}-{turn}", act, then)
            entry = tally.cut(scoring.enter(interaction, model))
            paid[index] += scoring.total(payment.points for payment in entry.paid)
            entries.append(entry)
            lead = _judged(scoring.remember(lead, entries), then, model)
    lead = _judged(scoring.remember(lead, entries), at, model)
    return lead, scoring.scorecard(lead, model, at), paid


def failures(example: Example, model: Model) -> Iterator[str]:
    """Return in plain words each thing that came out otherwise than the example expects."""
    lead, card, paid = play(example, model)
    expect = example.expect
    for act, pay in zip(example.interactions, paid, strict=True):
        if act.points is not None and act.points != pay:
            yield f"{act.name} pays {pay.normalize():f} points, not {act.points}"
    measured = [
        ("score", card.score, expect.score),
        *((name, card.scores.get(name), bar) for name, bar in expect.scores.items()),
        *(
            (name, part.points if (part := card.dimensions.get(name)) else None, bar)
            for name, bar in expect.dimensions.items()
        ),
    ]
    for name, points, expected in measured:
        if expected is not None and (points is None or Decimal(str(points)) != expected):
            yield f"{name} is {points}, not {expected}"
    for name, is_now, wanted in (
        ("stage", lead.stage, expect.stage),
        ("grade", card.grade, expect.grade),
        ("matrix", card.matrix, expect.matrix),
        ("gate", card.gate, expect.gate),
    ):
        if wanted is not None and is_now != wanted:
            yield f"{name} is {is_now}, not {wanted}"


def _introduction(example: Example, at: datetime, model: Model) -> Iterator[Entry]:
    """Return what tells the example's traits, long before anything happens."""
    if example.traits:
        act = Act(name="Identified", traits=example.traits, trusted=True)
        told_at = at - timedelta(days=model.retention_days)
        entry = scoring.enter(_interaction("traits", act, told_at), model)
        yield replace(entry, paid=())


def _interaction(message_id: str, act: Act, at: datetime) -> Interaction:
    then = to_millisecond(at)
    return Interaction(
        message_id=message_id,
        identity=None,
        name=act.name,
        occurred_at=then,
        received_at=then,
        trust=Trust.TRUSTED if act.trusted else Trust.PUBLIC,
        fingerprint="",
        properties=act.properties,
        traits=dict(_named(act.traits)),
        context=act.context,
    )


def _named(traits: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Return the traits by their names: TOML reads `group.employees` as a table in a table."""
    for name, value in traits.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{below}", part) for below, part in _named(value))
        else:
            yield name, value


def _judged(lead: Lead, now: datetime, model: Model) -> Lead:
    while change := lifecycle.decide(lead, scoring.scorecard(lead, model, now), model):
        lead = lifecycle.moved(lead, change)
    return lead
