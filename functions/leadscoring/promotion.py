"""Decides on a lead and commits that: by the model, by a person, by time alone.

Whoever has a reason to look at a lead calls this: the stream, the private API, the sweep.
"""

from collections.abc import Callable
from datetime import datetime
from itertools import chain

from leadscoring import explanation, lifecycle, scoring, timers
from leadscoring.contract import Sender
from leadscoring.lead import Change, Lead
from leadscoring.ledger import Outdated
from leadscoring.lifecycle import Decision
from leadscoring.model import Model
from leadscoring.store import Store

type Judgement = Callable[[Lead], Change | None]


class Promoter:
    """Moves leads by one model, and has the world told by one sender."""

    def __init__(self, store: Store, model: Model, sender: Sender) -> None:
        self._store = store
        self._model = model
        self._sender = sender

    def promote(self, image: Lead, now: datetime) -> Change | None:
        """Move the lead to the stage it has reached, or remind sales of it if it is overdue there.

        Return the change, or None if there is none. Most images say so at once. Where one says that
        there is one, the lead itself is asked: images of a busy lead are old when they arrive.
        """
        if self._judged(image, now) is None:
            return None
        return self._commit(image.id, lambda lead: self._judged(lead, now))

    def decide(self, lead_id: str, decision: Decision, now: datetime) -> Change | None:
        """Move the lead as somebody decided, once for a request; None if there is no such lead.

        A lead that became part of another one is decided on with that.

        Raises:
            NotPossible: a lead where it stands can't be decided so.
        """
        made: list[Change] = []

        def decided(lead: Lead) -> Change | None:
            told = map(self._store.changes, self._store.identities.of(lead.id))
            made[:] = (c for c in chain(*told) if c.request_id == decision.request_id)
            return None if made else lifecycle.decided(lead, decision, now, self._model)

        return self._commit(lead_id, decided) or next(iter(made), None)

    def ring(self, lead_id: str, now: datetime) -> Change | None:
        """Do what time alone does to the lead, and set its timer again."""
        lead = self._store.lead(lead_id)
        # The index may be behind: whoever moved the lead has set its timer.
        if lead is None or not lead.is_one or (lead.due_at and lead.due_at > now):
            return None
        change = self.promote(lead, now)
        if change is None:
            self._store.set_timer(lead, timers.due_at(lead, self._model, now))
        return change

    def _judged(self, lead: Lead, now: datetime) -> Change | None:
        """Judge the lead; the stream tells whole seconds, so never before its last interaction."""
        at = max(now, lead.updated_at or now)
        card = scoring.scorecard(lead, self._model, at)
        return lifecycle.decide(lead, card, self._model) or lifecycle.overdue(lead, at, self._model)

    def _commit(self, lead_id: str, judge: Judgement) -> Change | None:
        """Commit what is judged of the lead as it is now, and judge again if it moves meanwhile."""
        lead = self._store.lead_now(lead_id)
        while lead and not lead.erased_at and (change := judge(lead)):
            entries = self._store.ledger.entries(lead.id)
            why = explanation.explain(lead, entries, self._model, change.at)
            message = self._sender.message(change, lead, why)
            due_at = timers.due_at(lifecycle.moved(lead, change), self._model, change.at)
            told, rises = message.model_dump_json(), lifecycle.needs_consent(change, self._model)
            try:
                self._store.commit(change, lead.revision, told, due_at, needs_consent=rises)
            except Outdated as outdated:
                lead = self._store.lead_now(outdated.lead.id)
            else:
                return change
        return None
