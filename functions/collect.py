"""The public API: messages and plain HTML forms, each recorded exactly once.

API Gateway has matched the route before we start, so a table of route keys is all the routing
there is: the first visitor waits for no router to load.
"""

import base64
import binascii
import hashlib
import hmac
import json
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from leadscoring import wire
from leadscoring.interaction import Interaction, Trust
from leadscoring.ledger import Recorded
from leadscoring.model import Model
from leadscoring.settings import AWS_CLIENT, MODEL_FILE, Settings
from leadscoring.store import Store
from leadscoring.table import Busy
from leadscoring.wire import Arrival, Invalid

logger = Logger(service="collect")
metrics = Metrics(namespace="MQLambda", service="collect")

# An hour in which a metric has a value costs money, so there is none where nothing happened.
warnings.filterwarnings("ignore", "No application metrics to publish")

settings = Settings.from_env()
model = Model.load(MODEL_FILE)
store = Store(boto3.client("dynamodb", config=Config(**AWS_CLIENT)), settings.table_name)
keys = store.keys()

type Answer = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@metrics.log_metrics
@event_source(data_class=APIGatewayProxyEventV2)
def handler(event: APIGatewayProxyEventV2, _context: LambdaContext) -> Answer:
    """Answer one HTTP request: 200 or 303 once it is committed, 4xx if nothing was changed."""
    try:
        return ROUTES[event.route_key](event)
    except Invalid as fault:
        _count("Refused")
        logger.info("refused", code=fault.code, field=fault.field, route=event.route_key)
        return _json(fault.status, fault.as_dict())
    except Busy:
        _count("Busy")
        logger.warning("the table is busy", route=event.route_key)
        body = {"code": "busy", "field": "", "message": "not recorded yet: please send it again"}
        return _json(503, body, {"retry-after": "1"})


def take_call(event: APIGatewayProxyEventV2) -> Answer:
    """Record what one of Segment's calls says."""
    kind = wire.CALLS.get(_path(event, "call"))
    if kind is None:
        raise Invalid("unknown_call", "path", "there is no such call")
    if _media_type(event) not in ("application/json", "text/plain", ""):
        raise Invalid("unsupported_type", "content-type", "a call is JSON")
    limit = wire.BATCH_BYTES if kind == "batch" else wire.MESSAGE_BYTES
    document = wire.read_json(_body(event), limit)
    arrival = _arrival(event, _trust(event, document))
    reading = wire.read_call(kind, document, arrival, model)
    _record(reading.interactions)
    answer: Answer = {"success": True}
    if kind == "batch":
        answer["rejected"] = reading.rejected
    return _json(200, answer)


def take_form(event: APIGatewayProxyEventV2) -> Answer:
    """Record a form that a page posted without any JavaScript, and send the visitor on."""
    name = _path(event, "form")
    form = model.forms.get(name)
    if form is None:
        raise Invalid("unknown_form", "path", "there is no such form")
    if _media_type(event) != "application/x-www-form-urlencoded":
        raise Invalid("unsupported_type", "content-type", "a form is urlencoded")
    arrival = _arrival(event, Trust.PUBLIC)
    _record([wire.read_form(name, form, _body(event), arrival, model)])
    if "application/json" in _header(event, "accept"):
        return _json(200, {"success": True})
    return {"statusCode": 303, "headers": {"location": form.redirect or f"/f/{name}"}}


def thank(event: APIGatewayProxyEventV2) -> Answer:
    """Thank for a form that has no page of its own to go to."""
    name = _path(event, "form")
    if name not in model.forms:
        raise Invalid("unknown_form", "path", "there is no such form")
    _count("Thanked")
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Thank you</title>'
        '<meta name="viewport" content="width=device-width">'
        '<body style="font:1.2rem/1.6 system-ui;max-width:32rem;margin:20vh auto;padding:0 1rem">'
        f"<h1>Thank you.</h1><p>We have received your form <b>{escape(name)}</b>.</p></body></html>"
    )
    return {
        "statusCode": 200,
        "headers": {"content-type": "text/html; charset=utf-8"},
        "body": page,
    }


ROUTES: Mapping[str, Callable[[APIGatewayProxyEventV2], Answer]] = {
    "POST /v1/{call}": take_call,
    "POST /f/{form}": take_form,
    "GET /f/{form}": thank,
}


def _record(interactions: list[Interaction]) -> None:
    """Write the interactions lead by lead, each lead's in one go."""
    by_lead: dict[str, list[Interaction]] = defaultdict(list)
    for interaction in interactions:
        if interaction.identity:
            by_lead[interaction.identity.lead_id(keys.lead_ids)].append(interaction)
    done = Recorded()
    for lead_id, mine in by_lead.items():
        done += store.ledger.record(lead_id, mine, model)
    _count("Interactions", done.stored)
    _count("Duplicates", done.duplicates)
    _count("Conflicting", done.conflicting)


def _trust(event: APIGatewayProxyEventV2, document: Mapping[str, Any]) -> Trust:
    """Return how far the sender's key is believed; a key of nobody's is refused."""
    key = (_basic_user(event) or str(document.get("writeKey", ""))).encode()
    if hmac.compare_digest(key, keys.public.encode()):
        return Trust.PUBLIC
    if hashlib.sha256(key).hexdigest() in keys.secret_digests:
        return Trust.TRUSTED
    raise Invalid("unknown_key", "writeKey", "the write key is not one of ours")


def _basic_user(event: APIGatewayProxyEventV2) -> str:
    scheme, _, credentials = _header(event, "authorization").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials).decode().partition(":")[0]
    except (ValueError, binascii.Error):
        return ""


def _body(event: APIGatewayProxyEventV2) -> bytes:
    body = event.body or ""
    try:
        plain = base64.b64decode(body) if event.is_base64_encoded else body.encode()
    except (ValueError, binascii.Error):
        raise Invalid("invalid", "body", "the body can't be decoded") from None
    gzipped = _header(event, "content-encoding").lower() == "gzip"
    return wire.inflate(plain) if gzipped else plain


def _arrival(event: APIGatewayProxyEventV2, trust: Trust) -> Arrival:
    context = event.request_context
    received_at = _EPOCH + timedelta(milliseconds=context.time_epoch)
    return Arrival(received_at, context.request_id, trust)


def _path(event: APIGatewayProxyEventV2, name: str) -> str:
    return (event.path_parameters or {}).get(name, "")


def _header(event: APIGatewayProxyEventV2, name: str) -> str:
    return event.headers.get(name) or ""


def _media_type(event: APIGatewayProxyEventV2) -> str:
    return _header(event, "content-type").partition(";")[0].strip().lower()


def _json(status: int, body: Answer, headers: Mapping[str, str] | None = None) -> Answer:
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", **(headers or {})},
        "body": json.dumps(body),
    }


def _count(name: str, value: int = 1) -> None:
    if value:
        metrics.add_metric(name, MetricUnit.Count, value)
