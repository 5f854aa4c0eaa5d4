"""Do the parts of a model fit together? Every name that one uses must be another's."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from leadscoring import matching
from leadscoring.criteria import ADJUSTMENT, BEYOND_MQL, FIT, MQL, Condition
from leadscoring.faults import Fault, Place, instead_of

if TYPE_CHECKING:
    from leadscoring.model import Model, Rule

# An interaction, its lead and the allowances of all rules that match it are one transaction.
_MOST_LIMITS = 98
_OF_A_MAILBOX = frozenset({"email.domain", "email.kind"})


def faults(model: "Model") -> Iterator[Fault]:
    """Return where the parts of the model do not fit together."""
    yield from _twice(model)
    if FIT in model.dimensions:
        message = "'fit' is a dimension of its own: it comes from traits"
        yield Fault(("dimensions", FIT), message)
    for index, rule in enumerate(model.rules):
        yield from (Fault(("rules", index, *p), said) for p, said in _rule_faults(rule, model))
    if sum(rule.limit is not None for rule in model.rules) > _MOST_LIMITS:
        yield Fault(("rules",), f"at most {_MOST_LIMITS} rules may have a limit")
    yield from _score_faults(model)
    yield from _stage_faults(model)
    for place, pattern in lead_patterns(model):
        yield from (Fault((*place, *p), said) for p, said in _pattern_faults(pattern, model))


def conditions(model: "Model") -> Iterator[tuple[Place, Condition]]:
    """Return the conditions of all stages, and their places."""
    for index, stage in enumerate(model.stages):
        for key, condition in stage.placed():
            yield ("stages", index, key), condition


def lead_patterns(model: "Model") -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """Return all patterns on what we know of a lead, and their places."""
    for name, pattern in model.audiences.items():
        yield ("audiences", name), pattern
    for index, rule in enumerate(model.fit.rules):
        yield ("fit", "rules", index, "when"), rule.when
    for index, gate in enumerate(model.fit.gates):
        yield ("fit", "gates", index, "when"), gate.when
    for place, condition in conditions(model):
        for within, part in condition.placed(place):
            if part.traits:
                yield (*within, "traits"), part.traits


def _twice(model: "Model") -> Iterator[Fault]:
    named: Iterable[tuple[str, Place, Iterable[Any]]] = (
        ("rule", ("rules",), model.rules),
        ("fit rule", ("fit", "rules"), model.fit.rules),
        ("gate", ("fit", "gates"), model.fit.gates),
        ("stage", ("stages",), model.stages),
        ("example", ("examples",), model.examples),
    )
    for kind, place, parts in named:
        seen: set[str] = set()
        for index, part in enumerate(parts):
            if part.name in seen:
                yield Fault((*place, index, "name"), f"two {kind}s are called {part.name!r}")
            seen.add(part.name)


def _rule_faults(rule: "Rule", model: "Model") -> Iterator[Fault]:
    if rule.name == ADJUSTMENT:
        yield Fault(("name",), f"{ADJUSTMENT!r} is what points given by hand are called")
    if rule.dimension not in model.dimensions:
        yield _unknown(("dimension",), "dimension", rule.dimension, model.dimensions)
    elif model.dimensions[rule.dimension].expires_months and rule.least < 0:
        # A score would rise by itself on the day when the penalty ends.
        place: Place = ("points_from", "min") if rule.points_from else ("points",)
        yield Fault(place, "no points can be taken away where points expire")
    if rule.audience and rule.audience not in model.audiences:
        yield _unknown(("audience",), "audience", rule.audience, model.audiences)
    for form in rule.form:
        if form not in model.forms:
            yield _unknown(("form",), "form", form, model.forms)
    for other in rule.besides:
        if other not in model.rule or other == rule.name:
            yield _unknown(("besides",), "other rule", other, {*model.rule} - {rule.name})


def _score_faults(model: "Model") -> Iterator[Fault]:
    dimensions = {*model.dimensions, FIT}
    for name, score in model.scores.items():
        if name in dimensions:
            message = f"{name!r} is a dimension: a score has a name of its own"
            yield Fault(("scores", name), message)
        for dimension in score.dimensions:
            if dimension not in dimensions:
                place = ("scores", name, "dimensions")
                yield _unknown(place, "dimension", dimension, dimensions)
    if len(model.scores) > 1 and sum(score.decides for score in model.scores.values()) != 1:
        yield Fault(("scores",), "of several scores, one says `decides = true`")
    for (letter, bar), (worse, lower) in pairwise(sorted(model.grades.items())):
        if lower >= bar:
            message = f"a grade takes fewer fit points than the one before it: {letter} takes {bar}"
            yield Fault(("grades", worse), message)
    measured = dimensions | set(model.all_scores)
    if model.matrix and model.matrix.of not in measured:
        yield _unknown(("matrix", "of"), "dimension or score", model.matrix.of, measured)


def _stage_faults(model: "Model") -> Iterator[Fault]:
    if not model.stages or model.stages[-1].name != MQL:
        place: Place = ("stages", len(model.stages) - 1, "name") if model.stages else ("stages",)
        yield Fault(place, f"the last stage must be {MQL!r}")
    for key, _ in model.stages[0].placed() if model.stages else ():
        message = f"the first stage has no `{key}`: whoever is captured stands there"
        yield Fault(("stages", 0, key), message)
    for index, stage in enumerate(model.stages):
        if stage.name in BEYOND_MQL:
            message = f"{stage.name!r} lies beyond {MQL!r}: no condition leads there"
            yield Fault(("stages", index, "name"), message)
    for index, stage in enumerate(model.stages[1:], 1):
        if stage.enter is None:
            yield Fault(("stages", index), f"stage {stage.name!r} says nothing under `enter`")
    for place, condition in conditions(model):
        for within, part in condition.placed(place):
            yield from _condition_faults(within, part, model)


def _condition_faults(place: Place, part: Condition, model: "Model") -> Iterator[Fault]:
    dimensions = {*model.dimensions, FIT}
    for keys, kind, names, known in (
        (("seen",), "rule", part.seen, model.rule),
        (("scores",), "score", part.scores, model.all_scores),
        (("dimensions",), "dimension", part.dimensions, dimensions),
        (("below", "scores"), "score", part.below.scores if part.below else {}, model.all_scores),
        (
            ("below", "dimensions"),
            "dimension",
            part.below.dimensions if part.below else {},
            dimensions,
        ),
    ):
        for name in names:
            if name not in known:
                yield _unknown((*place, *keys, name), kind, name, known)
    for grade in part.grade:
        if grade not in {*model.grades, "F"} or not model.grades:
            yield _unknown((*place, "grade"), "grade", grade, model.grades)
    if part.matrix and not model.matrix:
        yield Fault((*place, "matrix"), "the model has no `matrix`")


def _pattern_faults(pattern: Mapping[str, Any], model: "Model") -> Iterator[Fault]:
    """Refuse what no lead has: a pattern on it would hold for nobody."""
    for place, path in matching.placed(pattern):
        name, known = ".".join(path), _OF_A_MAILBOX | model.traits
        if name not in known:
            yield Fault(place, f"{name!r} is not one of `traits`{instead_of(name, known)}")
        elif any("." in step for step in path):
            yield Fault(place, f"{name} is written without quotes: it is a table in a table")


def _unknown(place: Place, kind: str, name: str, known: Iterable[str]) -> Fault:
    return Fault(place, f"there is no {kind} {name!r}{instead_of(name, known)}")
