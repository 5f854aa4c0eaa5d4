"""Which identities are one lead: merged, found again, and taken apart.

No ledger entry moves. The lead that became part of another keeps its item, which names the other;
its counters are added to the other's, and whoever writes to it follows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from leadscoring import items, scoring
from leadscoring.interaction import from_text, to_text
from leadscoring.lead import Change, Lead, counted_from
from leadscoring.scoring import Claims
from leadscoring.table import Action, Item, Refused, Table, Words

# What keeps late messages out, or decisions back, holds for the joined lead as for either.
_LATEST = ("generation_started_at", "rescoring_until", "overdue_cycle", "updated_at")


class Moved(Exception):
    """One of the two leads has moved on since it was read: look at both again."""


@dataclass(frozen=True, slots=True)
class Part:
    """An identity that became part of a lead: when, and who said so."""

    id: str
    merged_at: datetime
    who: str


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two leads that a parting leaves: as it was, its change and message, its timer.

    `sums` are added to its counters; it is `known` by nothing else from then on.
    """

    lead: Lead
    change: Change
    message: str
    due_at: datetime
    sums: Mapping[str, int]
    known: Claims


@dataclass(frozen=True, slots=True)
class Joined:
    """Two leads that are about to be one: as they were read, and as the lead then `stands`.

    Of the lead's item `sums` are added, `sets` set, and what is `gone` removed.
    """

    change: Change
    lead: Lead
    other: Lead
    stands: Lead
    sums: Mapping[str, int]
    sets: Item
    gone: Sequence[str]


class Identities:
    """The identities of one table's leads."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def of(self, lead_id: str, at: datetime | None = None) -> list[str]:
        """Return the ids of all that became part of this lead, by an instant or ever, itself first.

        What was taken out of it again since then is not among them.
        """
        return [lead_id, *(part.id for part in self.parts(lead_id, at))]

    def parts(self, lead_id: str, at: datetime | None = None) -> list[Part]:
        """Return what became part of this lead, by an instant or ever, and what of that."""
        found = self._parts(lead_id, at)
        for part in found:
            found += self._parts(part.id, at)
        return found

    def _parts(self, lead_id: str, at: datetime | None) -> list[Part]:
        merged = self._table.query(
            "pk = :pk AND begins_with(sk, :sk)", {":pk": f"LEAD#{lead_id}", ":sk": "IDENTITY#"}
        )
        parts = (
            Part(item["sk"].removeprefix("IDENTITY#"), from_text(item["merged_at"]), item["who"])
            for item in merged
        )
        return [part for part in parts if at is None or part.merged_at <= at]

    def whole_id(self, lead_id: str) -> str:
        """Return the id of the lead that this one is a part of now, its own if of none."""
        while into := (self._lead(lead_id) or {}).get("merged_into"):
            lead_id = into
        return lead_id

    def whole(self, lead_id: str) -> Item | None:
        """Return the item of the lead that this one is a part of now, its own if of none."""
        item = self._lead(lead_id)
        while item and "merged_into" in item:
            item = self._lead(item["merged_into"])
        return item

    def _lead(self, lead_id: str) -> Item | None:
        return self._table.get(*items.lead_key(lead_id))

    def joined(self, change: Change, lead: Lead, other: Lead) -> Joined:
        """Return what makes `other` part of `lead`, with all that is told of it and counted.

        Raises:
            Moved: one of them is no longer there.
        """
        mine, theirs = self._lead(lead.id), self._lead(other.id)
        if mine is None or theirs is None:
            raise Moved
        sets, gone = items.after(change)
        sets |= items.told(items.unbeaten(items.claims(theirs), mine))
        sets |= {
            name: theirs[name]
            for name in _LATEST
            if name in theirs and (name not in mine or theirs[name] > mine[name])
        }
        if other.email and not lead.email:
            sets["email"] = other.email
        if "since" in theirs:
            sets["since"] = min(theirs["since"], mine.get("since", theirs["since"]))
        sums = scoring.counters(other)
        sums.update(revision=1, changes=1, identities=other.identities + 1, partings=other.partings)
        stands = items.lead(items.updated(mine, sums, sets, gone))
        return Joined(change, lead, other, stands, sums, sets, gone)

    def merge(self, joined: Joined, message: str, due_at: datetime) -> None:
        """Make two leads one, in one transaction.

        Raises:
            Moved: one of them has moved on since it was read.
            Busy: the table did not take it.
        """
        change, lead, other = joined.change, joined.lead, joined.other
        sets = {**joined.sets, **items.timer(lead.id, due_at)}
        self._write(
            [
                self._gone(other, lead.id, change.at),
                self._lead_update(lead, joined.sums, sets, joined.gone),
                self._identity(lead.id, other.id, change.at, change.who),
                self._table.put_new(items.change_item(change)),
                self._table.put_new(items.outbox_item(change, message)),
            ]
        )

    def note(self, lead: Lead, other_id: str, at: datetime, who: str) -> None:
        """Make an identity that has done nothing yet part of the lead, so that it follows later.

        Raises:
            Moved: it has done something, or the lead is none any more.
        """
        alive = "attribute_exists(stage) AND attribute_not_exists(merged_into)"
        added = {"revision": 1, "identities": 1}
        touched = self._table.update(items.lead_key(lead.id), alive, add=added)
        stub = {
            "pk": f"LEAD#{other_id}",
            "sk": "LEAD",
            "revision": 1,
            "changes": counted_from(at),
            "merged_into": lead.id,
            "merged_at": to_text(at),
        }
        self._write(
            [self._table.put_new(stub), touched, self._identity(lead.id, other_id, at, who)]
        )

    def part(self, rest: Side, other: Side, identities: int) -> None:
        """Take `other` out of the lead that it is part of, in one transaction.

        `identities` is how many become parts of `other` again.

        Raises:
            Moved: one of them has moved on since it was read.
            Busy: the table did not take it.
        """
        mine, theirs = self._lead(rest.lead.id) or {}, self._lead(other.lead.id) or {}
        partings = rest.lead.partings + 1
        lent = ["email"] if "email" in mine and mine["email"] == theirs.get("email") else []
        apart = {
            "stage": other.change.to_stage,
            "unmerged_at": to_text(other.change.at),
            # Whoever saw it in the other lead, or anything in it, looks again.
            "partings": partings,
            "identities": identities,
            # What was erased with the other lead stays so.
            **{name: mine[name] for name in ("generation_started_at",) if name in mine},
            **items.listing(other.change.to_stage),
        }
        fewer = {"partings": 1, "identities": -identities - 1}
        self._write(
            [
                self._sided(rest, mine, {}, lent, fewer),
                self._sided(other, theirs, apart, ["merged_into", "merged_at"], {}),
                self._table.delete((f"LEAD#{other.lead.merged_into}", f"IDENTITY#{other.lead.id}")),
                *(
                    self._table.put_new(item)
                    for side in (rest, other)
                    for item in (
                        items.change_item(side.change),
                        items.outbox_item(side.change, side.message),
                    )
                ),
            ]
        )

    def _sided(
        self,
        side: Side,
        item: Item,
        sets: Mapping[str, Any],
        gone: Sequence[str],
        sums: Mapping[str, int],
    ) -> Action:
        """Let a side stand as it is after a parting."""
        after, _ = items.after(side.change)
        untold = sorted(items.claims(item).keys() - side.known.keys())
        told, timer = items.told(side.known), items.timer(side.lead.id, side.due_at)
        added = {"revision": 1, "changes": 1, **sums, **side.sums}
        return self._lead_update(
            side.lead, added, {**after, **told, **timer, **sets}, [*gone, *untold]
        )

    def _identity(self, lead_id: str, other_id: str, at: datetime, who: str) -> Action:
        return self._table.put_new(
            {
                "pk": f"LEAD#{lead_id}",
                "sk": f"IDENTITY#{other_id}",
                "merged_at": to_text(at),
                "who": who,
            }
        )

    def _write(self, actions: list[Action]) -> None:
        try:
            self._table.write(actions)
        except Refused as refused:
            raise Moved from refused

    def _gone(self, other: Lead, into: str, at: datetime) -> Action:
        """Let a lead be no lead any more."""
        sets = {"merged_into": into, "merged_at": to_text(at)}
        return self._lead_update(other, {"revision": 1}, sets, ["by_stage", "due", "due_at"])

    def _lead_update(
        self, lead: Lead, sums: Mapping[str, int], sets: Mapping[str, Any], gone: Sequence[str]
    ) -> Action:
        """Change a lead's item, on condition that it is as it was read."""
        words = Words()
        as_read = f"revision = {words.value(lead.revision)}"
        return self._table.update(
            items.lead_key(lead.id), as_read, words, add=sums, sets=sets, remove=gone
        )
