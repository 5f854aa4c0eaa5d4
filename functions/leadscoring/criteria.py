"""What must hold of a lead: the conditions under which it enters a stage, or leaves it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from leadscoring import faults, matching
from leadscoring.faults import Place

MQL = "mql"
SQL, CUSTOMER, RECYCLED, DISQUALIFIED = "sql", "customer", "recycled", "disqualified"
BEYOND_MQL = frozenset({SQL, CUSTOMER, RECYCLED, DISQUALIFIED})
FIT = "fit"
ADJUSTMENT = "adjustment"

type Name = Annotated[str, Field(pattern=faults.NAME)]
type Bar = Annotated[Decimal, Field(gt=0, decimal_places=3)]
type Grade = Literal["A", "B", "C", "D", "E", "F"]
type Cell = Annotated[str, Field(pattern=faults.CELL)]


class Part(BaseModel):
    """A part of the model file: it never changes, and it says nothing that we don't know."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def listed(value: object) -> object:
    """Return a single text as a list of one: people may write either."""
    return [value] if isinstance(value, str) else value


def well_formed(pattern: dict[str, Any]) -> dict[str, Any]:
    """Return the pattern; raise `ModelError` with the places where it is wrong."""
    matching.check(pattern)
    return pattern


type LeadPattern = Annotated[dict[str, Any], Field(min_length=1), AfterValidator(well_formed)]
"""A pattern on what we know of a lead: its traits, `email.domain`, `email.kind`, `group.*`."""


class Bars(Part):
    """Bars for what is counted: the deciding score, the named scores, the dimensions."""

    score: Bar | None = None
    scores: Annotated[dict[Name, Bar], Field(min_length=1)] = {}
    dimensions: Annotated[dict[Name, Bar], Field(min_length=1)] = {}

    @model_validator(mode="after")
    def _something_is_asked(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("an empty condition would hold for everybody")
        return self


class Condition(Bars):
    """What must hold of a lead: everything that is given."""

    below: Bars | None = None
    grade: Annotated[tuple[Grade, ...], BeforeValidator(listed), Field(min_length=1)] = ()
    matrix: Annotated[tuple[Cell, ...], BeforeValidator(listed), Field(min_length=1)] = ()
    seen: Annotated[dict[Name, Annotated[int, Field(ge=1)]], Field(min_length=1)] = {}
    traits: LeadPattern = {}
    consent: bool | None = None
    any_of: Annotated[tuple["Condition", ...], Field(alias="any", min_length=1)] = ()
    all_of: Annotated[tuple["Condition", ...], Field(alias="all", min_length=1)] = ()
    none_of: Annotated["Condition | None", Field(alias="not")] = None

    def parts(self) -> Iterator["Condition"]:
        """Return this condition and all that stand in it."""
        return (part for _, part in self.placed())

    def placed(self, place: Place = ()) -> Iterator[tuple[Place, "Condition"]]:
        """Return this condition, which stands at a place, and all in it with theirs."""
        yield place, self
        for joined, parts in (("any", self.any_of), ("all", self.all_of)):
            for index, part in enumerate(parts):
                yield from part.placed((*place, joined, index))
        if self.none_of:
            yield from self.none_of.placed((*place, "not"))

    def rules(self) -> set[str]:
        """Return the names of all rules that this condition counts."""
        return {rule for part in self.parts() for rule in part.seen}


class Stage(Part):
    """Where a lead can stand: what it takes to enter, and what makes it leave again.

    A lead that has been an MQL before enters by `enter_again`, if that is given.
    """

    name: Name
    enter: Condition | None = None
    enter_again: Condition | None = None
    exit: Condition | None = None

    def entry(self, cycle: int) -> Condition | None:
        """Return what it takes to enter in this cycle."""
        return self.enter_again if cycle > 1 and self.enter_again else self.enter

    def conditions(self) -> Iterator[Condition]:
        """Return all conditions that this stage has."""
        return (condition for _, condition in self.placed())

    def placed(self) -> Iterator[tuple[str, Condition]]:
        """Return all conditions that this stage has, under their keys."""
        for key in ("enter", "enter_again", "exit"):
            if condition := getattr(self, key):
                yield key, condition
