"""Ours, each time with one guard less, or with several of one write."""

import time
import uuid
from collections.abc import Sequence
from functools import partial
from unittest.mock import patch

from leadscoring import items, lifecycle, scoring
from leadscoring.contract import Message
from leadscoring.interaction import Interaction
from leadscoring.ledger import Ledger, Recorded, _chunks
from leadscoring.model import Model
from leadscoring.publisher import Publisher
from leadscoring.store import Store
from leadscoring.table import Action, Refused, Table
from tests.tampering import Bug, sort_key, unconditional, writes

entries_are_put_anyway = partial(writes, "INTERACTION#", tamper=unconditional)
limits_hold_nobody_back = partial(writes, "LIMIT#", tamper=unconditional)
nobody_asks_who_is_merged = partial(
    patch, "leadscoring.membership.Membership.conditions", lambda *_: []
)
outbox_is_not_swept = partial(patch, "leadscoring.store.Store.pending", lambda *_: iter(()))
anybody_may_be_called = partial(
    patch.object, lifecycle._Judgement, "_may_be_called", lambda _: True
)


def joined_anyway() -> Bug:
    write = Table.write

    def broken(table: Table, actions: Sequence[Action]) -> None:
        if any(sort_key(action).startswith("IDENTITY#") for action in actions):
            time.sleep(0.1)  # a merge is rare: somebody else must have the time to come between
            for action in actions:
                (operation,) = action.values()
                if sort_key(action) == "LEAD":
                    unconditional(operation)
        write(table, actions)

    return patch.object(Table, "write", broken)


def moved_anyway() -> Bug:
    def broken(store: Store, lead: Action, others: Sequence[Action]) -> None:
        for action in (lead, *others):
            (operation,) = action.values()
            unconditional(operation)
        store._table.write([lead, *others])

    return patch.object(Store, "_write_at", broken)


def outbox_comes_later() -> Bug:
    write = Table.write

    def broken(table: Table, actions: Sequence[Action]) -> None:
        later = [a for a in actions if "Put" in a and sort_key(a).startswith("OUTBOX#")]
        write(table, [action for action in actions if action not in later])
        if later:
            write(table, later)

    return patch.object(Table, "write", broken)


def refused_is_recorded() -> Bug:
    write = Table.write

    def broken(table: Table, actions: Sequence[Action]) -> None:
        try:
            write(table, actions)
        except Refused:
            if not sort_key(actions[0]).startswith("INTERACTION#"):
                raise

    return patch.object(Table, "write", broken)


def repeats_in_a_request_stay() -> Bug:
    def broken(
        ledger: Ledger, home: str, interactions: Sequence[Interaction], model: Model
    ) -> Recorded:
        entries = [scoring.enter(interaction, model) for interaction in interactions]
        identity = interactions[0].identity
        email = identity.email if identity else None
        done = (ledger._record_chunk(home, chunk, email, model) for chunk in _chunks(entries))
        return sum(done, Recorded())

    return patch.object(Ledger, "record", broken)


def one_id_is_one_entry() -> Bug:
    key = items.interaction_key

    def broken(lead_id: str, *place: str) -> tuple[str, str]:
        return key(lead_id, "public", *place[1:])

    return patch.object(items, "interaction_key", broken)


def published_under_new_ids() -> Bug:
    publish = Publisher.publish

    def broken(publisher: Publisher, message: Message) -> str:
        lead_id = message.id.partition(":")[0]
        return publish(publisher, message.model_copy(update={"id": f"{lead_id}:{uuid.uuid4()}"}))

    return patch.object(Publisher, "publish", broken)
