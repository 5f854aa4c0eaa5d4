"""What there is to say about the examples: words in them that the model does not know."""

from collections.abc import Iterator, Mapping
from typing import Any

from leadscoring.criteria import BEYOND_MQL
from leadscoring.faults import Place, instead_of
from leadscoring.lint.remarks import Remark, error, warning
from leadscoring.lint.rules import names
from leadscoring.model import FIT, Act, Expected, Model


def remarks(model: Model) -> Iterator[Remark]:
    """Return what the examples say that can't be so."""
    paid_for = {name for rule in model.rules for name in names(rule, model)}
    for index, example in enumerate(model.examples):
        place: Place = ("examples", index)
        yield from _traits_amiss((*place, "traits"), example.traits, model)
        for number, act in enumerate(example.interactions):
            within = (*place, "interactions", number)
            yield from _traits_amiss((*within, "traits"), act.traits, model)
            if act.name not in paid_for and not _earns_nothing(act, model):
                message = f"no rule pays for {act.name!r}{instead_of(act.name, paid_for)}"
                yield warning((*within, "name"), message)
        yield from _expectations_amiss((*place, "expect"), example.expect, model)


def _earns_nothing(act: Act, model: Model) -> bool:
    """Tell whether it is meant to earn nothing, or is a form's, whatever it is called."""
    return act.points == 0 or bool(act.traits) or act.properties.get("form") in model.forms


def _traits_amiss(place: Place, traits: Mapping[str, Any], model: Model) -> Iterator[Remark]:
    for path in _paths(traits):
        name = ".".join(path)
        if name not in model.known_traits:
            message = f"the lead keeps no trait {name!r}{instead_of(name, model.known_traits)}"
            yield warning((*place, *path), message)


def _paths(table: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, value in table.items():
        below = _paths(value) if isinstance(value, Mapping) else [()]
        yield from ((name, *path) for path in below)


def _expectations_amiss(place: Place, expected: Expected, model: Model) -> Iterator[Remark]:
    stages = {stage.name for stage in model.stages} | BEYOND_MQL
    dimensions = {*model.dimensions} | ({FIT} if model.fit.rules else set())
    gates = {gate.name for gate in model.fit.gates}
    grades = {*model.grades, "F"} if model.grades else set()
    for key, named, known in (
        ("stage", [expected.stage], stages),
        ("gate", [expected.gate], gates),
        ("grade", [expected.grade], grades),
        ("scores", expected.scores, set(model.all_scores)),
        ("dimensions", expected.dimensions, dimensions),
    ):
        for name in named:
            if name is not None and name not in known:
                of = (key, name) if key in ("scores", "dimensions") else (key,)
                message = f"there is no {key.removesuffix('s')} {name!r}{instead_of(name, known)}"
                yield error((*place, *of), message)
    if expected.matrix and not model.matrix:
        yield error((*place, "matrix"), "the model has no `matrix`")
