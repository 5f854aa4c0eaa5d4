"""Signed tokens for addresses: what we said, for one use, so that nobody else can say it.

A token is the base64url text of, in this order: the use, the id of the key, what is said, and the
first half of the HMAC-SHA256 of all that. The use is signed too, so a token made for one use is
none for another.
"""

import base64
import hmac
from enum import IntEnum

from leadscoring.keys import LINK_ID_CHARACTERS, Keys

_KEY_ID_BYTES = LINK_ID_CHARACTERS // 2
_SIGNATURE_BYTES = 16
# No token that we sign is longer: a link's target, and two names of four bytes a character.
_CHARACTERS = 5_000


class Use(IntEnum):
    """What a token is good for."""

    LINK = 1
    DECISION = 2


def sign(use: Use, said: bytes, keys: Keys) -> str:
    """Return the token that says this, signed with the newest key that there is for links."""
    signed = bytes([use]) + bytes.fromhex(keys.newest_link) + said
    return _text(signed + _signature(signed, keys.links[keys.newest_link].key))


def said(use: Use, token: str, keys: Keys) -> bytes | None:
    """Return what the token says if we have signed exactly that, for this use."""
    if len(token) > _CHARACTERS:
        return None
    try:
        sent = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        return None
    signed, signature = sent[:-_SIGNATURE_BYTES], sent[-_SIGNATURE_BYTES:]
    key_id, told = signed[1 : 1 + _KEY_ID_BYTES], signed[1 + _KEY_ID_BYTES :]
    key = keys.links.get(key_id.hex())
    # Base64 has several texts for the same bytes; only one of them is the token we made.
    if key is None or signed[0] != use or _text(sent) != token:
        return None
    return told if hmac.compare_digest(signature, _signature(signed, key.key)) else None


def _signature(signed: bytes, key: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")[:_SIGNATURE_BYTES]


def _text(token: bytes) -> str:
    return base64.urlsafe_b64encode(token).decode().rstrip("=")
