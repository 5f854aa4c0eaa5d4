"""The words of the way in: who did what, when, and how far we believe it."""

import hashlib
import hmac
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

LEAD_ID_LENGTH = 32

_EMAIL_MAX = 254


class Trust(StrEnum):
    """Which door it came through: anybody's public key, a server's secret key, our own people."""

    PUBLIC = "public"
    TRUSTED = "trusted"
    STAFF = "staff"


class IdentityKind(StrEnum):
    """What kind of name a message gives its lead."""

    EMAIL = "email"
    LEAD_ID = "lead_id"
    USER_ID = "user_id"
    ANONYMOUS_ID = "anonymous_id"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a message calls its lead; an e-mail is held in its normal form."""

    kind: IdentityKind
    value: str

    @classmethod
    def of_email(cls, address: str) -> Self:
        """Return the identity of an e-mail address.

        Raises:
            ValueError: the text is not an e-mail address.
        """
        return cls(IdentityKind.EMAIL, normalise_email(address))

    @classmethod
    def of_user_id(cls, user_id: str) -> Self:
        """Return the identity of a user id; one that is an e-mail address names that address."""
        try:
            return cls.of_email(user_id)
        except ValueError:
            return cls(IdentityKind.USER_ID, user_id)

    @property
    def email(self) -> str | None:
        """The address, if that is what this identity is."""
        return self.value if self.kind is IdentityKind.EMAIL else None

    def lead_id(self, key: bytes) -> str:
        """Return the lead's id: 32 hex digits of HMAC-SHA256(key, kind NUL value).

        Only we ourselves name a lead by its id, in what we have signed.
        """
        if self.kind is IdentityKind.LEAD_ID:
            return self.value
        message = f"{self.kind}\0{self.value}".encode()
        return hmac.new(key, message, hashlib.sha256).hexdigest()[:LEAD_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Interaction:
    """Something a lead did, or that was done about it. Times are UTC, in whole milliseconds.

    Our own people name no identity: they know the lead by its id. `also` are other names that it
    gives the lead, where it says that they are one. What a detector doubts is
    withheld by it: it pays nothing and tells no traits, unless somebody overrules that. `earlier`
    is the name under which a browser may have sent it before it knew whose it is.
    """

    message_id: str
    identity: Identity | None
    name: str
    occurred_at: datetime
    received_at: datetime
    trust: Trust
    fingerprint: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    traits: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    withheld_by: str | None = None
    also: tuple[Identity, ...] = ()
    earlier: Identity | None = None

    @property
    def is_withheld(self) -> bool:
        """Tell whether it pays nothing, whatever the rules say."""
        return self.withheld_by is not None


def normalise_email(address: str) -> str:
    """Return the address trimmed, in NFC and lower case, its domain in IDNA 2008's ASCII form.

    Raises:
        ValueError: the text is not an e-mail address.
    """
    if len(address) > 2 * _EMAIL_MAX:
        raise ValueError("not an e-mail address")
    text = unicodedata.normalize("NFC", address.strip().lower())
    local, at, domain = text.rpartition("@")
    if not domain.isascii():
        domain = _ascii_domain(domain)
    labels = domain.split(".")
    well_formed = (
        at
        and local
        and "@" not in local
        and len(labels) > 1
        and all(labels)
        and domain.replace(".", "").replace("-", "").isalnum()
        and text.isprintable()
        and " " not in text
    )
    normal = f"{local}@{domain}"
    if not well_formed or len(normal.encode()) > _EMAIL_MAX:
        raise ValueError("not an e-mail address")
    return normal


def _ascii_domain(domain: str) -> str:
    import idna  # only an address with an umlaut domain pays for its tables

    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError("not an e-mail address") from error


def to_millisecond(instant: datetime) -> datetime:
    """Return the instant in UTC, cut to the millisecond that the ledger keeps."""
    utc = instant.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def to_text(instant: datetime) -> str:
    """Return the instant as ISO 8601 with milliseconds and Z: 24 characters that sort by time."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """Return the instant that `to_text` wrote."""
    return datetime.fromisoformat(text)
