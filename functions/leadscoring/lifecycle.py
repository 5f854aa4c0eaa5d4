"""The stage machine: where a lead should stand, and why."""

from collections import Counter as Multiset
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from leadscoring import matching, scoring
from leadscoring.criteria import (
    CUSTOMER,
    DISQUALIFIED,
    RECYCLED,
    SQL,
    Bars,
    Condition,
)
from leadscoring.lead import CONSENT, Change, ChangeKind, Lead, Scorecard
from leadscoring.model import MQL, Model

SAME_PERSON = "the same person"

type DecisionKind = Literal["accept", "reject", "disqualify", "customer", "reopen"]


class NotPossible(Exception):
    """A lead that stands at `stage` can't be decided so."""

    def __init__(self, stage: str) -> None:
        super().__init__(f"not possible for a lead at {stage}")
        self.stage = stage


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided on a lead, who and why; the same request decides once.

    With a `cycle` it was decided on the MQL of that cycle, and holds for no other.
    """

    kind: DecisionKind
    why: str
    who: str
    request_id: str
    cycle: int | None = None


# What is said where nobody says why; the other decisions need a reason.
BY_DEFAULT: Mapping[DecisionKind, str] = {
    "accept": "accepted",
    "customer": "became a customer",
    "reopen": "reopened",
}
# From which stages (None: from any), and to which (None: to the first).
_DECISIONS: Mapping[DecisionKind, tuple[frozenset[str] | None, str | None]] = {
    "accept": (frozenset({MQL}), SQL),
    "reject": (frozenset({MQL, SQL}), RECYCLED),
    "disqualify": (None, DISQUALIFIED),
    "customer": (frozenset({MQL, SQL}), CUSTOMER),
    "reopen": (frozenset({RECYCLED, DISQUALIFIED}), None),
}


def decide(lead: Lead, card: Scorecard, model: Model) -> Change | None:
    """Return the change to the stage where the lead should stand, or None if it stays.

    The level decides, not the step that reached it, so the next look heals a missed one. Only a
    lead with an e-mail enters `mql`: nobody could call another. A gate shuts out whom sales has
    not accepted; who comes back from outside begins at the first stage. While a ledger is being
    paid again, nothing is decided.
    """
    if not _is_judged(lead, card.at):
        return None
    stage, why = _Judgement(lead, card, model).stage()
    if stage == lead.stage:
        return None
    change = _passage(lead, stage, why, f"model {model.number}", card.at, model)
    return replace(change, gate=card.gate) if stage == DISQUALIFIED else change


def decided(lead: Lead, decision: Decision, at: datetime, model: Model) -> Change:
    """Return the change that somebody's decision makes of the lead.

    Raises:
        NotPossible: a lead at this stage can't be decided so.
    """
    before, after = _DECISIONS[decision.kind]
    stands = lead.stage or model.first_stage
    again = stands == after and lead.gate is None
    over = decision.cycle is not None and (MQL, decision.cycle) != (stands, lead.cycle)
    if again or over or (before and stands not in before):
        raise NotPossible(stands)
    opens = decision.kind == "reopen" or (stands == SQL and after == RECYCLED)
    change = _passage(
        lead, after or model.first_stage, decision.why, decision.who, at, model, opens=opens
    )
    return replace(change, request_id=decision.request_id)


def overdue(lead: Lead, now: datetime, model: Model) -> Change | None:
    """Return the reminder that nobody has decided on the MQL in time, once in its cycle."""
    due_at = reply_due_at(lead, model)
    if due_at is None or now < due_at or lead.has_objected or not _is_judged(lead, now):
        return None
    return Change(
        lead_id=lead.id,
        number=lead.changes + 1,
        cycle=lead.cycle,
        from_stage=MQL,
        to_stage=MQL,
        why="nobody has decided in time",
        who=f"model {model.number}",
        at=now,
        kind=ChangeKind.REPLY_OVERDUE,
    )


def promotes(change: Change) -> bool:
    """Tell whether the change makes a lead an MQL that was none: a reminder or a merge does not."""
    return change.kind is ChangeKind.STAGE and change.to_stage == MQL


def needs_consent(change: Change, model: Model) -> bool:
    """Tell whether the change is told only of a lead that has not objected: a rise, a reminder."""
    order = [*(stage.name for stage in model.stages), SQL, CUSTOMER]
    before, after = (
        order.index(stage) if stage in order else -1
        for stage in (change.from_stage, change.to_stage)
    )
    return change.kind is ChangeKind.REPLY_OVERDUE or after > before


def joined(lead: Lead, other: Lead, who: str, why: str, at: datetime, model: Model) -> Change:
    """Return the change by which another lead becomes part of this one.

    The joined lead stands where the further of the two stands, in the higher cycle of the two, so
    nobody is promoted twice.
    """
    further = max(lead, other, key=lambda one: _standing(one, model))
    before = Multiset(lead.seen_before) + Multiset(other.seen_before)
    return Change(
        lead_id=lead.id,
        number=lead.changes + 1,
        cycle=max(lead.cycle, other.cycle),
        from_stage=lead.stage or model.first_stage,
        to_stage=further.stage or model.first_stage,
        why=why,
        who=who,
        at=at,
        gate=further.gate,
        seen_before=dict(before) or None,
        kind=ChangeKind.MERGED,
        other=other.id,
    )


def parted(
    lead: Lead,
    other: Lead,
    who: str,
    why: str,
    at: datetime,
    model: Model,
    seen_before: Mapping[str, int] | None = None,
) -> Change:
    """Return the change by which one lead and another are two again: each stays where it stands."""
    stands = lead.stage or model.first_stage
    return Change(
        lead_id=lead.id,
        number=lead.changes + 1,
        cycle=lead.cycle,
        from_stage=stands,
        to_stage=stands,
        why=why,
        who=who,
        at=at,
        seen_before=seen_before,
        kind=ChangeKind.UNMERGED,
        other=other.id,
    )


def _standing(lead: Lead, model: Model) -> int:
    """Return how far a lead stands: what sales or people decided counts for more than points.

    A gate decides nothing: it asks for traits, and of those the joined lead has its own.
    """
    order = [*(stage.name for stage in model.stages[:-1]), RECYCLED, MQL, SQL, CUSTOMER]
    if lead.stage == DISQUALIFIED and lead.gate is None:
        return len(order)
    return order.index(lead.stage) if lead.stage in order else 0


def reply_due_at(lead: Lead, model: Model) -> datetime | None:
    """Return until when sales should have decided on the MQL, unless it was reminded already."""
    if lead.stage != MQL or lead.stage_since is None or model.reply is None:
        return None
    if lead.overdue_cycle == lead.cycle:
        return None
    return lead.stage_since + timedelta(hours=model.reply.hours)


def cool_down_ends_at(lead: Lead, model: Model) -> datetime | None:
    """Return when a recycled lead may come back."""
    if lead.stage != RECYCLED or lead.stage_since is None:
        return None
    return lead.stage_since + timedelta(days=model.recycling.cool_down_days)


def _is_judged(lead: Lead, now: datetime) -> bool:
    """Tell whether the lead is one, and nothing keeps us from deciding on it now."""
    rescoring = lead.rescoring_until and now < lead.rescoring_until
    return bool(lead.stage and lead.is_one and not rescoring)


def _passage(
    lead: Lead,
    stage: str,
    why: str,
    who: str,
    at: datetime,
    model: Model,
    *,
    opens: bool = False,
) -> Change:
    """Return the passage to a stage. Leaving `mql` but to sales' own stages opens a cycle."""
    stands = lead.stage or model.first_stage
    opens = opens or (stands == MQL and stage not in (SQL, CUSTOMER))
    return Change(
        lead_id=lead.id,
        number=lead.changes + 1,
        cycle=lead.cycle + opens,
        from_stage=stands,
        to_stage=stage,
        why=why,
        who=who,
        at=at,
        seen_before={n: lead.seen[n] for n in sorted(model.counted_rules & lead.seen.keys())}
        if opens
        else None,
    )


def moved(lead: Lead, change: Change) -> Lead:
    """Return the lead as it stands after the change."""
    if change.kind is ChangeKind.REPLY_OVERDUE:
        return replace(lead, changes=change.number, overdue_cycle=change.cycle)
    stays = change.kind is not ChangeKind.STAGE and change.from_stage == change.to_stage
    return replace(
        lead,
        stage=change.to_stage,
        cycle=change.cycle,
        changes=change.number,
        stage_since=lead.stage_since if stays else change.at,
        gate=lead.gate if stays else change.gate,
        seen_before=lead.seen_before if change.seen_before is None else change.seen_before,
    )


class _Judgement:
    """One lead at one instant under one model."""

    def __init__(self, lead: Lead, card: Scorecard, model: Model) -> None:
        self._lead, self._card, self._model = lead, card, model
        self._seen = scoring.seen(lead, model)
        self._who = scoring.subject(lead)
        self._stages = model.stages

    def stage(self) -> tuple[str, str]:
        """Return where the lead should stand, and why."""
        lead, gate = self._lead, self._card.gate
        stays = str(lead.stage), ""
        match lead.stage:
            case "sql" | "customer":
                return stays
            case "disqualified":
                let_in = lead.gate is not None and gate is None
                return self._afresh(f"no longer {lead.gate}") if let_in else stays
        if gate:
            return DISQUALIFIED, f"gate {gate}"
        match lead.stage:
            case "recycled":
                return self._afresh("back after recycling") if self._may_return() else stays
            case "mql":
                left = self._leaves(len(self._stages) - 1)
                return (RECYCLED, left) if left else stays
        names = [stage.name for stage in self._stages]
        # A stage that the model no longer knows holds nobody back: its leads climb from the first.
        standing = names.index(str(lead.stage)) if lead.stage in names else 0
        return self._climb(standing) or self._fall(standing) or stays

    def _may_return(self) -> bool:
        """Tell whether the cool-down is over, and the lead has done something since it began."""
        since, acted = self._lead.stage_since, self._lead.updated_at
        over = cool_down_ends_at(self._lead, self._model)
        return bool(since and acted and over and acted > since and self._card.at >= over)

    def _afresh(self, why: str) -> tuple[str, str]:
        return self._climb(0) or (self._model.first_stage, why)

    def _climb(self, standing: int) -> tuple[str, str] | None:
        """Return the highest stage above that the lead may enter and would not leave at once."""
        for index in range(len(self._stages) - 1, standing, -1):
            stage = self._stages[index]
            entry = stage.entry(self._lead.cycle)
            why = entry and self._why(entry)
            if why and not self._leaves(index) and (stage.name != MQL or self._may_be_called()):
                return stage.name, why
        return None

    def _may_be_called(self) -> bool:
        return bool(self._lead.email) and not self._lead.has_objected

    def _fall(self, standing: int) -> tuple[str, str] | None:
        """Return the highest stage below that the lead does not leave too, if it leaves its own."""
        why = self._leaves(standing)
        if why is None:
            return None
        lower = (i for i in range(standing - 1, -1, -1) if self._leaves(i) is None)
        return self._stages[next(lower)].name, why

    def _leaves(self, index: int) -> str | None:
        condition = self._stages[index].exit
        return self._why(condition) if condition else None

    def _why(self, condition: Condition) -> str | None:
        """Return in words why the condition holds, or None where it does not."""
        because = list(self._answers(condition))
        return None if None in because else " and ".join(map(str, because))

    def _answers(self, condition: Condition) -> Iterator[str | None]:
        for name, points, bar in self._measured(condition):
            yield f"{name} {points:f} reached {bar}" if points >= bar else None
        for name, points, bar in self._measured(condition.below):
            yield f"{name} {points:f} is below {bar}" if points < bar else None
        for rule, times in condition.seen.items():
            seen = self._seen.get(rule, 0)
            yield f"{rule} seen {seen} of {times}" if seen >= times else None
        for kind, wanted, has in (
            ("grade", condition.grade, self._card.grade),
            ("matrix", condition.matrix, self._card.matrix),
        ):
            if wanted:
                yield f"{kind} {has}" if has in wanted else None
        if condition.traits:
            yield "its traits match" if matching.matches(condition.traits, self._who) else None
        if condition.consent is not None:
            said = "given" if condition.consent else "withdrawn"
            yield f"consent {said}" if self._consent() is condition.consent else None
        if condition.any_of:
            found = (self._why(part) for part in condition.any_of)
            yield next((why for why in found if why), None)
        for part in condition.all_of:
            yield self._why(part)
        if condition.none_of:
            yield None if self._why(condition.none_of) else "nothing against it"

    def _measured(self, bars: Bars | None) -> Iterator[tuple[str, Decimal, Decimal]]:
        """Return what is measured: its name, its points, its bar."""
        if bars is None:
            return
        card = self._card
        if bars.score is not None:
            yield "score", _exact(card.score), bars.score
        for name, bar in bars.scores.items():
            yield name, _exact(card.scores[name]), bar
        for name, bar in bars.dimensions.items():
            part = card.dimensions.get(name)
            yield name, _exact(part.points) if part else Decimal(0), bar

    def _consent(self) -> Any:
        return self._lead.traits.get(CONSENT)


def _exact(points: float) -> Decimal:
    """Return the points that a scorecard shows, without idle zeros."""
    return Decimal(str(points)).normalize()
