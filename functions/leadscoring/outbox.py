"""Does what one outbox item says. Whoever finds the item calls this: the relay, or the sweeper."""

from datetime import datetime

from leadscoring.contract import MESSAGES, LeadErased, LeadMerged
from leadscoring.lead import Lead
from leadscoring.publisher import Publisher
from leadscoring.store import OutboxKey, Pending, Store


def deliver(key: OutboxKey, store: Store, publisher: Publisher, now: datetime) -> bool:
    """Publish the item's message and settle it; return False if there was nothing to publish.

    A crash between the two publishes again, under the same message id: subscribers deduplicate.
    What says that a lead rises is not published once the lead has objected, and of an erased lead
    nothing but that it is. That two are one is told of an objector, too, without contact data.
    """
    pending = store.pending_message(key)
    if pending is None:
        return False
    message = MESSAGES.validate_json(pending.text)
    if isinstance(message, LeadErased):
        return _erase(key, message, store, publisher)
    lead = store.lead_now(key.lead_id)
    if why := _withheld_by(pending, lead):
        store.withhold(key, why)
        return False
    if isinstance(message, LeadMerged) and lead and lead.has_objected:
        message = message.without_contact()
    publisher.publish(message)
    store.settle(key, message.id, max(now, message.time))
    return True


def _erase(key: OutboxKey, message: LeadErased, store: Store, publisher: Publisher) -> bool:
    """Go on with an erasure, and publish it once there is nothing more to take away."""
    if not store.erasing.go_on(key.lead_id, key.number):
        return False
    publisher.publish(message)
    store.erasing.end(key.lead_id, key.number)
    return True


def _withheld_by(pending: Pending, lead: Lead | None) -> str | None:
    """Return why the message may not be published of this lead any more, or None if it may."""
    if lead is None or lead.erased_at:
        return "erased"
    return "consent" if pending.needs_consent and lead.has_objected else None
