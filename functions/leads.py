"""The private API, under IAM: who is where, and why, and what people decide.

Sales have no keys of AWS: the signed links of a message are open to whoever has them.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from leadscoring import answers, explanation, exporting, fields, handover, scoring, wire
from leadscoring.answers import Answer
from leadscoring.contract import Sender
from leadscoring.criteria import BEYOND_MQL
from leadscoring.forgetting import Forgetter, Receipt
from leadscoring.handover import Offer
from leadscoring.interaction import (
    LEAD_ID_LENGTH,
    Identity,
    IdentityKind,
    Trust,
    to_millisecond,
)
from leadscoring.joining import Joiner
from leadscoring.keys import Keyring
from leadscoring.lead import ChangeKind, Lead
from leadscoring.lifecycle import NotPossible
from leadscoring.model import MQL, Model
from leadscoring.promotion import Promoter
from leadscoring.request import MESSAGE_BYTES, Arrival, Invalid, Request, read_json
from leadscoring.settings import AWS_CLIENT, MODEL_FILE, Settings
from leadscoring.store import Store
from leadscoring.table import BadCursor, Busy

PAGE = 50
LARGEST_PAGE = 100
# Lambda answers with no more than 6 MB.
LARGEST_ANSWER = 5_000_000

logger = Logger(service="leads")
app = APIGatewayHttpResolver(serializer=answers.as_json)

settings = Settings.from_env()
model = Model.load(MODEL_FILE)
store = Store(boto3.client("dynamodb", config=Config(**AWS_CLIENT)), settings.table_name)
keyring = Keyring(store.keys)
sender = Sender(settings.source, with_contact=settings.with_contact)
promoter = Promoter(store, model, sender)
joiner = Joiner(store, model, sender)
forgetter = Forgetter(store, model, sender)


def handler(event: dict[str, Any], context: LambdaContext) -> Answer:
    """Answer one HTTP request: API Gateway has authorised it, or a signed link has to."""
    try:
        return app.resolve(event, context)
    except BadCursor as fault:
        return answers.refusal(Invalid("invalid", "cursor", str(fault)))
    except Invalid as fault:
        return answers.refusal(fault)
    except NotPossible as fault:
        return answers.not_possible(fault.stage)
    except Busy:
        logger.warning("the table is busy")
        return answers.busy()


@app.get("/leads")
def leads_at() -> Answer:
    """Return a page of the leads at a stage, those longest there first."""
    stage = app.current_event.query_string_parameters.get("stage", MQL)
    if stage != MQL and stage not in BEYOND_MQL:
        raise Invalid("invalid", "stage", f"leads are listed from {MQL} on")
    page = store.leads_at(stage, _limit(), _cursor())
    return {"leads": [summary(lead, _now()) for lead in page.items], "next": page.next}


@app.post("/leads/find")
def find_lead() -> Answer:
    """Return the lead of an e-mail, a user id or an anonymous id: none stands in an address."""
    body = read_json(_body(), MESSAGE_BYTES)
    return _details(_known(_asked_for(body).lead_id(keyring.at(_now()).lead_ids)))


@app.get("/leads/<lead_id>")
def read_lead(lead_id: str) -> Answer:
    """Return where the lead stands, its score now or at an instant, and every reason for it."""
    return _details(_known(lead_id), _instant())


@app.post("/leads/<lead_id>/adjustments")
def adjust(lead_id: str) -> Answer:
    """Enter points that somebody gives or takes by hand, with author and reason, once."""
    _known(lead_id)
    document = read_json(_body(), MESSAGE_BYTES)
    arrival = Arrival(_now(), _request_id(), Trust.STAFF)
    interaction = wire.read_adjustment(document, _principal(), arrival, model)
    # Under the name that was asked for: asked again after a merge, it is found there.
    store.ledger.record(lead_id, [interaction], model)
    return _details(_known(lead_id))


@app.post("/leads/<lead_id>/decisions")
def decide(lead_id: str) -> Answer:
    """Move the lead as somebody has decided, once for a request."""
    lead = _known(lead_id)
    document = read_json(_body(), MESSAGE_BYTES)
    decision = wire.read_decision(document, _principal(), _request_id())
    promoter.decide(lead.id, decision, _now())
    return _details(_known(lead.id))


@app.post("/leads/<lead_id>/merges")
def merge(lead_id: str) -> Answer:
    """Make another lead part of this one, since somebody says that they are one person."""
    lead, now = _known(lead_id), _now()
    asked = wire.Merging.parse(read_json(_body(), MESSAGE_BYTES))
    other = _known(asked.other_id(keyring.at(now).lead_ids), "other")
    joiner.merge(lead.id, other.id, wire.said_by(_principal(), asked.author), asked.reason, now)
    return _details(_known(lead.id))


@app.post("/leads/<lead_id>/unmerges")
def unmerge(lead_id: str) -> Answer:
    """Take an identity out of this lead again, since somebody says that it is another person."""
    lead, now = _known(lead_id), _now()
    asked = wire.Unmerging.parse(read_json(_body(), MESSAGE_BYTES))
    other = _known(asked.identity, "identity")
    if other.id == lead.id and asked.identity != lead.id:
        who = wire.said_by(_principal(), asked.author)
        joiner.unmerge(lead.id, asked.identity, who, asked.reason, now)
    elif not any(
        change.kind is ChangeKind.UNMERGED and change.other == asked.identity
        for change in store.changes(lead.id)
    ):
        raise Invalid("not_merged", "identity", "it is no part of this lead")
    return _details(_known(lead.id))


@app.delete("/leads/<lead_id>")
def erase(lead_id: str) -> tuple[Receipt, int]:
    """Erase the lead, and say what remains where."""
    return _erased(lead_id)


@app.post("/leads/erase")
def erase_by_name() -> tuple[Receipt, int]:
    """Erase the lead of an e-mail, a user id or an anonymous id: none stands in an address."""
    asked = _asked_for(read_json(_body(), MESSAGE_BYTES))
    return _erased(asked.lead_id(keyring.at(_now()).lead_ids))


@app.get("/leads/<lead_id>/export")
def export(lead_id: str) -> Answer:
    """Return all that is known of the lead, for the person it is about."""
    document = exporting.export(store, _known(lead_id))
    if len(answers.as_json(document)) > LARGEST_ANSWER:
        raise Invalid("too_large", "id", "more than can be answered here: use `mqlambda export`")
    return document


@app.get("/d/<token>")
def open_link(token: str) -> Response[str]:
    """Ask whoever opens a link of a message to confirm the decision."""
    return _page(_by_link(token, _confirm))


@app.post("/d/<token>")
def follow_link(token: str) -> Response[str]:
    """Move the lead as whoever has the link decided."""
    return _page(_by_link(token, _decide))


@app.get("/leads/<lead_id>/ledger")
def read_ledger(lead_id: str) -> Answer:
    """Return a page of the lead's interactions with what each rule paid, in points and units."""
    page = store.ledger.page(_known(lead_id).id, _limit(), _cursor())
    return {"interactions": page.items, "next": page.next}


def _by_link(token: str, act: Callable[[Offer, Lead], Answer]) -> Answer:
    """Answer whoever has a link, by a page; one that is no good leads nowhere."""
    try:
        offer = keyring.read_with(lambda keys: handover.read(token, keys, _now()), _now())
        return act(offer, _known(offer.lead_id))
    except Invalid:
        return handover.nowhere()
    except Busy:
        logger.warning("the table is busy")
        return handover.busy()


def _confirm(offer: Offer, lead: Lead) -> Answer:
    return handover.ask(offer, lead) if offer.stands(lead) else handover.too_late(lead, 200)


def _decide(offer: Offer, lead: Lead) -> Answer:
    request = Request.of(app.current_event.raw_event)
    try:
        decision = offer.decision(fields.read_fields(request))
        promoter.decide(lead.id, decision, _now())
    except NotPossible:
        return handover.too_late(lead, 409)
    except Invalid as fault:
        return handover.ask(offer, lead, fault)
    return handover.thank(offer, _known(lead.id))


def _page(answer: Answer) -> Response[str]:
    headers = answer["headers"]
    return Response(answer["statusCode"], headers["content-type"], answer["body"], headers)


def _erased(lead_id: str) -> tuple[Receipt, int]:
    receipt = forgetter.erase(lead_id, _now()) if len(lead_id) == LEAD_ID_LENGTH else None
    if receipt is None:
        raise Invalid("unknown_lead", "id", "there is no such lead")
    return receipt, 200 if receipt.finished else 202


def _known(lead_id: str, field: str = "id") -> Lead:
    lead = store.lead_now(lead_id) if len(lead_id) == LEAD_ID_LENGTH else None
    if lead is None or lead.erased_at:
        raise Invalid("unknown_lead", field, "there is no such lead")
    return lead


def summary(lead: Lead, now: datetime) -> Answer:
    """Return who the lead is, where it stands, and its score at `now`."""
    return {
        "id": lead.id,
        "email": lead.email,
        "stage": lead.stage,
        "cycle": lead.cycle,
        "traits": lead.traits,
        "first_touch": lead.first_touch,
        "last_touch": lead.last_touch,
        "interactions": lead.interactions,
        "updated_at": lead.updated_at,
        "scorecard": scoring.scorecard(lead, model, now),
    }


def _details(lead: Lead, at: datetime | None = None) -> Answer:
    """Return all there is to say of the lead now, or at an instant past or future."""
    entries, changes = list(store.ledger.entries(lead.id, at)), store.changes(lead.id)
    if at:
        lead, entries, changes = explanation.as_of(lead, entries, changes, at)
    why = explanation.explain(lead, entries, model, at or _now())
    return {
        **summary(lead, at or _now()),
        "scorecard": why.scorecard,
        "reasons": why.reasons,
        "lines": why.lines,
        "note": why.note,
        "withheld": why.withheld,
        "changes": changes,
        "identities": store.identities.parts(lead.id, at),
    }


def _asked_for(body: Answer) -> Identity:
    match body:
        case {"email": str(address)}:
            try:
                return Identity.of_email(address)
            except ValueError as error:
                raise Invalid("invalid", "email", str(error)) from None
        case {"userId": str(value)}:
            return Identity.of_user_id(value)
        case {"anonymousId": str(value)}:
            return Identity(IdentityKind.ANONYMOUS_ID, value)
        case _:
            raise Invalid("invalid", "email", "name an email, a userId or an anonymousId")


def _body() -> bytes:
    try:
        return (app.current_event.decoded_body or "").encode()
    except ValueError:
        raise Invalid("invalid", "body", "the body is not JSON") from None


def _principal() -> str:
    """Return who sent this request, by AWS's own word."""
    context = app.current_event.raw_event["requestContext"]
    principal: str = context["authorizer"]["iam"]["userArn"]
    return principal


def _request_id() -> str:
    request_id: str = app.current_event.raw_event["requestContext"]["requestId"]
    return request_id


def _now() -> datetime:
    epoch: int = app.current_event.raw_event["requestContext"]["timeEpoch"]
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch)


def _instant() -> datetime | None:
    """Return the instant that is asked about, if one is."""
    text = app.current_event.query_string_parameters.get("at")
    if text is None:
        return None
    try:
        # A "+" in an address is a space, unless somebody took care to write %2B.
        instant = datetime.fromisoformat(text.replace(" ", "+"))
        return to_millisecond(instant if instant.tzinfo else instant.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        message = "an instant is ISO 8601, such as 2026-03-02T12:00:00Z"
        raise Invalid("invalid", "at", message) from None


def _limit() -> int:
    text = app.current_event.query_string_parameters.get("limit", str(PAGE))
    if text not in map(str, range(1, LARGEST_PAGE + 1)):
        raise Invalid("invalid", "limit", f"a page has 1 to {LARGEST_PAGE} entries")
    return int(text)


def _cursor() -> str | None:
    return app.current_event.query_string_parameters.get("cursor")
