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

from leadscoring import coherence, matching
from leadscoring.criteria import FIT as FIT
from leadscoring.criteria import MQL as MQL
from leadscoring.criteria import Cell, Grade, LeadPattern, Name, Part, Stage, listed, well_formed
from leadscoring.doors import CONSENT_VERSION, Bots, Form, Links, Public, Staff, Webhook
from leadscoring.faults import Fault, found_by_pydantic, refuse
from leadscoring.faults import ModelError as ModelError
from leadscoring.lead import CONSENT

PAGE_VIEWED = "Page Viewed"

_SUBJECT = frozenset({"properties", "traits", "context"})

type Points = Annotated[Decimal, Field(ge=-1000, le=1000, decimal_places=3)]
type Cap = Annotated[Decimal, Field(gt=0, decimal_places=3)]
type Bounds = Annotated[Decimal, Field(ge=0, decimal_places=3)]


def _checked(pattern: dict[str, Any]) -> dict[str, Any]:
    asked = f"a condition is on {', '.join(sorted(_SUBJECT))}"
    places = matching.placed(well_formed(pattern))
    refuse(Fault(place, asked) for place, path in places if path[0] not in _SUBJECT)
    return pattern


def _words(value: object) -> object:
    words = value if isinstance(value, list) else [value]
    try:
        matching.check({"page": words})
    except ModelError as error:
        raise ValueError(error.faults[0].message) from None
    return words


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
        refuse(self._faults())
        return self

    def _faults(self) -> Iterator[Fault]:
        if self.least < 0 and not self.trusted:
            place = ("points_from", "min") if self.points_from else ("points",)
            yield Fault(place, "a rule with negative points must be trusted")
        if self.limit and self.limit.points and self.least < 0 < self.most:
            yield Fault(("limit", "points"), "a limit of points is for points of one sign")
        if self.active_from and self.until and self.active_from >= self.until:
            yield Fault(("until",), "until is not after from: the rule is never active")

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
        said = self.model_dump(mode="json", exclude={"name", "besides"}, exclude_defaults=True)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:6]

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
    when: LeadPattern
    points: Points


class Gate(Part):
    """Which leads are none for us, whatever they do."""

    name: Name
    when: LeadPattern


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


class Reply(Part):
    """How long sales may take to decide on an MQL before it is reminded."""

    hours: Annotated[int, Field(ge=1, le=24 * 365)]


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
    audiences: dict[Name, LeadPattern] = {}
    rules: tuple[Rule, ...]
    fit: Fit = Fit()
    grades: dict[Literal["A", "B", "C", "D", "E"], Bounds] = {}
    matrix: Matrix | None = None
    scores: dict[Name, Score] = {}
    stages: tuple[Stage, ...]
    recycling: Recycling = Recycling()
    reply: Reply | None = None
    forms: dict[Name, Form] = {}
    webhooks: dict[Name, Webhook] = {}
    links: Links = Links()
    public: Public = Public()
    bots: Bots | None = None
    staff: Staff = Staff()
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
            raise ModelError([Fault((), str(error))]) from error
        except ValidationError as error:
            raise ModelError(found_by_pydantic(error, cls)) from error

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
        asked |= {("properties", name) for name in (*self.properties, CONSENT_VERSION)}
        asked |= {("context", "campaign")}
        if any(form.confirm_by for form in self.forms.values()):
            asked.add(("properties", "form"))
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
    def _fits_together(self) -> Self:
        refuse(coherence.faults(self))
        return self
