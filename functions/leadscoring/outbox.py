"""Does what one outbox item says. Whoever finds the item calls this: the relay, or the sweeper."""

from datetime import datetime

from leadscoring.contract import MESSAGES
from leadscoring.publisher import Publisher
from leadscoring.store import OutboxKey, Store


def deliver(key: OutboxKey, store: Store, publisher: Publisher, now: datetime) -> bool:
    """Publish the item's message and settle it; return False if it was settled already.

    A crash between the two publishes again, under the same message id: subscribers deduplicate.
    """
    pending = store.outbox_message(key)
    if pending is None:
        return False
    message = MESSAGES.validate_json(pending)
    publisher.publish(message)
    store.settle(key, message.id, max(now, message.time))
    return True
