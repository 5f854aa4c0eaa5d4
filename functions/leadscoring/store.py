"""What is remembered. Nobody else knows the table: `items` has its forms, `table` its mechanics."""

import heapq
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from leadscoring import items
from leadscoring.erasing import Erasing
from leadscoring.identities import Identities
from leadscoring.interaction import from_text, to_text
from leadscoring.items import SHARDS, numbered
from leadscoring.keys import Keys
from leadscoring.lead import Change, Lead
from leadscoring.ledger import Ledger, Outdated
from leadscoring.scoring import Claims
from leadscoring.table import Action, Image, Item, Page, Refused, Table, Words, plain

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KEY_BYTES = 32
_LEAD = "sk = :sk AND attribute_not_exists(merged_into)"
_ALIVE = f"{_LEAD} AND attribute_not_exists(erased_at)"


@dataclass(frozen=True, slots=True)
class OutboxKey:
    """Names one outbox item: the message of a lead's `number`-th change, waiting since then."""

    lead_id: str
    number: int
    since: datetime

    @classmethod
    def of(cls, item: Item) -> Self:
        """Return the key of an outbox item, of which its index shows enough."""
        lead_id = item["pk"].removeprefix("LEAD#")
        number = int(item["sk"].removeprefix("OUTBOX#"))
        return cls(lead_id, number, from_text(item["pending_since"]))


@dataclass(frozen=True, slots=True)
class Pending:
    """A message still to be published, and whether that needs the lead's consent."""

    text: str
    needs_consent: bool


class Store:
    """The table of one stack."""

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        table_name: str,
        *,
        budget_seconds: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._table = Table(dynamodb, table_name, budget_seconds=budget_seconds, sleep=sleep)
        self.identities = Identities(self._table)
        self.ledger = Ledger(self._table, self.identities)
        self.erasing = Erasing(self._table, self.identities)

    def keys(self) -> Keys:
        """Return the stack's keys, made when they are first asked for."""
        item = self._table.get("KEYS", "KEYS")
        if item is None or "lead_ids" not in item:
            # Each key for itself: somebody may have put a secret key there before.
            made = {
                "lead_ids": secrets.token_hex(32),
                "public": f"pk_{secrets.token_urlsafe(18)}",
            }
            self._table.write([self._table.update(("KEYS", "KEYS"), once=made)])
            item = self._table.get("KEYS", "KEYS") or {}
        return items.keys(item)

    def change_keys(self, change: Callable[[Keys], Keys]) -> Keys:
        """Keep the stack's keys as `change` makes them, and return them.

        It may be called again, with the keys as somebody else has changed them meanwhile; what it
        raises is raised, and nothing is changed.

        Raises:
            Busy: the table did not take it.
        """
        while True:
            before = self.keys()
            after = change(before)
            if after == before or self._keep_keys(before, after):
                return after

    def signing_keys(self, now: datetime) -> Keys:
        """Return the stack's keys, one that signs links among them.

        Raises:
            Busy: the table did not take it.
        """
        key = secrets.token_bytes(_KEY_BYTES)
        return self.change_keys(lambda keys: keys if keys.links else keys.with_link_key(key, now))

    def _keep_keys(self, before: Keys, after: Keys) -> bool:
        """Write what is new and remove what is gone; tell whether the keys still were as before."""
        words = Words()
        condition = "attribute_not_exists(revision)"
        if before.revision:
            condition = f"revision = {words.value(before.revision)}"
        old, new = items.keys_item(before), items.keys_item(after)
        update = self._table.update(
            ("KEYS", "KEYS"),
            condition,
            words,
            add={"revision": 1},
            sets={name: value for name, value in new.items() if old.get(name) != value},
            remove=old.keys() - new.keys(),
        )
        try:
            self._table.write([update])
        except Refused:
            return False
        return True

    # A rescore

    def begin_rescore(self, lead_id: str, until: datetime) -> None:
        """Let nobody decide on the lead's stage until then, or until the rescore has ended."""
        self._update_lead(lead_id, sets={"rescoring_until": to_text(until)})

    def end_rescore(self, lead_id: str, seen_before: Mapping[str, int] | None = None) -> None:
        """Let the lead be judged again: the stream shows it to `promote` at once.

        `seen_before` is how often rules had been seen when the cycle began, as they are paid now.
        """
        noted = {} if seen_before is None else {"seen_before": seen_before}
        self._update_lead(lead_id, sets=noted, remove=["rescoring_until"])

    def rescore_place(self) -> tuple[int, str | None]:
        """Return by which model the last rescore pays, and where in the table it stands.

        The place is None where none has begun, or the last one came to its end.
        """
        item = self._table.get("RESCORE", "RESCORE") or {}
        return int(item.get("number", 0)), item.get("cursor")

    def note_rescore_place(self, number: int, cursor: str | None) -> None:
        """Note where the rescore by this model stands; None is its end.

        Raises:
            Refused: a newer model's rescore has begun.
        """
        words = Words()
        model = words.name("number")
        newest = f"attribute_not_exists({model}) OR {model} <= {words.value(number)}"
        place = {"cursor": cursor} if cursor else {}
        update = self._table.update(
            ("RESCORE", "RESCORE"),
            newest,
            words,
            sets={"number": number, **place},
            remove={"cursor"} - place.keys(),
        )
        self._table.write([update])

    def _update_lead(
        self, lead_id: str, sets: Mapping[str, Any], remove: Sequence[str] = ()
    ) -> None:
        key, there = items.lead_key(lead_id), "attribute_exists(pk)"
        update = self._table.update(key, there, add={"revision": 1}, sets=sets, remove=remove)
        self._table.write([update])

    # Leads

    def lead(self, lead_id: str) -> Lead | None:
        """Return the lead, or None if nobody has this id."""
        item = self._table.get(*items.lead_key(lead_id))
        return None if item is None else items.lead(item)

    def lead_now(self, lead_id: str) -> Lead | None:
        """Return the lead that this one is a part of now, itself if it is none's."""
        item = self.identities.whole(lead_id)
        return None if item is None else items.lead(item)

    def claims(self, lead_id: str) -> Claims:
        """Return what is told of the lead, and how far each is believed."""
        return items.claims(self._table.get(*items.lead_key(lead_id)) or {})

    def lead_of(self, image: Image) -> Lead:
        """Return the lead that a stream record's image shows, counters or not."""
        return items.lead(plain(image))

    def leads(self, limit: int, cursor: str | None = None) -> Page[Lead]:
        """Read on through the whole table, `limit` items further; return the leads among them."""
        found, following = self._table.scan_page(_ALIVE, {":sk": "LEAD"}, limit, cursor)
        return Page([items.lead(item) for item in found], following)

    def forgotten(self, limit: int, cursor: str | None = None) -> Page[Lead]:
        """Read on likewise; return all that ever were erased, parts of other leads too."""
        condition = "sk = :sk AND attribute_exists(last_erased_at)"
        found, following = self._table.scan_page(condition, {":sk": "LEAD"}, limit, cursor)
        return Page([items.lead(item) for item in found], following)

    def leads_in(self, part: int, parts: int) -> Iterator[tuple[str, Callable[[], Lead]]]:
        """Return the leads in one of so many parts of the table, about as they are now.

        They are read one by one, so that one that can't be read stops no other.
        """
        for item in self._table.scan_part(_ALIVE, {":sk": "LEAD"}, part, parts):
            yield item["pk"].removeprefix("LEAD#"), partial(items.lead, item)

    def guarded_until(self) -> int | None:
        """Return the minute up to which the rolling scan has come, None before its first."""
        item = self._table.get("SWEEP", "SWEEP")
        return None if item is None else int(item["minute"])

    def note_guarded(self, minute: int) -> None:
        """Note how far the rolling scan has come; nobody who is slower takes it back."""
        words = Words()
        name = words.name("minute")
        further = f"attribute_not_exists({name}) OR {name} < {words.value(minute)}"
        noted = self._table.update(("SWEEP", "SWEEP"), further, words, sets={"minute": minute})
        with suppress(Refused):
            self._table.write([noted])

    def leads_at(self, stage: str, limit: int, cursor: str | None = None) -> Page[Lead]:
        """Return the leads at `mql` or beyond, those longest there first.

        Raises:
            BadCursor: the cursor is not one that this list gave.
        """
        keys, following = self._table.query_page(
            "by_stage = :stage", {":stage": stage}, limit, cursor, index="by-stage"
        )
        leads = [self.lead(key["pk"].removeprefix("LEAD#")) for key in keys]
        return Page([lead for lead in leads if lead and lead.stage == stage], following)

    def changes(self, lead_id: str) -> list[Change]:
        """Return all changes of the lead, the first one first."""
        return [
            items.change(item)
            for item in self._table.query(
                "pk = :pk AND begins_with(sk, :sk)",
                {":pk": f"LEAD#{lead_id}", ":sk": "CHANGE#"},
            )
        ]

    # Changes and their messages

    def commit(
        self,
        change: Change,
        revision: int,
        message: str,
        due_at: datetime,
        *,
        needs_consent: bool = False,
    ) -> None:
        """Move the lead, enter the change into its ledger and put the message into the outbox.

        All three or none, on condition that the lead is still at `revision`. At `due_at` its timer
        rings next. A message that needs consent is not published once the lead has objected.

        Raises:
            Outdated: it is not; decide again on the lead that the error brings.
            Busy: the table did not take it.
        """
        words = Words()
        sets, removed = items.after(change)
        lead = self._table.update(
            items.lead_key(change.lead_id),
            f"revision = {words.value(revision)}",
            words,
            add={"revision": 1, "changes": 1},
            sets=sets | items.timer(change.lead_id, due_at),
            remove=removed,
        )
        outbox = items.outbox_item(change, message, needs_consent=needs_consent)
        told = (items.change_item(change), outbox)
        self._write_at(lead, [self._table.put_new(item) for item in told])

    def _write_at(self, lead: Action, others: Sequence[Action]) -> None:
        """Write all or none; raise `Outdated` if the lead has moved on."""
        try:
            self._table.write([lead, *others])
        except Refused as refused:
            if not (current := refused.blockers[0]):
                raise
            raise Outdated(items.lead(current)) from None

    def due(self, now: datetime, most: int) -> list[str]:
        """Return ids of leads whose timer has rung: of each shard the oldest, at most so many."""
        found: list[str] = []
        for shard in range(SHARDS):
            rung, _ = self._table.query_page(
                "due = :shard AND due_at <= :now",
                {":shard": str(shard), ":now": to_text(now)},
                most,
                cursor=None,
                index="due",
            )
            found += (item["pk"].removeprefix("LEAD#") for item in rung)
        return found

    def set_timer(self, lead: Lead, due_at: datetime) -> None:
        """Let the lead's timer ring then; leave it to whoever else if the lead has moved on."""
        words = Words()
        as_read = f"revision = {words.value(lead.revision)}"
        timer = items.timer(lead.id, due_at)
        update = self._table.update(items.lead_key(lead.id), as_read, words, sets=timer)
        with suppress(Refused):
            self._table.write([update])

    def outbox_key_of(self, image: Image) -> OutboxKey:
        """Return the key of the outbox item that a stream record's image shows."""
        return OutboxKey.of(plain(image))

    def pending_message(self, key: OutboxKey) -> Pending | None:
        """Return the message still to be published, or None once it is settled."""
        item = self._table.get(f"LEAD#{key.lead_id}", numbered("OUTBOX", key.number))
        return None if item is None else Pending(item["message"], "needs_consent" in item)

    def pending_of(self, lead_id: str) -> Iterator[str]:
        """Return all messages of one identity that are still to be published."""
        for item in self._table.query(
            "pk = :pk AND begins_with(sk, :sk)", {":pk": f"LEAD#{lead_id}", ":sk": "OUTBOX#"}
        ):
            yield item["message"]

    def settle(self, key: OutboxKey, message_id: str, now: datetime) -> None:
        """Note on the change when and as what it was published, and delete the outbox item."""
        self._empty(key, message_id, {"published_at": to_text(now)})

    def withhold(self, key: OutboxKey, why: str) -> None:
        """Note on the change why it is never published, and delete the outbox item."""
        self._empty(key, f"withheld: {why}", {})

    def _empty(self, key: OutboxKey, published_as: str, once: Mapping[str, Any]) -> None:
        pk = f"LEAD#{key.lead_id}"
        settled = self._table.update(
            (pk, numbered("CHANGE", key.number)),
            "attribute_exists(pk)",
            sets={"published_as": published_as},
            once=once,
        )
        emptied = self._table.delete((pk, numbered("OUTBOX", key.number)))
        self._table.write([settled, emptied])

    def pending(self, before: datetime) -> Iterator[OutboxKey]:
        """Return the outbox items put there before this instant, the oldest first."""
        shards = (self._pending_in(shard, before) for shard in range(SHARDS))
        return heapq.merge(*shards, key=lambda key: key.since)

    def _pending_in(self, shard: int, before: datetime) -> Iterator[OutboxKey]:
        found = self._table.query(
            "pending = :shard AND pending_since < :before",
            {":shard": str(shard), ":before": to_text(before)},
            index="pending",
        )
        return map(OutboxKey.of, found)
