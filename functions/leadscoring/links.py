"""Signed links in e-mails: each made for one lead and one address, and read when it is clicked.

A token says, in this order: the lead's id, when it was sent and when it expires (seconds since
1970), and the texts as JSON. It holds no personal data: a lead's id is an HMAC itself.
"""

import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic_core import Url

from leadscoring import tokens
from leadscoring.interaction import (
    LEAD_ID_LENGTH,
    Identity,
    IdentityKind,
    Interaction,
    Trust,
    to_millisecond,
)
from leadscoring.keys import Keys
from leadscoring.model import Model
from leadscoring.request import Invalid, Request
from leadscoring.tokens import Use
from leadscoring.wire import fingerprint

CLICKED = "Email Link Clicked"
TOO_SOON = "too-soon"
TARGET_CHARACTERS = 2_000
NAME_CHARACTERS = 100

# Where it leads to need not know the token, and no search engine should.
HEADERS = {"referrer-policy": "no-referrer", "x-robots-tag": "noindex"}

_HEAD = struct.Struct(f">{LEAD_ID_LENGTH // 2}sII")


@dataclass(frozen=True, slots=True)
class Link:
    """What a token says: who is sent where, by which campaign, from when until when."""

    target: str
    lead_id: str
    campaign: str
    sent_at: datetime
    expires_at: datetime
    source: str = ""


@dataclass(frozen=True, slots=True)
class Click:
    """What a click comes to: where the reader is sent on to, and what the ledger is told."""

    target: str
    interaction: Interaction


def sign(link: Link, keys: Keys) -> str:
    """Return the token of a link, signed with the newest key that there is for links.

    Raises:
        Invalid: its target is no web address, a text is empty, unreadable or too long, or a time
            is before 1970 or after 2105.
    """
    texts = [web_address(link.target), _name("campaign", link.campaign)]
    if link.source:
        texts.append(_name("source", link.source))
    head = _HEAD.pack(
        bytes.fromhex(link.lead_id),
        _seconds("sent_at", link.sent_at),
        _seconds("expires_at", link.expires_at),
    )
    said = head + json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode()
    return tokens.sign(Use.LINK, said, keys)


def read(request: Request, keys: Keys, model: Model) -> Click:
    """Return what a click on a link comes to; one link counts once a day of UTC.

    What comes sooner than a person could read the e-mail was a scanner: it is withheld.

    Raises:
        Invalid: the link was not signed by us, or has expired.
    """
    token, at = request.path.get("token", ""), request.received_at
    link = _verified(token, keys)
    if link is None or at >= link.expires_at:
        raise Invalid("unknown_link", "path", "there is no such link")
    quiet = timedelta(seconds=model.links.quiet_seconds)
    withheld_by = TOO_SOON if at < link.sent_at + quiet else None
    day = at.astimezone(UTC).date().isoformat()
    source = {"source": link.source} if link.source else {}
    return Click(
        link.target,
        Interaction(
            # The scanner's click does not take the reader's place.
            message_id=f"click-{fingerprint([token, day, withheld_by])}",
            identity=Identity(IdentityKind.LEAD_ID, link.lead_id),
            name=CLICKED,
            occurred_at=to_millisecond(at),
            received_at=to_millisecond(at),
            trust=Trust.PUBLIC,
            fingerprint=fingerprint(token),
            properties={"campaign": link.campaign, "url": _page(link.target)},
            context={"campaign": {"name": link.campaign, "medium": "email", **source}},
            withheld_by=withheld_by,
        ),
    )


def web_address(text: str) -> str:
    """Return the address as browsers write it, in ASCII.

    Raises:
        Invalid: it is no address of the web, or too long.
    """
    try:
        address = Url(text)
    except ValueError:
        raise Invalid("invalid", "target", "the target is not a web address") from None
    if address.scheme not in ("http", "https"):
        raise Invalid("invalid", "target", "the target begins with neither https:// nor http://")
    if address.username or address.password:
        raise Invalid("invalid", "target", "a user in the target would stand in every e-mail")
    if len(str(address)) > TARGET_CHARACTERS:
        raise Invalid("too_large", "target", f"it has more than {TARGET_CHARACTERS} characters")
    return str(address)


def _name(field: str, text: str) -> str:
    if not text or not text.isprintable():
        raise Invalid("invalid", field, f"the {field} is not a readable text")
    if len(text) > NAME_CHARACTERS:
        raise Invalid("too_large", field, f"it has more than {NAME_CHARACTERS} characters")
    return text


def _seconds(field: str, instant: datetime) -> int:
    seconds = int(instant.timestamp())
    if not 0 <= seconds < 2**32:
        raise Invalid("invalid", field, f"{field} is before 1970 or after 2105")
    return seconds


def _page(address: str) -> str:
    """Return the address without what a query or a fragment may say of a person."""
    return address.partition("#")[0].partition("?")[0]


def _verified(token: str, keys: Keys) -> Link | None:
    """Return what the token says if we have signed exactly that."""
    said = tokens.said(Use.LINK, token, keys)
    if said is None:
        return None
    lead_id, sent_at, expires_at = _HEAD.unpack_from(said)
    target, campaign, *source = json.loads(said[_HEAD.size :])
    return Link(
        target,
        lead_id.hex(),
        campaign,
        datetime.fromtimestamp(sent_at, UTC),
        datetime.fromtimestamp(expires_at, UTC),
        *source,
    )
