"""Decides on a lead and commits that: by the model, by a person, by time alone.

Whoever has a reason to look at a lead calls this: the stream, the private API, the sweep.
"""

from collections.abc import Callable
from datetime import datetime

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
        """Move the lead to the stage it has reached, and return the change, or None if it stays.

        Most images say at once that the lead stays. Where one says that it moves, the lead itself
        is asked: images of a busy lead are old when they arrive.
        """
        if self._reached(image, now) is None:
            return None
        return self._commit(image.id, lambda lead: self._reached(lead, now))

    def decide(self, lead_id: str, decision: Decision, now: datetime) -> Change | None:
        """Move the lead as somebody decided, once for a request; None if there is no such lead.

        Raises:
            NotPossible: a lead where it stands can't be decided so.
        """

        def decided(lead: Lead) -> Change | None:
            made = next((c for c in changes() if c.request_id == decision.request_id), None)
            return None if made else lifecycle.decided(lead, decision, now, self._model)

        def changes() -> list[Change]:
            return self._store.changes(lead_id)

        made = self._commit(lead_id, decided)
        return made or next((c for c in changes() if c.request_id == decision.request_id), None)

    def remind(self, lead_id: str, now: datetime) -> Change | None:
        """Remind sales of an MQL that nobody decided on in time, once in its cycle."""
        return self._commit(lead_id, lambda lead: lifecycle.overdue(lead, now, self._model))

    def _reached(self, lead: Lead, now: datetime) -> Change | None:
        """Judge the lead; the stream tells whole seconds, so never before its last interaction."""
        at = max(now, lead.updated_at or now)
        return lifecycle.decide(lead, scoring.scorecard(lead, self._model, at), self._model)

    def _commit(self, lead_id: str, judge: Judgement) -> Change | None:
        """Commit what is judged of the lead as it is now, and judge again if it moves meanwhile."""
        lead = self._store.lead(lead_id)
        while lead and (change := judge(lead)):
            entries = self._store.ledger.entries(lead.id)
            why = explanation.explain(lead, entries, self._model, change.at)
            message = self._sender.message(change, lead, why)
            due_at = timers.due_at(lifecycle.moved(lead, change), self._model, change.at)
            try:
                self._store.commit(change, lead.revision, message.model_dump_json(), due_at)
            except Outdated as outdated:
                lead = outdated.lead
            else:
                return change
        return None
