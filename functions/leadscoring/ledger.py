"""The ledger of every lead: entered once, added up in the same transaction, paid again.

At every instant counters equal the sum of the units in the ledger, and the use of an allowance the
sum of what payments took from it; what a lead is known by is what its paid entries tell. Here is
all that writes any of them.
"""

from collections import Counter as Multiset
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from leadscoring import items, scoring
from leadscoring.daily import DailyMost
from leadscoring.identities import Identities
from leadscoring.interaction import Interaction, Trust, to_text
from leadscoring.lead import CONSENT, Entry, Lead, counted_from
from leadscoring.limits import Allowance, Tally
from leadscoring.membership import Membership
from leadscoring.model import Model
from leadscoring.scoring import Claims
from leadscoring.table import (
    Action,
    BadCursor,
    Busy,
    Page,
    Refused,
    Table,
    Words,
    beginning,
    partition,
)

_ACTIONS_PER_TRANSACTION = 100
_REMEMBERED_ALLOWANCES = 10_000
_REMEMBERED_LEADS = 1_000
_CORRECTION_TRIES = 20
_DOUBTS = {"overruled", "withheld_by"}
_NONE = Decimal(0)

OBJECTION = "objection"


class Outdated(Exception):
    """The lead moved on since it was read; `lead` is the lead as it is now."""

    def __init__(self, lead: Lead) -> None:
        super().__init__(lead.id)
        self.lead = lead


@dataclass(frozen=True, slots=True)
class Recorded:
    """How many interactions were new, seen before, and seen before with other content.

    Of the new ones some are withheld by a detector; over its lead's daily most one is dropped, and
    so is what is past the retention.
    """

    stored: int = 0
    duplicates: int = 0
    conflicting: int = 0
    withheld: int = 0
    dropped: int = 0
    past: int = 0

    def __add__(self, other: "Recorded") -> "Recorded":
        return Recorded(
            self.stored + other.stored,
            self.duplicates + other.duplicates,
            self.conflicting + other.conflicting,
            self.withheld + other.withheld,
            self.dropped + other.dropped,
            self.past + other.past,
        )

    def counts(self) -> dict[str, int]:
        """Return all of it by the names of the metrics that count it."""
        return {
            "Interactions": self.stored,
            "Duplicates": self.duplicates,
            "Conflicting": self.conflicting,
            "Withheld": self.withheld,
            "OverDailyMost": self.dropped,
            "PastRetention": self.past,
        }


type Correct = Callable[[Entry], Entry]
"""Says how an entry should stand: whether it is withheld, and by whom."""


@dataclass(frozen=True, slots=True)
class _Correction:
    """How entries are corrected, and what the lead, as it was at a revision, is known by then."""

    correct: Correct
    lead_id: str
    revision: int
    told: items.Item
    untold: frozenset[str]


class Ledger:
    """The ledgers of one table, as one container knows them."""

    def __init__(self, table: Table, identities: Identities) -> None:
        self._table = table
        self._identities = identities
        self._used_up: dict[tuple[str, str], None] = {}
        self._today: dict[str, int] = {}
        self._members = Membership(identities)

    def entries(self, lead_id: str, at: datetime | None = None) -> Iterator[Entry]:
        """Return the whole ledger of the lead and of all that became part of it, until `at`."""
        for home in self._identities.of(lead_id, at):
            yield from self.entries_at(home)

    def holds(self, home: str, trust: Trust, message_id: str) -> bool:
        """Tell whether this was entered for one identity."""
        return self._table.get(*items.interaction_key(home, trust, message_id)) is not None

    def entries_at(self, home: str) -> Iterator[Entry]:
        """Return all that was entered for one identity."""
        for item in self._table.query(
            "pk = :pk AND begins_with(sk, :sk)", {":pk": f"LEAD#{home}", ":sk": "INTERACTION#"}
        ):
            yield items.entry(item)

    def page(self, lead_id: str, limit: int, cursor: str | None = None) -> Page[Entry]:
        """Return one page of the lead's interactions, identity by identity; raise `BadCursor`."""
        homes = self._identities.of(lead_id)
        home = partition(cursor).removeprefix("LEAD#") if cursor else homes[0]
        if home not in homes:
            raise BadCursor("not a cursor of this list")
        entries: list[Entry] = []
        for at in homes[homes.index(home) :]:
            if len(entries) == limit:
                return Page(entries, beginning(f"LEAD#{at}", "INTERACTION#"))
            found, following = self._table.query_page(
                "pk = :pk AND begins_with(sk, :sk)",
                {":pk": f"LEAD#{at}", ":sk": "INTERACTION#"},
                limit - len(entries),
                cursor if at == home else None,
            )
            entries += map(items.entry, found)
            if following:
                return Page(entries, following)
        return Page(entries, None)

    def allowances(self, lead_id: str) -> dict[str, Decimal]:
        """Return how much of each allowance all the lead's identities have used together."""
        used: dict[str, Decimal] = {}
        for home in self._identities.of(lead_id):
            for item in self._table.query(
                "pk = :pk AND begins_with(sk, :sk)", {":pk": f"LEAD#{home}", ":sk": "LIMIT#"}
            ):
                name = item["sk"].removeprefix("LIMIT#")
                used[name] = used.get(name, _NONE) + item["used"]
        return used

    def record(self, home: str, interactions: Sequence[Interaction], model: Model) -> Recorded:
        """Enter each interaction for its identity once, adding what it pays to the identity's lead.

        What is for a lead that was erased is dropped, but for a trusted opt-in since then: that
        opens a new generation, and what happened before it is dropped.

        Raises:
            Busy: some may not be entered yet; repeat the whole call.
        """
        unique: dict[tuple[Trust, str], Interaction] = {}
        for interaction in interactions:
            unique.setdefault((interaction.trust, interaction.message_id), interaction)
        total = Recorded(duplicates=len(interactions) - len(unique))
        entries = [scoring.enter(interaction, model) for interaction in unique.values()]
        identities = (interaction.identity for interaction in interactions)
        email = next((identity.email for identity in identities if identity), None)
        for chunk in _chunks(entries):
            total += self._record_chunk(home, chunk, email, model)
        return total

    def _record_chunk(
        self, home: str, entries: list[Entry], email: str | None, model: Model
    ) -> Recorded:
        """Write one transaction, and again without whatever its conditions refused."""
        lead_id = self._members.lead_of(home)
        used = self._full(home, entries, model)
        daily = DailyMost(model.public.most_per_day, self._today.get(lead_id))
        duplicates = conflicting = too_late = 0
        held: items.Item = {}
        while kept := daily.cut(entries):
            # Only of what is new: a repeat may say other traits than it did at first.
            claims = items.unbeaten(scoring.claims(kept), held)
            tally = Tally(model, used)
            paid = tally.cut_all(kept)
            puts = [self._table.put_new(items.entry_item(home, entry)) for entry in paid]
            limits = [self._use(home, name, n, model) for name, n in tally.taken.items()]
            lead = self._lead_update(home, paid, claims, email, model, daily)
            try:
                self._table.write([*puts, *limits, lead])
            except Refused as refused:
                *blockers, newer = refused.blockers
                known, limited = blockers[: len(puts)], blockers[len(puts) :]
                pairs = list(zip(kept, known, strict=True))
                repeats = [(entry, item) for entry, item in pairs if item is not None]
                duplicates += len(repeats)
                conflicting += sum(e.fingerprint != item["fingerprint"] for e, item in repeats)
                gone = {_key(entry) for entry, _ in repeats}
                entries = [entry for entry in entries if _key(entry) not in gone]
                used |= _used(zip(tally.taken, limited, strict=True))
                if newer is None:
                    continue
                if self._members.learn(home, newer):
                    lead_id = self._members.lead_of(home)
                    daily = DailyMost(model.public.most_per_day, self._today.get(lead_id))
                    held = {}
                    continue
                opt_in = _opt_in(entries, newer)
                if "leaves_nothing" in newer or (opt_in and "erasing" in newer):
                    raise Busy("the lead is being erased") from None
                if opt_in:
                    self._open_generation(lead_id, opt_in.occurred_at)
                    continue
                told = items.unbeaten(scoring.claims(entries), newer)
                if items.has_objected(newer) and not _agrees(told):
                    entries = [_as_objected(entry) for entry in entries]
                late = [entry for entry in entries if items.is_too_late(entry, newer)]
                entries = [entry for entry in entries if entry not in late]
                too_late += len(late)
                held = newer
                daily.refused(kept, newer)
            else:
                used = tally.used
                daily.taken(kept)
                break
        self._remember(home, used, model)
        self._remember_lead(lead_id, daily)
        return Recorded(
            stored=len(kept),
            duplicates=duplicates,
            conflicting=conflicting,
            withheld=sum(entry.is_withheld for entry in kept),
            dropped=len(entries) - len(kept) + too_late,
        )

    def _open_generation(self, lead_id: str, at: datetime) -> None:
        """Let an erased lead begin anew at an instant; somebody else may have let it already."""
        words, begun = Words(), to_text(at)
        erased = f"erased_at < {words.value(begun)} AND attribute_not_exists(erasing)"
        update = self._table.update(
            items.lead_key(lead_id),
            erased,
            words,
            add={"revision": 1},
            sets={"generation_started_at": begun},
            remove=["erased_at"],
        )
        with suppress(Refused):
            self._table.write([update])

    def _use(self, home: str, allowance: str, amount: Decimal, model: Model) -> Action:
        """Use so much of an allowance, on condition that so much is left; a negative gives back."""
        parsed = Allowance.parse(allowance)
        words = Words()
        if amount < 0:
            condition = f"used >= {words.value(-amount)}"
        else:
            limit = model.rule[parsed.rule].limit
            rest = (limit.most if limit else amount) - amount
            condition = f"attribute_not_exists(used) OR used <= {words.value(rest)}"
        expiry = {}
        if parsed.ends_at:
            # Nothing that is older than the retention arrives: nobody asks for it any more.
            gone = parsed.ends_at + timedelta(days=model.retention_days + 1)
            expiry["expires_at"] = int(gone.timestamp())
        key = items.limit_key(home, allowance)
        return self._table.update(key, condition, words, add={"used": amount}, sets=expiry)

    def _full(self, home: str, entries: Sequence[Entry], model: Model) -> dict[str, Decimal]:
        """Return the allowances that this container knows to be used up, with what they had."""
        asked = {payment.allowance for entry in entries for payment in entry.paid}
        return {
            allowance: limit.most
            for allowance in asked
            if allowance
            and (home, allowance) in self._used_up
            and (limit := model.rule[Allowance.parse(allowance).rule].limit)
        }

    def _remember(self, home: str, used: Mapping[str, Decimal], model: Model) -> None:
        for allowance, amount in used.items():
            limit = model.rule[Allowance.parse(allowance).rule].limit
            if limit and amount >= limit.most:
                self._used_up[home, allowance] = None
        while len(self._used_up) > _REMEMBERED_ALLOWANCES:
            del self._used_up[next(iter(self._used_up))]

    def _remember_lead(self, lead_id: str, daily: DailyMost) -> None:
        if daily.so_far is not None:
            self._today[lead_id] = daily.so_far
        while len(self._today) > _REMEMBERED_LEADS:
            del self._today[next(iter(self._today))]

    def _lead_update(
        self,
        home: str,
        entries: Sequence[Entry],
        claims: Claims,
        email: str | None,
        model: Model,
        daily: DailyMost,
    ) -> Action:
        """Add what the entries pay; set the traits on condition that nobody knows them better."""
        words, lead_id = Words(), self._members.lead_of(home)
        of_today, begun, within_most = daily.take(entries, words)
        sums = _sums(entries)
        sums.update(revision=1, interactions=len(entries), **of_today)
        sets = {**begun, **items.told(claims)}
        if acted_at := scoring.acted_at(entries):
            sets["updated_at"] = to_text(acted_at)
        received_at = max(entry.received_at for entry in entries)
        forgotten_at = received_at + timedelta(days=model.retention_days)
        since = items.day(min(entry.received_at for entry in entries))
        once = {
            "stage": model.first_stage,
            "changes": counted_from(received_at),
            "since": since,
            **items.timer(lead_id, forgotten_at),
        }
        if email:
            once["email"] = email
        oldest = words.value(to_text(min(entry.occurred_at for entry in entries)))
        conditions = [
            *([within_most] if within_most else []),
            *self._members.conditions(home, words),
            "attribute_not_exists(erased_at)",
            f"(attribute_not_exists(generation_started_at) OR generation_started_at <= {oldest})",
        ]
        if not _agrees(claims) and any(_as_objected(entry) is not entry for entry in entries):
            consent, no = words.name(f"{scoring.TRAIT}{CONSENT}"), words.value("false")
            has_not = f"{consent}.{words.name('value')} <> {no}"
            conditions.append(f"(attribute_not_exists({consent}) OR {has_not})")
        for name, (claim, value) in claims.items():
            trait, claimed = words.name(name), words.value(claim)
            as_strong = f"{trait}.{words.name('value')} <= {words.value(value)}"
            conditions.append(
                f"(attribute_not_exists({trait}) OR {trait}.claim < {claimed}"
                f" OR ({trait}.claim = {claimed} AND {as_strong}))"
            )
        key, condition = items.lead_key(lead_id), " AND ".join(conditions)
        return self._table.update(key, condition, words, add=sums, sets=sets, once=once)

    def pay_again(self, entries: Sequence[Entry], model: Model) -> int:
        """Pay these entries by the model, as far as that changes them; return how many it did.

        Each entry is changed on condition that it is as given: one that is not is left alone.

        Raises:
            Busy: some may not be paid yet; repeat the call.
        """
        return sum(
            self._pay_chunk_again(chunk, model)
            for mine in _by_home(entries)
            for chunk in _chunks(mine, lambda entry: scoring.pay_again(entry, model))
        )

    def overrule(self, lead_id: str, entries: Sequence[Entry], model: Model) -> int:
        """Pay these entries by the model, whoever withheld them; return how many that changed.

        Raises:
            Busy: some may not be paid yet; repeat the call.
        """
        return self._correct(lead_id, entries, model, lambda entry: replace(entry, overruled=True))

    def withhold(self, lead_id: str, entries: Sequence[Entry], detector: str, model: Model) -> int:
        """Take back what these entries paid and told; return how many that changed.

        Raises:
            Busy: some may not be taken back yet; repeat the call.
        """
        return self._correct(
            lead_id,
            entries,
            model,
            lambda entry: replace(entry, withheld_by=detector, overruled=False),
        )

    def _correct(
        self, lead_id: str, entries: Sequence[Entry], model: Model, correct: Correct
    ) -> int:
        """Let the entries stand as they are corrected; return how many that changed.

        What the lead is known by follows from its whole ledger, so each transaction holds only for
        the lead as it was when that was read.
        """
        asked = {_key(entry) for entry in entries}
        corrected = failures = 0
        while failures < _CORRECTION_TRIES:
            lead = self._identities.whole(lead_id)
            if lead is None or "erased_at" in lead:
                return corrected
            whole_id = items.lead(lead).id
            ledger = list(self.entries(whole_id))
            wrong = [e for e in ledger if _key(e) in asked and correct(e) != e]
            if not wrong:
                return corrected
            mine = next(_by_home(wrong))
            chunk = next(_chunks(mine, lambda entry: scoring.pay_again(correct(entry), model)))
            touched = {_key(entry) for entry in chunk}
            before = scoring.claims(ledger)
            after = scoring.claims(correct(e) if _key(e) in touched else e for e in ledger)
            correction = _Correction(
                correct,
                lead_id=whole_id,
                revision=int(lead["revision"]),
                told=items.told({n: c for n, c in after.items() if before.get(n) != c}),
                untold=frozenset(before) - frozenset(after),
            )
            done = self._pay_chunk_again(chunk, model, correction)
            corrected += done
            failures += not done
        raise Busy("the lead is written to all the time")

    def _pay_chunk_again(
        self, entries: Sequence[Entry], model: Model, correction: _Correction | None = None
    ) -> int:
        home = entries[0].home
        used: dict[str, Decimal] = {}
        forgotten: set[str] = set()
        while True:
            tally = Tally(model, used)
            corrected = [(e, correction.correct(e) if correction else e) for e in entries]
            again = [(old, tally.cut(scoring.pay_again(new, model))) for old, new in corrected]
            changed = [(old, new) for old, new in again if replace(new, model=old.model) != old]
            if not changed:
                return 0
            updates = [self._repayment(home, old, new) for old, new in changed]
            given_back = _given_back(changed)
            amounts = {
                name: amount
                for name in sorted(tally.taken.keys() | given_back.keys() - forgotten)
                if (amount := tally.taken.get(name, _NONE) - given_back.get(name, _NONE))
            }
            limits = [self._use(home, name, n, model) for name, n in amounts.items()]
            words = Words()
            sums = _sums(new for _, new in changed)
            sums.subtract(_sums(old for old, _ in changed))
            told: items.Item = {}
            untold: frozenset[str] = frozenset()
            if correction:
                lead_id, told, untold = correction.lead_id, correction.told, correction.untold
                condition = f"revision = {words.value(correction.revision)}"
            else:
                lead_id = self._members.lead_of(home)
                alive = ("attribute_exists(pk)", "attribute_not_exists(erased_at)")
                condition = " AND ".join((*alive, *self._members.conditions(home, words)))
            lead = self._table.update(
                items.lead_key(lead_id),
                condition,
                words,
                add={"revision": 1, **sums},
                sets=told,
                remove=sorted(untold),
            )
            try:
                self._table.write([*updates, *limits, lead])
            except Refused as refused:
                *blockers, gone = refused.blockers
                if gone is not None:
                    if correction or not self._members.learn(home, gone):
                        return 0
                    continue
                moved, limited = blockers[: len(updates)], blockers[len(updates) :]
                pairs = zip(changed, moved, strict=True)
                others = [old for (old, _), item in pairs if item is not None]
                entries = [entry for entry in entries if entry not in others]
                for name, item in zip(amounts, limited, strict=True):
                    if item is not None and amounts[name] > 0:
                        used[name] = item["used"]
                    elif item is not None and not others:
                        # Its window is long over, and DynamoDB has deleted it.
                        forgotten.add(name)
            else:
                return len(changed)

    def _repayment(self, home: str, old: Entry, new: Entry) -> Action:
        words = Words()
        stood, stands = items.standing(old), {**items.standing(new), "model": new.model}
        as_read = [f"{words.name(name)} = {words.value(value)}" for name, value in stood.items()]
        as_read += [f"attribute_not_exists({words.name(name)})" for name in _DOUBTS - stood.keys()]
        return self._table.update(
            items.entry_key(home, old),
            " AND ".join(as_read),
            words,
            sets=stands,
            remove=[name for name in stood if name not in stands],
        )

    def carry(
        self, lead: Lead, old: Sequence[Entry], sums: Sequence[Entry], since: datetime
    ) -> bool:
        """Put sums in the place of old entries of one identity; tell whether that was possible.

        It is while the lead is as it was read: its counters stay as they are. What is left of its
        ledger reaches back to `since`.
        """
        words = Words()
        untouched = self._table.update(
            items.lead_key(lead.id),
            f"revision = {words.value(lead.revision)} AND attribute_not_exists(erased_at)",
            words,
            add={"revision": 1},
            sets={"since": items.day(since)},
        )
        carried = [self._table.put(items.entry_item(entry.home, entry)) for entry in sums]
        gone = [self._table.delete(items.entry_key(entry.home, entry)) for entry in old]
        try:
            self._table.write([untouched, *carried, *gone])
        except Refused:
            return False
        return True

    def repair(self, lead: Lead, remembered: Lead) -> None:
        """Bring the lead's counters to what its ledger adds up to.

        Raises:
            Outdated: the lead moved on since it was read; verify it again.
        """
        words = Words()
        sums = scoring.counters(remembered)
        sums.subtract(scoring.counters(lead))
        condition = f"revision = {words.value(lead.revision)} AND attribute_not_exists(erased_at)"
        mended = self._table.update(
            items.lead_key(lead.id), condition, words, add={"revision": 1, **sums}
        )
        try:
            self._table.write([mended])
        except Refused as refused:
            if (current := refused.blockers[0]) is None:
                raise
            raise Outdated(items.lead(current)) from None


def _chunks(
    entries: Iterable[Entry], paid: Callable[[Entry], Entry] = lambda entry: entry
) -> Iterator[list[Entry]]:
    """Cut the entries so that each chunk, its allowances and the lead fit into one transaction.

    `paid` tells what an entry will be paid, where that is not what it says.
    """
    chunk: list[Entry] = []
    allowances: set[str] = set()
    for entry in entries:
        touched = (*entry.paid, *paid(entry).paid)
        mine = {payment.allowance for payment in touched if payment.allowance}
        if chunk and len(chunk) + len(allowances | mine) + 2 > _ACTIONS_PER_TRANSACTION:
            yield chunk
            chunk, allowances = [], set()
        chunk.append(entry)
        allowances |= mine
    if chunk:
        yield chunk


def _key(entry: Entry) -> tuple[str, Trust, str]:
    return entry.home, entry.trust, entry.message_id


def _by_home(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Return the entries of each identity: an allowance is one identity's."""
    ordered = sorted(entries, key=lambda entry: entry.home)
    return (list(mine) for _, mine in groupby(ordered, key=lambda entry: entry.home))


def _agrees(told: Claims) -> bool:
    """Tell whether it is told, more strongly than anything before, that the lead consents."""
    return told.get(f"{scoring.TRAIT}{CONSENT}", ("", ""))[1] == "true"


def _as_objected(entry: Entry) -> Entry:
    """Return the entry as it is entered for a lead that has withdrawn consent."""
    if entry.is_withheld or entry.trust is Trust.STAFF:
        return entry
    return replace(entry, withheld_by=OBJECTION, paid=())


def _opt_in(entries: Iterable[Entry], lead: items.Item) -> Entry | None:
    """Return the first trusted word, since the lead was erased, that it wants to hear from us."""
    if "erased_at" not in lead:
        return None
    ours = (e for e in entries if e.trust is not Trust.PUBLIC and e.traits.get(CONSENT) is True)
    since = (entry for entry in ours if to_text(entry.occurred_at) > lead["erased_at"])
    return min(since, key=lambda entry: entry.occurred_at, default=None)


def _sums(entries: Iterable[Entry]) -> Multiset[str]:
    """Return what the entries add to the lead's counters."""
    sums: Multiset[str] = Multiset()
    for payment in (payment for entry in entries for payment in entry.paid):
        sums[f"seen:{payment.rule}"] += payment.times
        sums[payment.counter] += payment.units
    return sums


def _given_back(changed: Iterable[tuple[Entry, Entry]]) -> dict[str, Decimal]:
    """Return what the old payments had used of allowances that the new ones do not know."""
    back: dict[str, Decimal] = {}
    for old, new in changed:
        kept = {payment.allowance for payment in new.paid}
        for payment in old.paid:
            if payment.allowance and payment.used and payment.allowance not in kept:
                back[payment.allowance] = back.get(payment.allowance, _NONE) + payment.used
    return back


def _used(blocked: Iterable[tuple[str, Mapping[str, Any] | None]]) -> dict[str, Decimal]:
    """Return how much is used of the allowances that refused."""
    return {allowance: item["used"] for allowance, item in blocked if item is not None}
