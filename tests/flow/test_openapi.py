"""What events/openapi.json says of the API is what the API does."""

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from infra.local.gateway import Answer
from infra.local.stack import LocalStack
from infra.workbench import openapi
from leadscoring.request import STATUS
from tests.flow.asking import lead
from tests.flow.attack import JANE, form, good_requests, send, target

DOCUMENT: dict[str, Any] = json.loads(openapi.FILE.read_text())
FUNCTIONS = Path(__file__).parents[2] / "functions"


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalStack]:
    with target() as stack:
        yield stack


def check(answer: Answer, method: str, path: str) -> None:
    """Fail unless the document tells of this answer, headers and body and all."""
    told = DOCUMENT["paths"][path][method.lower()]["responses"][str(answer.status)]
    assert {name.lower() for name in told.get("headers", {})} <= set(answer.headers)
    content: Mapping[str, Any] = told.get("content", {})
    if not answer.body:
        return
    media_type = answer.headers["content-type"].partition(";")[0]
    assert media_type in content, answer
    if media_type == "application/json":
        schema = {**content[media_type]["schema"], "components": DOCUMENT["components"]}
        jsonschema.validate(answer.json(), schema)


def test_a_good_request_gets_the_answer_that_is_documented(shared: LocalStack) -> None:
    for sent in good_requests(shared).values():
        path = sent.route.partition(" ")[2]
        path = sent.path if path == "/v1/{call}" else path
        check(send(shared, sent), sent.method, path)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/leads?stage=sql", b""),
        ("POST", "/leads/find", {"email": JANE}),
        ("POST", "/leads/find", {"email": "nobody@example.com"}),
        ("POST", "/leads/find", {}),
        ("GET", "/leads/{id}", b""),
        ("GET", "/leads/{id}/ledger", b""),
        ("POST", "/leads/{id}/adjustments", {"points": 5, "dimension": "intent", "reason": "met"}),
        ("POST", "/leads/{id}/adjustments", {"points": 5}),
        ("POST", "/leads/{id}/decisions", {"decision": "reject"}),
        ("POST", "/leads/{id}/decisions", {"decision": "reopen"}),
    ],
)
def test_the_private_api_answers_as_documented(
    shared: LocalStack, method: str, path: str, body: object
) -> None:
    for sent in good_requests(shared).values():
        send(shared, sent)
    shared.pump()
    route, _, query = path.partition("?")
    asked = route.replace("{id}", lead(shared, email=JANE)["id"])
    check(shared.request(method, asked, body, query=query), method, route)


def test_a_decision_is_answered_as_documented(shared: LocalStack) -> None:
    send(shared, form("contact", {"email": "joe@example.com"}))
    path = f"/leads/{lead(shared, email='joe@example.com')['id']}/decisions"
    body = {"decision": "disqualify", "reason": "a student"}
    answer = shared.request("POST", path, body)
    assert answer.status == 200
    check(answer, "POST", "/leads/{id}/decisions")


def test_a_document_that_says_something_else_is_found(
    shared: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        DOCUMENT["components"]["schemas"]["LeadSummary"]["properties"], "email", {"type": "integer"}
    )
    with pytest.raises(jsonschema.ValidationError):
        test_the_private_api_answers_as_documented(shared, "GET", "/leads?stage=sql", b"")


def test_a_route_that_nobody_described_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    described = dict(openapi.DESCRIBED)
    del described["GET /lead.js"]
    monkeypatch.setattr(openapi, "DESCRIBED", described)
    with pytest.raises(LookupError, match=r"describe GET /lead\.js"):
        openapi.document()


def test_nothing_is_described_that_is_not_there(shared: LocalStack) -> None:
    assert set(openapi.DESCRIBED) == {route.key for route in shared.template.routes}


def test_each_code_that_an_answer_may_show_has_its_status() -> None:
    codes = {
        ast.literal_eval(node.args[0])
        for file in FUNCTIONS.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Invalid"
        and isinstance(node.args[0], ast.Constant)
    }
    assert codes == set(STATUS)


def test_what_is_private_needs_a_signature_and_what_is_public_none(shared: LocalStack) -> None:
    for route in shared.template.routes:
        for path, operation in openapi.DESCRIBED[route.key](route):
            assert (operation["security"] == [{"iam": []}]) == route.iam, path
