"""The ways to fulfil a stage's condition: what each of them asks of a lead."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import reduce
from itertools import product
from math import prod
from operator import add
from typing import Any

from leadscoring.criteria import Bars, Condition
from leadscoring.faults import Place
from leadscoring.lint import entailment
from leadscoring.model import Model

type Measure = tuple[str, str]
"""What is measured: ("scores", its name), or ("dimensions", its name)."""

_WAYS_MAX = 256


@dataclass(frozen=True, slots=True)
class Way:
    """One way to fulfil a condition: bars to reach, bars to stay below, and all else it asks.

    Grades and cells are None where any will do.
    """

    reached: Mapping[Measure, Decimal] = field(default_factory=dict)
    below: Mapping[Measure, Decimal] = field(default_factory=dict)
    grades: frozenset[str] | None = None
    cells: frozenset[str] | None = None
    seen: Mapping[str, int] = field(default_factory=dict)
    traits: tuple[Mapping[str, Any], ...] = ()
    consents: frozenset[bool | None] = frozenset()
    nots: tuple[Condition, ...] = ()

    def __add__(self, other: "Way") -> "Way":
        """Return the way that asks all that either of the two asks."""
        return Way(
            reached=_joined(self.reached, other.reached, max),
            below=_joined(self.below, other.below, min),
            grades=_common(self.grades, other.grades),
            cells=_common(self.cells, other.cells),
            seen=_joined(self.seen, other.seen, max),
            traits=self.traits + other.traits,
            consents=self.consents | other.consents,
            nots=self.nots + other.nots,
        )

    @property
    def is_impossible(self) -> bool:
        """Tell whether no lead can be all that it asks."""
        return (
            any(bar >= self.below[measure] for measure, bar in self._both_bars())
            or frozenset() in (self.grades, self.cells)
            or len(self.consents) > 1
            or entailment.contradiction({"all": list(self.traits)}) is not None
        )

    def meets(self, condition: Condition, model: Model) -> bool:
        """Tell whether a lead that is so is sure to fulfil the condition."""
        asked = way_of(condition, model)
        return (
            all(self.reached.get(measure, 0) >= bar for measure, bar in asked.reached.items())
            and all(
                measure in self.below and self.below[measure] <= bar
                for measure, bar in asked.below.items()
            )
            and _is_within(self.grades, asked.grades)
            and _is_within(self.cells, asked.cells)
            and all(self.seen.get(rule, 0) >= times for rule, times in asked.seen.items())
            and all(
                entailment.follows({"all": list(self.traits)}, pattern) for pattern in asked.traits
            )
            and asked.consents <= self.consents
            and all(condition in self.nots for condition in asked.nots)
            and all(self.meets(part, model) for part in condition.all_of)
            and (not condition.any_of or any(self.meets(p, model) for p in condition.any_of))
        )

    def _both_bars(self) -> Iterator[tuple[Measure, Decimal]]:
        return ((measure, bar) for measure, bar in self.reached.items() if measure in self.below)


def way_of(condition: Condition, model: Model) -> Way:
    """Return what a condition asks itself, without those that stand in it."""
    below = condition.below
    return Way(
        reached={measure: bar for _, measure, bar in bars(condition, model)},
        below={measure: bar for _, measure, bar in bars(below, model)} if below else {},
        grades=frozenset(condition.grade) or None,
        cells=frozenset(condition.matrix) or None,
        seen=condition.seen,
        traits=(condition.traits,) if condition.traits else (),
        consents=frozenset({condition.consent}) - {None},
        nots=(condition.none_of,) if condition.none_of else (),
    )


def conjunction(condition: Condition, model: Model) -> Way:
    """Return what a condition asks itself and by `all`, without what stands in `any`."""
    return reduce(
        add, (conjunction(part, model) for part in condition.all_of), way_of(condition, model)
    )


def ways(condition: Condition, model: Model) -> list[Way]:
    """Return all ways to fulfil a condition.

    Raises:
        TooMany: there are more than anybody should look at.
    """
    factors = [[way_of(condition, model)], *(ways(part, model) for part in condition.all_of)]
    if condition.any_of:
        factors.append([way for part in condition.any_of for way in ways(part, model)])
    if prod(map(len, factors)) > _WAYS_MAX:
        raise entailment.TooMany
    return [reduce(add, chosen) for chosen in product(*factors)]


def bars(part: Bars, model: Model) -> Iterator[tuple[Place, Measure, Decimal]]:
    """Return the bars that stand in a part of a condition: where, of what, how high."""
    if part.score is not None:
        yield ("score",), ("scores", model.deciding), part.score
    for name, bar in part.scores.items():
        yield ("scores", name), ("scores", name), bar
    for name, bar in part.dimensions.items():
        yield ("dimensions", name), ("dimensions", name), bar


def _joined[K, V](
    ours: Mapping[K, V], theirs: Mapping[K, V], stricter: Callable[[V, V], V]
) -> Mapping[K, V]:
    both = {key: stricter(ours[key], theirs[key]) for key in ours.keys() & theirs.keys()}
    return {**ours, **theirs, **both}


def _common(ours: frozenset[str] | None, theirs: frozenset[str] | None) -> frozenset[str] | None:
    if ours is None or theirs is None:
        return theirs if ours is None else ours
    return ours & theirs


def _is_within(ours: frozenset[str] | None, theirs: frozenset[str] | None) -> bool:
    return theirs is None or (ours is not None and ours <= theirs)
