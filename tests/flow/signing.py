"""How each service signs its webhooks, written by its documentation and not by our code."""

import base64
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from standardwebhooks import Webhook

type Headers = dict[str, str]
type Sign = Callable[[str, bytes, datetime], Headers]

MESSAGE_ID = "msg_2026"


def standard(secret: str, body: bytes, at: datetime, message_id: str = MESSAGE_ID) -> Headers:
    """Sign with the library of the Standard Webhooks project itself."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": _seconds(at),
        "webhook-signature": Webhook(secret).sign(message_id, at.astimezone(UTC), body.decode()),
    }


def stripe(secret: str, body: bytes, at: datetime) -> Headers:
    digest = _digest(secret, f"{_seconds(at)}.".encode() + body).hex()
    return {"stripe-signature": f"t={_seconds(at)},v1={digest},v0=of-a-test-mode"}


def typeform(secret: str, body: bytes, _at: datetime) -> Headers:
    return {
        "typeform-signature": f"sha256={base64.b64encode(_digest(secret, body)).decode()}",
    }


def zoom(secret: str, body: bytes, at: datetime) -> Headers:
    digest = _digest(secret, f"v0:{_seconds(at)}:".encode() + body).hex()
    return {"x-zm-request-timestamp": _seconds(at), "x-zm-signature": f"v0={digest}"}


SIGN: Mapping[str, Sign] = {
    "standard": standard,
    "stripe": stripe,
    "typeform": typeform,
    "zoom": zoom,
}

# In a request, the header that holds the signature, and the one that holds its time.
SIGNATURE = {
    "standard": "webhook-signature",
    "stripe": "stripe-signature",
    "typeform": "typeform-signature",
    "zoom": "x-zm-signature",
}
TIME = {
    "standard": "webhook-timestamp",
    "stripe": "stripe-signature",
    "zoom": "x-zm-request-timestamp",
}


def _digest(secret: str, message: bytes) -> bytes:
    return hmac.digest(secret.encode(), message, "sha256")


def _seconds(at: datetime) -> str:
    return str(int(at.timestamp()))
