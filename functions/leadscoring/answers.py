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
<style>
:root {{ color-scheme: light dark; font: 1.0625rem/1.6 system-ui, sans-serif }}
body {{ margin: 0; padding: 15vh 1rem; background: light-dark(#f4f5f7, #131519) }}
main {{ max-width: 30rem; margin: auto; padding: 1.5rem 2rem; border-radius: .75rem;
  background: light-dark(#fff, #1f2329); color: light-dark(#23272f, #e4e7ec);
  box-shadow: 0 1px 3px #0003 }}
h1 {{ margin: .5rem 0 1rem; font-size: 1.75rem; line-height: 1.2; text-wrap: balance }}
button, input, textarea {{ font: inherit; padding: .5rem .75rem; border: 1px solid #8886;
  border-radius: .375rem }}
input, textarea {{ box-sizing: border-box; width: 100% }}
button {{ border: 0; background: #2457d6; color: #fff; cursor: pointer }}
</style>
<main><h1>{title}</h1>{paragraphs}{form}</main></html>"""

_ADVICE = {
    "captcha_failed": "Go back, let the check run again, and send the form once more.",
    "too_large": "Go back, shorten what you wrote, and send the form again.",
    "unknown_form": "Please tell the people whose page brought you here.",
    "unsupported_type": "Please tell the people whose page brought you here.",
}


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


def page(
    status: int,
    title: str,
    text: str,
    headers: Mapping[str, str] | None = None,
    form: str = "",
) -> Answer:
    """Answer a person: a short page, both texts shown as they are, a paragraph for each line.

    `form` is HTML, and ours alone.
    """
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in text.splitlines())
    return {
        "statusCode": status,
        "headers": {
            "content-type": "text/html; charset=utf-8",
            "cache-control": "no-store",
            **(headers or {}),
        },
        "body": _PAGE.format(title=escape(title), paragraphs=paragraphs, form=form),
    }


def redirect(status: int, location: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Send the visitor on."""
    return {
        "statusCode": status,
        "headers": {"location": location, "cache-control": "no-store", **(headers or {})},
    }


def refusal(fault: Invalid, *, as_page: bool = False) -> Answer:
    """Tell a program what was wrong with what it sent, or by a page a person what to do."""
    if not as_page:
        return json_answer(fault.status, fault.as_dict())
    advice = _ADVICE.get(fault.code, "Go back, correct it, and send the form again.")
    said = f"{fault.message[0].upper()}{fault.message[1:]}."
    return page(fault.status, "We could not take your form.", f"{said}\n{advice}")


def not_possible(stage: str) -> Answer:
    """Tell a program that a lead where it stands can't be decided so."""
    fault = {"code": "not_possible", "field": "decision", "stage": stage}
    return json_answer(409, {**fault, "message": f"the lead is at {stage}"})


def busy(*, as_page: bool = False) -> Answer:
    """Ask a program, or by a page a person, to send it again, since nothing was recorded."""
    retry = {"retry-after": "1"}
    if as_page:
        advice = "Your form has not been sent yet.\nGo back, and send it again in a minute."
        return page(503, "One moment, please.", advice, retry)
    body = {"code": "busy", "field": "", "message": "not recorded yet: please send it again"}
    return json_answer(503, body, retry)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime):
        return to_text(value)
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)
