"""What is remembered. Nobody else knows the table: `items` has its forms, `table` its mechanics."""

import secrets
import time
import zlib
from collections import Counter as Multiset
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from leadscoring import items, scoring
from leadscoring.interaction import Interaction, Trust, to_text
from leadscoring.items import numbered
from leadscoring.lead import Change, Entry, Lead
from leadscoring.lifecycle import BEYOND_MQL
from leadscoring.limits import Allowance, Tally
from leadscoring.model import MQL, Model
from leadscoring.scoring import Claims
from leadscoring.table import Action, Image, Page, Refused, Table, Words, plain

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PENDING_SHARDS = 8

_ACTIONS_PER_TRANSACTION = 100
_REMEMBERED_ALLOWANCES = 10_000
_NONE = Decimal(0)


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
        self._used_up: dict[tuple[str, str], None] = {}

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
        entries = [scoring.enter(interaction, model) for interaction in unique.values()]
        identities = (interaction.identity for interaction in interactions)
        email = next((identity.email for identity in identities if identity), None)
        for chunk in _chunks(entries):
            total += self._record_chunk(lead_id, chunk, email, model)
        return total

    def _record_chunk(
        self, lead_id: str, entries: list[Entry], email: str | None, model: Model
    ) -> Recorded:
        """Write one transaction, and again without whatever its conditions refused."""
        claims = scoring.claims(entries)
        used = self._full(lead_id, entries, model)
        duplicates = conflicting = 0
        while entries:
            tally = Tally(model, used)
            paid = tally.cut_all(entries)
            puts = [self._table.put_new(items.entry_item(lead_id, entry)) for entry in paid]
            limits = [self._use(lead_id, name, n, model) for name, n in tally.taken.items()]
            lead = self._lead_update(lead_id, paid, claims, email, model.first_stage)
            try:
                self._table.write([*puts, *limits, lead])
            except Refused as refused:
                *blockers, newer = refused.blockers
                known, limited = blockers[: len(puts)], blockers[len(puts) :]
                pairs = list(zip(entries, known, strict=True))
                repeats = [(entry, item) for entry, item in pairs if item is not None]
                duplicates += len(repeats)
                conflicting += sum(e.fingerprint != item["fingerprint"] for e, item in repeats)
                entries = [entry for entry, item in pairs if item is None]
                used |= _used(zip(tally.taken, limited, strict=True))
                claims = claims if newer is None else items.unbeaten(claims, newer)
            else:
                used = tally.used
                break
        self._remember_full(lead_id, used, model)
        return Recorded(len(entries), duplicates, conflicting)

    def _use(self, lead_id: str, allowance: str, amount: Decimal, model: Model) -> Action:
        """Use so much of an allowance, on condition that so much is left; a negative gives back."""
        parsed = Allowance.parse(allowance)
        words = Words()
        if amount < 0:
            condition = f"used >= {words.value(-amount)}"
        else:
            limit = model.rule[parsed.rule].limit
            rest = (limit.most if limit else amount) - amount
            condition = f"attribute_not_exists(used) OR used <= {words.value(rest)}"
        expression = f"ADD used {words.value(amount)}"
        if parsed.ends_at:
            # Nothing that is older than the retention arrives: nobody asks for it any more.
            gone = parsed.ends_at + timedelta(days=model.retention_days + 1)
            expression += f" SET expires_at = {words.value(int(gone.timestamp()))}"
        return self._table.update(items.limit_key(lead_id, allowance), expression, condition, words)

    def _full(self, lead_id: str, entries: Sequence[Entry], model: Model) -> dict[str, Decimal]:
        """Return the allowances that this container knows to be used up, with what they had."""
        asked = {payment.allowance for entry in entries for payment in entry.paid}
        return {
            allowance: limit.most
            for allowance in asked
            if allowance
            and (lead_id, allowance) in self._used_up
            and (limit := model.rule[Allowance.parse(allowance).rule].limit)
        }

    def _remember_full(self, lead_id: str, used: Mapping[str, Decimal], model: Model) -> None:
        for allowance, amount in used.items():
            limit = model.rule[Allowance.parse(allowance).rule].limit
            if limit and amount >= limit.most:
                self._used_up[lead_id, allowance] = None
        while len(self._used_up) > _REMEMBERED_ALLOWANCES:
            del self._used_up[next(iter(self._used_up))]

    def _lead_update(
        self,
        lead_id: str,
        entries: Sequence[Entry],
        claims: Claims,
        email: str | None,
        first_stage: str,
    ) -> Action:
        """Add what the entries pay; set the traits on condition that nobody knows them better."""
        sums = _sums(entries)
        sums.update(revision=1, interactions=len(entries))
        received = to_text(max(entry.received_at for entry in entries))
        once = {"stage": first_stage}
        if email:
            once["email"] = email
        words = Words()
        adds = _adds(sums, words)
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
            f"ADD {adds} SET {', '.join(sets)}",
            " AND ".join(conditions),
            words,
        )

    # The ledger paid again

    def begin_rescore(self, lead_id: str, until: datetime) -> None:
        """Let nobody decide on the lead's stage until then, or until the rescore has ended."""
        words = Words()
        adds = _adds({"revision": 1}, words)
        expression = f"ADD {adds} SET rescoring_until = {words.value(to_text(until))}"
        self._update_lead(lead_id, expression, words)

    def end_rescore(self, lead_id: str) -> None:
        """Let the lead be judged again: the stream shows it to `promote` at once."""
        words = Words()
        self._update_lead(
            lead_id, f"ADD {_adds({'revision': 1}, words)} REMOVE rescoring_until", words
        )

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
        model, new, place = words.name("number"), words.value(number), words.name("cursor")
        noted = f", {place} = {words.value(cursor)}" if cursor else f" REMOVE {place}"
        expression = f"SET {model} = {new}{noted}"
        condition = f"attribute_not_exists({model}) OR {model} <= {new}"
        update = self._table.update(("RESCORE", "RESCORE"), expression, condition, words)
        self._table.write([update])

    def pay_again(self, lead_id: str, entries: Sequence[Entry], model: Model) -> int:
        """Pay these entries by the model, as far as that changes them; return how many it did.

        Each entry is changed on condition that it is as given: one that is not is left alone.

        Raises:
            Busy: some may not be paid yet; repeat the call.
        """
        return sum(
            self._pay_chunk_again(lead_id, chunk, model)
            for chunk in _chunks(entries, lambda entry: scoring.pay_again(entry, model))
        )

    def _pay_chunk_again(self, lead_id: str, entries: Sequence[Entry], model: Model) -> int:
        used: dict[str, Decimal] = {}
        forgotten: set[str] = set()
        while True:
            tally = Tally(model, used)
            again = [(entry, tally.cut(scoring.pay_again(entry, model))) for entry in entries]
            changed = [(old, new) for old, new in again if old.paid != new.paid]
            if not changed:
                return 0
            updates = [self._repayment(lead_id, old, new) for old, new in changed]
            given_back = _given_back(changed)
            amounts = {
                name: amount
                for name in sorted(tally.taken.keys() | given_back.keys() - forgotten)
                if (amount := tally.taken.get(name, _NONE) - given_back.get(name, _NONE))
            }
            limits = [self._use(lead_id, name, n, model) for name, n in amounts.items()]
            words = Words()
            sums = _sums(new for _, new in changed)
            sums.subtract(_sums(old for old, _ in changed))
            lead = self._table.update(
                (f"LEAD#{lead_id}", "LEAD"),
                f"ADD {_adds({'revision': 1, **sums}, words)}",
                "attribute_exists(pk)",
                words,
            )
            try:
                self._table.write([*updates, *limits, lead])
            except Refused as refused:
                *blockers, gone = refused.blockers
                if gone is not None:
                    return 0
                moved, limited = blockers[: len(updates)], blockers[len(updates) :]
                pairs = zip(changed, moved, strict=True)
                others = [old for (old, _), item in pairs if item is not None]
                entries = [entry for entry in entries if entry not in others]
                for name, item in zip(amounts, limited, strict=True):
                    if item is not None and amounts[name] > 0:
                        used[name] = item["used"]
                    elif item is not None and not others:
                        # Its window is long over, and DynamoDB has deleted it.
                        forgotten.add(name)
            else:
                return len(changed)

    def _repayment(self, lead_id: str, old: Entry, new: Entry) -> Action:
        words = Words()
        return self._table.update(
            items.entry_key(lead_id, old),
            f"SET paid = {words.value(items.paid(new))}, {words.name('model')}"
            f" = {words.value(new.model)}",
            f"paid = {words.value(items.paid(old))}",
            words,
        )

    def repair(self, lead: Lead, remembered: Lead) -> None:
        """Bring the lead's counters to what its ledger adds up to.

        Raises:
            Outdated: the lead moved on since it was read; verify it again.
        """
        words = Words()
        sums = _counters(remembered)
        sums.subtract(_counters(lead))
        adds = _adds({"revision": 1, **sums}, words)
        condition = f"revision = {words.value(lead.revision)}"
        try:
            self._update_lead(lead.id, f"ADD {adds}", words, condition)
        except Refused as refused:
            if (current := refused.blockers[0]) is None:
                raise
            raise Outdated(items.lead(current)) from None

    def _update_lead(
        self, lead_id: str, expression: str, words: Words, condition: str = "attribute_exists(pk)"
    ) -> None:
        key = (f"LEAD#{lead_id}", "LEAD")
        self._table.write([self._table.update(key, expression, condition, words)])

    # Leads

    def lead(self, lead_id: str) -> Lead | None:
        """Return the lead, or None if nobody has this id."""
        item = self._table.get(f"LEAD#{lead_id}", "LEAD")
        return None if item is None else items.lead(item)

    def lead_of(self, image: Image) -> Lead:
        """Return the lead that a stream record's image shows, counters or not."""
        return items.lead(plain(image))

    def leads(self, limit: int, cursor: str | None = None) -> Page[Lead]:
        """Read on through the whole table, `limit` items further; return the leads among them."""
        found, following = self._table.scan_page("sk = :sk", {":sk": "LEAD"}, limit, cursor)
        return Page([items.lead(item) for item in found], following)

    def allowances(self, lead_id: str) -> dict[str, Decimal]:
        """Return how much of each allowance the lead has used."""
        found = self._table.query(
            "pk = :pk AND begins_with(sk, :sk)", {":pk": f"LEAD#{lead_id}", ":sk": "LIMIT#"}
        )
        return {item["sk"].removeprefix("LIMIT#"): item["used"] for item in found}

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
        sets: dict[str, Any] = {"stage": change.to_stage, "cycle": change.cycle}
        listed = {"by_stage": change.to_stage, "stage_since": at, "gate": change.gate}
        if change.to_stage == MQL or change.to_stage in BEYOND_MQL:
            sets |= {name: value for name, value in listed.items() if value}
        if change.seen_before is not None:
            sets["seen_before"] = change.seen_before
        assignments = [f"{words.name(name)} = {words.value(value)}" for name, value in sets.items()]
        removed = [words.name(name) for name in listed if name not in sets]
        adds = _adds({"revision": 1, "changes": 1}, words)
        lead = self._table.update(
            (f"LEAD#{change.lead_id}", "LEAD"),
            f"ADD {adds} SET {', '.join(assignments)}"
            + (f" REMOVE {', '.join(removed)}" if removed else ""),
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


def _chunks(
    entries: Iterable[Entry], paid: Callable[[Entry], Entry] = lambda entry: entry
) -> Iterator[list[Entry]]:
    """Cut the entries so that each chunk, its allowances and the lead fit into one transaction.

    `paid` tells what an entry will be paid, where that is not what it says.
    """
    chunk: list[Entry] = []
    allowances: set[str] = set()
    for entry in entries:
        touched = (*entry.paid, *paid(entry).paid)
        mine = {payment.allowance for payment in touched if payment.allowance}
        if chunk and len(chunk) + len(allowances | mine) + 2 > _ACTIONS_PER_TRANSACTION:
            yield chunk
            chunk, allowances = [], set()
        chunk.append(entry)
        allowances |= mine
    if chunk:
        yield chunk


def _sums(entries: Iterable[Entry]) -> Multiset[str]:
    """Return what the entries add to the lead's counters."""
    sums: Multiset[str] = Multiset()
    for payment in (payment for entry in entries for payment in entry.paid):
        sums[f"seen:{payment.rule}"] += 1
        sums[payment.counter] += payment.units
    return sums


def _counters(lead: Lead) -> Multiset[str]:
    """Return all counters of the lead under their attributes' names."""
    seen = {f"seen:{rule}": times for rule, times in lead.seen.items()}
    return Multiset({"interactions": lead.interactions, **seen, **lead.units})


def _adds(sums: Mapping[str, int], words: Words) -> str:
    """Return what stands behind ADD: every sum that is not 0."""
    return ", ".join(f"{words.name(name)} {words.value(n)}" for name, n in sums.items() if n)


def _given_back(changed: Iterable[tuple[Entry, Entry]]) -> dict[str, Decimal]:
    """Return what the old payments had used of allowances that the new ones do not know."""
    back: dict[str, Decimal] = {}
    for old, new in changed:
        kept = {payment.allowance for payment in new.paid}
        for payment in old.paid:
            if payment.allowance and payment.used and payment.allowance not in kept:
                back[payment.allowance] = back.get(payment.allowance, _NONE) + payment.used
    return back


def _used(blocked: Iterable[tuple[str, Mapping[str, Any] | None]]) -> dict[str, Decimal]:
    """Return how much is used of the allowances that refused."""
    return {allowance: item["used"] for allowance, item in blocked if item is not None}
