"""The right to be forgotten, and what is forgotten by itself once retention is over."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import batched, groupby, islice

from leadscoring import timers
from leadscoring.carrying import carried
from leadscoring.contract import Sender
from leadscoring.lead import Entry, Lead
from leadscoring.model import Model
from leadscoring.store import Store

_ENTRIES_A_STEP = 90
_STEPS_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Remainder:
    """What an erasure leaves in one place, and for how many days, where that is ours to say."""

    holds: str
    days: int | None


REMAINS: Mapping[str, Remainder] = {
    "table": Remainder(
        "a tombstone: the ids of the lead and of all that was merged into it, and when it was "
        "erased; it keeps late messages from bringing the lead back",
        None,
    ),
    "stream": Remainder("the items as they were last written", 1),
    "backups": Remainder(
        "the table as it was at any second; after a restore run `mqlambda restore-check`", 35
    ),
    "failure_bucket": Remainder("stream records that no retry could deliver", 14),
    "spool": Remainder("forms that the table could not take yet; they will be dropped", 14),
    "subscribers": Remainder(
        "messages that were published before; `mqlambda.lead.erased.v1` asks to forget them", None
    ),
    "logs": Remainder(
        "nothing personal: the lead's id at most, for as many days as the stack's parameter "
        "`LogRetentionDays` says",
        None,
    ),
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of an erasure, and what remains where."""

    lead: str
    erased_at: datetime
    finished: bool
    remains: Mapping[str, Remainder]


class Forgetter:
    """Forgets leads by one model, and has the world told by one sender."""

    def __init__(self, store: Store, model: Model, sender: Sender) -> None:
        self._store = store
        self._model = model
        self._retention = timedelta(days=model.retention_days)
        self._sender = sender

    def erase(self, lead_id: str, now: datetime) -> Receipt | None:
        """Let the lead that this one is a part of be no more, once; None if there is no such lead.

        From now on nothing is written to it or published of it. What it left is taken away by
        whoever finds the erasure in the outbox.

        Raises:
            Busy: the table did not take it.
        """
        lead = self._store.lead_now(lead_id)
        while lead and (lead.erased_at is None or lead.leaves_nothing):
            self._begin(lead, now, leaves_nothing=False)
            lead = self._store.lead_now(lead.id)
        if lead is None or lead.erased_at is None:
            return None
        return Receipt(lead.id, lead.erased_at, lead.erasing is None, REMAINS)

    def forget(self, lead_id: str, now: datetime) -> bool:
        """Forget what is past retention; tell whether there is more of it to forget.

        Of a lead that still does something, old entries are carried into sums. One that was silent
        for the whole retention is erased, without a tombstone: who returns is a new lead.

        Raises:
            Busy: the table did not take it; what was done stays done.
        """
        lead = self._store.lead(lead_id)
        if lead is None or not lead.is_one:
            return False
        if timers.forgotten_at(lead, self._model, now) > now:
            return False
        entries = list(self._store.ledger.entries(lead.id))
        kept = [entry for entry in entries if entry.received_at > now - self._retention]
        if not kept:
            return not self._begin(lead, now, leaves_nothing=True)
        return self._carry(lead, entries, kept, now)

    def _begin(self, lead: Lead, now: datetime, *, leaves_nothing: bool) -> bool:
        merged = self._store.identities.of(lead.id)[1:]
        message = self._sender.erasure(lead.id, lead.changes + 1, now, merged).model_dump_json()
        return self._store.erasing.begin(lead, message, now, leaves_nothing=leaves_nothing)

    def _carry(
        self, lead: Lead, entries: Sequence[Entry], kept: Sequence[Entry], now: datetime
    ) -> bool:
        """Carry so many old entries, identity by identity; tell whether some are left."""
        old = [e for e in entries if not e.is_carried and e.received_at <= now - self._retention]
        sums: dict[str, list[Entry]] = defaultdict(list)
        for entry in (entry for entry in entries if entry.is_carried):
            sums[entry.home].append(entry)
        if not old:
            # Its oldest ones are no longer its own: they were taken out of it, or it of their lead.
            since = min(entry.received_at for entry in kept)
            return not self._store.ledger.carry(lead, (), (), since)
        done = 0
        for home, step in islice(_steps(old), _STEPS_AT_ONCE):
            sums[home] = carried([*sums[home], *step], now, self._retention)
            done += len(step)
            since = min(entry.received_at for entry in (*old[done:], *kept))
            if not self._store.ledger.carry(lead, step, sums[home], since):
                return True
            lead = replace(lead, revision=lead.revision + 1)
        return done < len(old)


def _steps(entries: Sequence[Entry]) -> Iterator[tuple[str, Sequence[Entry]]]:
    """Return each identity's entries in steps, one after the other."""
    for home, mine in groupby(entries, key=lambda entry: entry.home):
        for step in batched(mine, _ENTRIES_A_STEP, strict=False):
            yield home, step
