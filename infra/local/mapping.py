"""Lambda's event source mapping of one function on one DynamoDB stream, as documented.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html: a batch goes
on from the lowest sequence number that the function reported; one that raised is tried again as a
whole, in halves where bisecting is on; after the last retry the records go to the destination.
"""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from leadscoring import matching

from infra.local.template import StreamTrigger

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

type Record = dict[str, Any]
type Invoke = Callable[[dict[str, Any]], Any]


class Stream:
    """A table's stream, read once from its beginning."""

    def __init__(self, streams: "DynamoDBStreamsClient", stream_arn: str) -> None:
        self._streams = streams
        self._arn = stream_arn
        description = streams.describe_stream(StreamArn=stream_arn)["StreamDescription"]
        self._shard_id = description["Shards"][0]["ShardId"]
        self._last_read: str | None = None

    def read(self) -> list[Record]:
        """Return what has come since the last read, as a function's event shows it."""
        records = self.unread()
        if records:
            self._last_read = _sequence(records[-1])
        return records

    def unread(self) -> list[Record]:
        """Return what the next read will return."""
        start: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if self._last_read:
            start = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "SequenceNumber": self._last_read,
            }
        # A fresh iterator each time: one that is kept would show what a transaction took back.
        iterator = self._streams.get_shard_iterator(
            StreamArn=self._arn, ShardId=self._shard_id, **start
        )["ShardIterator"]
        found = self._streams.get_records(ShardIterator=iterator)["Records"]
        return [self._as_delivered(record) for record in found]

    def _as_delivered(self, record: Any) -> Record:
        dynamodb = record["dynamodb"]
        created_at = int(dynamodb["ApproximateCreationDateTime"].timestamp())
        return {
            **record,
            "dynamodb": {**dynamodb, "ApproximateCreationDateTime": created_at},
            "eventSourceARN": self._arn,
        }


class EventSourceMapping:
    """Hands what its filters let through to one function."""

    def __init__(self, trigger: StreamTrigger, invoke: Invoke) -> None:
        self._trigger = trigger
        self._invoke = invoke
        self._patterns = [json.loads(pattern) for pattern in trigger.patterns]
        self.on_failure: list[Record] = []

    def wants(self, record: Record) -> bool:
        """Tell whether a filter lets the record through."""
        return any(matching.matches(pattern, record) for pattern in self._patterns)

    def deliver(self, records: Sequence[Record]) -> None:
        """Call the function with the records it wants, batch by batch."""
        wanted = [record for record in records if self.wants(record)]
        size = self._trigger.batch_size
        for start in range(0, len(wanted), size):
            self._deliver_batch(wanted[start : start + size], self._trigger.retries)

    def _deliver_batch(self, batch: Sequence[Record], retries: int) -> None:
        try:
            answer = self._invoke({"Records": list(batch)}) or {}
            failed = {failure["itemIdentifier"] for failure in answer.get("batchItemFailures", ())}
        except Exception:  # noqa: BLE001 (whatever a function raises fails its batch)
            failed = {_sequence(record) for record in batch}
        first = next((i for i, record in enumerate(batch) if _sequence(record) in failed), None)
        if first is None:
            return
        rest = batch[first:]
        if retries == 0:
            self.on_failure.extend(rest)
        elif self._trigger.bisect and len(rest) > 1:
            half = len(rest) // 2
            self._deliver_batch(rest[:half], retries - 1)
            self._deliver_batch(rest[half:], retries - 1)
        else:
            self._deliver_batch(rest, retries - 1)


def _sequence(record: Record) -> str:
    sequence: str = record["dynamodb"]["SequenceNumber"]
    return sequence
