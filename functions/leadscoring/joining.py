"""Joins what is one person under several names, and takes apart what is not.

What one message calls by two names is joined as far as its sender may; people may join any two.
What people took apart only they join again.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

from leadscoring import explanation, lifecycle, scoring, timers
from leadscoring.contract import Sender
from leadscoring.identities import Moved, Side
from leadscoring.interaction import Identity, IdentityKind, Interaction, Trust
from leadscoring.keys import Keys
from leadscoring.lead import Change, Entry, Lead
from leadscoring.model import Model
from leadscoring.store import Store
from leadscoring.table import Busy

# So many names of one lead the public may tell: who reads a lead reads them all.
MOST_BY_PUBLIC = 50

_REMEMBERED = 10_000
_TRIES = 20


class Joiner:
    """Joins leads by one model, and has the world told by one sender."""

    def __init__(self, store: Store, model: Model, sender: Sender) -> None:
        self._store = store
        self._model = model
        self._sender = sender
        self._settled: dict[tuple[str, str], None] = {}

    def join_all(self, act: Interaction, keys: Keys) -> None:
        """Join the other names that an act gives its lead, as far as its sender may.

        Anybody may join an anonymous lead to a known one, once; a server also what it knows by
        its own user id. Two people who are known already are never joined so.

        Raises:
            Busy: they may not be joined yet; repeat the call.
        """
        if act.identity is None or act.is_withheld:
            return
        for other in act.also:
            names = act.identity.lead_id(keys.lead_ids), other.lead_id(keys.lead_ids)
            if _may_join(act.identity, other, act.trust) and names not in self._settled:
                is_user = other.kind is IdentityKind.USER_ID
                if _until_done(partial(self._join, *names, act, is_user=is_user)):
                    self._settle(names)

    def _join(self, lead_id: str, other_id: str, act: Interaction, *, is_user: bool) -> bool:
        """Make one lead part of another, unless it is part of one or was taken out of one.

        Tell whether there will be nothing more to do about these two.
        """
        other, lead = self._store.lead(other_id), self._store.lead_now(lead_id)
        if is_user and other and other.merged_into:
            # A user that had an address stays who it is, and the new address becomes its own.
            other_id, into = lead_id, other.merged_into
            other, lead = self._store.lead(other_id), self._store.lead_now(into)
        if lead is None or lead.erased_at or (other and other.erased_at):
            return False
        if lead.id == other_id or (other and (other.merged_into or other.unmerged_at)):
            return True
        if act.trust is Trust.PUBLIC and lead.identities >= MOST_BY_PUBLIC:
            return False
        if other:
            self._merge(lead, other, act.trust, lifecycle.SAME_PERSON, act.received_at)
        else:
            self._store.identities.note(lead, other_id, act.received_at, act.trust)
        return True

    def merge(self, lead_id: str, other_id: str, who: str, why: str, at: datetime) -> None:
        """Make two leads one, since people say that they are; once.

        Raises:
            Busy: they are written to all the time; repeat the call.
        """

        def merge() -> None:
            lead, other = self._store.lead_now(lead_id), self._store.lead_now(other_id)
            if lead and other and lead.id != other.id and lead.is_one and other.is_one:
                self._merge(lead, other, who, why, at)

        _until_done(merge)

    def _merge(self, lead: Lead, other: Lead, who: str, why: str, at: datetime) -> None:
        change = lifecycle.joined(lead, other, who, why, at, self._model)
        joined = self._store.identities.joined(change, lead, other)
        message = self._sender.merge(change, joined.stands).model_dump_json()
        due_at = timers.due_at(joined.stands, self._model, at)
        self._store.identities.merge(joined, message, due_at)

    def unmerge(self, lead_id: str, identity_id: str, who: str, why: str, at: datetime) -> None:
        """Take an identity, with all that is part of it, out of the lead that it is a part of.

        Both then are worth what stands in their own ledgers; the identity stands where it stood.

        Raises:
            Busy: they are written to all the time; repeat the call.
        """

        def unmerge() -> None:
            lead, other = self._store.lead(lead_id), self._store.lead(identity_id)
            if lead and other and lead.is_one and other.merged_into:
                self._part(lead, other, who, why, at)

        _until_done(unmerge)

    def _part(self, lead: Lead, other: Lead, who: str, why: str, at: datetime) -> None:
        parts = {part.id: part for part in self._store.identities.parts(lead.id)}
        if other.id not in parts:
            return
        homes = self._store.identities.of(other.id)
        entries = list(self._store.ledger.entries(lead.id))
        taken = [entry for entry in entries if entry.home in homes]
        kept = [entry for entry in entries if entry.home not in homes]
        before = scoring.seen_before_without(
            lead, other, taken, self._store.changes(lead.id), parts[other.id].merged_at
        )
        gone = scoring.counters(scoring.remember(lead, taken))
        left = {name: -n for name, n in gone.items()}
        gone.subtract(scoring.counters(other))
        change = lifecycle.parted(lead, other, who, why, at, self._model, before)
        rest = self._side(lead, change, kept, left)
        change = lifecycle.parted(other, lead, who, why, at, self._model)
        self._store.identities.part(rest, self._side(other, change, taken, gone), len(homes) - 1)

    def _side(
        self, lead: Lead, change: Change, entries: list[Entry], sums: Mapping[str, int]
    ) -> Side:
        """Return the lead as it stands by these entries alone."""
        after = replace(lifecycle.moved(scoring.remember(lead, entries), change), merged_into=None)
        why = explanation.explain(after, entries, self._model, change.at)
        return Side(
            lead=lead,
            change=change,
            message=self._sender.message(change, after, why).model_dump_json(),
            due_at=timers.due_at(after, self._model, change.at),
            sums=sums,
            known=scoring.claims(entries),
        )

    def _settle(self, names: tuple[str, str]) -> None:
        self._settled[names] = None
        while len(self._settled) > _REMEMBERED:
            del self._settled[next(iter(self._settled))]


def _until_done[T](attempt: Callable[[], T]) -> T:
    """Look and write again while others move the leads in between."""
    for _ in range(_TRIES):
        with suppress(Moved):
            return attempt()
    raise Busy("the leads are written to all the time")


def _may_join(known: Identity, other: Identity, trust: Trust) -> bool:
    if known.kind is IdentityKind.ANONYMOUS_ID:
        return False
    if other.kind is IdentityKind.ANONYMOUS_ID:
        return True
    return trust is not Trust.PUBLIC and other.kind is IdentityKind.USER_ID
