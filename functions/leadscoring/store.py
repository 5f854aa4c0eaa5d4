"""What is remembered. Nobody else knows the table: `items` has its forms, `table` its mechanics."""

import collections
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Self

from leadscoring import items, scoring
from leadscoring.interaction import Interaction, Trust, to_text
from leadscoring.items import Claims, numbered
from leadscoring.lead import Change, Entry, Lead
from leadscoring.model import MQL, Model
from leadscoring.table import Action, Image, Page, Refused, Table, Words, plain

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PENDING_SHARDS = 8

_ACTIONS_PER_TRANSACTION = 100


class Outdated(Exception):
    """The lead moved on since it was read; `lead` is the lead as it is now."""

    def __init__(self, lead: Lead) -> None:
        super().__init__(lead.id)
        self.lead = lead


@dataclass(frozen=True, slots=True)
class Keys:
    """The stack's own keys. Of secret keys only the SHA-256 digests are known."""

    lead_ids: bytes
    public: str
    secret_digests: frozenset[str]


@dataclass(frozen=True, slots=True)
class OutboxKey:
    """Names one outbox item: the message of a lead's `number`-th change."""

    lead_id: str
    number: int

    @classmethod
    def parse(cls, pk: str, sk: str) -> Self:
        """Return the outbox item that this table key names."""
        return cls(pk.removeprefix("LEAD#"), int(sk.removeprefix("OUTBOX#")))


@dataclass(frozen=True, slots=True)
class Recorded:
    """How many interactions were new, seen before, and seen before with other content."""

    stored: int = 0
    duplicates: int = 0
    conflicting: int = 0

    def __add__(self, other: "Recorded") -> "Recorded":
        return Recorded(
            self.stored + other.stored,
            self.duplicates + other.duplicates,
            self.conflicting + other.conflicting,
        )


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

    def keys(self) -> Keys:
        """Return the stack's keys, made when they are first asked for."""
        item = self._table.get("KEYS", "KEYS")
        if item is None or "lead_ids" not in item:
            # Each key for itself: somebody may have put a secret key there before.
            words = Words()
            sets = [
                f"{word} = if_not_exists({word}, {words.value(value)})"
                for word, value in (
                    (words.name("lead_ids"), secrets.token_hex(32)),
                    (words.name("public"), f"pk_{secrets.token_urlsafe(18)}"),
                )
            ]
            made = self._table.update(("KEYS", "KEYS"), f"SET {', '.join(sets)}", "", words)
            self._table.write([made])
            item = self._table.get("KEYS", "KEYS") or {}
        return Keys(
            lead_ids=bytes.fromhex(item["lead_ids"]),
            public=item["public"],
            secret_digests=frozenset(item.get("secret_digests", ())),
        )

    # The way in: the ledger and the counters

    def record(self, lead_id: str, interactions: Sequence[Interaction], model: Model) -> Recorded:
        """Enter each interaction into the lead's ledger once, adding what it pays as it enters.

        Raises:
            Busy: some may not be entered yet; repeat the whole call.
        """
        unique: dict[tuple[Trust, str], Interaction] = {}
        for interaction in interactions:
            unique.setdefault((interaction.trust, interaction.message_id), interaction)
        total = Recorded(duplicates=len(interactions) - len(unique))
        fresh = list(unique.values())
        size = _ACTIONS_PER_TRANSACTION - 1
        for start in range(0, len(fresh), size):
            total += self._record_chunk(lead_id, fresh[start : start + size], model)
        return total

    def _record_chunk(
        self, lead_id: str, interactions: Sequence[Interaction], model: Model
    ) -> Recorded:
        """Write one transaction, and again without whatever its conditions refused."""
        entries = [scoring.enter(interaction, model) for interaction in interactions]
        claims = items.claims(interactions, model)
        email = interactions[0].identity.email
        duplicates = conflicting = 0
        while entries:
            puts = [self._table.put_new(items.entry_item(lead_id, entry)) for entry in entries]
            lead = self._lead_update(lead_id, entries, claims, email, model.first_stage)
            try:
                self._table.write([*puts, lead])
                break
            except Refused as refused:
                *known, newer = refused.blockers
                pairs = list(zip(entries, known, strict=True))
                repeats = [(entry, item) for entry, item in pairs if item is not None]
                duplicates += len(repeats)
                conflicting += sum(e.fingerprint != item["fingerprint"] for e, item in repeats)
                entries = [entry for entry, item in pairs if item is None]
                claims = claims if newer is None else items.unbeaten(claims, newer)
        return Recorded(len(entries), duplicates, conflicting)

    def _lead_update(
        self,
        lead_id: str,
        entries: Sequence[Entry],
        claims: Claims,
        email: str | None,
        first_stage: str,
    ) -> Action:
        """Add what the entries pay; set the traits on condition that nobody knows them better."""
        sums = collections.Counter({"revision": 1, "interactions": len(entries)})
        for payment in (payment for entry in entries for payment in entry.paid):
            sums[f"seen:{payment.rule}"] += 1
            sums[payment.counter] += payment.units
        received = to_text(max(entry.received_at for entry in entries))
        once = {"stage": first_stage}
        if email:
            once["email"] = email
        words = Words()
        adds = [f"{words.name(name)} {words.value(n)}" for name, n in sums.items() if n]
        sets = [f"updated_at = {words.value(received)}"]
        for name, value in once.items():
            attribute = words.name(name)
            sets.append(f"{attribute} = if_not_exists({attribute}, {words.value(value)})")
        conditions = []
        for name, (claim, value) in claims.items():
            trait, claimed = words.name(f"trait:{name}"), words.value(claim)
            sets.append(f"{trait} = {words.value({'claim': claim, 'value': value})}")
            as_strong = f"{trait}.{words.name('value')} <= {words.value(value)}"
            conditions.append(
                f"(attribute_not_exists({trait}) OR {trait}.claim < {claimed}"
                f" OR ({trait}.claim = {claimed} AND {as_strong}))"
            )
        return self._table.update(
            (f"LEAD#{lead_id}", "LEAD"),
            f"ADD {', '.join(adds)} SET {', '.join(sets)}",
            " AND ".join(conditions),
            words,
        )

    # Leads

    def lead(self, lead_id: str) -> Lead | None:
        """Return the lead, or None if nobody has this id."""
        item = self._table.get(f"LEAD#{lead_id}", "LEAD")
        return None if item is None else items.lead(item)

    def lead_of(self, image: Image) -> Lead:
        """Return the lead that a stream record's image shows, counters or not."""
        return items.lead(plain(image))

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

    def entries(self, lead_id: str) -> Iterator[Entry]:
        """Return the lead's whole ledger of interactions."""
        cursor = None
        while True:
            page = self.ledger(lead_id, 1000, cursor)
            yield from page.items
            if (cursor := page.next) is None:
                return

    def ledger(self, lead_id: str, limit: int, cursor: str | None = None) -> Page[Entry]:
        """Return one page of the lead's interactions, by message id; raise `BadCursor`."""
        found, following = self._table.query_page(
            "pk = :pk AND begins_with(sk, :sk)",
            {":pk": f"LEAD#{lead_id}", ":sk": "INTERACTION#"},
            limit,
            cursor,
        )
        return Page([items.entry(item) for item in found], following)

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

    def commit(self, change: Change, revision: int, message: str) -> None:
        """Move the lead, enter the change into its ledger and put the message into the outbox.

        All three or none, on condition that the lead is still at `revision`.

        Raises:
            Outdated: it is not; decide again on the lead that the error brings.
            Busy: the table did not take it.
        """
        words = Words()
        at = to_text(change.at)
        sets = {"stage": change.to_stage, "cycle": change.cycle}
        if change.to_stage == MQL:
            sets |= {"by_stage": change.to_stage, "stage_since": at}
        assignments = [f"{words.name(name)} = {words.value(value)}" for name, value in sets.items()]
        one = words.value(1)
        lead = self._table.update(
            (f"LEAD#{change.lead_id}", "LEAD"),
            f"ADD revision {one}, changes {one} SET {', '.join(assignments)}",
            f"revision = {words.value(revision)}",
            words,
        )
        outbox = {
            "pk": f"LEAD#{change.lead_id}",
            "sk": numbered("OUTBOX", change.number),
            "message": message,
            "pending": str(zlib.crc32(change.lead_id.encode()) % PENDING_SHARDS),
            "pending_since": at,
        }
        try:
            self._table.write(
                [lead, self._table.put_new(items.change_item(change)), self._table.put_new(outbox)]
            )
        except Refused as refused:
            if (current := refused.blockers[0]) is None:
                raise
            raise Outdated(items.lead(current)) from None

    def outbox_message(self, key: OutboxKey) -> str | None:
        """Return the message still to be published, or None once it is settled."""
        item = self._table.get(f"LEAD#{key.lead_id}", numbered("OUTBOX", key.number))
        return None if item is None else str(item["message"])

    def settle(self, key: OutboxKey, message_id: str, now: datetime) -> None:
        """Note on the change when and as what it was published, and delete the outbox item."""
        pk = f"LEAD#{key.lead_id}"
        words = Words()
        noted = self._table.update(
            (pk, numbered("CHANGE", key.number)),
            f"SET published_at = if_not_exists(published_at, {words.value(to_text(now))}),"
            f" published_as = {words.value(message_id)}",
            "attribute_exists(pk)",
            words,
        )
        emptied = self._table.delete((pk, numbered("OUTBOX", key.number)))
        self._table.write([noted, emptied])

    def pending(self, before: datetime) -> Iterator[OutboxKey]:
        """Return the outbox items put there before this instant, the oldest of each shard first."""
        for shard in range(PENDING_SHARDS):
            for item in self._table.query(
                "pending = :shard AND pending_since < :before",
                {":shard": str(shard), ":before": to_text(before)},
                index="pending",
            ):
                yield OutboxKey.parse(item["pk"], item["sk"])
