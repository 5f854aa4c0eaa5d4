"""API Gateway's HTTP API: requests become events of payload format 2.0, answers become HTTP.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
"""

import base64
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from infra.local.template import Route

ACCOUNT = "123456789012"
LARGEST_REQUEST = 10_000_000

_TEXT = ("text/", "application/json", "application/xml", "application/javascript")

type Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What API Gateway would send back."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


def answer(
    request: Request, routes: Iterable[Route], invoke: Callable[[Route, Event], Any]
) -> Answer:
    """Match the route, call its function, and turn what it returns into HTTP."""
    if len(request.body) > LARGEST_REQUEST:
        return _own_answer(413, "Request Entity Too Large")
    for route in routes:
        parameters = _match(route, request)
        if parameters is not None:
            try:
                return _of_function(invoke(route, _event(route, parameters, request)))
            except Exception as error:  # noqa: BLE001 (Lambda survives it, and so do we)
                print(f"{route.function} raised {error!r}")
                return _own_answer(500, "Internal Server Error")
    return _own_answer(404, "Not Found")


def _match(route: Route, request: Request) -> dict[str, str] | None:
    """Return the path parameters if the request takes this route."""
    expected, actual = route.path.split("/"), request.path.split("/")
    if route.method != request.method or len(expected) != len(actual):
        return None
    parameters = {}
    for pattern, part in zip(expected, actual, strict=True):
        if pattern.startswith("{") and part:
            parameters[pattern.strip("{}")] = unquote(part)
        elif pattern != part:
            return None
    return parameters


def _event(route: Route, parameters: dict[str, str], request: Request) -> Event:
    context: Event = {
        "accountId": ACCOUNT,
        "apiId": "local",
        "domainName": request.headers.get("host", "127.0.0.1"),
        "domainPrefix": "local",
        "http": {
            "method": route.method,
            "path": request.path,
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": request.headers.get("user-agent", ""),
        },
        "requestId": uuid.uuid4().hex[:16],
        "routeKey": route.key,
        "stage": "$default",
        "time": request.at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(request.at.timestamp() * 1000),
    }
    if route.iam:
        arn = f"arn:aws:iam::{ACCOUNT}:user/local"
        context["authorizer"] = {"iam": {"accountId": ACCOUNT, "userArn": arn, "userId": "local"}}
    event: Event = {
        "version": "2.0",
        "routeKey": route.key,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": {**request.headers, "x-forwarded-proto": "http"},
        "requestContext": context,
        "isBase64Encoded": False,
    }
    if parameters:
        event["pathParameters"] = parameters
    if request.query:
        event["queryStringParameters"] = joined(parse_qsl(request.query, keep_blank_values=True))
    if request.body:
        event |= _body(request)
    return event


def _body(request: Request) -> Event:
    """Return the body as text where its type says that it is text, else in base64."""
    is_text = request.headers.get("content-type", "").lower().startswith(_TEXT)
    if is_text and "content-encoding" not in request.headers:
        return {"body": request.body.decode(errors="replace")}
    return {"body": base64.b64encode(request.body).decode(), "isBase64Encoded": True}


def joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers or parameters by name, the values of one name joined by commas."""
    by_name: dict[str, str] = {}
    for name, value in pairs:
        by_name[name] = f"{by_name[name]},{value}" if name in by_name else value
    return by_name


def _of_function(returned: Any) -> Answer:
    body = returned.get("body") or ""
    raw = base64.b64decode(body) if returned.get("isBase64Encoded") else body.encode()
    headers = {name.lower(): str(value) for name, value in (returned.get("headers") or {}).items()}
    for name, values in (returned.get("multiValueHeaders") or {}).items():
        headers[name.lower()] = ",".join(values)
    return Answer(returned["statusCode"], headers, raw)


def _own_answer(status: int, message: str) -> Answer:
    headers = {"content-type": "application/json"}
    return Answer(status, headers, json.dumps({"message": message}).encode())
