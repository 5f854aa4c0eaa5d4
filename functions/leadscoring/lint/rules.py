"""What there is to say about each rule: does it ever match, and does its limit do anything?"""

from collections.abc import Iterator, Mapping
from typing import Any

from leadscoring import matching
from leadscoring.faults import Place, instead_of
from leadscoring.lint import entailment
from leadscoring.lint.reach import most_per_window
from leadscoring.lint.remarks import Remark, error, shown, warning
from leadscoring.model import PAGE_VIEWED, Limit, Model, Rule

IDENTIFIED, GROUPED = "Identified", "Grouped"

_PATH = ("properties", "path")
_ANY_NUMBER = {"numeric": [">=", float("-inf")]}


def remarks(model: Model) -> Iterator[Remark]:
    """Return what there is to say about the rules, each for itself."""
    spelt = _spellings(model)
    for index, rule in enumerate(model.rules):
        place = ("rules", index)
        for severity, within, message in _remarks(rule, model, spelt):
            yield Remark(severity, (*place, *within), message)


def names(rule: Rule, model: Model) -> frozenset[str]:
    """Return what the interactions are called that a rule is for; a form's have its name."""
    return frozenset(rule.names or (model.forms[form].name for form in rule.form))


def never_matches(rule: Rule) -> Remark | None:
    """Return why no interaction can match the rule, if that is so."""
    found = entailment.contradiction(rule.pattern)
    if found is None:
        return None
    place = _written(rule, found.place)
    if found.for_lists_too:
        return error(place, "no interaction matches this: the rule never pays")
    message = "no single value is this and all else that is asked of it: only a list could be"
    return warning(place, message)


def _remarks(rule: Rule, model: Model, spelt: Mapping[str, str]) -> Iterator[Remark]:
    if never := never_matches(rule):
        yield never
    yield from _unknown_traits(rule, model)
    yield from _names_amiss(rule, model, spelt)
    yield from _paths_amiss(rule)
    yield from _pay_amiss(rule, model)
    if rule.limit:
        yield from _limit_amiss(rule, rule.limit, model)


def _written(rule: Rule, place: Place) -> Place:
    """Return where in the rule stands what stands at this place in its pattern."""
    if place[0] == "all" and "all" in rule.pattern and (rule.form or rule.page) and rule.when:
        number, place = place[1], place[2:]
        if number == 0:
            return ("when", *place)
    elif rule.when:
        return ("when", *place)
    return ("form",) if place[-1] == "form" else ("page",)


def _unknown_traits(rule: Rule, model: Model) -> Iterator[Remark]:
    for place, path in matching.placed(rule.when):
        name = ".".join(path[1:])
        if path[0] != "traits":
            continue
        if name not in model.known_traits:
            message = f"{name!r} is not one of `traits`{instead_of(name, model.known_traits)}"
            yield error(("when", *place), message)
        elif any("." in step for step in path):
            message = f"traits.{name} is written without quotes: it is a table in a table"
            yield error(("when", *place), message)


def _spellings(model: Model) -> dict[str, str]:
    """Return how each name was first spelt, by its letters and digits alone."""
    said = [PAGE_VIEWED, IDENTIFIED, GROUPED, *(form.name for form in model.forms.values())]
    said += [name for rule in model.rules for name in rule.on]
    return {_letters(name): name for name in reversed(said)}


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _names_amiss(rule: Rule, model: Model, spelt: Mapping[str, str]) -> Iterator[Remark]:
    for name in rule.on:
        if (first := spelt[_letters(name)]) != name:
            yield warning(("on",), f"{name!r} is spelt {first!r} elsewhere: they are not the same")
    sent = {model.forms[form].name for form in rule.form}
    if sent and rule.names and sent.isdisjoint(rule.names):
        message = f"the form sends {min(sent)!r}, and the rule is on {rule.names[0]!r} only"
        yield warning(("form",), message)


def _paths_amiss(rule: Rule) -> Iterator[Remark]:
    if rule.names != (PAGE_VIEWED,):
        return
    asked: list[tuple[Place, Any]] = [
        (("page", number), word) for number, word in enumerate(rule.page)
    ]
    for place, path in matching.placed(rule.when):
        if path == _PATH:
            asked += [(("when", *place), word) for word in matching.at(rule.when, place)]
    for place, word in asked:
        text = word.get("prefix", "/") if isinstance(word, dict) else word
        if not isinstance(text, str) or (text and not text.startswith("/")):
            yield warning(place, f"the path of a page begins with '/', and {text!r} does not")
        elif "?" in text or "#" in text:
            yield warning(place, f"the path of a page ends before '?' and '#': {text!r} has one")


def _pay_amiss(rule: Rule, model: Model) -> Iterator[Remark]:
    source = rule.points_from
    if rule.most == rule.least == 0 and rule.name not in model.counted_rules:
        place = ("points_from",) if source else ("points",)
        yield warning(place, "the rule pays nothing, and no stage counts how often it was seen")
    if source is None:
        return
    if not source.factor:
        message = f"by factor 0 it pays the same whatever {source.property!r} is: write `points`"
        yield warning(("points_from", "factor"), message)
    number: Any = [_ANY_NUMBER]
    for name in reversed(("properties", *source.property.split("."))):
        number = {name: number}
    if not never_matches(rule) and entailment.excludes(rule.pattern, number):
        message = f"where the rule matches, {source.property!r} is no number: it never pays"
        yield error(("points_from", "property"), message)


def _limit_amiss(rule: Rule, limit: Limit, model: Model) -> Iterator[Remark]:
    place = ("limit",)
    if rule.most == rule.least == 0:
        yield warning(place, "the rule pays nothing: there is nothing to limit")
        return
    if limit.by:
        pinned = entailment.values(rule.pattern, ("properties", *limit.by.split(".")))
        if pinned and len(pinned) == 1:
            message = f"`by` has no effect: {limit.by!r} is always {min(pinned)!r} here"
            yield warning((*place, "by"), message)
    least = min(abs(rule.least), abs(rule.most))
    if limit.points is not None and limit.points < least and rule.least * rule.most > 0:
        message = f"the rule never pays its {shown(least)} points: the limit allows {limit.points}"
        yield warning((*place, "points"), message)
    yield from _limit_above_cap(rule, limit, model)


def _limit_above_cap(rule: Rule, limit: Limit, model: Model) -> Iterator[Remark]:
    """Look whether the dimension's cap holds back all that the limit would."""
    dimension = model.dimensions[rule.dimension]
    if dimension.cap is None or most_per_window(rule, limit) < dimension.cap or rule.most <= 0:
        return
    taken = any(other.least < 0 for other in model.rules if other.dimension == rule.dimension)
    place = ("limit", "points" if limit.points is not None else "times")
    if dimension.half_life_days and limit.points is not None:
        message = (
            f"the cap of {dimension.cap} binds first: the limit only shortens how long it does"
        )
        yield warning(place, message)
    ends_together = not dimension.expires_months or limit.per in ("hour", "day", "month")
    if not dimension.half_life_days and ends_together and not taken:
        message = f"the limit has no effect: the cap of {dimension.cap} binds first"
        yield warning(place, message)
