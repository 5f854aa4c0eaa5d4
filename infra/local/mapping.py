"""Lambda's event source mappings, on a DynamoDB stream and on an SQS queue, rule by rule.

Each rule names the page of https://docs.aws.amazon.com/lambda/latest/dg/ that states it.

A stream's records
- that no filter lets through are passed over (invocation-eventfiltering);
- come in order, in batches of at most so many, one batch at a time; while one is tried again, those
  behind it wait (invocation-eventsourcemapping). The table's stream has one shard here: other
  shards would not wait for it;
- come at least once (invocation-eventsourcemapping): the tests deliver them again;
- that the function reported are tried again from the lowest number on, without those before it; an
  empty report is success, and one that names no record of the batch fails all of it
  (services-ddb-batchfailurereporting). No page says what an unknown number does: it is held to fail
  the batch, since then nothing is lost. Reports are read only where the mapping asks for them;
- whose function raised are tried again, in two halves where bisecting is on, whatever was asked
  about reports (services-ddb-batchfailurereporting). A split uses up no retry
  (services-dynamodb-errors); that going on behind a checkpoint does is our guess, the harder one;
- that have no retries left go to the destination, and those behind them come
  (services-dynamodb-errors). A bucket gets the whole batch that failed last: also what was done;
- that are older than the stream keeps are gone: they reach neither function nor destination
  (services-ddb-params: a day). Histories are replayed in their own time, so it is for the tests to
  say that a day has passed.

Retries take no time here, where Lambda waits longer and longer between them: it gives up later.

A queue's messages that the function reported, or all of a batch that raised, are seen again when
the queue's visibility timeout is over; the others are deleted (services-sqs-errorhandling).
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from infra.local import engine
from infra.local.template import QueueTrigger, StreamTrigger
from leadscoring import matching

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

type Record = dict[str, Any]
type Invoke = Callable[[dict[str, Any]], Any]

STREAM_KEEPS = timedelta(hours=24)


class Stream:
    """A table's stream, read once from its beginning."""

    def __init__(self, table_name: str) -> None:
        self._table_name = table_name
        self._position = 0

    def read(self) -> list[Record]:
        """Return what has come since the last read, as a function's event shows it."""
        records = self.unread()
        self._position += len(records)
        return records

    def unread(self) -> list[Record]:
        """Return what the next read will return."""
        found = engine.stream_records(self._table_name, self._position)
        return [_as_delivered(record) for record in found]

    def trim(self, now: datetime) -> int:
        """Lose what is older than streams keep; return how many records that were."""
        kept_since = (now - STREAM_KEEPS).timestamp()
        times = [record["dynamodb"]["ApproximateCreationDateTime"] for record in self.unread()]
        gone = next((i for i, time in enumerate(times) if time >= kept_since), len(times))
        self._position += gone
        return gone


class EventSourceMapping:
    """Hands what its filters let through to one function."""

    def __init__(self, trigger: StreamTrigger, invoke: Invoke) -> None:
        self.function = trigger.function
        self._trigger = trigger
        self._invoke = invoke
        self._patterns = [json.loads(pattern) for pattern in trigger.patterns]
        self.on_failure: list[Record] = []

    def wants(self, record: Record) -> bool:
        """Tell whether a filter lets the record through."""
        return any(matching.matches(pattern, record) for pattern in self._patterns)

    def deliver(self, records: Sequence[Record]) -> int:
        """Call the function with the records it wants, batch by batch; return how many."""
        wanted = [record for record in records if self.wants(record)]
        size = self._trigger.batch_size
        for start in range(0, len(wanted), size):
            self._deliver_batch(wanted[start : start + size], self._trigger.retries)
        return len(wanted)

    def _deliver_batch(self, batch: Sequence[Record], retries: int) -> None:
        """Call the function with the batch, then again with what of it failed."""
        try:
            answer = self._invoke({"Records": list(batch)})
            failed = batch[_first_failure(batch, answer) :] if self._trigger.reports else ()
        except Exception:  # noqa: BLE001 (whatever a function raises fails its batch)
            if self._trigger.bisect and len(batch) > 1:
                half = len(batch) // 2
                self._deliver_batch(batch[:half], retries)
                self._deliver_batch(batch[half:], retries)
                return
            failed = batch
        if failed and retries:
            self._deliver_batch(failed, retries - 1)
        else:
            self.on_failure.extend(failed)


class QueueMapping:
    """Hands what waits in a queue to one function."""

    def __init__(
        self, trigger: QueueTrigger, sqs: "SQSClient", url: str, arn: str, invoke: Invoke
    ) -> None:
        self._trigger = trigger
        self._sqs = sqs
        self._url = url
        self._arn = arn
        self._invoke = invoke

    def waiting(self) -> int:
        """Return how many messages are in the queue, seen or not."""
        return engine.queued(self._arn)

    def deliver(self) -> None:
        """Call the function with all messages that can be seen, batch by batch."""
        while self.waiting() and (batch := self._receive()):
            failed = self._failures(batch)
            for message in batch:
                if message["MessageId"] not in failed:
                    self._sqs.delete_message(
                        QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"]
                    )

    def _receive(self) -> "list[MessageTypeDef]":
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=self._trigger.batch_size,
            MessageSystemAttributeNames=["All"],
        )
        return answer.get("Messages", [])

    def _failures(self, batch: "Sequence[MessageTypeDef]") -> set[str]:
        """Call the function; return the ids of the messages that stay."""
        ids = {message["MessageId"] for message in batch}
        try:
            answer = self._invoke({"Records": [self._as_delivered(message) for message in batch]})
            reported = set(_reported(answer))
        except Exception:  # noqa: BLE001 (whatever a function raises fails its batch)
            return ids
        return reported if reported <= ids else ids

    def _as_delivered(self, message: "MessageTypeDef") -> Record:
        """Return the message as a function's event shows it."""
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
            "messageAttributes": {},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self._arn,
            "awsRegion": self._arn.split(":")[3],
        }


def _first_failure(batch: Sequence[Record], answer: Any) -> int:
    """Return where to go on: at the lowest record reported, or behind the last if none is.

    Raises:
        LookupError, ValueError: the answer reports something else than records of the batch.
    """
    numbers = [_sequence(record) for record in batch]
    return min((numbers.index(number) for number in _reported(answer)), default=len(batch))


def _reported(answer: Any) -> list[str]:
    """Return what a function's answer says that failed."""
    failures = (answer or {}).get("batchItemFailures") or ()
    return [failure["itemIdentifier"] for failure in failures]


def _as_delivered(record: Record) -> Record:
    """Return the record with its time in whole seconds, as streams tell it."""
    dynamodb = record["dynamodb"]
    created_at = dynamodb["ApproximateCreationDateTime"].replace(tzinfo=UTC)
    whole_seconds = int(created_at.timestamp())
    return {
        **record,
        "dynamodb": {**dynamodb, "ApproximateCreationDateTime": whole_seconds},
    }


def _sequence(record: Record) -> str:
    sequence: str = record["dynamodb"]["SequenceNumber"]
    return sequence
