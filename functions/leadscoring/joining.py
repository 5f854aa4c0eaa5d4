"""Joins what one message calls by two names: whoever it was before is now one lead."""

from datetime import datetime

from leadscoring import lifecycle, timers
from leadscoring.contract import Sender
from leadscoring.identities import Moved
from leadscoring.interaction import Identity, IdentityKind, Interaction, Trust
from leadscoring.keys import Keys
from leadscoring.lead import Lead
from leadscoring.model import Model
from leadscoring.store import Store

_REMEMBERED = 10_000


class Joiner:
    """Joins leads by one model, and has the world told by one sender."""

    def __init__(self, store: Store, model: Model, sender: Sender) -> None:
        self._store = store
        self._model = model
        self._sender = sender
        self._joined: dict[str, None] = {}

    def join_all(self, act: Interaction, keys: Keys) -> None:
        """Join the other names that an act gives its lead, as far as its sender may.

        Anybody may join an anonymous lead to a known one, once; a server also what it knows by
        its own user id. Two people who are known already are never joined so.
        """
        if act.identity is None or act.is_withheld:
            return
        for other in act.also:
            if _may_join(act.identity, other, act.trust):
                lead_id, other_id = (one.lead_id(keys.lead_ids) for one in (act.identity, other))
                self.join(lead_id, other_id, str(act.trust), act.received_at)

    def join(self, lead_id: str, other_id: str, who: str, at: datetime) -> bool:
        """Make one lead part of another, unless it is part of one already; tell whether it was."""
        while other_id not in self._joined:
            other, lead = self._store.lead(other_id), self._store.lead_now(lead_id)
            self._remember(other)
            if other and (other.merged_into or other.erased_at):
                return False
            if lead is None or lead.erased_at or lead.id == other_id:
                return False
            try:
                self._merge(lead, other, who, at) if other else self._store.identities.note(
                    lead, other_id, at, who
                )
            except Moved:
                continue
            return True
        return False

    def _merge(self, lead: Lead, other: Lead, who: str, at: datetime) -> None:
        change = lifecycle.joined(lead, other, who, at, self._model)
        together = lifecycle.together(lead, other, change)
        due_at = timers.due_at(together, self._model, at)
        message = self._sender.merge(change, together).model_dump_json()
        self._store.identities.merge(change, lead, other, message, due_at)

    def _remember(self, other: Lead | None) -> None:
        if other and other.merged_into:
            self._joined[other.id] = None
        while len(self._joined) > _REMEMBERED:
            del self._joined[next(iter(self._joined))]


def _may_join(known: Identity, other: Identity, trust: Trust) -> bool:
    if known.kind is IdentityKind.ANONYMOUS_ID:
        return False
    if other.kind is IdentityKind.ANONYMOUS_ID:
        return True
    return trust is not Trust.PUBLIC and other.kind is IdentityKind.USER_ID
