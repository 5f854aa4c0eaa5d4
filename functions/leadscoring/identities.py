"""Which identities are one lead: merged, found again, and taken apart.

No ledger entry moves. The lead that became part of another keeps its item, which names the other;
its counters are added to the other's, and whoever writes to it follows.
"""

from datetime import datetime

from leadscoring import items, scoring
from leadscoring.interaction import to_text
from leadscoring.lead import Change, Lead
from leadscoring.table import Action, Refused, Table, Words, adds


class Moved(Exception):
    """One of the two leads has moved on since it was read: look at both again."""


class Identities:
    """The identities of one table's leads."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def of(self, lead_id: str) -> list[str]:
        """Return the ids of all that became part of this lead, itself first."""
        found = [lead_id]
        for known in found:
            merged = self._table.query(
                "pk = :pk AND begins_with(sk, :sk)", {":pk": f"LEAD#{known}", ":sk": "IDENTITY#"}
            )
            found += [item["sk"].removeprefix("IDENTITY#") for item in merged]
        return found

    def merge(
        self, change: Change, lead: Lead, other: Lead, message: str, due_at: datetime
    ) -> None:
        """Make `other` part of `lead`, with all that its counters hold, in one transaction.

        Raises:
            Moved: one of them has moved on since it was read.
            Busy: the table did not take it.
        """
        theirs = self._table.get(f"LEAD#{other.id}", "LEAD") or {}
        mine = self._table.get(f"LEAD#{lead.id}", "LEAD") or {}
        claims = items.unbeaten(items.claims(theirs), mine)
        self._write(
            [
                self._gone(other, lead.id, change.at),
                self._joined(change, lead, other, claims, due_at),
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
        words = Words()
        alive = "attribute_exists(stage) AND attribute_not_exists(merged_into)"
        touched = self._table.update(
            (f"LEAD#{lead.id}", "LEAD"), f"ADD {adds({'revision': 1}, words)}", alive, words
        )
        stub = {
            "pk": f"LEAD#{other_id}",
            "sk": "LEAD",
            "revision": 1,
            "merged_into": lead.id,
            "merged_at": to_text(at),
        }
        self._write(
            [self._table.put_new(stub), touched, self._identity(lead.id, other_id, at, who)]
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
        """Let a lead be no lead any more, on condition that it is as it was read."""
        words = Words()
        sets = f"merged_into = {words.value(into)}, merged_at = {words.value(to_text(at))}"
        return self._table.update(
            (f"LEAD#{other.id}", "LEAD"),
            f"ADD {adds({'revision': 1}, words)} SET {sets} REMOVE by_stage, due, due_at",
            f"revision = {words.value(other.revision)}",
            words,
        )

    def _joined(
        self, change: Change, lead: Lead, other: Lead, claims: scoring.Claims, due_at: datetime
    ) -> Action:
        words = Words()
        sets, removed = items.after(change)
        sets |= items.timer(lead.id, due_at)
        sets |= {name: {"claim": claim, "value": value} for name, (claim, value) in claims.items()}
        acted = max(filter(None, (lead.updated_at, other.updated_at)), default=change.at)
        sets["updated_at"] = to_text(acted)
        if other.email and not lead.email:
            sets["email"] = other.email
        assignments = [f"{words.name(name)} = {words.value(value)}" for name, value in sets.items()]
        gone = [words.name(name) for name in removed]
        sums = scoring.counters(other)
        sums.update(revision=1, changes=1)
        return self._table.update(
            (f"LEAD#{lead.id}", "LEAD"),
            f"ADD {adds(sums, words)} SET {', '.join(assignments)}"
            + (f" REMOVE {', '.join(gone)}" if gone else ""),
            f"revision = {words.value(lead.revision)}",
            words,
        )
