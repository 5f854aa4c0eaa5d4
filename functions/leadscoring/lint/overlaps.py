"""Rules that pay for one act: pairs of which one matches all that the other does."""

from collections.abc import Iterator
from itertools import permutations

from leadscoring.lint import entailment
from leadscoring.lint.remarks import Remark, warning
from leadscoring.lint.rules import names, never_matches
from leadscoring.model import Model, Rule


def remarks(model: Model) -> Iterator[Remark]:
    """Return what there is to say about rules that pay into one dimension for the same act."""
    alive = [(index, rule) for index, rule in enumerate(model.rules) if not never_matches(rule)]
    for (index, rule), (other_index, other) in permutations(alive, 2):
        if not _covers(other, rule, model):
            continue
        if index < other_index and _covers(rule, other, model):
            continue  # They match the same, and the later one is too much.
        if _is_shadowed(rule, other, model):
            until = ", until that fades" if model.dimensions[rule.dimension].half_life_days else ""
            message = (
                f"it adds nothing: for the same acts {other.name!r} alone fills the cap{until}"
            )
            yield warning(("rules", index, "name"), message)
        elif not _both_are_meant(rule, other):
            message = (
                f"whatever it pays for, {other.name!r} pays for too;"
                f' if both are meant, say `besides = "{other.name}"`'
            )
            yield warning(("rules", index, "name"), message)
    for index, rule in enumerate(model.rules):
        for name in rule.besides:
            if not _can_meet(rule, model.rule[name], model):
                message = f"it has no effect: {name!r} pays for no act that this rule pays for"
                yield warning(("rules", index, "besides"), message)


def _both_are_meant(rule: Rule, other: Rule) -> bool:
    """Tell whether the model says so, or one takes back some of what the other gives."""
    said = other.name in rule.besides or rule.name in other.besides
    return said or rule.most * other.most <= 0


def _covers(broad: Rule, narrow: Rule, model: Model) -> bool:
    """Tell whether the one pays, into the same dimension, for all that the other pays for."""
    return (
        narrow.dimension == broad.dimension
        and names(narrow, model) <= names(broad, model)
        and (narrow.trusted or not broad.trusted)
        and _active_with(broad, narrow)
        and _belongs_with(broad, narrow, model)
        and entailment.follows(narrow.pattern, broad.pattern)
    )


def _active_with(broad: Rule, narrow: Rule) -> bool:
    """Tell whether the one is active whenever the other is."""
    begins, ends = broad.active_from, broad.until
    return bool(
        (begins is None or (narrow.active_from and narrow.active_from >= begins))
        and (ends is None or (narrow.until and narrow.until <= ends))
    )


def _belongs_with(broad: Rule, narrow: Rule, model: Model) -> bool:
    """Tell whether the one counts for every lead for whom the other counts."""
    if broad.audience is None or broad.audience == narrow.audience:
        return True
    return narrow.audience is not None and entailment.follows(
        model.audiences[narrow.audience], model.audiences[broad.audience]
    )


def _is_shadowed(rule: Rule, other: Rule, model: Model) -> bool:
    """Tell whether the other one, each time it pays, leaves nothing below the cap to be paid."""
    dimension = model.dimensions[rule.dimension]
    same_number = other.points_from is None or (
        rule.points_from and rule.points_from.property == other.points_from.property
    )
    if dimension.cap is None or rule.most <= 0 or not same_number or other.least < dimension.cap:
        return False
    if other.limit is None:
        return True
    # What it has paid once stays, even when its limit is reached.
    full = other.limit.points is None or other.limit.points >= dimension.cap
    return full and not dimension.half_life_days and not dimension.expires_months


def _can_meet(rule: Rule, other: Rule, model: Model) -> bool:
    """Tell whether one act might be paid for by both, into the same dimension."""
    return (
        rule.dimension == other.dimension
        and not names(rule, model).isdisjoint(names(other, model))
        and not entailment.excludes(rule.pattern, other.pattern)
    )
