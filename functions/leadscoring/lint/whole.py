"""What there is to say about dimensions, fit, scores and forms: what is not used, never reached."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import combinations
from typing import Any

from leadscoring import matching
from leadscoring.coherence import conditions, lead_patterns
from leadscoring.faults import Place
from leadscoring.lint import entailment
from leadscoring.lint.reach import Most, Reach
from leadscoring.lint.remarks import Remark, error, shown, warning
from leadscoring.mailbox import KINDS
from leadscoring.model import FIT, Model


def remarks(model: Model, reach: Reach) -> Iterator[Remark]:
    """Return what there is to say about the parts that rules pay into and stages look at."""
    for place, pattern in lead_patterns(model):
        for severity, within, message in _pattern_amiss(pattern):
            yield Remark(severity, (*place, *within), message)
    yield from _unused(model)
    yield from _caps_never_reached(model, reach)
    yield from _fit_amiss(model)
    yield from _grades_never_reached(model, reach)
    for name, score in model.scores.items():
        if len(set(score.dimensions)) < len(score.dimensions):
            message = "a dimension stands here twice, and would count twice"
            yield error(("scores", name, "dimensions"), message)


def too_high(place: Place, bar: Decimal, most: Most, what: str) -> Iterator[Remark]:
    """Say that a bar is too high for anybody, if it is."""
    if bar > most.by_caps:
        yield error(place, f"nobody can reach {bar}: {what} has {shown(most.by_caps)} at most")
    elif bar > most.by_rules:
        message = f"no rules bring a lead to {bar}: {what} comes to {shown(most.by_rules)} at most"
        yield warning(place, message)


def _pattern_amiss(pattern: matching.Pattern) -> Iterator[Remark]:
    if found := entailment.contradiction(pattern):
        yield error(found.place, "nobody is this and all else that is asked: it never holds")
    for place, path in matching.placed(pattern):
        if path[0] != "email":
            continue
        for word in matching.at(pattern, place):
            if path[1] == "kind" and not _is_about(word, KINDS):
                yield error(
                    place, f"no address is of the kind {word!r}: kinds are {', '.join(KINDS)}"
                )
            text = next(iter(word.values())) if isinstance(word, dict) else word
            if path[1] == "domain" and isinstance(text, str) and not _could_be_domain(text):
                yield warning(place, f"a domain has small letters and no '@', unlike {text!r}")


def _is_about(word: Any, known: tuple[str, ...]) -> bool:
    absent = word == {"exists": False}
    return absent or any(matching.word_matches(word, value) for value in known)


def _could_be_domain(text: str) -> bool:
    return text.isascii() and text == text.lower() and "@" not in text


def _unused(model: Model) -> Iterator[Remark]:
    for name in model.audiences:
        if all(rule.audience != name for rule in model.rules):
            yield warning(("audiences", name), f"no rule is for the audience {name!r}")
    looked_at = {name for score in model.all_scores.values() for name in score.dimensions}
    looked_at |= {model.matrix.of, FIT} if model.matrix else set()
    looked_at |= {FIT} if model.grades else set()
    for _, condition in conditions(model):
        for part in condition.parts():
            looked_at |= {*part.dimensions, *(part.below.dimensions if part.below else ())}
    for name in model.dimensions:
        if all(rule.dimension != name for rule in model.rules):
            yield warning(
                ("dimensions", name), "no rule pays into it: only points given by hand do"
            )
        if name not in looked_at:
            yield warning(("dimensions", name), "it counts for nothing: no score, no stage has it")
    if model.fit.rules and FIT not in looked_at:
        yield warning(("fit",), "it counts for nothing: no score, grade, matrix or stage has it")
    for name, form in model.forms.items():
        sent = {"properties": {"form": [name]}}
        if not any(
            (form.name in rule.names or name in rule.form)
            and not entailment.excludes(rule.pattern, sent)
            for rule in model.rules
        ):
            message = f"no rule pays for what the form sends: it is called {form.name!r}"
            yield warning(("forms", name), message)


def _caps_never_reached(model: Model, reach: Reach) -> Iterator[Remark]:
    for name, dimension in model.dimensions.items():
        paid = reach.paid(name)
        if dimension.cap is not None and 0 < paid < dimension.cap:
            message = f"the cap is never reached: all rules together come to {shown(paid)} at most"
            yield warning(("dimensions", name, "cap"), message)
    given = reach.fit
    if model.fit.cap is not None and given < model.fit.cap:
        message = f"the cap is never reached: fit comes to {shown(given)} at most"
        yield warning(("fit", "cap"), message)
    for name, score in model.scores.items():
        summed = reach.uncapped(name)
        if score.cap is not None and summed < score.cap:
            message = f"the cap is never reached: its dimensions come to {shown(summed)} at most"
            yield warning(("scores", name, "cap"), message)


def _fit_amiss(model: Model) -> Iterator[Remark]:
    for index, rule in enumerate(model.fit.rules):
        if not rule.points:
            yield warning(("fit", "rules", index, "points"), "the rule gives no points")
    for (_, rule), (index, other) in combinations(enumerate(model.fit.rules), 2):
        if entailment.follows(rule.when, other.when) and entailment.follows(other.when, rule.when):
            message = f"it asks the same as {rule.name!r}: both give points to the same leads"
            yield warning(("fit", "rules", index, "name"), message)
    for (_, gate), (index, later) in combinations(enumerate(model.fit.gates), 2):
        if entailment.follows(later.when, gate.when):
            message = f"whoever it shuts out, {gate.name!r} has shut out before"
            yield warning(("fit", "gates", index, "name"), message)


def _grades_never_reached(model: Model, reach: Reach) -> Iterator[Remark]:
    fit = reach.dimensions[FIT]
    for letter, bar in model.grades.items():
        yield from too_high(("grades", letter), bar, fit, FIT)
    if matrix := model.matrix:
        for row, bar in matrix.fit.items():
            yield from too_high(("matrix", "fit", row), bar, fit, FIT)
        for column, bar in matrix.engagement.items():
            place = ("matrix", "engagement", column)
            yield from too_high(place, bar, reach.of_matrix(matrix), matrix.of)
