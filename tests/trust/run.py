"""One mass run: a crowd's senders, promoters and relays at one engine, and what comes of it."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import boto3
from botocore.config import Config

from infra.local.mapping import Record
from leadscoring import outbox
from leadscoring.contract import LeadPromoted, Sender
from leadscoring.decay import Counter as Points
from leadscoring.interaction import Identity, IdentityKind
from leadscoring.keys import Keys
from leadscoring.model import Model
from leadscoring.promotion import Promoter
from leadscoring.publisher import Publisher
from leadscoring.recorder import Recorder
from leadscoring.request import Arrival
from leadscoring.settings import AWS_CLIENT
from leadscoring.store import OutboxKey, Store
from leadscoring.wire import read_call
from tests.engine.conftest import Engine
from tests.trust import crowd
from tests.trust.crowd import END, Post
from tests.trust.delivery import Delivery, Work, reader
from tests.trust.faults import Died, Fault, Faults, over_http, seeded, to_moto
from tests.trust.truth import MODEL, Truth

KEYS = Keys(lead_ids=b"trust", public="", secrets=(), links={}, webhooks={}, captchas={})
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
_TRIES = 20
_BUDGET_SECONDS = 2.0
_BETWEEN_SWEEPS = 0.5
_SOON = END + timedelta(seconds=1)


@dataclass
class Verdict:
    """What one run came to, beside what had to come of it."""

    unique: int
    sent: int
    seconds: float
    faults: Counter[Fault]
    peak_in_flight: int
    lost: int = 0
    doubled: int = 0
    leads_wrong: int = 0
    over: Decimal = Decimal(0)
    under: Decimal = Decimal(0)
    expected: int = 0
    promotions_lost: int = 0
    promotions_doubled: int = 0
    promotions_bogus: int = 0
    untold: int = 0
    raw_repeats: int = 0

    @property
    def is_good(self) -> bool:
        """Tell whether nothing was lost and nothing counted twice."""
        return not any(
            (
                self.lost,
                self.doubled,
                self.leads_wrong,
                self.over,
                self.under,
                self.promotions_lost,
                self.promotions_doubled,
                self.promotions_bogus,
                self.untold,
            )
        )


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
        self._sent = 0
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
            pk, sk = stream["Keys"]["pk"]["S"], stream["Keys"]["sk"]["S"]
            if sk == "LEAD" and "NewImage" in stream:
                promoter.promote(store.lead_of(stream["NewImage"]), END)
            elif sk.startswith("OUTBOX#") and record["eventName"] == "INSERT":
                outbox.deliver(OutboxKey.parse(pk, sk), store, publisher, END)

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
        for lead in store.leads_in(0, 1):
            promoter.promote(lead, END)
        self._relay_what_waits()

    # What came of it

    def _subscribe(self) -> str:
        url: str = self._sqs.create_queue(QueueName=f"subscriber-{self._seed}")["QueueUrl"]
        asked = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        boto3.client("sns").subscribe(
            TopicArn=self._engine.topic_arn,
            Protocol="sqs",
            Endpoint=asked["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        return url

    def _received(self) -> Iterator[dict[str, Any]]:
        """Return what the subscriber got, once each time that it got it."""
        while found := self._sqs.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=10, VisibilityTimeout=3600
        ).get("Messages"):
            for message in found:
                yield json.loads(message["Body"])

    def _judge(self, seconds: float) -> Verdict:
        truth = Truth(self._messages)
        verdict = Verdict(
            unique=len(self._messages),
            sent=self._sent,
            seconds=seconds,
            faults=self._faults.happened,
            peak_in_flight=self._faults.peak_in_flight,
            expected=len(truth.promoted),
        )
        received = Counter(
            (said["id"], said["type"], said["data"].get("cycle")) for said in self._received()
        )
        ids = {message_id for message_id, _, _ in received}
        self._judge_leads(truth, ids, verdict)
        _judge_promotions(truth, received, verdict)
        return verdict

    def _judge_leads(self, truth: Truth, told: set[str], verdict: Verdict) -> None:
        store = self._store()
        devices: dict[str, set[str]] = {}
        for device, person in truth.owners.items():
            devices.setdefault(person, set()).add(device)
        for name, true in truth.leads.items():
            homes = {_lead_id(home): home for home in (name, *devices.get(name, ()))}
            entered = Counter(
                (homes[entry.home], entry.trust, entry.message_id)
                for home in homes
                for entry in store.ledger.entries_at(home)
            )
            lead = store.lead_now(_lead_id(name))
            counted = lead.interactions if lead else 0
            missing = true.entries - entered.keys()
            verdict.lost += max(len(missing), len(true.entries) - counted)
            verdict.doubled += max(0, counted - len(true.entries))
            differences = {
                counter: (lead.units.get(counter, 0) if lead else 0) - true.units[counter]
                for counter in true.units.keys() | (lead.units.keys() if lead else set())
            }
            points = [_points(counter, units) for counter, units in differences.items()]
            verdict.over += sum((p for p in points if p > 0), Decimal(0))
            verdict.under -= sum((p for p in points if p < 0), Decimal(0))
            changes = [change for home in homes for change in store.changes(home)]
            verdict.untold += sum(f"{c.lead_id}:{c.number}" not in told for c in changes)
            numbers = [change.number for change in changes if change.lead_id == _lead_id(name)]
            whole = lead is not None and numbers == list(range(1, lead.changes + 1))
            is_right = whole and not missing and counted == len(true.entries) and not any(points)
            verdict.leads_wrong += not is_right


def _judge_promotions(
    truth: Truth, received: Counter[tuple[str, str, int]], verdict: Verdict
) -> None:
    """Count what a subscriber makes of it who knows a message by its id."""
    promotions = Counter(
        (message_id.partition(":")[0], cycle)
        for message_id, kind, cycle in received
        if kind == LeadPromoted.model_fields["type"].default
    )
    promoted = Counter(lead_id for lead_id, _ in promotions)
    expected = {_lead_id(name) for name in truth.promoted}
    possible = expected | {_lead_id(name) for name in truth.undecided}
    verdict.promotions_lost = len(expected - promoted.keys())
    verdict.promotions_bogus = len(promoted.keys() - possible)
    verdict.promotions_doubled = promotions.total() - len(promoted)
    verdict.raw_repeats = received.total() - len(received)


def _briefly(seconds: float) -> None:
    """Wait a hundredth of it: nobody has to wait for a network that is none."""
    time.sleep(seconds / 100)


def _lead_id(name: str) -> str:
    kind = IdentityKind.EMAIL if "@" in name else IdentityKind.ANONYMOUS_ID
    return Identity(kind, name).lead_id(KEYS.lead_ids)


def _points(counter: str, units: int) -> Decimal:
    """Return what so many units of a counter are worth in the end."""
    parsed = Points.parse(counter)
    assert parsed is not None
    return parsed.points(units, END)
