"""DynamoDB's mechanics: one table's reads, expressions and transactions. Only the store uses it."""

import base64
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KEYS_OF_INDEX: Mapping[str | None, tuple[str, ...]] = {
    None: ("pk", "sk"),
    "by-stage": ("pk", "sk", "by_stage", "stage_since"),
    "pending": ("pk", "sk", "pending", "pending_since"),
    "due": ("pk", "sk", "due", "due_at"),
}
_NOTHING: Mapping[str, Any] = MappingProxyType({})
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


class Busy(Exception):
    """The table did not answer, or not take a write within its time; repeating it is safe."""


class BadCursor(ValueError):
    """The cursor was not made by this list."""


class Refused(Exception):
    """Conditions failed: for each action the item that made it fail, or None where it held."""

    def __init__(self, blockers: Sequence[Item | None]) -> None:
        super().__init__("a condition failed")
        self.blockers = blockers


@dataclass(frozen=True, slots=True)
class Page[T]:
    """One page of a list, and the cursor of the next one."""

    items: list[T]
    next: str | None


class Table:
    """One table, its time budget for a write, and how it sleeps between two tries."""

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        name: str,
        *,
        budget_seconds: float,
        sleep: Callable[[float], None],
    ) -> None:
        self._dynamodb = dynamodb
        self._name = name
        self._budget_seconds = budget_seconds
        self._sleep = sleep

    def get(self, pk: str, sk: str) -> Item | None:
        """Return the item as it is now, or None.

        Raises:
            Busy: the table does not say, for now.
        """
        with _saying_so_while_busy():
            answer = self._dynamodb.get_item(
                TableName=self._name, Key=image({"pk": pk, "sk": sk}), ConsistentRead=True
            )
        return plain(answer["Item"]) if "Item" in answer else None

    def query(
        self, condition: str, values: Mapping[str, Any], index: str | None = None
    ) -> Iterator[Item]:
        """Return all items whose keys meet the condition.

        Raises:
            Busy: the table does not say, for now.
        """
        cursor = None
        while True:
            items, cursor = self.query_page(condition, values, 1000, cursor, index)
            yield from items
            if cursor is None:
                return

    def query_page(
        self,
        condition: str,
        values: Mapping[str, Any],
        limit: int,
        cursor: str | None,
        index: str | None = None,
    ) -> tuple[list[Item], str | None]:
        """Return the items of one page, and the cursor of the next one.

        Raises:
            BadCursor: the cursor was not made by this query.
            Busy: the table does not say, for now.
        """
        request: dict[str, Any] = {
            "TableName": self._name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": image(values),
            "Limit": limit,
        }
        # An index can't be read consistently; the ledger must be.
        request |= {"IndexName": index} if index else {"ConsistentRead": True}
        if cursor is not None:
            request["ExclusiveStartKey"] = _start_key(cursor, _KEYS_OF_INDEX[index])
        try:
            with _saying_so_while_busy():
                answer = self._dynamodb.query(**request)
        except ClientError as error:
            if cursor is not None and error.response["Error"]["Code"] == "ValidationException":
                raise BadCursor("not a cursor of this list") from None
            raise
        last = answer.get("LastEvaluatedKey")
        return [plain(item) for item in answer["Items"]], _cursor(last) if last else None

    def scan_page(
        self, condition: str, values: Mapping[str, Any], limit: int, cursor: str | None
    ) -> tuple[list[Item], str | None]:
        """Read on through the whole table, `limit` items further; return those that match.

        Raises:
            BadCursor: the cursor was not made by this scan.
        """
        request: dict[str, Any] = {
            "TableName": self._name,
            "FilterExpression": condition,
            "ExpressionAttributeValues": image(values),
            "Limit": limit,
            "ConsistentRead": True,
        }
        if cursor is not None:
            request["ExclusiveStartKey"] = _start_key(cursor, _KEYS_OF_INDEX[None])
        answer = self._dynamodb.scan(**request)
        last = answer.get("LastEvaluatedKey")
        return [plain(item) for item in answer["Items"]], _cursor(last) if last else None

    def scan_part(
        self, condition: str, values: Mapping[str, Any], part: int, parts: int
    ) -> Iterator[Item]:
        """Return the items in one of so many parts of the table that match.

        What was written a moment ago may be missing: that is half the price.
        """
        request: dict[str, Any] = {
            "TableName": self._name,
            "FilterExpression": condition,
            "ExpressionAttributeValues": image(values),
            "Segment": part,
            "TotalSegments": parts,
        }
        while True:
            answer = self._dynamodb.scan(**request)
            yield from map(plain, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def put_new(self, item: Mapping[str, Any]) -> Action:
        """Put the item, on condition that its key is not there yet."""
        return {
            "Put": {
                "TableName": self._name,
                "Item": image(item),
                "ConditionExpression": "attribute_not_exists(pk)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }

    def put(
        self, item: Mapping[str, Any], condition: str = "", words: "Words | None" = None
    ) -> Action:
        """Put the item in place of the one that is there, on the condition if there is one."""
        put = {"TableName": self._name, "Item": image(item)}
        return {"Put": put | _on_condition(condition, words or Words())}

    def update(
        self,
        key: tuple[str, str],
        condition: str = "",
        words: "Words | None" = None,
        *,
        add: Mapping[str, int | Decimal] = _NOTHING,
        sets: Mapping[str, Any] = _NOTHING,
        once: Mapping[str, Any] = _NOTHING,
        remove: Iterable[str] = (),
    ) -> Action:
        """Update the item, on the condition if there is one.

        Sums that are not 0 are added, values set, those of `once` where there is none, and
        attributes removed.
        """
        words = words or Words()
        pk, sk = key
        update: dict[str, Any] = {
            "TableName": self._name,
            "Key": image({"pk": pk, "sk": sk}),
            "UpdateExpression": " ".join(_clauses(words, add, sets, once, remove)),
        }
        return {"Update": update | _on_condition(condition, words)}

    def delete(
        self, key: tuple[str, str], condition: str = "", words: "Words | None" = None
    ) -> Action:
        """Delete the item if it is there, on the condition if there is one."""
        pk, sk = key
        deletion = {"TableName": self._name, "Key": image({"pk": pk, "sk": sk})}
        return {"Delete": deletion | _on_condition(condition, words or Words())}

    def write(self, actions: Sequence[Action]) -> None:
        """Do all actions or none, again while that is worth it.

        Raises:
            Refused: a condition failed.
            Busy: the time budget is spent.
        """
        deadline = time.monotonic() + self._budget_seconds
        longest_wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                self._dynamodb.transact_write_items(TransactItems=cast(Any, actions))
                return
            except (NoConnectionError, HTTPClientError) as error:
                failure: Exception = error
            except ClientError as error:
                reasons = error.response.get("CancellationReasons", [])
                codes = {reason["Code"] for reason in reasons if reason["Code"] != "None"}
                if "ConditionalCheckFailed" in codes:
                    raise Refused([_blocker(reason) for reason in reasons]) from None
                if not (codes or {error.response["Error"]["Code"]}) <= _WORTH_REPEATING:
                    raise
                failure = error
            # Full jitter: writers that met once do not meet again.
            wait = random.uniform(0, longest_wait)  # noqa: S311 (no secret)
            if time.monotonic() + wait > deadline:
                raise Busy("the table is busy") from failure
            self._sleep(wait)
            longest_wait = min(2 * longest_wait, _LONGEST_WAIT_SECONDS)


class Words:
    """The names and values that an expression refers to, each under a short word of its own."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def name(self, attribute: str) -> str:
        """Return the word for an attribute's name."""
        word = f"#{len(self.names)}"
        self.names[word] = attribute
        return word

    def value(self, value: Any) -> str:
        """Return the word for a value."""
        word = f":{len(self.values)}"
        self.values[word] = value
        return word


@contextmanager
def _saying_so_while_busy() -> Iterator[None]:
    """Raise `Busy` where a read fails that is worth repeating."""
    try:
        yield
    except (NoConnectionError, HTTPClientError) as error:
        raise Busy("the table can't be reached") from error
    except ClientError as error:
        if error.response["Error"]["Code"] in _WORTH_REPEATING:
            raise Busy("the table is busy") from error
        raise


def _on_condition(condition: str, words: Words) -> dict[str, Any]:
    """Return what an action says beside what it does: its condition, its words."""
    said: dict[str, Any] = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if words.values:
        said["ExpressionAttributeValues"] = image(words.values)
    if words.names:
        said["ExpressionAttributeNames"] = words.names
    if condition:
        said["ConditionExpression"] = condition
    return said


def _clauses(
    words: Words,
    add: Mapping[str, int | Decimal],
    sets: Mapping[str, Any],
    once: Mapping[str, Any],
    remove: Iterable[str],
) -> Iterator[str]:
    """Return the clauses of an update's expression."""
    added = [f"{words.name(name)} {words.value(n)}" for name, n in add.items() if n]
    assigned = [f"{words.name(name)} = {words.value(value)}" for name, value in sets.items()]
    for name, value in once.items():
        word = words.name(name)
        assigned.append(f"{word} = if_not_exists({word}, {words.value(value)})")
    removed = [words.name(name) for name in remove]
    for verb, parts in (("ADD", added), ("SET", assigned), ("REMOVE", removed)):
        if parts:
            yield f"{verb} {', '.join(parts)}"


_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def image(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item in DynamoDB's JSON."""
    return {name: _serialize(value) for name, value in item.items()}


def plain(image: Image) -> Item:
    """Return the item that DynamoDB's JSON shows, numbers as Decimal."""
    return {name: _deserialize(value) for name, value in image.items()}


def _blocker(reason: Mapping[str, Any]) -> Item | None:
    return plain(reason.get("Item", {})) if reason["Code"] == "ConditionalCheckFailed" else None


def _cursor(last_key: Image) -> str:
    return base64.urlsafe_b64encode(json.dumps(plain(last_key)).encode()).decode()


def partition(cursor: str) -> str:
    """Return the partition that a cursor stands in; raise `BadCursor` if it is none."""
    return str(_start_key(cursor, ("pk",))["pk"]["S"])


def beginning(pk: str, sk: str) -> str:
    """Return the cursor of a list that goes on at the beginning of a partition."""
    return _cursor(image({"pk": pk, "sk": sk}))


def _start_key(cursor: str, names: Sequence[str]) -> dict[str, Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor))
        return image({name: str(values[name]) for name in names})
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise BadCursor("not a cursor of this list") from error
