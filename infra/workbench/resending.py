"""`mqlambda resend`: tell again what was told, for subscribers that lost it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge

from infra.workbench.rescoring import leads_of
from leadscoring import explanation
from leadscoring.contract import Message, Sender
from leadscoring.lead import Change, ChangeKind, Lead
from leadscoring.model import Model
from leadscoring.store import Store


def messages(
    store: Store, model: Model, sender: Sender, since: datetime, lead: Lead | None = None
) -> Iterator[Message]:
    """Return what was published from then on, of one lead or of all, each lead's in order.

    Ids, times and types are as they were. What the lead was worth is added up again from the
    ledger as it stood then, by this model. Nothing is told of a person who has objected since. Of
    an erased lead its tombstone tells: who has begun anew has none any more.
    """
    again = _Again(store, model, sender, since)
    if lead:
        yield from again.of(lead)
        return
    for each in leads_of(store.leads):
        yield from again.of(each)
    # Last, for nothing may follow an erasure.
    for each in leads_of(store.forgotten):
        if each.erased_at:
            yield from again.of(each)


@dataclass(frozen=True, slots=True)
class _Again:
    """Makes messages again that were published from an instant on."""

    store: Store
    model: Model
    sender: Sender
    since: datetime

    def of(self, lead: Lead) -> Iterator[Message]:
        """Return what was told of a lead, and of what is part of it by now before it was."""
        if lead.erased_at:
            yield from self._erasure(lead, lead.erased_at)
        elif not lead.has_objected:
            parts = map(self._of_part, self.store.identities.of(lead.id))
            yield from merge(*parts, key=lambda message: message.time)

    def _erasure(self, lead: Lead, at: datetime) -> Iterator[Message]:
        """Return what was told of an erasure, unless it still goes on and will be told."""
        if lead.erasing is None and at >= self.since:
            merged = self.store.identities.of(lead.id)[1:]
            yield self.sender.erasure(lead.id, lead.changes, at, merged)

    def _of_part(self, lead_id: str) -> Iterator[Message]:
        changes = self.store.changes(lead_id)
        lead = self.store.lead(lead_id)
        for change in changes:
            # What is not published yet will be: it waits in the outbox.
            if lead and change.published_at and change.published_at >= self.since:
                yield self._message(lead, change, changes)

    def _message(self, lead: Lead, change: Change, changes: list[Change]) -> Message:
        entries = self.store.ledger.entries(lead.id, change.at)
        then, known, _ = explanation.as_of(lead, entries, changes, change.at)
        if change.kind is ChangeKind.MERGED:
            return self.sender.merge(change, then)
        why = explanation.explain(then, known, self.model, change.at)
        return self.sender.message(change, then, why)
