"""Lambda's event source mapping of one function on one DynamoDB stream, as documented.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html: a batch goes
on from the lowest sequence number that the function reported; one that raised is tried again as a
whole, in halves where bisecting is on; after the last retry the records go to the destination.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any

from infra.local import engine
from infra.local.template import StreamTrigger
from leadscoring import matching

type Record = dict[str, Any]
type Invoke = Callable[[dict[str, Any]], Any]


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
        try:
            parts = [batch[_first_failure(batch, self._invoke({"Records": list(batch)})) :]]
        except Exception:  # noqa: BLE001 (whatever a function raises fails its batch)
            half = len(batch) // 2 if self._trigger.bisect else 0
            parts = [batch[:half], batch[half:]]
        for part in filter(None, parts):
            if retries:
                self._deliver_batch(part, retries - 1)
            else:
                self.on_failure.extend(part)


def _first_failure(batch: Sequence[Record], answer: Any) -> int:
    """Return where to go on: at the lowest record reported, or behind the last if none is.

    Raises:
        LookupError, ValueError: the answer reports something else than records of the batch.
    """
    failures = (answer or {}).get("batchItemFailures") or ()
    numbers = [_sequence(record) for record in batch]
    return min((numbers.index(f["itemIdentifier"]) for f in failures), default=len(batch))


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
