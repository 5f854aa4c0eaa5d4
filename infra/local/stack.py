"""A whole MQLambda in one process: moto in place of AWS, the real handlers, the real triggers.

The tests use it as it is; `infra.local` puts HTTP, a schedule and a replay around it.
"""

import collections
import hashlib
import importlib
import json
import logging
import os
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3

from infra.local import engine, gateway
from infra.local.gateway import ACCOUNT, Answer, Request
from infra.local.mapping import EventSourceMapping, QueueMapping, Stream
from infra.local.template import ROOT, Schedule, Template
from leadscoring.answers import as_json
from leadscoring.contract import from_sns
from leadscoring.interaction import to_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
PUBLIC_KEY = "local-public"
SECRET_KEY = "local-secret"  # noqa: S105 (printed for everybody to use)

_REGION = "eu-central-1"
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": _REGION,
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    "EVENT_SOURCE": "urn:mqlambda:local",
    "CONTACT_DATA": os.environ.get("CONTACT_DATA", "full"),
    "POWERTOOLS_LOG_LEVEL": os.environ.get("POWERTOOLS_LOG_LEVEL", "WARNING"),
}
_EMF_PRINT = "aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch.print"


class Function:
    """One warm container: a handler's module, called by one thread at a time."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self._lock = threading.Lock()
        if metrics := getattr(module, "metrics", None):
            # Powertools keeps them once a process: functions would empty each other's.
            metrics.provider.metric_set, metrics.provider.dimension_set = {}, {}

    def __call__(self, event: dict[str, Any]) -> Any:
        with self._lock:
            return self.module.handler(event, _Context(self.module.__name__))


class LocalStack:
    """The stack that `template.yaml` and `infra/data.yaml` describe."""

    def __init__(self, metrics: collections.Counter[str]) -> None:
        self.template = Template.load()
        self.metrics = metrics
        self.received: list[dict[str, Any]] = []
        self.pump_lock = threading.RLock()
        self.dynamodb: DynamoDBClient = boto3.client("dynamodb")
        self._sns = boto3.client("sns")
        self._sqs = boto3.client("sqs")
        self._outputs = _create(ROOT / "infra" / "data.yaml")
        self.table_name = self._outputs["TableName"]
        os.environ["TABLE_NAME"] = self.table_name
        os.environ["TOPIC_ARN"] = self._outputs["TopicArn"]
        os.environ["SPOOL_URL"] = self._outputs["SpoolUrl"]
        self._put_keys()
        self._queue_url = self._subscribe_customer()
        self.functions: dict[str, Function] = {}
        self.load_functions()
        self.stream = Stream(self.table_name)
        self.mappings = [
            EventSourceMapping(trigger, partial(self.invoke, trigger.function))
            for trigger in self.template.streams
        ]
        self.queues = [
            QueueMapping(
                trigger,
                self._sqs,
                self._outputs["SpoolUrl"],
                self._outputs["SpoolArn"],
                partial(self.invoke, trigger.function),
            )
            for trigger in self.template.queues
        ]

    def load_functions(self) -> None:
        """Start every function cold, as a new deployment does."""
        for name in self.template.functions:
            sys.modules.pop(name, None)
            self.functions[name] = Function(importlib.import_module(name))

    def request(
        self,
        method: str,
        path: str,
        body: object = b"",
        headers: Mapping[str, str] | None = None,
        query: str = "",
    ) -> Answer:
        """Answer one HTTP request as API Gateway would: match the route, call its function.

        A body that is not bytes is sent as JSON, and whoever sends it is a browser unless it says
        otherwise.
        """
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        sent.setdefault("user-agent", BROWSER)
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("content-type", "application/json")
        return gateway.answer(
            Request(method, path, query, sent, body, engine.now()),
            self.template.routes,
            lambda route, event: self.invoke(route.function, event),
        )

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        """Call one function with an event."""
        return self.functions[function](event)

    def pump(self) -> None:
        """Deliver the spool, then the stream until it is empty; let the customer read the queue."""
        with self.pump_lock:
            for queue in self.queues:
                queue.deliver()
            relayed = 0
            while records := self.stream.read():
                for mapping in self.mappings:
                    delivered = mapping.deliver(records)
                    relayed += delivered if mapping.function == "relay" else 0
            if relayed:
                self._receive()

    def run_schedule(self, schedule: Schedule) -> None:
        """Run one scheduled function, once."""
        with self.pump_lock:
            self.invoke(schedule.function, {"time": to_text(engine.now())})
            self._receive()

    def items(self, prefix: str) -> list[dict[str, Any]]:
        """Return the table's items whose sort key begins so, in DynamoDB's JSON."""
        return engine.rows(self.table_name, prefix)

    def leads(self) -> list[dict[str, Any]]:
        """Return all leads with score and stage, as the private API shows them."""
        private = self.functions["leads"].module
        now = engine.now()
        known = (private.store.lead_of(item) for item in self.items("LEAD"))
        found = [private.summary(lead, now) for lead in known if lead.is_one]
        leads: list[dict[str, Any]] = json.loads(as_json(found))
        return [{**lead, "score": lead["scorecard"]["score"]} for lead in leads]

    def pending(self) -> int:
        """Return how much is still on its way: spooled requests, stream records, outbox items."""
        waiting = [
            record
            for record in self.stream.unread()
            if any(mapping.wants(record) for mapping in self.mappings)
        ]
        spooled = sum(queue.waiting() for queue in self.queues)
        return spooled + len(waiting) + len(self.items("OUTBOX#"))

    def status(self) -> dict[str, int]:
        """Return the counts since the start."""
        return {
            "interactions": self.metrics["Interactions"],
            "duplicates": self.metrics["Duplicates"],
            "promotions": len(self.promoted()),
            "pending": self.pending(),
        }

    def promoted(self) -> dict[str, dict[str, Any]]:
        """Return the promotions that the customer received, by message id."""
        return {
            message["id"]: message
            for message in self.received
            if message["type"] == "mqlambda.lead.promoted.v1"
        }

    def _put_keys(self) -> None:
        digest = hashlib.sha256(SECRET_KEY.encode()).hexdigest()
        self.dynamodb.put_item(
            TableName=self.table_name,
            Item={
                "pk": {"S": "KEYS"},
                "sk": {"S": "KEYS"},
                "lead_ids": {"S": hashlib.sha256(b"local").hexdigest()},
                "public": {"S": PUBLIC_KEY},
                f"secret:{digest}": {"S": to_text(engine.now())},
            },
        )

    def _subscribe_customer(self) -> str:
        queue: str = self._sqs.create_queue(QueueName="customer")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        self._sns.subscribe(
            TopicArn=self._outputs["TopicArn"],
            Protocol="sqs",
            Endpoint=attributes["Attributes"]["QueueArn"],
        )
        return queue

    def _receive(self) -> None:
        while True:
            answer = self._sqs.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10)
            if not (messages := answer.get("Messages", [])):
                return
            for message in messages:
                with suppress(ValueError):  # somebody else's: its sender reads it, not we
                    self.received.append(from_sns(message["Body"]).model_dump(mode="json"))
                self._sqs.delete_message(
                    QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"]
                )


@contextmanager
def local_stack(api_url: str = "http://127.0.0.1:8000") -> Iterator[LocalStack]:
    """Run a fresh stack until the end of the block; the links in its messages lead to `api_url`."""
    logging.getLogger("moto").setLevel(logging.ERROR)
    with ExitStack() as running:
        running.enter_context(patch.dict(os.environ, {**_ENVIRONMENT, "API_URL": api_url}))
        running.enter_context(engine.engine())
        metrics: collections.Counter[str] = collections.Counter()
        running.enter_context(patch(_EMF_PRINT, partial(_count, metrics), create=True))
        yield LocalStack(metrics)


class _Context:
    """Lambda's context object, as far as the handlers' libraries look at it."""

    memory_limit_in_mb = 512
    log_group_name = log_stream_name = "local"

    def __init__(self, function_name: str) -> None:
        self.function_name = function_name
        self.function_version = "$LATEST"
        self.invoked_function_arn = f"arn:aws:lambda:{_REGION}:{ACCOUNT}:function:{function_name}"
        self.aws_request_id = str(uuid.uuid4())

    def get_remaining_time_in_millis(self) -> int:
        return 29_000


def _count(metrics: collections.Counter[str], line: str) -> None:
    """Take a line of CloudWatch's embedded metric format, as CloudWatch does from the log."""
    document = json.loads(line)
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for metric in directive["Metrics"]:
            metrics[metric["Name"]] += int(sum(document[metric["Name"]]))


def _create(template: Path) -> dict[str, str]:
    """Create the CloudFormation stack and return its outputs."""
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(StackName="data", TemplateBody=template.read_text())
    outputs = cloudformation.describe_stacks(StackName="data")["Stacks"][0]["Outputs"]
    return {str(output["OutputKey"]): str(output["OutputValue"]) for output in outputs}
