"""Signed e-mail links, one for each reader of a mailing."""

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from leadscoring import links
from leadscoring.interaction import Identity
from leadscoring.keys import Keys
from leadscoring.links import Link


class NotAnAddress(ValueError):
    """One of the readers has no e-mail address; no link was made for anybody."""


@dataclass(frozen=True, slots=True)
class Mailing:
    """What all its links have in common; `url` is where the API answers."""

    url: str
    target: str
    campaign: str
    source: str
    sent_at: datetime
    valid_days: int


@dataclass(frozen=True, slots=True)
class Made:
    """The link of one address."""

    email: str
    link: str


def readers(given: Iterable[str]) -> list[str]:
    """Return the addresses given; `-` stands for those on standard input, one a line."""
    lines = (sys.stdin if one == "-" else [one] for one in given)
    return [address for part in lines for line in part if (address := line.strip())]


def make(mailing: Mailing, emails: Sequence[str], keys: Keys) -> list[Made]:
    """Return a link for each address, in their order.

    Raises:
        Invalid: the mailing can't be signed as it is.
        NotAnAddress: one of them is no e-mail address.
    """
    base = links.web_address(mailing.url).rstrip("/")
    until = mailing.sent_at + timedelta(days=mailing.valid_days)

    def token(identity: Identity) -> str:
        lead_id = identity.lead_id(keys.lead_ids)
        return links.sign(
            Link(mailing.target, lead_id, mailing.campaign, mailing.sent_at, until, mailing.source),
            keys,
        )

    identities = list(_identities(emails))
    return [
        Made(email, f"{base}/c/{token(identity)}")
        for email, identity in zip(emails, identities, strict=True)
    ]


def write_csv(made: Iterable[Made]) -> None:
    """Print a table that mailing software takes."""
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["email", "link"])
    rows.writerows((one.email, one.link) for one in made)


def _identities(emails: Iterable[str]) -> Iterator[Identity]:
    for number, email in enumerate(emails, 1):
        try:
            yield Identity.of_email(email)
        except ValueError as error:
            raise NotAnAddress(f"address {number}, {email}, is {error}") from None
