"""What one HTTP request says: bytes in, documents out, within limits."""

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from pydantic_core import from_json

from leadscoring.interaction import Trust, to_millisecond

MESSAGE_BYTES = 32_000
BATCH_BYTES = 500_000
BATCH_MESSAGES = 1_000
DEPTH = 16
NAMES = 1_000
NAME_CHARACTERS = 256
PUBLIC_DAYS = 30

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GZIP = 31
# Each code that an answer may show, and the HTTP status that says the same.
STATUS = {
    "invalid": 400,
    "captcha_failed": 400,
    "bad_signature": 401,
    "unknown_key": 401,
    "unknown_call": 404,
    "unknown_form": 404,
    "unknown_lead": 404,
    "unknown_link": 404,
    "unknown_project": 404,
    "unknown_source": 404,
    "not_merged": 409,
    "too_large": 413,
    "unsupported_type": 415,
}


class Invalid(ValueError):
    """The sender's mistake: a code for programs, the field, and a sentence for people."""

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status that says the same."""
        return STATUS.get(self.code, 400)

    def as_dict(self) -> dict[str, str]:
        """Return the error as answers show it."""
        return {"code": self.code, "field": self.field, "message": self.message}


@dataclass(frozen=True, slots=True)
class Arrival:
    """How something came in: when, through which door, under which id, from whom."""

    received_at: datetime
    request_id: str
    trust: Trust
    agent: str = ""
    address: str = ""

    def clamp(self, stated: datetime, retention_days: int) -> datetime:
        """Return the stated instant, moved into the time that this sender may speak of."""
        days = PUBLIC_DAYS if self.trust is Trust.PUBLIC else retention_days
        earliest = self.received_at - timedelta(days=days)
        return to_millisecond(min(max(stated, earliest), self.received_at))


@dataclass(frozen=True, slots=True)
class Request:
    """One request as API Gateway hands it over; header names in lower case.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """

    route: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    received_at: datetime
    request_id: str
    agent: str
    address: str
    sent_body: str = field(repr=False)
    is_base64: bool = False

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Self:
        """Return the request that an event of payload format 2.0 holds."""
        context = event["requestContext"]
        return cls(
            route=event["routeKey"],
            path=event.get("pathParameters") or {},
            query=event.get("queryStringParameters") or {},
            headers={name.lower(): value for name, value in event.get("headers", {}).items()},
            received_at=_EPOCH + timedelta(milliseconds=context["timeEpoch"]),
            request_id=context["requestId"],
            agent=context["http"].get("userAgent") or "",
            address=context["http"].get("sourceIp") or "",
            sent_body=event.get("body") or "",
            is_base64=bool(event.get("isBase64Encoded")),
        )

    def as_event(self) -> dict[str, Any]:
        """Return an event of payload format 2.0 that `of` reads as this very request."""
        return {
            "version": "2.0",
            "routeKey": self.route,
            "pathParameters": dict(self.path),
            "queryStringParameters": dict(self.query),
            "headers": dict(self.headers),
            "requestContext": {
                "requestId": self.request_id,
                "timeEpoch": (self.received_at - _EPOCH) // timedelta(milliseconds=1),
                "http": {"userAgent": self.agent, "sourceIp": self.address},
            },
            "body": self.sent_body,
            "isBase64Encoded": self.is_base64,
        }

    def header(self, name: str) -> str:
        """Return a header's value, or nothing."""
        return self.headers.get(name) or ""

    @property
    def origin(self) -> str:
        """The address that it was sent to, as `https://api.example.com`."""
        return f"{self.header('x-forwarded-proto') or 'https'}://{self.header('host')}"

    @property
    def media_type(self) -> str:
        """The type of the body, without its parameters."""
        return self.header("content-type").partition(";")[0].strip().lower()

    @property
    def raw_body(self) -> bytes:
        """The body as it was sent: signatures are made of it.

        Raises:
            Invalid: it can't be decoded.
        """
        try:
            return base64.b64decode(self.sent_body) if self.is_base64 else self.sent_body.encode()
        except (ValueError, binascii.Error):
            raise Invalid("invalid", "body", "the body can't be decoded") from None

    @property
    def body(self) -> bytes:
        """The body, inflated if it was sent as gzip; raises `Invalid`."""
        gzipped = self.header("content-encoding").lower() == "gzip"
        return inflate(self.raw_body) if gzipped else self.raw_body

    @property
    def basic_user(self) -> str:
        """The user of a Basic authorisation: clients put their write key there."""
        scheme, _, credentials = self.header("authorization").partition(" ")
        if scheme.lower() != "basic":
            return ""
        try:
            return base64.b64decode(credentials).decode().partition(":")[0]
        except (ValueError, binascii.Error):
            return ""

    def arrival(self, trust: Trust) -> Arrival:
        """Return how this came in, through the door that its sender may use."""
        return Arrival(self.received_at, self.request_id, trust, self.agent, self.address)


def inflate(body: bytes) -> bytes:
    """Return what a gzip body holds, never more than a batch may have."""
    inflater = zlib.decompressobj(_GZIP)
    try:
        plain = inflater.decompress(body, BATCH_BYTES + 1)
    except zlib.error:
        raise Invalid("invalid", "body", "the body is not gzip") from None
    if not inflater.eof and len(plain) <= BATCH_BYTES:
        raise Invalid("invalid", "body", "the gzip body is cut off")
    return plain


def read_json(body: bytes, limit: int) -> dict[str, Any]:
    """Return the JSON object in the body.

    Raises:
        Invalid: it is too large, not JSON, or something else than an object.
    """
    if len(body) > limit:
        raise Invalid("too_large", "body", f"the body has more than {limit} bytes")
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise Invalid("invalid", "body", "the body is not JSON") from None
    if not isinstance(document, dict):
        raise Invalid("invalid", "body", "the body is not a JSON object")
    return document


def check_shape(document: Mapping[str, Any]) -> None:
    """Accept a document that is neither too deep nor has too many or too long names.

    Raises:
        Invalid: it names the limit.
    """
    names = 0
    level: list[Any] = [document]
    for _ in range(DEPTH):
        names += sum(len(part) for part in level if isinstance(part, dict))
        if names > NAMES:
            raise Invalid("invalid", "body", f"a message has at most {NAMES} names")
        if any(len(n) > NAME_CHARACTERS for p in level if isinstance(p, dict) for n in p):
            raise Invalid("invalid", "body", f"a name has at most {NAME_CHARACTERS} characters")
        level = [below for part in level for below in _parts(part)]
        if not level:
            return
    raise Invalid("invalid", "body", f"a message is at most {DEPTH} levels deep")


def _parts(value: Any) -> list[Any]:
    """Return the tables and lists directly inside a table or list."""
    inside = value.values() if isinstance(value, dict) else value
    return [part for part in inside if isinstance(part, dict | list)]
