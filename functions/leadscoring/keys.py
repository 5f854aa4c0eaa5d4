"""The stack's own keys: who may send, and what identities and links are signed with."""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from leadscoring.interaction import Trust
from leadscoring.request import Invalid

# One in use, and the next one while senders change over to it.
ACTIVE = 2
# How old keys may be that are good enough, and that are looked at before anybody is sent away.
FRESH = timedelta(minutes=1)
FRESHEST = timedelta(seconds=1)
LINK_ID_CHARACTERS = 8

_PREFIX_CHARACTERS = 4


class KeyChangeError(ValueError):
    """The keys can't be changed so; the text says why."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """What is known of a secret key: never the key itself, only its SHA-256 digest."""

    digest: str
    made_at: datetime
    name: str = ""


@dataclass(frozen=True, slots=True)
class LinkKey:
    """A key that signs e-mail links."""

    key: bytes = field(repr=False)
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """A key as it is shown: by an id that tells nothing of it."""

    kind: str
    id: str
    name: str = ""
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys as they are at one moment.

    `lead_ids` makes the ids of leads, and never changes. `links` signs e-mail links, by the id
    that a link names, the newest last. `webhooks` has for each source the secrets it may sign
    with, `captchas` the secret of each provider.
    """

    lead_ids: bytes = field(repr=False)
    public: str
    secrets: tuple[SecretKey, ...] = ()
    links: Mapping[str, LinkKey] = field(default_factory=dict)
    webhooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    captchas: Mapping[str, str] = field(default_factory=dict, repr=False)
    revision: int = 0

    @property
    def newest_link(self) -> str:
        """The id of the key that signs new links, where there is one."""
        return list(self.links)[-1]

    def trust(self, key: str) -> Trust | None:
        """Return how far the sender of this write key is believed; None if it is nobody's."""
        if hmac.compare_digest(key.encode(), self.public.encode()):
            return Trust.PUBLIC
        digest = digest_of(key)
        return Trust.TRUSTED if any(digest == known.digest for known in self.secrets) else None

    def listed(self) -> Iterator[Listed]:
        """Return all that can be revoked, those of one kind the oldest first."""
        for secret in self.secrets:
            yield Listed("secret", secret.digest, secret.name, secret.made_at)
        for link_id, link in self.links.items():
            yield Listed("link", link_id, made_at=link.made_at)
        for source, known in self.webhooks.items():
            yield from (Listed("webhook", digest_of(signing), source) for signing in known)
        for provider, checking in self.captchas.items():
            yield Listed("captcha", digest_of(checking), provider)

    def with_secret(self, key: str, name: str, now: datetime) -> Self:
        """Return the keys and this secret key; raise `KeyChangeError` if it is one too many."""
        if self.trust(key) is Trust.TRUSTED:
            return self
        _refuse_a_third(self.secrets, "secret keys")
        return replace(self, secrets=(*self.secrets, SecretKey(digest_of(key), now, name)))

    def with_link_key(self, key: bytes, now: datetime) -> Self:
        """Return the keys and this one for links: the new ones are signed with it."""
        link_id = hashlib.sha256(key).hexdigest()[:LINK_ID_CHARACTERS]
        return replace(self, links={**self.links, link_id: LinkKey(key, now)})

    def with_webhook(self, source: str, secret: str) -> Self:
        """Return the keys and this secret of a webhook; raise `KeyChangeError` at the third."""
        known = self.webhooks.get(source, ())
        if secret in known:
            return self
        _refuse_a_third(known, f"secrets of {source}")
        return replace(self, webhooks={**self.webhooks, source: (*known, secret)})

    def with_captcha(self, provider: str, secret: str) -> Self:
        """Return the keys with this secret of a captcha's provider in place of any other."""
        return replace(self, captchas={**self.captchas, provider: secret})

    def without(self, prefix: str) -> Self:
        """Return the keys but for the one whose id begins so.

        Raises:
            KeyChangeError: it is none, or not one alone.
        """
        found = {listed.id for listed in self.listed() if listed.id.startswith(prefix)}
        if len(prefix) < _PREFIX_CHARACTERS:
            raise KeyChangeError(f"give {_PREFIX_CHARACTERS} digits of the key's id at least")
        if len(found) != 1:
            said = "no key has" if not found else "more than one key has"
            raise KeyChangeError(
                f"{said} an id that begins with {prefix}: see `mqlambda keys list`"
            )
        (gone,) = found
        webhooks = {
            source: tuple(secret for secret in known if digest_of(secret) != gone)
            for source, known in self.webhooks.items()
        }
        return replace(
            self,
            secrets=tuple(secret for secret in self.secrets if secret.digest != gone),
            links={link_id: link for link_id, link in self.links.items() if link_id != gone},
            webhooks={source: known for source, known in webhooks.items() if known},
            captchas={
                of: secret for of, secret in self.captchas.items() if digest_of(secret) != gone
            },
        )


def digest_of(secret: str) -> str:
    """Return the SHA-256 digest of a secret, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _refuse_a_third(known: Sized, what: str) -> None:
    if len(known) >= ACTIVE:
        raise KeyChangeError(f"there are {ACTIVE} {what} already: revoke one of them first")


class Keyring:
    """The keys as one container knows them, read again once a minute.

    A new key is known, and a revoked one forgotten, within that time; sooner by who asks for keys
    that are fresher. When they can't be read again, those it has stay good.
    """

    def __init__(self, read: Callable[[], Keys]) -> None:
        self._read = read
        self._keys: Keys | None = None
        self._read_at: datetime | None = None

    def at(self, now: datetime, fresh: timedelta = FRESH) -> Keys:
        """Return the keys; raise what reading them raises, if there are none yet."""
        if self._keys is None:
            self._keys, self._read_at = self._read(), now
        elif self._read_at is None or abs(now - self._read_at) >= fresh:
            with suppress(Exception):
                self._keys = self._read()
            self._read_at = now
        return self._keys

    def read_with[T](self, read: Callable[[Keys], T], now: datetime) -> T:
        """Return what is read with the keys, with fresher ones if these do not verify it.

        Raises:
            Invalid: the freshest keys do not, either.
        """
        try:
            return read(self.at(now))
        except Invalid:
            return read(self.at(now, FRESHEST))
