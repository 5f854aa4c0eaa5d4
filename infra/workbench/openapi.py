"""The OpenAPI document of the HTTP API: every route of the template, and all that it may answer.

A route that nobody described here fails the test that compares `events/openapi.json` with this.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypedDict

from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from infra.local.template import ROOT, Route, Template
from leadscoring.forgetting import Receipt
from leadscoring.identities import Part
from leadscoring.interaction import LEAD_ID_LENGTH, Trust
from leadscoring.lead import Change, Entry, Lead, Line, Reason, Scorecard
from leadscoring.request import BATCH_BYTES, BATCH_MESSAGES, MESSAGE_BYTES, STATUS
from leadscoring.wire import CALLS, Adjustment, Batch, Merging, Message, Ruling, Unmerging

FILE = ROOT / "events" / "openapi.json"

type Json = dict[str, Any]


class LeadSummary(TypedDict):
    """Who a lead is, where it stands, and its score."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    id: str
    email: str | None
    stage: str
    cycle: int
    traits: dict[str, str | float | bool]
    interactions: int
    updated_at: datetime | None
    first_touch: dict[str, str] | None
    last_touch: dict[str, str] | None
    scorecard: Scorecard


class LeadDetails(LeadSummary):
    """All there is to say of a lead."""

    reasons: list[Reason]
    lines: list[Line]
    note: str | None
    withheld: dict[str, int]
    changes: list[Change]
    identities: list[Part]


class LeadPage(TypedDict):
    """Some leads, and where to read on."""

    leads: list[LeadSummary]
    next: str | None


class LedgerPage(TypedDict):
    """Some entries of a ledger, and where to read on."""

    interactions: list[Entry]
    next: str | None


class TraitTold(TypedDict):
    """A trait's value, who told it, and when."""

    value: str | float | bool
    told_by: Trust
    at: datetime


class Export(TypedDict):
    """All that is known of a lead."""

    lead: Lead
    traits: dict[str, TraitTold]
    identities: list[Part]
    interactions: list[Entry]
    changes: list[Change]
    limits: dict[str, float]
    pending: list[dict[str, Any]]


def document() -> Json:
    """Return the document.

    Raises:
        LookupError: the template has a route that is not described.
    """
    paths: dict[str, Json] = defaultdict(dict)
    for route in Template.load().routes:
        if route.key not in DESCRIBED:
            raise LookupError(f"describe {route.key} in {Path(__file__).name}")
        for path, operation in DESCRIBED[route.key](route):
            paths[path][route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MQLambda",
            "version": "1",
            "description": "Interactions in; leads and the reasons for their scores out.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": _schemas(), "securitySchemes": SECURITY},
    }


SECURITY: Json = {
    "writeKey": {
        "type": "http",
        "scheme": "basic",
        "description": "The write key as user, no password; or `writeKey` in the body or query.",
    },
    "iam": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "AWS Signature Version 4, service `execute-api`.",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
}


# What is answered

_JSON = "application/json"
_PAGE = "text/html"
_TEXT: Json = {"type": "string"}


def _answer(status: int, headers: Json | None = None, /, **schemas: Json) -> Json:
    """Return one answer; its bodies by `json`, `page` or `script`."""
    types = {"json": _JSON, "page": _PAGE, "script": "text/javascript"}
    answer: Json = {"description": HTTPStatus(status).phrase}
    if headers:
        answer["headers"] = headers
    if schemas:
        answer["content"] = {types[kind]: {"schema": schema} for kind, schema in schemas.items()}
    return {str(status): answer}


def _refusals(*statuses: int, **pages: Json) -> Json:
    """Return the answers that say what was wrong; the gateway has some of its own."""
    answers = _answer(429, json=_ref("OfGateway"))
    for status in statuses:
        ours = _ref(f"Refusal{status}")
        schema = {"anyOf": [ours, _ref("OfGateway")]} if status in (404, 413) else ours
        answers |= _answer(status, json=schema, **pages)
    return answers


def _busy(**pages: Json) -> Json:
    wait = {"description": "Seconds to wait", "required": True, "schema": _TEXT}
    return _answer(503, {"Retry-After": wait}, json=_ref("Refusal503"), **pages)


def _moved(status: int) -> Json:
    to = {"description": "Where to go next", "required": True, "schema": _TEXT}
    return _answer(status, {"Location": to})


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


# What is asked


def _body(schema: Json, *types: str) -> Json:
    return {"required": True, "content": {type_: {"schema": schema} for type_ in types}}


def _in_path(name: str, description: str, **schema: Any) -> Json:
    text = {"type": "string", "minLength": 1, **schema}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": text,
    }


def _in_query(name: str, description: str, **schema: Any) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_LEAD_ID = _in_path("id", "The lead's id", pattern=f"^[0-9a-f]{{{LEAD_ID_LENGTH}}}$")
_PAGING = (
    _in_query("limit", "How many, 1 to 100", type="integer", minimum=1, maximum=100),
    _in_query("cursor", "`next` of the page before", type="string"),
)


# The routes


type Described = Iterator[tuple[str, Json]]


def _call(route: Route) -> Described:
    """Return an operation for each call, and for each of its short names."""
    for call, kind in CALLS.items():
        most = BATCH_BYTES if kind == "batch" else MESSAGE_BYTES
        accepted = "Accepted" if kind != "batch" else "AcceptedBatch"
        yield (
            route.path.replace("{call}", call),
            {
                "operationId": f"call_{call}",
                "summary": f"Record what a `{kind}` call of Segment's says",
                "description": f"At most {most} bytes, gzipped or not.",
                "security": [{"writeKey": []}, {}],
                "parameters": [_in_query("writeKey", "The write key", type="string")],
                "requestBody": _body(
                    _ref("Batch" if kind == "batch" else "Message"),
                    _JSON,
                    "text/plain",
                ),
                "responses": _answer(200, json=_ref(accepted))
                | _refusals(400, 401, 404, 413, 415)
                | _busy(),
            },
        )


def _public(
    name: str, summary: str, *parameters: Json, answers: Json, body: Json | None = None
) -> Callable[[Route], Described]:
    """Return how to describe a public route that needs no write key."""

    def described(route: Route) -> Described:
        operation = {
            "operationId": name,
            "summary": summary,
            "security": [],
            "parameters": [*parameters],
            "responses": answers,
        }
        yield route.path, operation | ({"requestBody": body} if body else {})

    return described


def _private(
    summary: str,
    schema: str,
    *parameters: Json,
    body: Json | None = None,
    lead: bool = False,
    answers: Json | None = None,
) -> Callable[[Route], Described]:
    """Return how to describe a route of the private API."""

    def described(route: Route) -> Described:
        refused = (400, 404) if lead else (400,)
        operation: Json = {
            "operationId": summary.split(" ", 1)[0].lower() + "_" + route.path.strip("/"),
            "summary": summary,
            "security": [{"iam": []}],
            "parameters": [*([_LEAD_ID] if "{id}" in route.path else []), *parameters],
            "responses": _answer(200, json=_ref(schema))
            | _answer(403, json=_ref("OfGateway"))
            | _refusals(*refused, *((413,) if body else ()))
            | _busy()
            | (answers or {}),
        }
        if body:
            operation["requestBody"] = _body(body, _JSON)
        yield route.path, operation

    return described


_ONE_NAME: Json = {
    "description": "One name of the lead.",
    "anyOf": [
        {"type": "object", "required": [name], "properties": {name: _TEXT}}
        for name in ("email", "userId", "anonymousId")
    ],
}

_FORM = _in_path("form", "A form of the model")
_LINK = _in_path("token", "What `mqlambda link` signed")
_OFFER = _in_path("token", "What a message signed, to accept or to reject its lead")
_LINK_ANSWERS = _moved(302) | _refusals(404, page=_TEXT) | _busy(page=_TEXT)

DESCRIBED: Mapping[str, Callable[[Route], Described]] = {
    "POST /v1/{call}": _call,
    "GET /v1/projects/{key}/settings": _public(
        "settings",
        "Tell Segment's browser SDK where to send to",
        _in_path("key", "The public write key"),
        answers=_answer(200, json={"type": "object"}) | _refusals(404) | _busy(),
    ),
    "GET /lead.js": _public(
        "lead_js",
        "Load the snippet for web pages",
        answers=_answer(200, script=_TEXT) | _answer(304),
    ),
    "POST /f/{form}": _public(
        "post_form",
        "Record a plain HTML form; JSON is answered to who accepts it alone",
        _FORM,
        body=_body(
            {
                "type": "object",
                "required": ["email"],
                "properties": {"email": {"type": "string", "format": "email"}},
                "additionalProperties": _TEXT,
            },
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ),
        answers=_answer(200, json=_ref("Accepted"))
        | _moved(303)
        | _refusals(400, 404, 413, 415, page=_TEXT)
        | _busy(page=_TEXT),
    ),
    "GET /f/{form}": _public(
        "thank",
        "Thank for a form",
        _FORM,
        answers=_answer(200, page=_TEXT) | _refusals(404, page=_TEXT),
    ),
    "GET /c/{token}": _public("follow", "Follow a link", _LINK, answers=_LINK_ANSWERS),
    "HEAD /c/{token}": _public(
        "look", "Look whether a link is good: that is no click", _LINK, answers=_LINK_ANSWERS
    ),
    "POST /hooks/{source}": _public(
        "hook",
        "Record what another service tells, once its signature has shown that it is that service",
        _in_path("source", "A webhook of the model"),
        body=_body({"type": "object"}, _JSON),
        answers=_answer(200, json={"anyOf": [_ref("Accepted"), _ref("Challenged")]})
        | _refusals(400, 401, 404, 413)
        | _busy(),
    ),
    "GET /leads": _private(
        "List the leads at a stage, those longest there first",
        "LeadPage",
        _in_query("stage", "From `mql` on", type="string"),
        *_PAGING,
    ),
    "POST /leads/find": _private(
        "Find the lead of an e-mail, a user id or an anonymous id",
        "LeadDetails",
        body=_ONE_NAME,
        lead=True,
    ),
    "GET /leads/{id}": _private(
        "Explain where a lead stands, now or at an instant",
        "LeadDetails",
        _in_query("at", "The instant that is asked about", type="string", format="date-time"),
        lead=True,
    ),
    "GET /leads/{id}/ledger": _private(
        "Read a lead's ledger of interactions", "LedgerPage", *_PAGING, lead=True
    ),
    "POST /leads/{id}/adjustments": _private(
        "Enter points that somebody gives or takes by hand, once",
        "LeadDetails",
        body={"$ref": "#/components/schemas/Adjustment"},
        lead=True,
    ),
    "POST /leads/{id}/decisions": _private(
        "Decide on a lead, once for a request",
        "LeadDetails",
        body=_ref("Ruling"),
        lead=True,
        answers=_answer(409, json=_ref("NotPossible")),
    ),
    "POST /leads/{id}/merges": _private(
        "Merge another lead into this one: they are one person",
        "LeadDetails",
        body=_ref("Merging"),
        lead=True,
    ),
    "POST /leads/{id}/unmerges": _private(
        "Unmerge an identity from this lead: it is another person",
        "LeadDetails",
        body=_ref("Unmerging"),
        lead=True,
        answers=_answer(409, json=_ref("Refusal409")),
    ),
    "DELETE /leads/{id}": _private(
        "Erase a lead",
        "Receipt",
        lead=True,
        answers=_answer(202, json=_ref("Receipt")),
    ),
    "POST /leads/erase": _private(
        "Erase the lead of an e-mail, a user id or an anonymous id",
        "Receipt",
        body=_ONE_NAME,
        lead=True,
        answers=_answer(202, json=_ref("Receipt")),
    ),
    "GET /leads/{id}/export": _private(
        "Export all that is known of a lead",
        "Export",
        lead=True,
        answers=_refusals(413),
    ),
    "GET /d/{token}": _public(
        "open_decision",
        "Show a page that asks to confirm the decision; nothing is decided",
        _OFFER,
        answers=_answer(200, page=_TEXT) | _refusals(404, page=_TEXT) | _busy(page=_TEXT),
    ),
    "POST /d/{token}": _public(
        "make_decision",
        "Accept or reject the lead of a message, as the page's button does",
        _OFFER,
        body=_body(
            {"type": "object", "properties": {"reason": _TEXT, "author": _TEXT}},
            "application/x-www-form-urlencoded",
        ),
        answers=_answer(200, page=_TEXT)
        | _answer(409, page=_TEXT)
        | _refusals(400, 404, 413, 415, page=_TEXT)
        | _busy(page=_TEXT),
    ),
}


# The schemas


class _OverHttp(GenerateJsonSchema):
    """Schemas of what goes over HTTP: points are numbers, and an answer has all its fields."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        found: JsonSchemaValue = {"type": "number"}
        self.update_with_validations(found, schema, self.ValidationsMapping.numeric)
        return {name: float(v) if name != "type" else v for name, v in found.items()}

    def field_is_required(self, field: Any, *args: Any, **kwargs: Any) -> bool:
        return self.mode == "serialization" or super().field_is_required(field, *args, **kwargs)

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def _schemas() -> Json:
    asked: list[Any] = [Message, Batch, Adjustment, Ruling, Merging, Unmerging]
    told: list[Any] = [LeadDetails, LeadPage, LedgerPage, Receipt, Export]
    _, found = TypeAdapter.json_schemas(
        [
            *((kind, "validation", TypeAdapter(kind)) for kind in asked),
            *((kind, "serialization", TypeAdapter(kind)) for kind in told),
        ],
        ref_template="#/components/schemas/{model}",
        schema_generator=_OverHttp,
    )
    schemas: Json = found["$defs"]
    schemas["Batch"]["properties"]["batch"] |= {
        "maxItems": BATCH_MESSAGES,
        "items": {
            "allOf": [
                _ref("Message"),
                {
                    "required": ["type"],
                    "properties": {"type": {"enum": sorted(set(CALLS.values()) - {"batch"})}},
                },
            ]
        },
    }
    for name in ("Message", "Batch"):
        schemas[name]["properties"]["writeKey"] = {"type": "string"}
    schemas |= {
        f"Refusal{status}": _object(
            code={"enum": sorted(code for code, of in STATUS.items() if of == status)},
            field={**_TEXT, "description": "Which part of what was sent"},
            message={**_TEXT, "description": "A sentence for people"},
        )
        for status in {*STATUS.values()}
    }
    busy = {"field": {"const": ""}, "message": _TEXT}
    schemas["Refusal503"] = _object(code={"const": "busy"}, **busy)
    schemas["NotPossible"] = _object(
        code={"const": "not_possible"},
        field={"const": "decision"},
        stage={**_TEXT, "description": "Where the lead stands"},
        message=_TEXT,
    )
    schemas["Challenged"] = _object(plainToken=_TEXT, encryptedToken=_TEXT)
    success = {"const": True}
    schemas["Accepted"] = _object(success=success)
    rejected = {"type": "array", "items": _ref("Rejected")}
    schemas["AcceptedBatch"] = _object(success=success, rejected=rejected)
    refused = dict.fromkeys(("code", "field", "message"), _TEXT)
    schemas["Rejected"] = _object(index={"type": "integer", "minimum": 0}, **refused)
    schemas["OfGateway"] = _object(message=_TEXT)
    return dict(sorted(schemas.items()))


def _object(**properties: Json) -> Json:
    """Return the schema of an object with just these fields."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
