"""No personal data where nobody looks for it: a canary sits in every field, and every sink is read.

What may hold a canary: the table's attributes, the messages on the topic, and the spool.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from infra.local import stack as local
from infra.local.engine import clock_at
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from tests.flow.attack import NOON, SAID, Sent, call, form, hook, link, message, send, target
from tests.flow.test_busy_table import cancelled, refused

BIRD = "canary"
WHO = f"{BIRD}@example.com"
ADDRESS = "203.0.113.77"
SEEN = re.compile(rf"{BIRD}|{re.escape(ADDRESS)}", re.IGNORECASE)
# A client that puts a person's name into its message ids has them as keys.
MESSAGE_ID = "m-1"


@dataclass
class Sinks:
    """Whatever leaves the functions, but for what subscribers, the table and the spool are for."""

    texts: list[str] = field(default_factory=list)

    def write(self, text: str) -> None:
        self.texts.append(text)

    def flush(self) -> None:
        """Nothing is held back."""

    def birds(self) -> list[str]:
        return [text for text in self.texts if SEEN.search(text)]


class Records(logging.Handler):
    """Formats each log record as its function would, and with all its fields."""

    def __init__(self, sinks: Sinks, formatter: logging.Formatter | None = None) -> None:
        super().__init__()
        self._sinks = sinks
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self._sinks.write(f"{self.format(record)} {record.__dict__}")


@contextmanager
def watched() -> Iterator[tuple[LocalStack, Sinks]]:
    """Run a stack and hear all that its functions say."""
    sinks = Sinks()
    with ExitStack() as heard:
        stack = heard.enter_context(target())
        heard.enter_context(patch(local._EMF_PRINT, sinks.write))
        heard.enter_context(patch("sys.stdout", sinks))
        heard.enter_context(patch("sys.stderr", sinks))
        heard.enter_context(patch.object(BaseClient, "_make_api_call", _overheard(sinks)))
        heard.enter_context(patch.object(stack, "invoke", _from_an_address(stack)))
        for name, function in stack.functions.items():
            logger = function.module.logger
            handler = Records(sinks, logger.registered_formatter)
            heard.enter_context(patch.object(logger._logger, "level", logging.DEBUG))
            heard.callback(logging.getLogger(name).removeHandler, handler)
            logging.getLogger(name).addHandler(handler)
        everybody = Records(sinks)
        everybody.setLevel(logging.INFO)
        heard.callback(logging.getLogger().removeHandler, everybody)
        logging.getLogger().addHandler(everybody)
        yield stack, sinks


def _overheard(sinks: Sinks) -> Callable[..., Any]:
    """Return botocore's way to AWS, and tell the sinks what others than the intended may read."""
    make_api_call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(client: Any, operation: str, params: dict[str, Any]) -> Any:
        match operation:
            case "Publish":
                seen = {name: value for name, value in params.items() if name != "Message"}
            case "SendMessage" if params["QueueUrl"].endswith("/customer"):
                seen = params
            case "SendMessage":
                seen = {name: value for name, value in params.items() if name != "MessageBody"}
            case _:
                seen = {}
        sinks.write(f"{operation} {seen}")
        return make_api_call(client, operation, params)

    return call


def _from_an_address(stack: LocalStack) -> Callable[[str, Any], Any]:
    invoke = stack.invoke

    def invoke_from(function: str, event: Any) -> Any:
        if "requestContext" in event:
            event["requestContext"]["http"]["sourceIp"] = ADDRESS
        return invoke(function, event)

    return invoke_from


def marked(value: Any) -> Any:
    """Return the value with a canary in each of its texts, and in the name of one more field."""
    if isinstance(value, dict):
        return {name: marked(inner) for name, inner in value.items()} | {f"{BIRD}-name": BIRD}
    if isinstance(value, list):
        return [marked(inner) for inner in value]
    return f"{BIRD}-{value}" if isinstance(value, str) else value


def messages() -> Iterator[dict[str, Any]]:
    """Return good messages of each kind with a canary in every text, then each field broken."""
    for kind in sorted(SAID):
        good = {
            **marked(message(kind)),
            "type": kind,
            "timestamp": "2026-03-02T11:00:00Z",
            "messageId": f"{MESSAGE_ID}-{kind}",
            "userId": WHO,
            "context": {
                "traits": {"email": WHO},
                **marked({"userAgent": "x", "page": {"url": ""}}),
            },
        }
        yield good
        yield {**good, "userId": f"{BIRD}-42", "context": {}, "traits": {"company": BIRD}}
        yield {**good, "event": "Demo Requested"}
        for name in (*good, "sentAt", "originalTimestamp", "anonymousId", "event"):
            for broken in (BIRD, BIRD * 500, [BIRD], {BIRD: BIRD}):
                if name != "messageId" or len(broken) == 1:
                    yield {**good, name: broken}


def requests(stack: LocalStack) -> Iterator[Sent]:
    """Return a stranger's and a server's requests, each full of canaries."""
    headers = {
        name: f"{BIRD}-{name}" for name in ("referer", "cookie", "origin", "x-forwarded-for")
    }
    for key in (PUBLIC_KEY, SECRET_KEY, BIRD):
        said = list(messages())
        for one in said:
            yield call(one["type"] if isinstance(one["type"], str) else "track", one).changed(
                query=f"writeKey={key}"
            )
        for start in range(0, len(said), 50):
            part = {"writeKey": key, "batch": said[start : start + 50]}
            yield call("batch", {**part, BIRD: BIRD, "sentAt": BIRD})
            yield call("batch", {**part, "context": {BIRD: BIRD}})
    contact = {"email": WHO, "company": BIRD, "title": BIRD, BIRD: BIRD, "utm_source": BIRD}
    for fields in (contact, {**contact, "email": BIRD}, {**contact, "_gotcha": BIRD}, {}):
        for in_parts in (False, True):
            yield form("contact", fields, in_parts=in_parts)
            yield form("demo", fields, in_parts=in_parts).changed(headers={"content-type": BIRD})
    yield form(BIRD, contact)
    yield Sent("GET /f/{form}", f"/f/{BIRD}")
    yield Sent("GET /v1/projects/{key}/settings", f"/v1/projects/{BIRD}/settings")
    yield call(BIRD, {"userId": BIRD})
    yield link(stack, WHO)
    yield link(stack, WHO).changed(query=f"email={WHO}", route="HEAD /c/{token}")
    yield Sent("GET /c/{token}", f"/c/{BIRD}")
    for source in ("standard", "stripe", "typeform", "zoom"):
        yield hook(source, WHO)
        yield hook(source, WHO, type=BIRD, event=BIRD, event_type=BIRD)
        yield hook(source, WHO).signed(secret=f"{BIRD}AA")
        yield hook(source, WHO).changed(body=f'{{"{BIRD}"'.encode()).signed()
    yield hook("standard", WHO).changed(path=f"/hooks/{BIRD}")
    for sent in (
        call("track", {"writeKey": PUBLIC_KEY, **next(messages())}),
        form("demo", contact),
    ):
        for body in (f"{BIRD}".encode(), f'{{"{BIRD}":'.encode(), f'["{BIRD}"]'.encode()):
            yield sent.changed(body=body, headers={**sent.headers, **headers})
        yield sent.changed(headers={**sent.headers, **headers, "authorization": f"Basic {BIRD}"})
        yield sent.changed(headers={**sent.headers, "user-agent": f"{BIRD} googlebot"})
        yield sent.changed(headers={**sent.headers, "content-encoding": "gzip"})


def keys(stack: LocalStack) -> list[str]:
    """Return all keys of the table, of its indexes too."""
    names = ("pk", "sk", "by_stage", "stage_since", "pending", "pending_since")
    return [f"{[item.get(name) for name in names]}" for item in stack.items("")]


def test_no_canary_is_seen_in_any_sink() -> None:
    with watched() as (stack, sinks):
        for number, sent in enumerate(requests(stack)):
            answer = send(stack, sent, NOON + timedelta(seconds=number))
            sinks.write(f"{sent.route} answered {dict(answer.headers)} {answer.body.decode()}")
        stack.pump()
        with clock_at(NOON + timedelta(hours=1)):
            for schedule in stack.template.schedules:
                stack.run_schedule(schedule)

        assert sinks.birds() == []
        assert [key for key in keys(stack) if SEEN.search(key)] == []
        # They flew: the table and the messages have them, and all sinks were open.
        assert SEEN.search(json.dumps(stack.items("")))
        assert SEEN.search(json.dumps(stack.received))
        for said in ("refused", "CloudWatchMetrics", "Publish ", "answered", "passed over"):
            assert any(said in text for text in sinks.texts), said


FAILURES: dict[str, Exception] = {
    "busy": cancelled("None", "TransactionConflict"),
    "denied": refused("AccessDeniedException"),
    "too large": ClientError(
        {
            "Error": {"Code": "ValidationException", "Message": "Item size has exceeded"},
            "CancellationReasons": [{"Item": {"email": {"S": WHO}}}],  # type: ignore[typeddict-unknown-key]
        },
        "TransactWriteItems",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_no_canary_is_seen_when_the_table_takes_nothing(failure: str) -> None:
    with watched() as (stack, sinks):
        table = stack.functions["collect"].module.store._table
        table._budget_seconds, table._sleep = 0.01, lambda _: None

        def fail(**_: Any) -> None:
            raise FAILURES[failure]

        with patch.object(table._dynamodb, "transact_write_items", fail):
            for sent in (
                call("track", {"writeKey": PUBLIC_KEY, **next(messages())}),
                form("contact", {"email": WHO, "company": BIRD}),
                link(stack, WHO),
                hook("standard", WHO),
            ):
                with clock_at(NOON):
                    answer = stack.request(sent.method, sent.path, sent.body, sent.headers)
                sinks.write(f"{dict(answer.headers)} {answer.body.decode()}")
        assert stack.queues[0].waiting() == 2, "the form and the click wait in the spool"
        retrying = stack.functions["retry"].module.store._table
        retrying._budget_seconds, retrying._sleep = 0.01, lambda _: None
        with patch.object(retrying._dynamodb, "transact_write_items", fail), clock_at(NOON):
            stack.pump()
    assert sinks.birds() == []
    assert any("SendMessage" in text for text in sinks.texts)


@pytest.mark.parametrize("function", ["promote", "relay", "sweep"])
def test_no_canary_is_seen_when_a_function_fails_on_a_lead(function: str) -> None:
    with watched() as (stack, sinks):
        document = {"writeKey": PUBLIC_KEY, **message("track", userId=WHO, event="Demo Requested")}
        send(stack, call("track", document))
        module = stack.functions[function].module

        def fail(*_: Any, **__: Any) -> None:
            raise ValueError(f"{WHO} does not fit")

        of_promoter = function == "promote"
        room, name = (module.promoter, "promote") if of_promoter else (module.outbox, "deliver")
        with patch.object(room, name, fail):
            try:
                stack.pump()
                with clock_at(NOON + timedelta(hours=1)):
                    stack.run_schedule(stack.template.schedules[0])
            except Exception:
                sinks.write(traceback.format_exc())
                raise
    assert sinks.birds() == []
    assert any("not " in text and "ValueError" in text for text in sinks.texts)


@pytest.mark.parametrize("way", ["log", "metric", "print", "attribute", "answer"])
def test_a_canary_that_gets_out_is_seen(way: str) -> None:
    with watched() as (stack, sinks):
        collect, relay = stack.functions["collect"].module, stack.functions["relay"].module
        leak: dict[str, Callable[[], object]] = {
            "log": lambda: collect.logger.debug("recorded", lead=WHO),
            "metric": lambda: collect.metrics.add_metadata("lead", WHO),
            "print": lambda: sys.stdout.write(WHO),
            "attribute": lambda: relay.publisher._sns.publish(
                TopicArn=relay.settings.topic_arn,
                Message="x",
                MessageAttributes={"who": {"DataType": "String", "StringValue": WHO}},
            ),
            "answer": lambda: sinks.write(f"answered {WHO}"),
        }
        note = collect._count
        with patch.object(collect, "_count", lambda *said: (leak[way](), note(*said))):
            send(stack, call("track", {"writeKey": PUBLIC_KEY, **message("track")}))
    assert sinks.birds() != []
