"""The words of what we remember: a lead, its ledger, and what it is worth at an instant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from leadscoring.interaction import Trust


@dataclass(frozen=True, slots=True)
class Lead:
    """A lead as its item says: the counters hold units, not points."""

    id: str
    stage: str | None = None
    cycle: int = 1
    revision: int = 0
    changes: int = 0
    interactions: int = 0
    email: str | None = None
    updated_at: datetime | None = None
    units: Mapping[str, int] = field(default_factory=dict)
    seen: Mapping[str, int] = field(default_factory=dict)
    traits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Payment:
    """What one rule paid for one interaction, in points and in units of one counter."""

    rule: str
    points: Decimal
    counter: str
    units: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One interaction in the ledger, with what each rule paid under the model of that number."""

    message_id: str
    trust: Trust
    name: str
    occurred_at: datetime
    received_at: datetime
    fingerprint: str
    model: int
    paid: tuple[Payment, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One passage of a lead from stage to stage: the `number`-th change of that lead."""

    lead_id: str
    number: int
    cycle: int
    from_stage: str
    to_stage: str
    why: str
    who: str
    at: datetime
    published_at: datetime | None = None
    published_as: str | None = None


@dataclass(frozen=True, slots=True)
class DimensionScore:
    """A dimension's points at an instant, before and after its floor of 0 and its cap."""

    earned: float
    points: float


@dataclass(frozen=True, slots=True)
class Reason:
    """What one rule paid for one interaction: its points then, and what is left of them now."""

    rule: str
    name: str
    dimension: str
    points: float
    points_now: float
    occurred_at: datetime
    trust: Trust


@dataclass(frozen=True, slots=True)
class Scorecard:
    """A lead's score at one instant, in points to three decimals."""

    score: float
    dimensions: Mapping[str, DimensionScore]
    model: int
    at: datetime
