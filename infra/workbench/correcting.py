"""`mqlambda correct`: pay what a detector withheld wrongly, take back what none has seen."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from infra.workbench.rescoring import Effect, Outcome, effect_of, held, leads_of
from leadscoring import scoring
from leadscoring.interaction import Trust
from leadscoring.lead import Entry, Lead
from leadscoring.limits import Tally
from leadscoring.model import Model
from leadscoring.store import Store


@dataclass(frozen=True, slots=True)
class Correction:
    """Which entries are corrected: a detector's, of one lead or of all, that arrived in a time.

    To take back is to let the detector have its way again; of one lead it is also to withhold in
    its name whatever the public sent and nobody doubts.
    """

    detector: str
    take_back: bool = False
    lead: Lead | None = None
    since: datetime | None = None
    until: datetime | None = None

    def concerns(self, entry: Entry) -> bool:
        """Tell whether the entry does not stand as it should by now."""
        if entry.is_carried:
            return False
        if self.since and entry.received_at < self.since:
            return False
        if self.until and entry.received_at >= self.until:
            return False
        if entry.withheld_by == self.detector:
            return entry.is_withheld is not self.take_back
        unseen = entry.withheld_by is None and entry.trust is Trust.PUBLIC
        return self.take_back and self.lead is not None and unseen

    def correct(self, entry: Entry) -> Entry:
        """Return how the entry should stand, yet unpaid."""
        if self.take_back:
            return replace(entry, withheld_by=self.detector, overruled=False)
        return replace(entry, overruled=True)

    def enter(self, store: Store, lead_id: str, entries: list[Entry], model: Model) -> None:
        """Let these entries of the lead stand as they should."""
        if self.take_back:
            store.ledger.withhold(lead_id, entries, self.detector, model)
        else:
            store.ledger.overrule(lead_id, entries, model)


def correct(
    store: Store,
    model: Model,
    correction: Correction,
    now: Callable[[], datetime],
    *,
    most_promotions: int,
    dry_run: bool = False,
    progress: Callable[[Effect], None] = lambda _: None,
) -> Outcome:
    """Correct the entries that the correction is for, by the model in force.

    It stops before the lead that would be one promotion too many; run again, it goes on there. A
    dry run only counts, all of them.

    Raises:
        Backward: a newer model has paid an entry.
    """
    outcome = Outcome()
    for lead in (correction.lead,) if correction.lead else leads_of(store.leads):
        entries = list(store.ledger.entries(lead.id))
        wrong = [entry for entry in entries if correction.concerns(entry)]
        effect = _effect(lead, entries, correction, model, now())
        if effect.promotes and outcome.promotions >= most_promotions and not dry_run:
            outcome.stopped = True
            break
        if (wrong or lead.rescoring_until) and not dry_run:
            with held(store, lead.id, model, now):
                correction.enter(store, lead.id, wrong, model)
        outcome.count(effect)
        progress(effect)
    return outcome


def _effect(
    lead: Lead, entries: list[Entry], correction: Correction, model: Model, now: datetime
) -> Effect:
    tally = Tally(model, scoring.uses(entries))
    after = [
        tally.cut(scoring.pay_again(correction.correct(entry), model))
        if correction.concerns(entry)
        else entry
        for entry in entries
    ]
    return effect_of(lead, entries, after, model, now)
