"""Answers to HTTP requests, as API Gateway takes them from a function."""

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any

from leadscoring.interaction import to_text
from leadscoring.request import Invalid

type Answer = dict[str, Any]

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<body style="font:1.2rem/1.6 system-ui;max-width:32rem;margin:20vh auto;padding:0 1rem">
<h1>{title}</h1><p>{text}</p></body></html>"""


def as_json(answer: object, indent: int | None = None) -> str:
    """Return the answer as JSON: instants as text, points as numbers."""
    return json.dumps(answer, default=_plain, indent=indent)


def json_answer(status: int, body: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer a program."""
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", **(headers or {})},
        "body": as_json(body),
    }


def page(status: int, title: str, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer a person: a short page, both texts shown as they are."""
    return {
        "statusCode": status,
        "headers": {
            "content-type": "text/html; charset=utf-8",
            "cache-control": "no-store",
            **(headers or {}),
        },
        "body": _PAGE.format(title=escape(title), text=escape(text)),
    }


def redirect(status: int, location: str) -> Answer:
    """Send the visitor on."""
    return {"statusCode": status, "headers": {"location": location, "cache-control": "no-store"}}


def refusal(fault: Invalid) -> Answer:
    """Tell a program what was wrong with what it sent."""
    return json_answer(fault.status, fault.as_dict())


def busy() -> Answer:
    """Ask a program to send it again, since nothing was recorded."""
    body = {"code": "busy", "field": "", "message": "not recorded yet: please send it again"}
    return json_answer(503, body, {"retry-after": "1"})


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime):
        return to_text(value)
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)
