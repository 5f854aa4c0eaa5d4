"""The check that a visitor is a person: its provider is asked, before anything is written."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import get_args
from urllib.parse import parse_qs

import pytest

from infra.local.stack import LocalStack
from leadscoring import captcha, outward
from leadscoring.doors import Captcha
from leadscoring.settings import MODEL_FILE
from tests.flow.asking import everything, lead
from tests.flow.own_model import stack_with
from tests.flow.posting import submit

FORMS = """
[forms.guarded]
captcha = { provider = "turnstile" }

[forms.lenient]
captcha = { provider = "hcaptcha", when_unreachable = "accept" }

[forms.unconfigured]
captcha = { provider = "hcaptcha" }
"""
TOKENS = {"guarded": "cf-turnstile-response", "lenient": "h-captcha-response"}
GOOD = b'{"success": true}'
BAD = b'{"success": false, "error-codes": ["invalid-input-response"]}'


@dataclass
class Provider:
    """A captcha's provider on this machine: what it answers, and what it was asked."""

    address: str = ""
    status: int = 200
    answer: bytes = GOOD
    asked: list[dict[str, list[str]]] = field(default_factory=list)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    theirs = Provider()

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            theirs.asked.append(parse_qs(body))
            self.send_response(theirs.status)
            self.end_headers()
            self.wfile.write(theirs.answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Desk) as server:
        theirs.address = f"http://127.0.0.1:{server.server_port}/siteverify"
        for name, known in captcha.PROVIDERS.items():
            moved = replace(known, address=theirs.address)
            monkeypatch.setitem(captcha.PROVIDERS, name, moved)
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield theirs
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL_FILE.read_text(encoding="utf-8") + FORMS) as shared:
        shared.dynamodb.update_item(
            TableName=shared.table_name,
            Key={"pk": {"S": "KEYS"}, "sk": {"S": "KEYS"}},
            UpdateExpression="SET #turnstile = :turnstile",
            ExpressionAttributeNames={"#turnstile": "captcha:turnstile"},
            ExpressionAttributeValues={":turnstile": {"S": "their-secret"}},
        )
        yield shared


def test_a_person_is_let_in_and_asked_for_once(stack: LocalStack, provider: Provider) -> None:
    answer = submit(stack, "guarded", {"email": "jane@example.com", TOKENS["guarded"]: "t-1"})
    assert answer.status == 303
    assert lead(stack, email="jane@example.com")["interactions"] == 1
    # Neither the visitor's address nor anything else of the form.
    assert provider.asked == [{"secret": ["their-secret"], "response": ["t-1"]}]


@pytest.mark.parametrize(("status", "said"), [(200, BAD), (400, BAD), (200, b'{"success": false}')])
def test_whom_the_provider_does_not_believe_is_asked_to_try_again(
    stack: LocalStack, provider: Provider, status: int, said: bytes
) -> None:
    provider.status, provider.answer = status, said
    before = everything(stack)
    fields = {"email": "bot@example.com", TOKENS["guarded"]: "t-2"}

    page = submit(stack, "guarded", fields)
    answer = submit(stack, "guarded", fields, accept="application/json")

    assert page.status == 400
    assert b"Go back, let the check run again" in page.body
    assert (answer.status, answer.json()["code"]) == (400, "captcha_failed")
    assert everything(stack) == before


@pytest.mark.parametrize("token", [{}, {"cf-turnstile-response": ""}, {"h-captcha-response": "t"}])
def test_a_form_without_a_token_is_refused_unasked(
    stack: LocalStack, provider: Provider, token: dict[str, str]
) -> None:
    assert submit(stack, "guarded", {"email": "bot@example.com", **token}).status == 400
    assert provider.asked == []


def test_a_form_that_is_incomplete_does_not_use_up_its_token(
    stack: LocalStack, provider: Provider
) -> None:
    assert submit(stack, "guarded", {TOKENS["guarded"]: "t-3"}).status == 400
    assert provider.asked == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, b"<h1>oops</h1>"),
        (502, b""),
        (200, b"[]"),
        (200, b"null"),
        (200, b'{"success": "yes"}'),
        (200, b"\xff"),
        (200, b'{"success": false, "error-codes": ["invalid-input-secret"]}'),
        (400, b'{"success": false, "error-codes": ["internal-error", {}]}'),
    ],
)
def test_where_nobody_can_tell_the_form_is_refused_for_now(
    stack: LocalStack, provider: Provider, status: int, said: bytes
) -> None:
    provider.status, provider.answer = status, said
    assert_refused_for_now(stack)


def test_a_provider_that_hangs_up_is_one_that_can_not_be_asked(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(outward, "SECONDS", 0.2)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for gone in (address, "http://127.0.0.1:1/"):
            moved = replace(captcha.PROVIDERS["turnstile"], address=gone)
            monkeypatch.setitem(captcha.PROVIDERS, "turnstile", moved)
            assert_refused_for_now(stack)


def test_without_a_secret_the_provider_can_not_be_asked(
    stack: LocalStack, provider: Provider
) -> None:
    assert_refused_for_now(stack, "unconfigured", "h-captcha-response")
    assert provider.asked == []


def assert_refused_for_now(
    stack: LocalStack, form: str = "guarded", token: str = TOKENS["guarded"]
) -> None:
    before, told = everything(stack), stack.metrics["CaptchaUnreachable"]
    fields = {"email": "jane@example.com", "title": "Unheard", token: "t"}

    page = submit(stack, form, fields)
    answer = submit(stack, form, fields, accept="application/json")

    assert (page.status, page.headers["retry-after"]) == (503, "1")
    assert b"send it again in a minute" in page.body
    assert (answer.status, answer.json()["code"]) == (503, "busy")
    assert everything(stack) == before
    assert stack.metrics["CaptchaUnreachable"] == told + 2


def test_a_model_may_let_in_whom_nobody_can_check(stack: LocalStack, provider: Provider) -> None:
    fields = {"email": "lenient@example.com", TOKENS["lenient"]: "t"}
    assert submit(stack, "lenient", {"email": "lenient@example.com"}).status == 400
    assert submit(stack, "lenient", fields).status == 303
    assert lead(stack, email="lenient@example.com")["interactions"] == 1


def test_each_provider_that_a_model_can_name_is_known() -> None:
    named = Captcha.model_fields["provider"].annotation
    assert set(get_args(named)) == set(captcha.PROVIDERS)
    assert all(known.address.startswith("https://") for known in captcha.PROVIDERS.values())
