"""API Gateway as the handlers see it, and as a client does."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.local.gateway import LARGEST_REQUEST, Answer, Request, answer, joined
from infra.local.template import Route

NOON = datetime(2026, 3, 2, 12, 0, 0, 250_000, tzinfo=UTC)
ROUTES = [
    Route("collect", "POST", "/v1/{call}", iam=False),
    Route("collect", "GET", "/f/{form}", iam=False),
    Route("leads", "GET", "/leads", iam=True),
    Route("leads", "GET", "/leads/{id}", iam=True),
    Route("leads", "GET", "/leads/{id}/ledger", iam=True),
]


class Function:
    """Remembers what it was called with, and answers what it is told to."""

    def __init__(self, returns: Mapping[str, Any] | None = None) -> None:
        self.returns = returns or {"statusCode": 204}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, route: Route, event: dict[str, Any]) -> Mapping[str, Any]:
        self.calls.append((route.function, event))
        return self.returns

    @property
    def event(self) -> dict[str, Any]:
        ((_, event),) = self.calls
        return event


def ask(
    function: Any,
    method: str = "POST",
    path: str = "/v1/track",
    *,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Answer:
    return answer(Request(method, path, query, headers or {}, body, NOON), ROUTES, function)


@pytest.mark.parametrize(
    ("content_type", "encoding", "as_text"),
    [
        ("text/plain", None, True),
        ("text/plain;charset=UTF-8", None, True),
        ("text/html", None, True),
        ("Application/JSON; charset=utf-8", None, True),
        ("application/xml", None, True),
        ("application/javascript", None, True),
        ("application/x-www-form-urlencoded", None, False),
        ("multipart/form-data; boundary=x", None, False),
        ("application/octet-stream", None, False),
        (None, None, False),
        ("application/json", "gzip", False),
        ("text/plain", "gzip", False),
    ],
)
def test_a_body_that_is_not_plain_text_comes_in_base64(
    *, content_type: str | None, encoding: str | None, as_text: bool
) -> None:
    function, body = Function(), "name=Müller".encode()
    sent = {"content-type": content_type, "content-encoding": encoding}

    ask(function, headers={name: value for name, value in sent.items() if value}, body=body)

    assert function.event["isBase64Encoded"] is not as_text
    got = function.event["body"]
    assert (got.encode() if as_text else base64.b64decode(got)) == body


def test_a_text_that_is_no_utf_8_is_mended() -> None:
    function = Function()
    ask(function, headers={"content-type": "text/plain"}, body=b"M\xfcller")
    assert function.event["body"] == "M\N{REPLACEMENT CHARACTER}ller"


def test_an_empty_body_is_no_body() -> None:
    function = Function()
    ask(function)
    assert "body" not in function.event
    assert function.event["isBase64Encoded"] is False


def test_more_than_ten_megabytes_never_reach_a_function() -> None:
    function = Function()

    assert ask(function, body=bytes(LARGEST_REQUEST + 1)).status == 413
    assert function.calls == []
    assert ask(function, body=bytes(LARGEST_REQUEST)).status == 204


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/track"),
        ("POST", "/f/demo"),
        ("HEAD", "/f/demo"),
        ("POST", "/v1"),
        ("POST", "/v1/"),
        ("POST", "/v1/track/"),
        ("POST", "/v1/track/again"),
        ("POST", "v1/track"),
        ("POST", "/V1/track"),
        ("GET", "/leads/"),
        ("GET", "/leads//ledger"),
        ("GET", ""),
    ],
)
def test_what_no_route_takes_is_not_found(method: str, path: str) -> None:
    function = Function()

    found = ask(function, method, path)

    assert (found.status, found.json()) == (404, {"message": "Not Found"})
    assert function.calls == []


@pytest.mark.parametrize(
    ("method", "path", "function_name", "route_key", "parameters"),
    [
        ("POST", "/v1/tr%61ck", "collect", "POST /v1/{call}", {"call": "track"}),
        ("GET", "/f/a%2Fb", "collect", "GET /f/{form}", {"form": "a/b"}),
        ("GET", "/leads", "leads", "GET /leads", None),
        ("GET", "/leads/0f", "leads", "GET /leads/{id}", {"id": "0f"}),
        ("GET", "/leads/0f/ledger", "leads", "GET /leads/{id}/ledger", {"id": "0f"}),
    ],
)
def test_a_route_names_its_function_and_its_parameters(
    method: str, path: str, function_name: str, route_key: str, parameters: dict[str, str] | None
) -> None:
    function = Function()

    ask(function, method, path)

    ((called, event),) = function.calls
    assert called == function_name
    assert event["routeKey"] == event["requestContext"]["routeKey"] == route_key
    assert event.get("pathParameters") == parameters
    assert event["rawPath"] == path
    assert ("authorizer" in event["requestContext"]) == (function_name == "leads")


def test_only_routes_under_iam_bring_an_identity() -> None:
    function = Function()
    ask(function, "GET", "/leads/0f")
    assert "iam" in function.event["requestContext"]["authorizer"]


def test_the_event_tells_when_the_request_came_and_names_it() -> None:
    function = Function()
    ask(function)
    ask(function)
    contexts = [event["requestContext"] for _, event in function.calls]
    assert {context["timeEpoch"] for context in contexts} == {1_772_452_800_250}
    assert len({context["requestId"] for context in contexts}) == 2


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("", None),
        ("limit=5", {"limit": "5"}),
        ("limit=5&stage=&limit=6", {"limit": "5,6", "stage": ""}),
        ("cursor=a%3D%3D+b&cursor=M%C3%BCller", {"cursor": "a== b,Müller"}),
    ],
)
def test_parameters_of_one_name_are_joined_by_commas(
    query: str, parameters: dict[str, str] | None
) -> None:
    function = Function()
    ask(function, "GET", "/leads", query=query)
    assert function.event.get("queryStringParameters") == parameters
    assert function.event["rawQueryString"] == query


def test_headers_of_one_name_are_joined_by_commas() -> None:
    sent = [("accept", "text/html"), ("x-id", "1"), ("accept", "application/json")]
    assert joined(sent) == {"accept": "text/html,application/json", "x-id": "1"}


def test_what_a_function_returns_becomes_http() -> None:
    returned = {
        "statusCode": 303,
        "headers": {"Location": "/f/demo", "x-count": 5},
        "multiValueHeaders": {"Vary": ["accept", "origin"]},
        "body": base64.b64encode(b"\0\xff").decode(),
        "isBase64Encoded": True,
    }
    headers = {"location": "/f/demo", "x-count": "5", "vary": "accept,origin"}
    assert ask(Function(returned)) == Answer(303, headers, b"\0\xff")
    assert ask(Function({"statusCode": 200, "body": "Grüße"})).body == "Grüße".encode()
    assert ask(Function({"statusCode": 204, "headers": None, "body": None})) == Answer(204)


def test_a_function_that_fails_is_a_500_that_tells_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing(_route: Route, _event: object) -> None:
        raise LookupError("of what is secret")

    failed = ask(failing)

    assert (failed.status, failed.json()) == (500, {"message": "Internal Server Error"})
    assert "of what is secret" in capsys.readouterr().out
