"""What is remembered. No other module knows the table: its keys, expressions and errors."""

import base64
import collections
import dataclasses
import json
import random
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError, HTTPClientError

from leadscoring import scoring
from leadscoring.decay import Counter
from leadscoring.interaction import Interaction, Trust, from_text, to_text
from leadscoring.lead import Change, Entry, Lead, Payment
from leadscoring.model import MQL, Model

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PENDING_SHARDS = 8

_ACTIONS_PER_TRANSACTION = 100
_KEYS_OF_INDEX: Mapping[str | None, tuple[str, ...]] = {
    None: ("pk", "sk"),
    "by-stage": ("pk", "sk", "by_stage", "stage_since"),
    "pending": ("pk", "sk", "pending", "pending_since"),
}
_FIRST_WAIT_SECONDS = 0.025
_LONGEST_WAIT_SECONDS = 1.0
_WORTH_REPEATING = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingError",
        "ThrottlingException",
        "TransactionConflict",
        "TransactionInProgressException",
    }
)

type Item = dict[str, Any]
type Image = Mapping[str, Any]
"""An item in DynamoDB's own JSON, as streams and conditions show it: {"sk": {"S": "LEAD"}}."""
type Action = dict[str, Any]
"""One action of a TransactWriteItems."""
type Claims = Mapping[str, tuple[str, str]]
"""Of each trait, how far and since when it is believed, and its value as JSON."""


class Busy(Exception):
    """The table did not take the write within the time budget; repeating it is safe."""


class Outdated(Exception):
    """The lead moved on since it was read; `lead` is the lead as it is now."""

    def __init__(self, lead: Lead) -> None:
        super().__init__(lead.id)
        self.lead = lead


class BadCursor(ValueError):
    """The cursor was not made by this list."""


class _Refused(Exception):
    """Conditions failed: for each action the item that made it fail, or None where it held."""

    def __init__(self, blockers: Sequence[Item | None]) -> None:
        super().__init__("a condition failed")
        self.blockers = blockers


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


@dataclass(frozen=True, slots=True)
class Page[T]:
    """One page of a list, and the cursor of the next one."""

    items: list[T]
    next: str | None


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
        self._dynamodb = dynamodb
        self._table = table_name
        self._budget_seconds = budget_seconds
        self._sleep = sleep

    def keys(self) -> Keys:
        """Return the stack's keys, made when they are first asked for."""
        item = self._get("KEYS", "KEYS")
        if item is None:
            item = {
                "pk": "KEYS",
                "sk": "KEYS",
                "lead_ids": secrets.token_hex(32),
                "public": f"pk_{secrets.token_urlsafe(18)}",
            }
            try:
                self._write([self._put_new(item)])
            except _Refused as refused:
                item = refused.blockers[0] or item
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
        claims = _claims(interactions, model)
        email = interactions[0].identity.email
        duplicates = conflicting = 0
        while entries:
            puts = [self._put_new(_entry_item(lead_id, entry)) for entry in entries]
            lead = self._lead_update(lead_id, entries, claims, email, model.first_stage)
            try:
                self._write([*puts, lead])
                break
            except _Refused as refused:
                *known, newer = refused.blockers
                pairs = list(zip(entries, known, strict=True))
                repeats = [(entry, item) for entry, item in pairs if item is not None]
                duplicates += len(repeats)
                conflicting += sum(e.fingerprint != item["fingerprint"] for e, item in repeats)
                entries = [entry for entry, item in pairs if item is None]
                claims = claims if newer is None else _unbeaten(claims, newer)
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
        words = _Words()
        adds = [f"{words.name(name)} {words.value(n)}" for name, n in sums.items() if n]
        sets = [f"updated_at = {words.value(received)}"]
        for name, value in once.items():
            attribute = words.name(name)
            sets.append(f"{attribute} = if_not_exists({attribute}, {words.value(value)})")
        conditions = []
        for name, (claim, value) in claims.items():
            trait, ours, theirs = (
                words.name(f"trait:{name}"),
                words.value(claim),
                words.value(value),
            )
            sets.append(f"{trait} = {words.value({'claim': claim, 'value': value})}")
            conditions.append(
                f"(attribute_not_exists({trait}) OR {trait}.claim < {ours}"
                f" OR ({trait}.claim = {ours} AND {trait}.{words.name('value')} <= {theirs}))"
            )
        return self._update(
            (f"LEAD#{lead_id}", "LEAD"),
            f"ADD {', '.join(adds)} SET {', '.join(sets)}",
            " AND ".join(conditions),
            words,
        )

    # Leads

    def lead(self, lead_id: str) -> Lead | None:
        """Return the lead, or None if nobody has this id."""
        item = self._get(f"LEAD#{lead_id}", "LEAD")
        return None if item is None else _lead(item)

    def lead_of(self, image: Image) -> Lead:
        """Return the lead that a stream record's image shows, counters or not."""
        return _lead(_plain(image))

    def leads_at(self, stage: str, limit: int, cursor: str | None = None) -> Page[Lead]:
        """Return the leads at `mql` or beyond, those longest there first.

        Raises:
            BadCursor: the cursor is not one that this list gave.
        """
        keys, following = self._query_page(
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
        items, following = self._query_page(
            "pk = :pk AND begins_with(sk, :sk)",
            {":pk": f"LEAD#{lead_id}", ":sk": "INTERACTION#"},
            limit,
            cursor,
        )
        return Page([_entry(item) for item in items], following)

    def changes(self, lead_id: str) -> list[Change]:
        """Return all changes of the lead, the first one first."""
        return [
            _change(item)
            for item in self._query(
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
        words = _Words()
        at = to_text(change.at)
        sets = {"stage": change.to_stage, "cycle": change.cycle}
        if change.to_stage == MQL:
            sets |= {"by_stage": change.to_stage, "stage_since": at}
        assignments = [f"{words.name(name)} = {words.value(value)}" for name, value in sets.items()]
        one = words.value(1)
        lead = self._update(
            (f"LEAD#{change.lead_id}", "LEAD"),
            f"ADD revision {one}, changes {one} SET {', '.join(assignments)}",
            f"revision = {words.value(revision)}",
            words,
        )
        outbox = {
            "pk": f"LEAD#{change.lead_id}",
            "sk": _numbered("OUTBOX", change.number),
            "message": message,
            "pending": str(zlib.crc32(change.lead_id.encode()) % PENDING_SHARDS),
            "pending_since": at,
        }
        try:
            self._write([lead, self._put_new(_change_item(change)), self._put_new(outbox)])
        except _Refused as refused:
            raise Outdated(_lead(refused.blockers[0] or {"pk": f"LEAD#{change.lead_id}"})) from None

    def outbox_message(self, key: OutboxKey) -> str | None:
        """Return the message still to be published, or None once it is settled."""
        item = self._get(f"LEAD#{key.lead_id}", _numbered("OUTBOX", key.number))
        return None if item is None else str(item["message"])

    def settle(self, key: OutboxKey, message_id: str, now: datetime) -> None:
        """Note on the change when and as what it was published, and delete the outbox item."""
        pk = f"LEAD#{key.lead_id}"
        words = _Words()
        noted = self._update(
            (pk, _numbered("CHANGE", key.number)),
            f"SET published_at = if_not_exists(published_at, {words.value(to_text(now))}),"
            f" published_as = {words.value(message_id)}",
            "attribute_exists(pk)",
            words,
        )
        emptied: Action = {
            "Delete": {
                "TableName": self._table,
                "Key": _image({"pk": pk, "sk": _numbered("OUTBOX", key.number)}),
            }
        }
        self._write([noted, emptied])

    def pending(self, before: datetime) -> Iterator[OutboxKey]:
        """Return the outbox items put there before this instant, the oldest of each shard first."""
        for shard in range(PENDING_SHARDS):
            for item in self._query(
                "pending = :shard AND pending_since < :before",
                {":shard": str(shard), ":before": to_text(before)},
                index="pending",
            ):
                yield OutboxKey.parse(item["pk"], item["sk"])

    # DynamoDB

    def _get(self, pk: str, sk: str) -> Item | None:
        answer = self._dynamodb.get_item(
            TableName=self._table, Key=_image({"pk": pk, "sk": sk}), ConsistentRead=True
        )
        return _plain(answer["Item"]) if "Item" in answer else None

    def _query(
        self, condition: str, values: Mapping[str, Any], index: str | None = None
    ) -> Iterator[Item]:
        cursor = None
        while True:
            items, cursor = self._query_page(condition, values, 1000, cursor, index)
            yield from items
            if cursor is None:
                return

    def _query_page(
        self,
        condition: str,
        values: Mapping[str, Any],
        limit: int,
        cursor: str | None,
        index: str | None = None,
    ) -> tuple[list[Item], str | None]:
        """Return the items of one page, and the cursor of the next."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": _image(values),
            "Limit": limit,
        }
        # An index can't be read consistently; the ledger must be.
        request |= {"IndexName": index} if index else {"ConsistentRead": True}
        if cursor is not None:
            request["ExclusiveStartKey"] = _start_key(cursor, _KEYS_OF_INDEX[index])
        try:
            answer = self._dynamodb.query(**request)
        except ClientError as error:
            if cursor is not None and error.response["Error"]["Code"] == "ValidationException":
                raise BadCursor("not a cursor of this list") from None
            raise
        last = answer.get("LastEvaluatedKey")
        return [_plain(item) for item in answer["Items"]], _cursor(last) if last else None

    def _put_new(self, item: Mapping[str, Any]) -> Action:
        return {
            "Put": {
                "TableName": self._table,
                "Item": _image(item),
                "ConditionExpression": "attribute_not_exists(pk)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def _update(
        self, key: tuple[str, str], expression: str, condition: str, words: "_Words"
    ) -> Action:
        pk, sk = key
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": _image({"pk": pk, "sk": sk}),
            "UpdateExpression": expression,
            "ExpressionAttributeValues": _image(words.values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if words.names:
            update["ExpressionAttributeNames"] = words.names
        if condition:
            update["ConditionExpression"] = condition
        return {"Update": update}

    def _write(self, actions: Sequence[Action]) -> None:
        """Do all actions or none, again while that is worth it.

        Raises:
            _Refused: a condition failed.
            Busy: the time budget is spent.
        """
        deadline = time.monotonic() + self._budget_seconds
        longest_wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                self._dynamodb.transact_write_items(TransactItems=cast(Any, actions))
                return
            except HTTPClientError as error:
                failure: Exception = error
            except ClientError as error:
                reasons = error.response.get("CancellationReasons", [])
                codes = {reason["Code"] for reason in reasons if reason["Code"] != "None"}
                if "ConditionalCheckFailed" in codes:
                    raise _Refused([_blocker(reason) for reason in reasons]) from None
                if not (codes or {error.response["Error"]["Code"]}) <= _WORTH_REPEATING:
                    raise
                failure = error
            # Full jitter: writers that met once do not meet again.
            wait = random.uniform(0, longest_wait)  # noqa: S311 (no secret)
            if time.monotonic() + wait > deadline:
                raise Busy("the table is busy") from failure
            self._sleep(wait)
            longest_wait = min(2 * longest_wait, _LONGEST_WAIT_SECONDS)


class _Words:
    """The names and values that an expression refers to, each under a short word of its own."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def name(self, attribute: str) -> str:
        word = f"#{len(self.names)}"
        self.names[word] = attribute
        return word

    def value(self, value: Any) -> str:
        word = f":{len(self.values)}"
        self.values[word] = value
        return word


_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def _image(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _serialize(value) for name, value in item.items()}


def _plain(image: Image) -> Item:
    return {name: _deserialize(value) for name, value in image.items()}


def _blocker(reason: Mapping[str, Any]) -> Item | None:
    return _plain(reason.get("Item", {})) if reason["Code"] == "ConditionalCheckFailed" else None


def _cursor(last_key: Image) -> str:
    return base64.urlsafe_b64encode(json.dumps(_plain(last_key)).encode()).decode()


def _start_key(cursor: str, names: Sequence[str]) -> dict[str, Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor))
        return _image({name: str(values[name]) for name in names})
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise BadCursor("not a cursor of this list") from error


def _numbered(kind: str, number: int) -> str:
    return f"{kind}#{number:06d}"


def _claims(interactions: Sequence[Interaction], model: Model) -> Claims:
    """Return for each trait the strongest claim: a server's before the public's, then the latest.

    "public" sorts before "trusted", so one comparison of texts decides both, in any order.
    """
    claims: dict[str, tuple[str, str]] = {}
    for interaction in interactions:
        claim = f"{interaction.trust}#{to_text(interaction.occurred_at)}"
        for name in interaction.traits.keys() & model.traits:
            ours = (claim, json.dumps(interaction.traits[name]))
            claims[name] = max(ours, claims.get(name, ours))
    return claims


def _unbeaten(claims: Claims, item: Item) -> Claims:
    """Return the claims that are stronger than what the lead item holds."""
    held = {name: item.get(f"trait:{name}", {"claim": "", "value": ""}) for name in claims}
    return {
        name: ours
        for name, ours in claims.items()
        if ours > (held[name]["claim"], held[name]["value"])
    }


def _entry_item(lead_id: str, entry: Entry) -> Item:
    return {
        "pk": f"LEAD#{lead_id}",
        "sk": f"INTERACTION#{entry.trust}#{entry.message_id}",
        "name": entry.name,
        "occurred_at": to_text(entry.occurred_at),
        "received_at": to_text(entry.received_at),
        "fingerprint": entry.fingerprint,
        "model": entry.model,
        "paid": [dataclasses.asdict(payment) for payment in entry.paid],
        "properties": json.dumps(entry.properties),
    }


def _entry(item: Item) -> Entry:
    _, trust, message_id = item["sk"].split("#", 2)
    return Entry(
        message_id=message_id,
        trust=Trust(trust),
        name=item["name"],
        occurred_at=from_text(item["occurred_at"]),
        received_at=from_text(item["received_at"]),
        fingerprint=item["fingerprint"],
        model=int(item["model"]),
        paid=tuple(
            Payment(paid["rule"], paid["points"], paid["counter"], int(paid["units"]))
            for paid in item["paid"]
        ),
        properties=json.loads(item["properties"]),
    )


def _change_item(change: Change) -> Item:
    return {
        "pk": f"LEAD#{change.lead_id}",
        "sk": _numbered("CHANGE", change.number),
        "cycle": change.cycle,
        "from": change.from_stage,
        "to": change.to_stage,
        "why": change.why,
        "who": change.who,
        "at": to_text(change.at),
    }


def _change(item: Item) -> Change:
    return Change(
        lead_id=item["pk"].removeprefix("LEAD#"),
        number=int(item["sk"].removeprefix("CHANGE#")),
        cycle=int(item["cycle"]),
        from_stage=item["from"],
        to_stage=item["to"],
        why=item["why"],
        who=item["who"],
        at=from_text(item["at"]),
        published_at=_instant(item.get("published_at")),
        published_as=item.get("published_as"),
    )


def _lead(item: Item) -> Lead:
    return Lead(
        id=item["pk"].removeprefix("LEAD#"),
        stage=item.get("stage"),
        cycle=int(item.get("cycle", 1)),
        revision=int(item.get("revision", 0)),
        changes=int(item.get("changes", 0)),
        interactions=int(item.get("interactions", 0)),
        email=item.get("email"),
        updated_at=_instant(item.get("updated_at")),
        units={name: int(value) for name, value in item.items() if Counter.parse(name)},
        seen={name: int(value) for name, value in _under("seen:", item)},
        traits={name: json.loads(trait["value"]) for name, trait in _under("trait:", item)},
    )


def _under(prefix: str, item: Item) -> Iterator[tuple[str, Any]]:
    return (
        (name.removeprefix(prefix), value)
        for name, value in item.items()
        if name.startswith(prefix)
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else from_text(text)
