"""Records what came in, lead by lead. Whatever the door, this is the way into the ledger."""

from collections import defaultdict
from collections.abc import Iterable

from leadscoring.interaction import Interaction
from leadscoring.keys import Keys
from leadscoring.ledger import Recorded
from leadscoring.model import Model
from leadscoring.store import Store


class Recorder:
    """Writes interactions by one model into one table."""

    def __init__(self, store: Store, model: Model) -> None:
        self._store = store
        self._model = model

    def record(self, interactions: Iterable[Interaction], keys: Keys) -> Recorded:
        """Enter each interaction into its lead's ledger once, each lead's in one go.

        Raises:
            Busy: some may not be entered yet; repeat the whole call.
        """
        by_lead: dict[str, list[Interaction]] = defaultdict(list)
        for interaction in interactions:
            if interaction.identity:
                by_lead[interaction.identity.lead_id(keys.lead_ids)].append(interaction)
        done = Recorded()
        for lead_id, mine in by_lead.items():
            done += self._store.ledger.record(lead_id, mine, self._model)
        return done
