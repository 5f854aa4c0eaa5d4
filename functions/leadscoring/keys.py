"""The stack's own keys: who may send, and what identities and links are signed with."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from leadscoring.interaction import Trust

_FRESH = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """What is known of a secret key: never the key itself, only its SHA-256 digest."""

    digest: str
    made_at: datetime


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
    links: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    webhooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    captchas: Mapping[str, str] = field(default_factory=dict, repr=False)

    def trust(self, key: str) -> Trust | None:
        """Return how far the sender of this write key is believed; None if it is nobody's."""
        if hmac.compare_digest(key.encode(), self.public.encode()):
            return Trust.PUBLIC
        digest = hashlib.sha256(key.encode()).hexdigest()
        return Trust.TRUSTED if any(digest == known.digest for known in self.secrets) else None


class Keyring:
    """The keys as one container knows them, read again once a minute.

    A new key is known, and a revoked one forgotten, within that time. When they can't be read
    again, those it has stay good.
    """

    def __init__(self, read: Callable[[], Keys]) -> None:
        self._read = read
        self._keys: Keys | None = None
        self._read_at: datetime | None = None

    def at(self, now: datetime) -> Keys:
        """Return the keys; raise what reading them raises, if there are none yet."""
        if self._keys is None:
            self._keys, self._read_at = self._read(), now
        elif self._read_at is None or abs(now - self._read_at) >= _FRESH:
            with suppress(Exception):
                self._keys = self._read()
            self._read_at = now
        return self._keys
