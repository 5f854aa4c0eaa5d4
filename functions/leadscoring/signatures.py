"""Who sent a webhook: its signature says so, made with a secret that only they and we know.

Each scheme signs other bytes, in another header:
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
https://docs.stripe.com/webhooks#verify-manually
https://www.typeform.com/developers/webhooks/secure-your-webhooks/
https://developers.zoom.us/docs/api/webhooks/
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from leadscoring.doors import Webhook
from leadscoring.request import Invalid, Request

TOLERANCE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Seal:
    """What came with a body: the bytes that should be signed, and the signatures, as sent.

    `signed_at` is in seconds since 1970, as it was sent; None in a scheme that signs no time, as
    `message_id` is nothing in one that signs none.
    """

    signed: bytes
    signatures: tuple[bytes, ...]
    signed_at: str | None = None
    message_id: str = ""


class Proof(NamedTuple):
    """What a good signature proves: the secret that made it, the message's id if that is signed."""

    secret: str
    message_id: str


class Scheme(NamedTuple):
    """How a sender signs: what stands in the request, the key in a secret, digests as text."""

    seal: Callable[[Request, Webhook], Seal]
    key: Callable[[str], bytes]
    text: Callable[[bytes], bytes]


def prove(request: Request, webhook: Webhook, secrets: Iterable[str]) -> Proof:
    """Return the proof that one of these secrets signed the request.

    Raises:
        Invalid: none of them did, or not within five minutes before or after it arrived.
    """
    scheme = SCHEMES[webhook.scheme]
    seal = scheme.seal(request, webhook)
    if seal.signed_at is None or _is_near(seal.signed_at, request.received_at):
        for secret in secrets:
            key = scheme.key(secret)
            if key and _is_signed(seal, scheme.text(_hmac(key, seal))):  # anybody has an empty key
                return Proof(secret, seal.message_id)
    message = "the signature is missing, wrong, or more than five minutes away"
    raise Invalid("bad_signature", "signature", message)


def challenge_answer(plain_token: str, secret: str) -> dict[str, str]:
    """Return what Zoom wants to read before it believes that an address knows the secret."""
    digest = hmac.new(secret.encode(), plain_token.encode(), hashlib.sha256).hexdigest()
    return {"plainToken": plain_token, "encryptedToken": digest}


def _is_near(seconds: str, now: datetime) -> bool:
    try:
        return abs(int(seconds) - int(now.timestamp())) <= TOLERANCE_SECONDS
    except ValueError:
        return False


def _is_signed(seal: Seal, ours: bytes) -> bool:
    return any(hmac.compare_digest(ours, theirs) for theirs in seal.signatures)


def _hmac(key: bytes, seal: Seal) -> bytes:
    return hmac.digest(key, seal.signed, hashlib.sha256)


def _standard(request: Request, _webhook: Webhook) -> Seal:
    message_id, signed_at = request.header("webhook-id"), request.header("webhook-timestamp")
    return Seal(
        signed=_bytes(f"{message_id}.{signed_at}.") + request.raw_body,
        signatures=_after("v1,", request.header("webhook-signature").split(" ")),
        signed_at=signed_at,
        message_id=message_id,
    )


def _stripe(request: Request, webhook: Webhook) -> Seal:
    parts = request.header(webhook.header).split(",")
    signed_at = next((part[2:] for part in parts if part.startswith("t=")), "")
    return Seal(
        signed=_bytes(f"{signed_at}.") + request.raw_body,
        signatures=_after("v1=", parts),
        signed_at=signed_at,
    )


def _typeform(request: Request, _webhook: Webhook) -> Seal:
    return Seal(request.raw_body, _after("sha256=", [request.header("typeform-signature")]))


def _zoom(request: Request, _webhook: Webhook) -> Seal:
    signed_at = request.header("x-zm-request-timestamp")
    return Seal(
        signed=_bytes(f"v0:{signed_at}:") + request.raw_body,
        signatures=_after("v0=", [request.header("x-zm-signature")]),
        signed_at=signed_at,
    )


def _after(prefix: str, texts: Iterable[str]) -> tuple[bytes, ...]:
    """Return what follows the prefix, of the texts that have it."""
    return tuple(_bytes(text.removeprefix(prefix)) for text in texts if text.startswith(prefix))


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _whsec(secret: str) -> bytes:
    """Return the bytes that a Standard Webhooks secret holds; none if it is not base64."""
    text = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


SCHEMES: Mapping[str, Scheme] = {
    "standard": Scheme(_standard, _whsec, base64.b64encode),
    "stripe": Scheme(_stripe, str.encode, binascii.hexlify),
    "typeform": Scheme(_typeform, str.encode, base64.b64encode),
    "zoom": Scheme(_zoom, str.encode, binascii.hexlify),
}
