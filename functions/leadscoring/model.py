"""The scoring model: the file a company edits, read and checked."""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from leadscoring import matching
from leadscoring.criteria import Cell, Grade, LeadPattern, Name, Part, Stage, listed, well_formed

MQL = "mql"
FIT = "fit"
CONSENT = "consent"
PAGE_VIEWED = "Page Viewed"

_SUBJECT = frozenset({"properties", "traits", "context"})
_EMAIL = frozenset({"domain", "kind"})

type Points = Annotated[Decimal, Field(ge=-1000, le=1000, decimal_places=3)]
type Cap = Annotated[Decimal, Field(gt=0, decimal_places=3)]
type Bounds = Annotated[Decimal, Field(ge=0, decimal_places=3)]


class ModelError(ValueError):
    """The model file is wrong; `faults` names each place as a path, and what is wrong there."""

    def __init__(self, faults: list[tuple[tuple[str | int, ...], str]]) -> None:
        lines = (f"{'.'.join(map(str, place)) or 'model'}: {what}" for place, what in faults)
        super().__init__("\n".join(lines))
        self.faults = faults


def _checked(pattern: dict[str, Any]) -> dict[str, Any]:
    if unknown := {path[0] for path in matching.paths(well_formed(pattern))} - _SUBJECT:
        raise ValueError(f"{min(unknown)}: a condition is on {', '.join(sorted(_SUBJECT))}")
    return pattern


def _words(value: object) -> object:
    matching.check({"page": value if isinstance(value, list) else [value]})
    return value if isinstance(value, list) else [value]


type Texts = Annotated[tuple[str, ...], BeforeValidator(listed), Field(min_length=1)]


class Dimension(Part):
    """A group of rules whose points fade or expire together, and are capped together."""

    half_life_days: Annotated[int, Field(ge=7, le=3650)] | None = None
    expires_months: Annotated[int, Field(ge=1, le=120)] | None = None
    cap: Cap | None = None

    @model_validator(mode="after")
    def _points_fade_or_expire(self) -> Self:
        if self.half_life_days and self.expires_months:
            raise ValueError("points fade by half_life_days or end by expires_months, not both")
        return self


class Limit(Part):
    """How often, or how much, a rule may pay one lead in a window of time.

    Windows are calendar hours, days, ISO weeks and months of UTC. With `by`, each value of that
    property has an allowance of its own.
    """

    times: Annotated[int, Field(ge=1)] | None = None
    points: Cap | None = None
    per: Literal["hour", "day", "week", "month", "ever"]
    by: str | None = None

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if (self.times is None) is (self.points is None):
            raise ValueError("a limit counts either times or points")
        return self

    @property
    def most(self) -> Decimal:
        """How much of it there is, in times or points."""
        return self.points if self.points is not None else Decimal(self.times or 0)


class PointsFrom(Part):
    """Points taken from a number that the interaction brings: factor times it, within bounds."""

    property: str
    factor: Annotated[Decimal, Field(allow_inf_nan=False)] = Decimal(1)
    min: Points = Decimal(0)
    max: Points

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError("min is above max")
        return self


class Rule(Part):
    """Which interactions earn how many points, in which dimension."""

    name: Name
    on: Texts = ()
    form: Texts = ()
    page: Annotated[tuple[Any, ...], BeforeValidator(_words)] = ()
    when: Annotated[dict[str, Any], AfterValidator(_checked)] = {}
    points: Points | None = None
    points_from: PointsFrom | None = None
    dimension: Name
    limit: Limit | None = None
    trusted: bool = False
    audience: Name | None = None
    active_from: Annotated[date | None, Field(alias="from")] = None
    until: date | None = None
    besides: Texts = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not (self.on or self.form or self.page):
            raise ValueError("a rule says which interactions it is for: on, form or page")
        if (self.points is None) is (self.points_from is None):
            raise ValueError("a rule says what it pays: points or points_from")
        if self.least < 0 and not self.trusted:
            raise ValueError("a rule with negative points must be trusted")
        if self.limit and self.limit.points and self.least < 0 < self.most:
            raise ValueError("a limit of points is for points of one sign")
        if self.active_from and self.until and self.active_from >= self.until:
            raise ValueError("until is not after from: the rule is never active")
        return self

    @property
    def most(self) -> Decimal:
        """The most points that it pays at once."""
        return self.points_from.max if self.points_from else self.points or Decimal(0)

    @property
    def least(self) -> Decimal:
        """The fewest points that it pays at once."""
        return self.points_from.min if self.points_from else self.points or Decimal(0)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The interactions it is for; empty where a form's are meant, whatever they are called."""
        return self.on or ((PAGE_VIEWED,) if self.page else ())

    @cached_property
    def pattern(self) -> Mapping[str, Any]:
        """All that an interaction must match: the conditions, the form, the page."""
        asked: dict[str, Any] = {}
        if self.form:
            asked["form"] = list(self.form)
        if self.page:
            asked["path"] = list(self.page)
        parts = [part for part in (self.when, {"properties": asked} if asked else {}) if part]
        return {"all": parts} if len(parts) > 1 else next(iter(parts), {})

    @cached_property
    def version(self) -> str:
        """Six hex digits of what it says: an edited rule counts its limits anew."""
        said = self.model_dump_json(exclude={"name", "besides"}, exclude_defaults=True)
        return hashlib.sha256(said.encode()).hexdigest()[:6]

    def asks_of_an_interaction(self) -> Iterator[tuple[str, ...]]:
        """Return the paths of all that it reads: the ledger must keep them to pay it again."""
        yield from matching.paths(self.pattern)
        if self.points_from:
            yield ("properties", *self.points_from.property.split("."))
        if self.limit and self.limit.by:
            yield ("properties", *self.limit.by.split("."))


class FitRule(Part):
    """Which leads fit how well, by their traits."""

    name: Name
    when: Annotated[LeadPattern, Field(min_length=1)]
    points: Points


class Gate(Part):
    """Which leads are none for us, whatever they do."""

    name: Name
    when: Annotated[LeadPattern, Field(min_length=1)]


class Fit(Part):
    """How well a lead fits: points by its traits, and gates that shut it out."""

    cap: Cap | None = None
    rules: tuple[FitRule, ...] = ()
    gates: tuple[Gate, ...] = ()


class Matrix(Part):
    """Fit against engagement: A, B or C by fit points, 1, 2 or 3 by a dimension or a score."""

    fit: dict[Literal["A", "B"], Bounds]
    engagement: dict[Literal["1", "2"], Bounds]
    of: Name = "engagement"

    @model_validator(mode="after")
    def _two_bars_each(self) -> Self:
        for axis, (high, low) in ((self.fit, ("A", "B")), (self.engagement, ("1", "2"))):
            if len(axis) != 2 or axis[high] <= axis[low]:  # type: ignore[index]
                raise ValueError(f"{high} and {low} both need a bar, {high} the higher one")
        return self

    def cell(self, fit: Decimal, engagement: Decimal) -> Cell:
        """Return where the two meet, from A1 to C3."""
        row = "A" if fit >= self.fit["A"] else "B" if fit >= self.fit["B"] else "C"
        first, second = self.engagement["1"], self.engagement["2"]
        return f"{row}{1 if engagement >= first else 2 if engagement >= second else 3}"


class Score(Part):
    """A sum of dimensions, capped; the one that decides MQL is the lead's score."""

    dimensions: Texts
    cap: Cap | None = None
    decides: bool = False


class Recycling(Part):
    """What becomes of a lead that was an MQL and is no longer one."""

    cool_down_days: Annotated[int, Field(ge=0, le=3650)] = 0


class Form(Part):
    """A plain HTML form: what its interaction is called and where the visitor goes next."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "Form Submitted"
    redirect: Annotated[str, Field(pattern=r"^https?://")] | None = None


class Act(Part):
    """An interaction in an example; `points` is what all rules together should pay for it."""

    name: str
    days_before: Annotated[Decimal, Field(ge=0, le=3650)] = Decimal(0)
    times: Annotated[int, Field(ge=1, le=1000)] = 1
    properties: dict[str, Any] = {}
    context: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    trusted: bool = False
    points: Decimal | None = None


class Expected(Part):
    """What an example should come to, as far as it is given."""

    score: Decimal | None = None
    scores: dict[Name, Decimal] = {}
    dimensions: dict[Name, Decimal] = {}
    grade: Grade | None = None
    matrix: Cell | None = None
    gate: Name | None = None
    stage: Name | None = None

    @model_validator(mode="after")
    def _something_is_expected(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("an example that expects nothing shows nothing")
        return self


class Example(Part):
    """A short history and what it should come to: the company's own test of its criteria."""

    name: str
    at: datetime = datetime.fromisoformat("2026-06-15T12:00:00Z")
    email: str | None = "somebody@company.example"
    traits: dict[str, Any] = {}
    interactions: tuple[Act, ...]
    expect: Expected


class Model(Part):
    """A whole scoring model. Stages stand in order, from the first to `mql`."""

    number: Annotated[int, Field(ge=1)]
    name: str
    retention_days: Annotated[int, Field(ge=30)]
    properties: frozenset[str]
    traits: frozenset[str]
    dimensions: dict[Name, Dimension]
    audiences: dict[Name, Annotated[LeadPattern, Field(min_length=1)]] = {}
    rules: tuple[Rule, ...]
    fit: Fit = Fit()
    grades: dict[Literal["A", "B", "C", "D", "E"], Bounds] = {}
    matrix: Matrix | None = None
    scores: dict[Name, Score] = {}
    stages: tuple[Stage, ...]
    recycling: Recycling = Recycling()
    forms: dict[Name, Form] = {}
    examples: tuple[Example, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the model that this TOML says.

        Raises:
            ModelError: the text is not TOML, or not a model.
        """
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ModelError([((), str(error))]) from error
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
            raise ModelError([(fault["loc"], _plainly(fault)) for fault in faults]) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the model in this file; raise `ModelError` if it is wrong."""
        return cls.parse(path.read_text(encoding="utf-8"))

    @property
    def first_stage(self) -> str:
        """The stage of a lead that has just been captured."""
        return self.stages[0].name

    @cached_property
    def rule(self) -> Mapping[str, Rule]:
        """The rules by their names."""
        return {rule.name: rule for rule in self.rules}

    @cached_property
    def all_scores(self) -> Mapping[str, Score]:
        """The named scores; without any, one of all dimensions and fit."""
        return self.scores or {"score": Score(dimensions=(*self.dimensions, FIT), decides=True)}

    @cached_property
    def deciding(self) -> str:
        """The name of the score that decides MQL."""
        named = self.all_scores
        return next((name for name, score in named.items() if score.decides), next(iter(named)))

    @cached_property
    def counted_rules(self) -> frozenset[str]:
        """The rules that some stage counts."""
        conditions = (part for stage in self.stages for part in stage.conditions())
        return frozenset(rule for condition in conditions for rule in condition.rules())

    @cached_property
    def known_traits(self) -> frozenset[str]:
        """The traits that a lead keeps."""
        return self.traits | {CONSENT}

    @cached_property
    def kept(self) -> Mapping[str, frozenset[tuple[str, ...]]]:
        """The paths of properties and context that a ledger entry keeps: what is named or asked."""
        asked = {path for rule in self.rules for path in rule.asks_of_an_interaction()}
        asked |= {("properties", name) for name in self.properties}
        return {
            part: frozenset(path[1:] for path in asked if path[0] == part and len(path) > 1)
            for part in ("properties", "context")
        }

    @cached_property
    def pays(self) -> str:
        """Sixteen hex digits of all that decides what rules pay: another pay, another number."""
        clocks = {
            name: [part.half_life_days, part.expires_months is not None]
            for name, part in self.dimensions.items()
        }
        said = [
            [rule.name, rule.version, clocks.get(rule.dimension)]
            for rule in sorted(self.rules, key=lambda rule: rule.name)
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    def grade(self, fit: Decimal) -> Grade | None:
        """Return the grade of so many fit points, or None in a model without grades."""
        reached = (letter for letter, bar in sorted(self.grades.items()) if fit >= bar)
        return next(reached, "F") if self.grades else None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for check in (self._names_fit, self._scores_fit, self._stages_fit, self._patterns_fit):
            check()
        return self

    def _names_fit(self) -> None:
        named = {
            "rule": [rule.name for rule in self.rules],
            "fit rule": [rule.name for rule in self.fit.rules],
            "gate": [gate.name for gate in self.fit.gates],
            "stage": [stage.name for stage in self.stages],
            "example": [example.name for example in self.examples],
        }
        for kind, names in named.items():
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"two {kind}s are called {min(twice)!r}")
        if FIT in self.dimensions:
            raise ValueError("'fit' is a dimension of its own: it comes from traits")
        for rule in self.rules:
            if rule.dimension not in self.dimensions:
                raise ValueError(f"rule {rule.name!r} names no dimension: {rule.dimension!r}")
            if self.dimensions[rule.dimension].expires_months and rule.least < 0:
                # A score would rise by itself on the day when the penalty ends.
                raise ValueError(f"rule {rule.name!r} takes points away where points expire")
            if rule.audience and rule.audience not in self.audiences:
                raise ValueError(f"rule {rule.name!r} names no audience: {rule.audience!r}")
            if unknown := set(rule.form) - set(self.forms):
                raise ValueError(f"rule {rule.name!r} names no form: {min(unknown)!r}")
            if unknown := set(rule.besides) - set(named["rule"]):
                raise ValueError(f"rule {rule.name!r} stands besides no rule: {min(unknown)!r}")

    def _scores_fit(self) -> None:
        dimensions = {*self.dimensions, FIT}
        for name, score in self.scores.items():
            if unknown := set(score.dimensions) - dimensions:
                raise ValueError(f"score {name!r} names no dimension: {min(unknown)!r}")
        if len(self.scores) > 1 and sum(score.decides for score in self.scores.values()) != 1:
            raise ValueError("of several scores, one says `decides = true`")
        bars = [bar for _, bar in sorted(self.grades.items())]
        if bars != sorted(set(bars), reverse=True):
            raise ValueError("each grade takes fewer fit points than the one before it")
        if self.matrix and self.matrix.of not in dimensions | set(self.all_scores):
            raise ValueError(f"the matrix is of no dimension or score: {self.matrix.of!r}")

    def _stages_fit(self) -> None:
        stages = [stage.name for stage in self.stages]
        if not stages or any(self.stages[0].conditions()) or stages[-1] != MQL:
            raise ValueError(f"stages run from one without `enter` to {MQL!r}")
        for stage in self.stages[1:]:
            if stage.enter is None:
                raise ValueError(f"stage {stage.name!r} says nothing under `enter`")
            for part in (part for condition in stage.conditions() for part in condition.parts()):
                for kind, names, known in (
                    ("counts no rule", part.seen, {rule.name for rule in self.rules}),
                    ("names no score", part.scores, self.all_scores),
                    ("names no dimension", part.dimensions, {*self.dimensions, FIT}),
                    ("asks for grades, and there are none", part.grade, {*self.grades, "F"}),
                ):
                    if unknown := set(names) - set(known):
                        raise ValueError(f"stage {stage.name!r} {kind}: {min(unknown)!r}")
                if part.matrix and not self.matrix:
                    raise ValueError(f"stage {stage.name!r} asks for a matrix, and there is none")

    def _patterns_fit(self) -> None:
        """Refuse patterns on what no lead has: they would hold for nobody."""
        patterns = {
            **{f"audience {name!r}": pattern for name, pattern in self.audiences.items()},
            **{f"fit rule {rule.name!r}": rule.when for rule in self.fit.rules},
            **{f"gate {gate.name!r}": gate.when for gate in self.fit.gates},
            **{
                f"stage {stage.name!r}": part.traits
                for stage in self.stages
                for condition in stage.conditions()
                for part in condition.parts()
                if part.traits
            },
        }
        for place, pattern in patterns.items():
            for path in matching.paths(pattern):
                if path[0] == "email" and len(path) == 2 and path[1] in _EMAIL:
                    continue
                if ".".join(path) not in self.traits:
                    raise ValueError(f"{place} asks for no trait of `traits`: {'.'.join(path)!r}")


def _plainly(fault: Mapping[str, Any]) -> str:
    """Say in plain words what pydantic found."""
    said: str = fault["msg"].removeprefix("Value error, ")
    match fault["type"]:
        case "extra_forbidden":
            return "there is no such key"
        case "missing":
            return "this is missing"
        case _:
            return said
