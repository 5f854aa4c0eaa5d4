"""The words of what we remember: a lead, its ledger, and what it is worth at an instant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from leadscoring.interaction import Trust

CONSENT = "consent"


class ChangeKind(StrEnum):
    """What a change is: a passage, a reminder, a merge, a merge that was taken back."""

    STAGE = "stage"
    REPLY_OVERDUE = "reply_overdue"
    MERGED = "merged"
    UNMERGED = "unmerged"


@dataclass(frozen=True, slots=True)
class Lead:
    """A lead as its item says: the counters hold units, not points.

    `seen_before` is how often rules had been seen when the present cycle began; `gate` shut the
    lead out; until `rescoring_until` its ledger is being paid again, and no stage is decided.
    A touch says which campaign brought the lead, and when: the first one, and the last. At
    `due_at` time alone may change something about it; in `overdue_cycle` sales was reminded of it.
    What was merged into another lead, or erased, is no lead any more; what was taken out of one
    again stays so. `identities` became part of it; `partings` says how often any was taken out.
    `since` is the end of the day that its ledger reaches back to. While it is erased, `erasing` is
    the number of that, and `leaves_nothing` says that no tombstone stays. What it did before
    `generation_started_at` came too late; at `last_erased_at` it was erased itself, or as a part of
    another lead, whatever became of it since.
    """

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
    stage_since: datetime | None = None
    seen_before: Mapping[str, int] = field(default_factory=dict)
    gate: str | None = None
    rescoring_until: datetime | None = None
    first_touch: Mapping[str, str] | None = None
    last_touch: Mapping[str, str] | None = None
    due_at: datetime | None = None
    overdue_cycle: int | None = None
    merged_into: str | None = None
    erased_at: datetime | None = None
    unmerged_at: datetime | None = None
    identities: int = 0
    partings: int = 0
    since: datetime | None = None
    erasing: int | None = None
    leaves_nothing: bool = False
    generation_started_at: datetime | None = None
    last_erased_at: datetime | None = None

    @property
    def is_one(self) -> bool:
        """Tell whether it still is a lead of its own."""
        return self.merged_into is None and self.erased_at is None

    @property
    def has_objected(self) -> bool:
        """Tell whether the person withdrew consent: nothing is paid or promoted any more."""
        return self.traits.get(CONSENT) is False


@dataclass(frozen=True, slots=True)
class Payment:
    """What one rule paid for one interaction, in points and in units of one counter.

    Where the rule has a limit: from which allowance it was paid, how much of that it used, and,
    if the allowance did not suffice, the points it would have paid. What stands for many
    interactions says how many `times` the rule paid.
    """

    rule: str
    points: Decimal
    counter: str
    units: int
    allowance: str | None = None
    used: Decimal = Decimal(0)
    unlimited: Decimal | None = None
    times: int = 1

    @property
    def earned(self) -> Decimal:
        """The points before any limit."""
        return self.points if self.unlimited is None else self.unlimited

    @property
    def is_settled(self) -> bool:
        """Tell whether it was held to its allowance already."""
        return bool(self.used) or self.unlimited is not None


@dataclass(frozen=True, slots=True)
class Entry:
    """One interaction in the ledger, with what each rule paid under the model of that number.

    What a detector withheld pays nothing until somebody overrules it. Its `home` is the id of the
    identity that its message named: there it stays, whatever lead that is a part of. By its
    `email` a server says which address its user has now.

    One that `carries` others stands for so many that are past retention and no longer there: for
    all that they were paid, and for what they `told` of the lead, as claims.
    """

    message_id: str
    trust: Trust
    name: str
    occurred_at: datetime
    received_at: datetime
    fingerprint: str
    model: int
    paid: tuple[Payment, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)
    traits: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    withheld_by: str | None = None
    overruled: bool = False
    home: str = ""
    email: str | None = None
    carries: int = 0
    told: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def is_withheld(self) -> bool:
        """Tell whether it pays nothing, whatever the rules say."""
        return self.withheld_by is not None and not self.overruled

    @property
    def is_carried(self) -> bool:
        """Tell whether it stands for others, so that no model can pay it again."""
        return self.carries > 0


@dataclass(frozen=True, slots=True)
class Change:
    """One passage of a lead from stage to stage: the `number`-th change of that lead.

    A change that opens a cycle says how often the counted rules had been seen until then. A
    decision that somebody made has that request's id. Other kinds leave the lead where it stands:
    a reminder that nobody replied, and the `other` lead that became part of this one or that was
    taken out of it again.
    """

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
    gate: str | None = None
    seen_before: Mapping[str, int] | None = None
    kind: ChangeKind = ChangeKind.STAGE
    request_id: str | None = None
    other: str | None = None


def counted_from(at: datetime) -> int:
    """Return after which number the changes of a lead are counted that begins at this instant.

    Seconds since 1970: who was forgotten without a trace may come back under the same id, when no
    number is left to go on from. By then more seconds have passed than it ever had changes.
    """
    return int(at.timestamp())


@dataclass(frozen=True, slots=True)
class DimensionScore:
    """A dimension's points at an instant, before and after its floor of 0 and its cap."""

    earned: float
    points: float


@dataclass(frozen=True, slots=True)
class Reason:
    """What one rule paid for one interaction, and where it went: points as earned and as now.

    `points_now` is `earned` less all that was `taken`: by a limit when it was earned, by decay
    since then, by an audience that the lead does not belong to.
    """

    rule: str
    name: str
    dimension: str
    earned: float
    points: float
    points_now: float
    taken: Mapping[str, float]
    occurred_at: datetime
    trust: Trust


@dataclass(frozen=True, slots=True)
class Line:
    """What is added to a sum of reasons: points by a fit rule, or what a cap or the floor takes."""

    of: str
    by: str
    points: float


@dataclass(frozen=True, slots=True)
class Scorecard:
    """What a lead is worth at one instant, in points to three decimals.

    `score` is the one of the named `scores` that decides MQL. `gate` shuts the lead out.
    """

    score: float
    dimensions: Mapping[str, DimensionScore]
    model: int
    at: datetime
    scores: Mapping[str, float] = field(default_factory=dict)
    grade: str | None = None
    matrix: str | None = None
    gate: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A scorecard that adds up.

    For each dimension, its reasons' points now and its lines are its points; the dimensions of a
    score and its own line are that score. `note` says what there is to say without reasons;
    `withheld` how many interactions pay nothing because that detector doubts them.
    """

    scorecard: Scorecard
    reasons: list[Reason]
    lines: list[Line]
    note: str | None
    withheld: Mapping[str, int] = field(default_factory=dict)
