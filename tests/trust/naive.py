"""Three designs that look right: what most would write first, in our place at the same table."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ClientError

from leadscoring.contract import MESSAGES
from leadscoring.store import Store
from leadscoring.table import Action, Busy, Refused, Table, plain
from tests.tampering import Bug, sort_key, unconditional
from tests.trust.run import Run


def plain_add(_run: Run) -> Bug:
    """Note the interaction, then add its points: an ADD knows no repeats."""
    return _recording(lambda table, action: _call(table, _without_condition(action)))


def guard_then_add(_run: Run) -> Bug:
    """Put the interaction if it is new, and then add its points, in a second call."""
    return _recording(_call)


def publish_inline(run: Run) -> Bug:
    """Move the lead, and then publish that: no outbox remembers what was to be said."""
    write_at, publisher = Store._write_at, run.publisher()

    def inline(store: Store, lead: Action, others: Sequence[Action]) -> None:
        change, outbox = others
        write_at(store, lead, [change])
        publisher.publish(MESSAGES.validate_json(outbox["Put"]["Item"]["message"]["S"]))

    return patch.object(Store, "_write_at", inline)


def _recording(call: Callable[[Table, Action], None]) -> Bug:
    """Let what records interactions be one call after the other, not one transaction."""
    write = Table.write

    def broken(table: Table, actions: Sequence[Action]) -> None:
        if not any(sort_key(action).startswith("INTERACTION#") for action in actions):
            return write(table, actions)
        for place, action in enumerate(actions):
            try:
                call(table, action)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                    raise Busy("come again") from error
                blockers: list[Any] = [None] * len(actions)
                blockers[place] = plain(error.response.get("Item", {}))  # type: ignore[arg-type]
                raise Refused(blockers) from None
        return None

    return patch.object(Table, "write", broken)


def _call(table: Table, action: Action) -> None:
    ((kind, said),) = action.items()
    calls: dict[str, Any] = {
        "Put": table._dynamodb.put_item,
        "Update": table._dynamodb.update_item,
    }
    calls[kind](**said)


def _without_condition(action: Action) -> Action:
    ((kind, said),) = deepcopy(action).items()
    unconditional(said)
    return {kind: said}
