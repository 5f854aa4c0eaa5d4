"""One mass run: a crowd's senders, promoters and relays at one engine, and what comes of it."""

import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from datetime import timedelta
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from unittest.mock import patch

import boto3
from botocore.config import Config

from infra.local.mapping import Record
from leadscoring import outbox
from leadscoring.contract import Sender
from leadscoring.model import Model
from leadscoring.promotion import Promoter
from leadscoring.publisher import Publisher
from leadscoring.recorder import Recorder
from leadscoring.request import Arrival
from leadscoring.settings import AWS_CLIENT
from leadscoring.store import Store
from leadscoring.wire import read_call
from tests.engine.conftest import Engine
from tests.trust import crowd
from tests.trust.crowd import END, Post
from tests.trust.delivery import Delivery, Work, reader
from tests.trust.faults import Died, Fault, Faults, over_http, seeded, to_moto
from tests.trust.truth import MODEL, Truth
from tests.trust.verdict import KEYS, Said, Verdict, judge

SENDER = Sender("urn:mqlambda:trust")
SENDERS, MOVERS = 64, 8

ODDS: Mapping[Fault, float] = {
    Fault.REQUEST_LOST: 0.03,
    Fault.ANSWER_LOST: 0.05,
    Fault.TWICE: 0.05,
    Fault.AGAIN_LATER: 0.05,
    Fault.ERROR_AFTER_COMMIT: 0.04,
    Fault.THROTTLED: 0.03,
    Fault.CONFLICT: 0.04,
    Fault.IN_PROGRESS: 0.02,
    Fault.DIES_BEFORE: 0.01,
    Fault.DIES_AFTER: 0.02,
}

# A sender who never succeeds gives up at last; the table's own patience is shorter than Lambda's.
_TRIES = 100
_BUDGET_SECONDS = 2.0
_BETWEEN_SWEEPS = 0.5
_SOON = END + timedelta(seconds=1)


class Run:
    """A stack, the crowd that writes to it, and those who move its leads."""

    def __init__(
        self,
        engine: Engine,
        seed: int,
        unique: int,
        *,
        senders: int = SENDERS,
        odds: Mapping[Fault, float] = ODDS,
        lost_records: float = 0.03,
    ) -> None:
        self._engine = engine
        self._seed = seed
        self._senders = senders
        self._lost_records = lost_records
        self._model = Model.load(MODEL)
        self._messages = crowd.messages(seed, unique)
        self._sent = self._given_up = 0
        self._lock = threading.Lock()
        send = to_moto if engine.name == "moto" else over_http(senders + MOVERS)
        self._faults = Faults(seeded(seed, odds), send)
        config = Config(**{**AWS_CLIENT, "max_pool_connections": senders + MOVERS})
        self._dynamodb = boto3.client("dynamodb", config=config)
        self._sns = boto3.client("sns", config=config)
        self._sqs = boto3.client("sqs")
        self._faults.attach(self._dynamodb)
        self._faults.attach(self._sns)
        self._queue_url = self._subscribe()

    def play(self) -> Verdict:
        """Let the crowd send, and all who move leads do it, until all has come to rest."""
        posts: SimpleQueue[Post] = SimpleQueue()
        for post in crowd.posts(self._seed, self._messages):
            posts.put(post)
        delivery = Delivery(
            reader(self._engine),
            self._hire,
            workers=MOVERS,
            lost=self._lost_records,
            seed=self._seed,
        )
        began = time.monotonic()
        with (
            patch("botocore.endpoint.time", SimpleNamespace(sleep=_briefly)),
            closing(delivery),
            ThreadPoolExecutor(self._senders) as senders,
        ):
            sending = [senders.submit(self._send_all, posts) for _ in range(self._senders)]
            while wait(sending, timeout=_BETWEEN_SWEEPS).not_done:
                delivery.pump()
                self._relay_what_waits()
            for sender in sending:
                sender.result()
            seconds = time.monotonic() - began
            delivery.drain()
            self._faults.stop()
            delivery.drain()
            self._sweep()
        return self._judge(seconds)

    def publisher(self) -> Publisher:
        """Return who publishes to the run's topic, faults and all."""
        return Publisher(self._sns, self._engine.topic_arn)

    # Who does it

    def _store(self) -> Store:
        return Store(
            self._dynamodb, self._engine.table_name, budget_seconds=_BUDGET_SECONDS, sleep=_briefly
        )

    def _send_all(self, posts: SimpleQueue[Post]) -> None:
        """Send what is left, each post until it is answered: 503, or no answer, says come again."""
        recorder = Recorder(self._store(), self._model, SENDER)
        while True:
            try:
                post = posts.get_nowait()
            except Empty:
                return
            for _ in range(_TRIES):
                with self._lock:
                    self._sent += len(post.documents)
                try:
                    self._take(post, recorder)
                    break
                except Died:
                    recorder = Recorder(self._store(), self._model, SENDER)
                except Exception:  # noqa: BLE001 (a 5xx, whatever it is)
                    continue
            else:
                with self._lock:
                    self._given_up += 1

    def _take(self, post: Post, recorder: Recorder) -> None:
        arrival = Arrival(post.received_at, "request", post.trust)
        reading = read_call("batch", {"batch": post.documents}, arrival, self._model)
        recorder.record(reading.interactions, KEYS)

    def _hire(self) -> Work:
        """Return one who promotes what a lead's record shows, and relays what an outbox's does."""
        store = self._store()
        promoter = Promoter(store, self._model, SENDER)
        publisher = self.publisher()

        def work(record: Record) -> None:
            stream = record["dynamodb"]
            sk = stream["Keys"]["sk"]["S"]
            if sk == "LEAD" and "NewImage" in stream:
                promoter.promote(store.lead_of(stream["NewImage"]), END)
            elif sk.startswith("OUTBOX#") and record["eventName"] == "INSERT":
                key = store.outbox_key_of(stream["NewImage"])
                outbox.deliver(key, store, publisher, END)

        return work

    def _relay_what_waits(self) -> None:
        """Do what the sweep does each minute: deliver what is in the outbox, whoever else does."""
        store, publisher = self._store(), self.publisher()
        try:
            for key in store.pending(_SOON):
                outbox.deliver(key, store, publisher, END)
        except (Died, Exception):  # noqa: BLE001 (the next minute goes on)
            pass

    def _sweep(self) -> None:
        """Guard every lead, as the rolling scan does within a day, and publish what that moves."""
        store = self._store()
        promoter = Promoter(store, self._model, SENDER)
        for _, read in store.leads_in(0, 1):
            promoter.promote(read(), END)
        self._relay_what_waits()

    # What came of it

    def _subscribe(self) -> str:
        url: str = self._sqs.create_queue(QueueName=f"subscriber-{uuid.uuid4()}")["QueueUrl"]
        asked = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        boto3.client("sns").subscribe(
            TopicArn=self._engine.topic_arn,
            Protocol="sqs",
            Endpoint=asked["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        return url

    def _received(self) -> Iterator[Said]:
        """Return what the subscriber got, once each time that it got it."""
        while found := self._sqs.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=10, VisibilityTimeout=3600
        ).get("Messages"):
            for message in found:
                yield json.loads(message["Body"])

    def _judge(self, seconds: float) -> Verdict:
        verdict = Verdict(
            unique=len(self._messages),
            sent=self._sent,
            given_up=self._given_up,
            seconds=seconds,
            faults=self._faults.happened,
            peak_in_flight=self._faults.peak_in_flight,
        )
        judge(verdict, Truth(self._messages), self._store(), list(self._received()))
        return verdict


def _briefly(seconds: float) -> None:
    """Wait a hundredth of it: nobody has to wait for a network that is none."""
    time.sleep(seconds / 100)
