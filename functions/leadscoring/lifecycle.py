"""The stage machine: where a lead should stand, and why."""

from collections.abc import Iterator
from decimal import Decimal

from leadscoring.lead import Change, Lead, Scorecard
from leadscoring.model import MQL, Condition, Model

BEYOND_MQL = frozenset({"sql", "customer", "recycled", "disqualified"})


def decide(lead: Lead, card: Scorecard, model: Model) -> Change | None:
    """Return the change to the highest stage whose bar the lead meets, or None if it stays.

    The level decides, not the step that reached it, so the next look heals a missed one. Only a
    lead with an e-mail enters `mql`: nobody could call another.
    """
    if lead.stage is None or lead.stage in BEYOND_MQL:
        return None
    names = [stage.name for stage in model.stages]
    # A stage that the model no longer knows holds nobody back: its leads climb from the first.
    standing = names.index(lead.stage) if lead.stage in names else 0
    for stage in reversed(model.stages[standing + 1 :]):
        why = stage.enter and _why(stage.enter, lead, card)
        if why and (stage.name != MQL or lead.email):
            return Change(
                lead_id=lead.id,
                number=lead.changes + 1,
                cycle=lead.cycle,
                from_stage=lead.stage,
                to_stage=stage.name,
                why=why,
                who=f"model {model.number}",
                at=card.at,
            )
    return None


def _why(condition: Condition, lead: Lead, card: Scorecard) -> str | None:
    """Return in words why the condition holds, or None where it does not."""
    because = list(_answers(condition, lead, card))
    return None if None in because else " and ".join(map(str, because))


def _answers(condition: Condition, lead: Lead, card: Scorecard) -> Iterator[str | None]:
    if (bar := condition.score) is not None:
        yield f"score {card.score:g} reached {bar}" if Decimal(str(card.score)) >= bar else None
    for rule, times in condition.seen.items():
        seen = lead.seen.get(rule, 0)
        yield f"{rule} seen {seen} of {times}" if seen >= times else None
    if condition.any_of:
        found = (_why(part, lead, card) for part in condition.any_of)
        yield next((why for why in found if why), None)
    for part in condition.all_of:
        yield _why(part, lead, card)
    if condition.none_of:
        yield None if _why(condition.none_of, lead, card) else "nothing against it"
