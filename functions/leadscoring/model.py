"""The scoring model: the file a company edits, read and checked."""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from leadscoring import matching

MQL = "mql"

_SUBJECT = frozenset({"properties", "traits", "context"})

type Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
type Points = Annotated[Decimal, Field(ge=-1000, le=1000, allow_inf_nan=False)]


class ModelError(ValueError):
    """The model file is wrong; the text names each place and what is wrong with it."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _checked(pattern: dict[str, Any]) -> dict[str, Any]:
    matching.check(pattern)
    if unknown := matching.fields(pattern) - _SUBJECT:
        raise ValueError(f"{min(unknown)}: a condition is on {', '.join(sorted(_SUBJECT))}")
    return pattern


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Dimension(_Part):
    """A group of rules whose points fade together and are capped together."""

    half_life_days: Annotated[int, Field(ge=7, le=3650)] | None = None
    cap: Annotated[Decimal, Field(gt=0)] | None = None


class Rule(_Part):
    """Which interactions earn how many points, in which dimension."""

    name: Name
    on: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
    when: Annotated[dict[str, Any], AfterValidator(_checked)] = {}
    points: Points
    dimension: Name
    trusted: bool = False

    @model_validator(mode="after")
    def _only_servers_take_points_away(self) -> Self:
        if self.points < 0 and not self.trusted:
            raise ValueError("a rule with negative points must be trusted")
        return self


class Condition(_Part):
    """What must hold of a lead: everything that is given."""

    score: Annotated[Decimal, Field(gt=0)] | None = None
    seen: Annotated[dict[Name, Annotated[int, Field(ge=1)]], Field(min_length=1)] = {}
    any_of: Annotated[tuple["Condition", ...], Field(alias="any", min_length=1)] = ()
    all_of: Annotated[tuple["Condition", ...], Field(alias="all", min_length=1)] = ()
    none_of: Annotated["Condition | None", Field(alias="not")] = None

    @model_validator(mode="after")
    def _something_is_asked(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("an empty condition would hold for everybody")
        return self

    def rules(self) -> set[str]:
        """Return the names of all rules that this condition counts."""
        parts = (*self.any_of, *self.all_of, self.none_of)
        return set(self.seen).union(*(part.rules() for part in parts if part))


class Stage(_Part):
    """Where a lead can stand, and what it takes to enter."""

    name: Name
    enter: Condition | None = None


class Form(_Part):
    """A plain HTML form: what its interaction is called and where the visitor goes next."""

    name: Annotated[str, Field(min_length=1, max_length=100)] = "Form Submitted"
    redirect: Annotated[str, Field(pattern=r"^https?://")] | None = None


class Model(_Part):
    """A whole scoring model. Stages stand in order, from the first to `mql`."""

    number: Annotated[int, Field(ge=1)]
    name: str
    retention_days: Annotated[int, Field(ge=30)]
    properties: frozenset[str]
    traits: frozenset[str]
    dimensions: dict[Name, Dimension]
    rules: tuple[Rule, ...]
    stages: tuple[Stage, ...]
    forms: dict[Name, Form] = {}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the model that this TOML says.

        Raises:
            ModelError: the text is not TOML, or not a model.
        """
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ModelError(str(error)) from error
        except ValidationError as error:
            lines = [
                f"{'.'.join(map(str, fault['loc'])) or 'model'}: {fault['msg']}"
                for fault in error.errors(include_url=False, include_input=False)
            ]
            raise ModelError("\n".join(lines)) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the model in this file; raise `ModelError` if it is wrong."""
        return cls.parse(path.read_text(encoding="utf-8"))

    @property
    def first_stage(self) -> str:
        """The stage of a lead that has just been captured."""
        return self.stages[0].name

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        rules = [rule.name for rule in self.rules]
        stages = [stage.name for stage in self.stages]
        for kind, names in (("rule", rules), ("stage", stages)):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"two {kind}s are called {min(twice)!r}")
        for rule in self.rules:
            if rule.dimension not in self.dimensions:
                raise ValueError(f"rule {rule.name!r} names no dimension: {rule.dimension!r}")
        if not stages or self.stages[0].enter or stages[-1] != MQL:
            raise ValueError(f"stages run from one without `enter` to {MQL!r}")
        for stage in self.stages[1:]:
            if stage.enter is None:
                raise ValueError(f"stage {stage.name!r} says nothing under `enter`")
            if unknown := stage.enter.rules() - set(rules):
                raise ValueError(f"stage {stage.name!r} counts no rule: {min(unknown)!r}")
        return self
