"""Brings a table's stream to parallel promoters and relays, as badly as Lambda ever may."""

import random
import threading
from collections.abc import Callable
from queue import Queue
from zlib import crc32

import boto3

from infra.local.mapping import Record, Stream
from tests.engine.conftest import Engine
from tests.trust.faults import Died

_AGAIN = 0.15
_TRIES = 3

type Read = Callable[[], list[Record]]
type Work = Callable[[Record], None]


def reader(engine: Engine) -> Read:
    """Return what reads on in the stream: moto's in its memory, ministack's by its stream API."""
    if engine.name == "moto":
        return Stream(engine.table_name).read
    streams = boto3.client("dynamodbstreams")
    (stream,) = streams.list_streams(TableName=engine.table_name)["Streams"]
    arn = stream["StreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]

    def read() -> list[Record]:
        nonlocal iterator
        answer = streams.get_records(ShardIterator=iterator)
        iterator = answer["NextShardIterator"]
        records: list[Record] = answer["Records"]
        return records

    return read


class Delivery:
    """Some workers that share a stream: each lead's records in order, all leads' in none.

    Some records come again, at another worker and at any time; a record that its worker fails on
    three times is given up; and a share is lost without a word, as after 24 hours.
    """

    def __init__(
        self, read: Read, hire: Callable[[], Work], *, workers: int, lost: float, seed: int
    ) -> None:
        self._read = read
        self._hire = hire
        self._lost = lost
        self._chance = random.Random(seed)
        self._queues: list[Queue[Record | None]] = [Queue() for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._work, args=(queue,)) for queue in self._queues
        ]
        for thread in self._threads:
            thread.start()

    def pump(self) -> int:
        """Hand out what the stream has to tell; return how many records that were."""
        records = self._read()
        again = [record for record in records if self._chance.random() < _AGAIN]
        for record in records:
            if self._chance.random() >= self._lost:
                key = record["dynamodb"]["Keys"]["pk"]["S"]
                self._queues[crc32(key.encode()) % len(self._queues)].put(record)
        self._chance.shuffle(again)
        for record in again:
            self._chance.choice(self._queues).put(record)
        return len(records)

    def drain(self) -> None:
        """Go on until nothing more comes and all is done."""
        self._finish()
        while self.pump():
            self._finish()

    def _finish(self) -> None:
        """Wait until all that was handed out is done."""
        for queue in self._queues:
            queue.join()

    def close(self) -> None:
        """Send the workers home."""
        for queue in self._queues:
            queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self, queue: Queue[Record | None]) -> None:
        work = self._hire()
        while (record := queue.get()) is not None:
            for _ in range(_TRIES):
                try:
                    work(record)
                    break
                except Died:
                    work = self._hire()
                except Exception:  # noqa: BLE001 (whatever a function raises: it comes again)
                    continue
            queue.task_done()
