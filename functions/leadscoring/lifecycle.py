"""The stage machine: where a lead should stand, and why."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from leadscoring import matching, scoring
from leadscoring.criteria import (
    CUSTOMER,
    DISQUALIFIED,
    RECYCLED,
    SQL,
    Bars,
    Condition,
)
from leadscoring.lead import Change, Lead, Scorecard
from leadscoring.model import CONSENT, MQL, Model


def decide(lead: Lead, card: Scorecard, model: Model) -> Change | None:
    """Return the change to the stage where the lead should stand, or None if it stays.

    The level decides, not the step that reached it, so the next look heals a missed one. Only a
    lead with an e-mail enters `mql`: nobody could call another. A gate shuts out whom sales has
    not accepted; who comes back from outside begins at the first stage. While a ledger is being
    paid again, nothing is decided.
    """
    if lead.stage is None or (lead.rescoring_until and card.at < lead.rescoring_until):
        return None
    stage, why = _Judgement(lead, card, model).stage()
    if stage == lead.stage:
        return None
    opens_cycle = lead.stage == MQL and stage not in (SQL, CUSTOMER)
    return Change(
        lead_id=lead.id,
        number=lead.changes + 1,
        cycle=lead.cycle + opens_cycle,
        from_stage=lead.stage,
        to_stage=stage,
        why=why,
        who=f"model {model.number}",
        at=card.at,
        gate=card.gate if stage == DISQUALIFIED else None,
        seen_before={n: lead.seen[n] for n in sorted(model.counted_rules & lead.seen.keys())}
        if opens_cycle
        else None,
    )


def moved(lead: Lead, change: Change) -> Lead:
    """Return the lead as it stands after the change."""
    return replace(
        lead,
        stage=change.to_stage,
        cycle=change.cycle,
        changes=change.number,
        stage_since=change.at,
        gate=change.gate,
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
        cool_down = timedelta(days=self._model.recycling.cool_down_days)
        return bool(since and acted and acted > since and self._card.at >= since + cool_down)

    def _afresh(self, why: str) -> tuple[str, str]:
        return self._climb(0) or (self._model.first_stage, why)

    def _climb(self, standing: int) -> tuple[str, str] | None:
        """Return the highest stage above that the lead may enter and would not leave at once."""
        for index in range(len(self._stages) - 1, standing, -1):
            stage = self._stages[index]
            entry = stage.entry(self._lead.cycle)
            why = entry and self._why(entry)
            if why and not self._leaves(index) and (stage.name != MQL or self._lead.email):
                return stage.name, why
        return None

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
