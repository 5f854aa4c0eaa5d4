"""The public API: messages and plain HTML forms, each recorded exactly once.

API Gateway has matched the route before we start, so a table of route keys is all the routing
there is: the first visitor waits for no router to load.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from leadscoring import answers, captcha, fields, forms, links, outward, webhooks, wire
from leadscoring.answers import Answer
from leadscoring.contract import Sender
from leadscoring.interaction import Interaction, Trust
from leadscoring.keys import Keyring
from leadscoring.links import Click
from leadscoring.model import Model
from leadscoring.recorder import Recorder
from leadscoring.request import BATCH_BYTES, MESSAGE_BYTES, Invalid, Request, read_json
from leadscoring.settings import AWS_CLIENT, MODEL_FILE, SNIPPET_FILE, Settings
from leadscoring.snippet import Snippet
from leadscoring.spool import Spool
from leadscoring.store import Store
from leadscoring.table import Busy

logger = Logger(service="collect")

# An hour in which a metric has a value costs money, so there is none where nothing happened.
warnings.filterwarnings("ignore", "No application metrics to publish")

_TABLE_FAILS = (Busy, BotoCoreError, ClientError)

settings = Settings.from_env()
metrics = Metrics(namespace=settings.source, service="collect")
model = Model.load(MODEL_FILE)
snippet = Snippet.load(SNIPPET_FILE)
store = Store(boto3.client("dynamodb", config=Config(**AWS_CLIENT)), settings.table_name)
keyring = Keyring(store.keys)
recorder = Recorder(store, model, Sender(settings.source, with_contact=settings.with_contact))


@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> Answer:
    """Answer one HTTP request: success once it is committed, 4xx if nothing was changed."""
    request = Request.of(event)
    try:
        return ROUTES[request.route](request)
    except Invalid as fault:
        _note_refusal(fault, request)
        return answers.refusal(fault, as_page=_is_for_a_person(request))
    except Busy:
        _note_busy(request)
        return answers.busy(as_page=_is_for_a_person(request))
    except captcha.Unreachable:
        _count("CaptchaUnreachable")
        logger.warning("nobody could check the captcha", route=request.route)
        return answers.busy(as_page=_is_for_a_person(request))


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


def tell_settings(request: Request) -> Answer:
    """Tell Segment's browser SDK how to be used with us, instead of its own CDN."""
    key = request.path.get("key", "")
    if keyring.at(request.received_at).trust(key) is not Trust.PUBLIC:
        raise Invalid("unknown_project", "path", "there is no such public key")
    return answers.json_answer(200, wire.client_settings(key, request.origin))


def take_form(request: Request) -> Answer:
    """Record a form that a page posted without any JavaScript, and send the visitor on."""
    posted = forms.receive(request, model)
    if posted.form.captcha:
        captcha.check(posted.form.captcha, posted.fields, _captcha_secrets(request), outward.post)
    _record_or_spool(posted.interaction, request)
    if _is_for_a_person(request):
        return answers.redirect(303, posted.target)
    return answers.json_answer(200, {"success": True})


def thank(request: Request) -> Answer:
    """Thank for a form that has no page of its own to go to."""
    name, _ = forms.find(request, model)
    _count("Thanked")
    return answers.page(200, "Thank you.", f"We have received your form {name}.")


def follow_link(request: Request) -> Answer:
    """Send the reader of an e-mail on to where the link leads, whatever becomes of the click.

    Who asks by HEAD only looks whether the link is good: that is no click.
    """
    try:
        click = _read_click(request)
    except Invalid as fault:
        _note_refusal(fault, request)
        advice = "It is incomplete or too old. Please visit the website of whoever sent it to you."
        return answers.page(fault.status, "This link leads nowhere.", advice, links.HEADERS)
    except _TABLE_FAILS:
        _note_busy(request)
        advice = "The link can't be followed right now. Please open it again in a minute."
        headers = {"retry-after": "1", **links.HEADERS}
        return answers.page(503, "One moment, please.", advice, headers)
    if request.route.startswith("GET "):
        try:
            _record_or_spool(click.interaction, request)
        except Busy:
            _note_busy(request)
    return answers.redirect(302, click.target, links.HEADERS)


def take_hook(request: Request) -> Answer:
    """Record what another service tells of a lead, once it has shown that it is that service."""
    hook = webhooks.read(request, keyring.at(request.received_at), model)
    if hook.interaction:
        _record([hook.interaction], request)
    else:
        _count("PassedOver")
        logger.info("passed over", source=request.path["source"])
    return answers.json_answer(200, hook.answer)


ROUTES: Mapping[str, Callable[[Request], Answer]] = {
    "POST /v1/{call}": take_call,
    "GET /v1/projects/{key}/settings": tell_settings,
    "GET /lead.js": snippet.answer,
    "POST /f/{form}": take_form,
    "GET /f/{form}": thank,
    "GET /c/{token}": follow_link,
    "HEAD /c/{token}": follow_link,
    "POST /hooks/{source}": take_hook,
}


def _read_click(request: Request) -> Click:
    """Return what the click comes to; its link may be younger than the keys that are known here."""
    return keyring.read_with(lambda keys: links.read(request, keys, model), request.received_at)


def _is_for_a_person(request: Request) -> bool:
    """Tell whether a browser shows the answer to somebody; a script asks for JSON."""
    is_form = request.route.endswith("/f/{form}")
    return is_form and "application/json" not in request.header("accept")


def _captcha_secrets(request: Request) -> Mapping[str, str]:
    """Return the secrets, or none while they can't be read: then the provider can't be asked."""
    try:
        return keyring.at(request.received_at).captchas
    except _TABLE_FAILS:
        return {}


def _trust(request: Request, document: Mapping[str, Any]) -> Trust:
    """Return how far the sender's key is believed; a key of nobody's is refused."""
    key = request.basic_user or str(document.get("writeKey", "")) or request.query.get("writeKey")
    trust = keyring.at(request.received_at).trust(key or "")
    if trust is None:
        raise Invalid("unknown_key", "writeKey", "the write key is not one of ours")
    return trust


def _record(interactions: list[Interaction], request: Request) -> None:
    done = recorder.record(interactions, keyring.at(request.received_at), request)
    for name, value in done.counts().items():
        _count(name, value)


def _record_or_spool(interaction: Interaction, request: Request) -> None:
    """Record what a person did, or have it recorded later: a person does it only once.

    Raises:
        Busy: neither the table nor the spool took it.
    """
    try:
        _record([interaction], request)
    except Exception as error:  # noqa: BLE001 (whatever stops it: what was done is not lost)
        logger.warning("not recorded", route=request.route, error=type(error).__name__)
        _spool_request(request)


def _spool_request(request: Request) -> None:
    try:
        _spool().put(fields.without_files(request))
    except (BotoCoreError, ClientError) as error:
        logger.error("not spooled", route=request.route, error=type(error).__name__)
        raise Busy("neither the table nor the spool took it") from error
    _count("Spooled")


@cache
def _spool() -> Spool:
    """Return the spool. Hardly anybody needs it: no other visitor waits for its client."""
    return Spool(boto3.client("sqs", config=Config(**AWS_CLIENT)), settings.spool_url)


def _note_refusal(fault: Invalid, request: Request) -> None:
    _count("Refused")
    logger.info("refused", code=fault.code, field=fault.field, route=request.route)


def _note_busy(request: Request) -> None:
    _count("Busy")
    logger.warning("the table is busy", route=request.route)


def _count(name: str, value: int = 1) -> None:
    if value:
        metrics.add_metric(name, MetricUnit.Count, value)
