"""A small world to live in: a stack with a clock, its leads' messages, and what may go wrong."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from moto.core.models import botocore_stubber

from infra.local import engine
from infra.local.engine import clock_at
from infra.local.gateway import Answer
from infra.local.mapping import EventSourceMapping, Record
from infra.local.stack import Function, LocalStack
from leadscoring import items, store
from leadscoring.interaction import to_text
from tests.flow.own_model import stack_with

BEGIN = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

DIES_BEFORE, DIES_AFTER = "dies before the write", "dies after the write"
REQUEST_LOST, ANSWER_LOST = "the request is lost", "the answer is lost"
MISHAPS = (DIES_BEFORE, DIES_AFTER, REQUEST_LOST, ANSWER_LOST)

# Points fade to half in ten days, so that a life is short.
MODEL = """
number = 1
name = "short lives"
retention_days = 90
properties = ["note", "title"]
traits = ["firstName", "jobTitle"]
dimensions.interest = { half_life_days = 10, cap = 300 }
recycling.cool_down_days = 7
reply.hours = 48

[[rules]]
name = "visit"
on = "Visited"
points = 15
dimension = "interest"
limit = { times = 2, per = "day" }

[[rules]]
name = "asset"
on = "Asset Opened"
points = 20
dimension = "interest"
limit = { times = 1, per = "ever", by = "title" }

[[rules]]
name = "demo"
on = "Demo Requested"
points = 60
dimension = "interest"

[[rules]]
name = "unsubscribed"
on = "Unsubscribed"
points = -30
dimension = "interest"
trusted = true

[[fit.gates]]
name = "student"
when.jobTitle = ["Student"]

[[stages]]
name = "captured"

[[stages]]
name = "engaged"
enter.score = 30
exit.below.score = 10

[[stages]]
name = "mql"
enter.any = [{ score = 90 }, { seen.demo = 2 }]
enter_again.score = 110
exit.below.score = 25
"""

_READS = ("GetItem", "Query", "Scan", "BatchGetItem")


class Died(BaseException):
    """The process is gone in the middle of what it did: nothing catches that."""


class Mishaps:
    """What goes wrong with one write of the functions, and then no more."""

    def __init__(self) -> None:
        self.count = 0
        self.happened = False
        self._left = 0
        self._kind = ""

    @contextmanager
    def at(self, planned: tuple[int, str] | None) -> Iterator["Mishaps"]:
        """Let this go wrong at the n-th write from now on, if that is reached."""
        self.happened = False
        self._left, self._kind = planned or (0, "")
        try:
            yield self
        finally:
            self._left = 0

    def __call__(self, request: AWSPreparedRequest, event_name: str, **_named: object) -> None:
        if self._left == 0 or event_name.endswith(_READS):
            return
        self._left -= 1
        if self._left:
            return
        self.count += 1
        self.happened = True
        if self._kind in (DIES_AFTER, ANSWER_LOST):
            botocore_stubber("before-send", request)
        if self._kind == REQUEST_LOST:
            raise EndpointConnectionError(endpoint_url=request.url)
        if self._kind == ANSWER_LOST:
            raise ReadTimeoutError(endpoint_url=request.url)
        raise Died


def clients(module: Any) -> list[Any]:
    """Return the clients by which a function reaches the table and, where it does, the topic."""
    found = [module.store._table._dynamodb]
    return [*found, module.publisher._sns] if hasattr(module, "publisher") else found


class World:
    """One stack that lives many lives, one after the other."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.mishaps = Mishaps()
        self.now = BEGIN
        self.waiting: dict[EventSourceMapping, list[Record]] = {}

    def begin(self) -> None:
        """Begin anew with an empty table."""
        table = engine._table(self.stack.table_name)
        table.items.clear()
        if table.stream_shard:
            table.stream_shard.items.clear()
        self.stack.stream._position = 0
        self.stack.received.clear()
        self.stack._put_keys()
        self.stack.stream.read()
        self.start_cold(*self.stack.template.functions)
        self.now = BEGIN
        self.waiting = {mapping: [] for mapping in self.stack.mappings}

    def start_cold(self, *names: str) -> None:
        """Start these functions anew: they know nothing of what they did."""
        for name in names:
            sys.modules.pop(name, None)
            module: Any = importlib.import_module(name)
            self.stack.functions[name] = Function(module)
            if name == "sweep":
                module.PARTS = 1  # so small a table is guarded as a whole, each minute
            for client in clients(module):
                client.meta.events.register_first("before-send", self.mishaps)

    def request(self, method: str, path: str, body: dict[str, Any]) -> Answer | None:
        """Return the answer, or None to a client that never heard one."""
        return self._live(lambda: self.stack.request(method, path, body), "collect", "leads")

    def deliver(
        self, mapping: EventSourceMapping, most: int | None = None, *, again: bool = False
    ) -> None:
        """Hand the oldest records to a function; they come once more if it dies, or `again`."""
        self.listen()
        records = self.waiting[mapping][:most]
        answered = self._live(lambda: mapping.deliver(records), mapping.function)
        if answered is not None and not again:
            del self.waiting[mapping][: len(records)]
        self._receive()

    def listen(self) -> None:
        """Take up what the stream has to tell."""
        records = self.stack.stream.read()
        for mapping, waiting in self.waiting.items():
            waiting.extend(record for record in records if mapping.wants(record))

    def sweep(self) -> None:
        """Run the schedules, once."""
        for schedule in self.stack.template.schedules:
            event = {"time": to_text(self.now)}
            invoke = partial(self.stack.invoke, schedule.function, event)
            self._live(invoke, schedule.function)
        self._receive()

    def settle(self, look: Callable[[], None]) -> None:
        """Let nothing go wrong, and `look` at each step, until all under way has come to an end."""
        for _ in range(30):
            for mapping in self.waiting:
                self.deliver(mapping)
                look()
            self.now += 3 * MINUTE
            self.sweep()
            look()
            self.listen()
            if not any(self.waiting.values()) and not self.rows("OUTBOX#"):
                return
        raise AssertionError("lost: it never comes to rest")

    def rows(self, prefix: str = "") -> list[dict[str, Any]]:
        return self.stack.items(prefix)

    def _live[T](self, act: Callable[[], T], *functions: str) -> T | None:
        """Do this at the world's time; return None if the process dies over it."""
        try:
            with clock_at(self.now):
                return act()
        except Died:
            self.start_cold(*functions)
            return None

    def _receive(self) -> None:
        with clock_at(self.now):
            self.stack._receive()


@contextmanager
def world() -> Iterator[World]:
    """Run one stack for many lives; nobody waits before trying again."""
    with (
        patch("botocore.endpoint.time.sleep"),
        # So few leads are quickly found in one shard.
        patch.object(items, "SHARDS", 1),
        patch.object(store, "SHARDS", 1),
        stack_with(MODEL) as stack,
    ):
        yield World(stack)
