"""Breaks the product on purpose: what can't be seen to fail has not been tested."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from unittest.mock import patch

from leadscoring import outbox
from leadscoring.contract import MESSAGES, LeadErased
from leadscoring.publisher import Publisher
from leadscoring.store import OutboxKey, Store
from leadscoring.table import Action, Table

type Bug = AbstractContextManager[Any]


def sort_key(action: Action) -> str:
    """Return the sort key of the item that an action writes."""
    (operation,) = action.values()
    key: str = (operation.get("Key") or operation["Item"])["sk"]["S"]
    return key


def writes(*prefixes: str, tamper: Callable[[dict[str, Any]], None] | None = None) -> Bug:
    """Let writes to items whose sort keys begin so be left out, or tampered with."""
    write = Table.write

    def is_left(action: Action) -> bool:
        if "Delete" in action or not sort_key(action).startswith(prefixes):
            return True
        if tamper:
            (operation,) = action.values()
            tamper(operation)
        return tamper is not None

    def broken(table: Table, actions: Sequence[Action]) -> None:
        write(table, [action for action in actions if is_left(action)])

    return patch.object(Table, "write", broken)


def unconditional(operation: dict[str, Any]) -> None:
    """Drop the condition, and the words that only it uses."""
    operation.pop("ConditionExpression", None)
    operation.pop("ReturnValuesOnConditionCheckFailure", None)
    said = operation.get("UpdateExpression", "").replace(",", " ").replace(")", " ").split()
    for words in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        known = {name: word for name, word in operation.get(words, {}).items() if name in said}
        operation.pop(words, None)
        if known:
            operation[words] = known


def settled_before_it_is_published() -> Bug:
    deliver = outbox.deliver

    def broken(key: OutboxKey, store: Store, publisher: Publisher, now: datetime) -> bool:
        pending = store.pending_message(key)
        message = MESSAGES.validate_json(pending.text) if pending else None
        if message is None or isinstance(message, LeadErased):
            return deliver(key, store, publisher, now)
        store.settle(key, message.id, now)
        publisher.publish(message)
        return True

    return patch.object(outbox, "deliver", broken)
