"""The public API: messages and plain HTML forms, each recorded exactly once.

API Gateway has matched the route before we start, so a table of route keys is all the routing
there is: the first visitor waits for no router to load.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from leadscoring import answers, forms, wire
from leadscoring.answers import Answer
from leadscoring.doors import Form
from leadscoring.interaction import Interaction, Trust
from leadscoring.keys import Keyring
from leadscoring.model import Model
from leadscoring.recorder import Recorder
from leadscoring.request import BATCH_BYTES, MESSAGE_BYTES, Invalid, Request, read_json
from leadscoring.settings import AWS_CLIENT, MODEL_FILE, Settings
from leadscoring.store import Store
from leadscoring.table import Busy

logger = Logger(service="collect")
metrics = Metrics(namespace="MQLambda", service="collect")

# An hour in which a metric has a value costs money, so there is none where nothing happened.
warnings.filterwarnings("ignore", "No application metrics to publish")

settings = Settings.from_env()
model = Model.load(MODEL_FILE)
store = Store(boto3.client("dynamodb", config=Config(**AWS_CLIENT)), settings.table_name)
keyring = Keyring(store.keys)
recorder = Recorder(store, model)


@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> Answer:
    """Answer one HTTP request: success once it is committed, 4xx if nothing was changed."""
    request = Request.of(event)
    try:
        return ROUTES[request.route](request)
    except Invalid as fault:
        _count("Refused")
        logger.info("refused", code=fault.code, field=fault.field, route=request.route)
        return answers.refusal(fault)
    except Busy:
        _count("Busy")
        logger.warning("the table is busy", route=request.route)
        return answers.busy()


def take_call(request: Request) -> Answer:
    """Record what one of Segment's calls says."""
    kind = wire.CALLS.get(request.path.get("call", ""))
    if kind is None:
        raise Invalid("unknown_call", "path", "there is no such call")
    if request.media_type not in ("application/json", "text/plain", ""):
        raise Invalid("unsupported_type", "content-type", "a call is JSON")
    document = read_json(request.body, BATCH_BYTES if kind == "batch" else MESSAGE_BYTES)
    arrival = request.arrival(_trust(request, document))
    reading = wire.read_call(kind, document, arrival, model)
    _record(reading.interactions, request)
    answer: Answer = {"success": True}
    if kind == "batch":
        answer["rejected"] = reading.rejected
    return answers.json_answer(200, answer)


def take_form(request: Request) -> Answer:
    """Record a form that a page posted without any JavaScript, and send the visitor on."""
    name, form = _form(request)
    if request.media_type != "application/x-www-form-urlencoded":
        raise Invalid("unsupported_type", "content-type", "a form is urlencoded")
    arrival = request.arrival(Trust.PUBLIC)
    _record([forms.read_form(name, form, request.body, arrival, model)], request)
    if "application/json" in request.header("accept"):
        return answers.json_answer(200, {"success": True})
    return answers.redirect(303, form.redirect or f"/f/{name}")


def thank(request: Request) -> Answer:
    """Thank for a form that has no page of its own to go to."""
    name, _ = _form(request)
    _count("Thanked")
    return answers.page(200, "Thank you.", f"We have received your form {name}.")


ROUTES: Mapping[str, Callable[[Request], Answer]] = {
    "POST /v1/{call}": take_call,
    "POST /f/{form}": take_form,
    "GET /f/{form}": thank,
}


def _form(request: Request) -> tuple[str, Form]:
    name = request.path.get("form", "")
    form = model.forms.get(name)
    if form is None:
        raise Invalid("unknown_form", "path", "there is no such form")
    return name, form


def _trust(request: Request, document: Mapping[str, Any]) -> Trust:
    """Return how far the sender's key is believed; a key of nobody's is refused."""
    key = request.basic_user or str(document.get("writeKey", "")) or request.query.get("writeKey")
    trust = keyring.at(request.received_at).trust(key or "")
    if trust is None:
        raise Invalid("unknown_key", "writeKey", "the write key is not one of ours")
    return trust


def _record(interactions: list[Interaction], request: Request) -> None:
    done = recorder.record(interactions, keyring.at(request.received_at))
    _count("Interactions", done.stored)
    _count("Duplicates", done.duplicates)
    _count("Conflicting", done.conflicting)


def _count(name: str, value: int = 1) -> None:
    if value:
        metrics.add_metric(name, MetricUnit.Count, value)
