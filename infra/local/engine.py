"""moto, made fit for threads and for a clock of our own.

moto runs requests of several threads into each other, backs up a whole table for each transaction
and sorts a whole table for each query. Here one request runs at a time, a cancelled transaction
gives back only the rows it touched, a query looks at its own partition or sparse index, stream
records and queues go by the time that the clock tells, and a filter policy on the body reads what
its subscriber would get.
"""

import copy
import gc
import inspect
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.models import DEFAULT_ACCOUNT_ID, botocore_stubber
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.sns.models import Subscription
from moto.sqs.models import sqs_backends

from infra.local.gateway import Answer, Request

# The services that moto is installed with, and the largest request that any of them takes.
SERVICES = ("cloudformation", "dynamodb", "sns", "sqs")
LARGEST_CALL = 16 * 1024 * 1024

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=[^/]+/\d{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)"
    r"/aws4_request,"
)

# One request at a time, and nobody looks while a transaction is half done.
_lock = threading.RLock()
_set_to: ContextVar[datetime | None] = ContextVar("set_to", default=None)


def now() -> datetime:
    """Return what the clock tells in this thread: the time it is set to, else the wall's."""
    return _set_to.get() or datetime.now(UTC)


@contextmanager
def clock_at(instant: datetime) -> Iterator[None]:
    """Set the clock of this thread to an instant."""
    token = _set_to.set(instant)
    try:
        yield
    finally:
        _set_to.reset(token)


@contextmanager
def engine() -> Iterator[None]:
    """Answer all AWS calls of this process from memory until the end of the block."""
    process_request = BotocoreStubber.process_request
    transact_write_items = DynamoDBBackend.transact_write_items
    query = Table.query
    query_signature = inspect.signature(query)
    publish = Subscription.publish

    def one_at_a_time(stubber: BotocoreStubber, request: Any) -> Any:
        with _lock:
            return process_request(stubber, request)

    def by_row(backend: DynamoDBBackend, actions: list[dict[str, Any]]) -> None:
        before = [_Row(backend, action) for action in actions]
        try:
            transact_write_items(backend, actions)
        except Exception:
            for row in reversed(before):
                row.give_back()
            raise

    def by_partition(table: Table, *args: Any, **kwargs: Any) -> Any:
        asked = query_signature.bind(table, *args, **kwargs).arguments
        if (index_name := asked.get("index_name")) is None:
            found = list(table.items.get(asked["hash_key"], {}).values())
        else:
            attribute = table.get_index(index_name).schema[0]["AttributeName"]
            rows = (row for partition in table.items.values() for row in partition.values())
            found = [row for row in rows if attribute in row.attrs]
        with patch.object(table, "all_items", lambda: found):
            return query(table, *args, **kwargs)

    def as_delivered(
        subscription: Subscription,
        message: str,
        *args: Any,
        message_structure: str | None = None,
        **kwargs: Any,
    ) -> None:
        if message_structure == "json":
            message = subscription._parse_message_structure(message, subscription.protocol)
        publish(subscription, message, *args, **kwargs)

    # A table in memory is many objects that stay: looking for garbage less often saves a tenth.
    gc.set_threshold(50_000, 20, 100)
    with ExitStack() as changed:
        changed.enter_context(mock_aws())
        changed.enter_context(patch.object(BotocoreStubber, "process_request", one_at_a_time))
        changed.enter_context(patch.object(DynamoDBBackend, "transact_write_items", by_row))
        changed.enter_context(patch.object(Table, "query", by_partition))
        changed.enter_context(patch.object(Subscription, "publish", as_delivered))
        # moto's own backup is a deep copy of the table: with ours it has nothing left to do.
        changed.enter_context(
            patch.object(Table, "__deepcopy__", lambda table, _memo: table, create=True)
        )
        changed.enter_context(patch("moto.dynamodb.models.table.utcnow", _naive_now))
        changed.enter_context(patch("moto.sqs.models.unix_time", _seconds))
        changed.enter_context(patch("moto.sqs.models.unix_time_millis", lambda: 1000 * _seconds()))
        yield


def call(request: Request) -> Answer:
    """Answer one call of AWS's API that came over HTTP, as calls inside this process are answered.

    The signature is not checked: it only tells which service is meant.
    """
    signed = _SIGNED.match(request.headers.get("authorization", ""))
    if not signed:
        return _refusal(403, "MissingAuthenticationToken", "this is no signed call of AWS's API")
    if signed["service"] not in SERVICES:
        there = ", ".join(SERVICES)
        return _refusal(404, "UnknownService", f"no {signed['service']} here, only {there}")
    if len(request.body) > LARGEST_CALL:
        return _refusal(413, "RequestEntityTooLarge", f"more than {LARGEST_CALL} bytes")
    host = f"{signed['service']}.{signed['region']}.amazonaws.com"
    sent = AWSPreparedRequest(
        request.method,
        f"https://{host}{request.path or '/'}?{request.query}",
        HTTPHeaders.from_dict({**request.headers, "host": host}),
        request.body,
        stream_output=False,
    )
    try:
        answered = botocore_stubber.process_request(sent)
    except Exception as error:  # noqa: BLE001 (what moto can't read, it raises as it meets it)
        return _refusal(400, "NotUnderstood", f"moto raised {error!r}")
    status, headers, body = answered or (404, {}, "")
    return Answer(
        status,
        {name: str(value) for name, value in headers.items()},
        body.encode() if isinstance(body, str) else body,
    )


def rows(table_name: str, prefix: str = "") -> list[dict[str, Any]]:
    """Return the items whose sort key begins so, in DynamoDB's JSON, without a serialised scan."""
    with _lock:
        partitions = _table(table_name).items.values()
        found = [row for part in partitions for row in part.values()]
        return [
            row.to_json()["Attributes"]
            for row in found
            if row.range_key and row.range_key.value.startswith(prefix)
        ]


def stream_records(table_name: str, start: int) -> list[dict[str, Any]]:
    """Return the records of a table's stream from a position on, as moto gives them to Lambda."""
    with _lock:
        shard = _table(table_name).stream_shard
        return [record.to_json() for record in shard.items[start:]] if shard else []


def writes(table_name: str) -> int:
    """Return how many writes the table has taken."""
    with _lock:
        shard = _table(table_name).stream_shard
        return len(shard.items) if shard else 0


def queued(arn: str) -> int:
    """Return how many messages a queue holds, whether they can be seen or not."""
    region, account, name = arn.split(":")[3:]
    with _lock:
        return len(sqs_backends[account][region].queues[name]._messages)


def _table(name: str) -> Table:
    backend = dynamodb_backends[DEFAULT_ACCOUNT_ID][os.environ["AWS_DEFAULT_REGION"]]
    return backend.get_table(name)


class _Row:
    """One row and the length of its table's stream, as they were before a transaction."""

    def __init__(self, backend: DynamoDBBackend, action: dict[str, Any]) -> None:
        (operation,) = action.values()
        key = operation.get("Key") or operation["Item"]
        self._table = backend.get_table(operation["TableName"])
        self._hash = DynamoType(key[self._table.hash_key_attr])
        self._range = DynamoType(key[self._table.range_key_attr])
        partition = self._table.items.get(self._hash, {})
        self._item = copy.deepcopy(partition.get(self._range))
        shard = self._table.stream_shard
        self._records = len(shard.items) if shard else 0

    def give_back(self) -> None:
        partition = self._table.items[self._hash]
        partition.pop(self._range, None)
        if self._item is not None:
            partition[self._range] = self._item
        if self._table.stream_shard:
            del self._table.stream_shard.items[self._records :]


def _refusal(status: int, code: str, message: str) -> Answer:
    """Return an error in the words that all of AWS's JSON clients read."""
    body = json.dumps({"__type": code, "message": message}).encode()
    return Answer(status, {"content-type": "application/x-amz-json-1.0"}, body)


def _seconds() -> float:
    return now().timestamp()


def _naive_now() -> datetime:
    return now().replace(tzinfo=None)
