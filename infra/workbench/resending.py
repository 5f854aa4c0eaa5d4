"""`mqlambda resend`: tell again what was told, for subscribers that lost it."""

from collections.abc import Iterator
from datetime import datetime

from infra.workbench.rescoring import leads_of
from leadscoring import explanation
from leadscoring.contract import Message, Sender
from leadscoring.lead import ChangeKind, Lead
from leadscoring.model import Model
from leadscoring.store import Store


def messages(
    store: Store, model: Model, sender: Sender, since: datetime, lead: Lead | None = None
) -> Iterator[Message]:
    """Return what was published from then on, of one lead or of all, each lead's in order.

    Ids, times and types are as they were. What the lead was worth is added up again from the
    ledger as it stood then, by this model. Nothing is told of a person who has objected since.
    """
    for each in (lead,) if lead else leads_of(store):
        if not each.has_objected:
            yield from _of(each, store, model, sender, since)


def _of(
    lead: Lead, store: Store, model: Model, sender: Sender, since: datetime
) -> Iterator[Message]:
    changes = store.changes(lead.id)
    # What is not published yet will be: it waits in the outbox.
    again = [change for change in changes if change.published_at and change.at >= since]
    entries = list(store.ledger.entries(lead.id)) if again else []
    for change in again:
        then, known, _ = explanation.as_of(lead, entries, changes, change.at)
        if change.kind is ChangeKind.MERGED:
            yield sender.merge(change, then)
        else:
            why = explanation.explain(then, known, model, change.at)
            yield sender.message(change, then, why)
