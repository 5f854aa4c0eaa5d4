"""Records what came in, lead by lead. Whatever the door, this is the way into the ledger.

Here detectors withhold what they doubt, and confirmations overrule what waits for them.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta

from leadscoring import confirmation
from leadscoring.bots import Detectors
from leadscoring.contract import Sender
from leadscoring.interaction import Interaction, Trust
from leadscoring.joining import Joiner
from leadscoring.keys import Keys
from leadscoring.ledger import Recorded
from leadscoring.model import Model
from leadscoring.request import Request
from leadscoring.store import Store


class Recorder:
    """Writes interactions by one model into one table."""

    def __init__(self, store: Store, model: Model, sender: Sender) -> None:
        self._store = store
        self._joiner = Joiner(store, model, sender)
        self._model = model
        self._retention = timedelta(days=model.retention_days)
        self._detectors = Detectors(model)

    def record(
        self, interactions: Iterable[Interaction], keys: Keys, request: Request | None = None
    ) -> Recorded:
        """Enter each interaction into its lead's ledger once, each lead's in one go.

        What a server says of a time before the retention is dropped. `request` is the one that
        brought them, if one did.

        Raises:
            Busy: some may not be entered yet; repeat the whole call.
        """
        sender = (request.agent, request.address) if request else ()
        judged = self._detectors.judge(interactions, *sender)
        kept = [act for act in judged if not self._is_past(act)]
        new = [act for act in kept if not self._was_anonymous(act, keys)]
        done = Recorded(past=len(judged) - len(kept), duplicates=len(kept) - len(new))
        for lead_id, mine in by_lead(new, keys).items():
            done += self._store.ledger.record(lead_id, mine, self._model)
            # Not only of what is new: a repeat heals what a crash left between the two writes.
            if confirmation.concerns(mine, self._model):
                self._confirm(lead_id)
            for act in mine:
                self._joiner.join_all(act, keys)
        return done

    def _is_past(self, act: Interaction) -> bool:
        """Tell whether a server may have told of it long ago: carried, no repeat is known."""
        oldest = act.received_at - self._retention
        return act.trust is not Trust.PUBLIC and act.occurred_at <= oldest

    def _was_anonymous(self, act: Interaction, keys: Keys) -> bool:
        """Tell whether it was entered before its sender knew whose it is."""
        return act.earlier is not None and self._store.ledger.holds(
            act.earlier.lead_id(keys.lead_ids), act.trust, act.message_id
        )

    def _confirm(self, home: str) -> None:
        ledger, lead = self._store.ledger, self._store.lead_now(home)
        if lead and (waiting := confirmation.confirmed(ledger.entries(lead.id), self._model)):
            ledger.overrule(lead.id, waiting, self._model)


def by_lead(interactions: Iterable[Interaction], keys: Keys) -> dict[str, list[Interaction]]:
    """Return the interactions by the ids of their leads, each lead's in their order."""
    grouped: dict[str, list[Interaction]] = defaultdict(list)
    for interaction in interactions:
        if interaction.identity:
            grouped[interaction.identity.lead_id(keys.lead_ids)].append(interaction)
    return grouped
