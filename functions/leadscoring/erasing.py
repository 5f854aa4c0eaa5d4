"""Takes a lead out of the table, in bounded steps that go on wherever a crash left them.

First a tombstone takes the lead's place: from then on the lead refuses whatever is written to it,
so nothing new can appear behind the steps. Each step asks whether the tombstone still stands for
its erasure: one that comes late can't take anything of a lead that has begun anew. Only the last
one lets go of the tombstone, and of the outbox item by which the erasure is found again.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import batched, islice

from leadscoring import items
from leadscoring.identities import Identities
from leadscoring.items import numbered
from leadscoring.lead import Lead
from leadscoring.table import Action, Item, Refused, Table, Words

# A step is one transaction, which takes 100 actions: one asks for the tombstone, and a name is two.
_NAMES_A_STEP = 49
_ITEMS_A_STEP = 99
_STEPS_AT_ONCE = 40


class Erasing:
    """The erasures of one table's leads."""

    def __init__(self, table: Table, identities: Identities) -> None:
        self._table = table
        self._identities = identities

    def begin(self, lead: Lead, message: str, at: datetime, *, leaves_nothing: bool) -> bool:
        """Put a tombstone in the lead's place, and into the outbox what is to be published.

        Both or neither; tell whether the lead still was as it was read.

        Raises:
            Busy: the table did not take it.
        """
        item = self._table.get(*items.lead_key(lead.id))
        if item is None or item["revision"] != lead.revision:
            return False
        tombstone = items.tombstone(item, at, leaves_nothing=leaves_nothing)
        words = Words()
        as_read = f"revision = {words.value(lead.revision)}"
        pending = items.pending_item(lead.id, int(tombstone["changes"]), at, message)
        try:
            self._table.write(
                [self._table.put(tombstone, as_read, words), self._table.put_new(pending)]
            )
        except Refused:
            return False
        return True

    def go_on(self, lead_id: str, number: int) -> bool:
        """Take so many steps of an erasure; tell whether nothing is left that they could take.

        It is False, too, where somebody else has come to the end of it.

        Raises:
            Busy: the table did not take a step.
        """
        steps = self._steps(lead_id, number)
        try:
            for actions in islice(steps, _STEPS_AT_ONCE):
                self._table.write([self._still(lead_id, number), *actions])
        except Refused:
            return False
        return next(steps, None) is None

    def end(self, lead_id: str, number: int) -> None:
        """Let go of an erasure that is published: the tombstone stays, or nothing at all.

        Raises:
            Busy: the table did not take it.
        """
        key, words = items.lead_key(lead_id), Words()
        still = f"erasing = {words.value(number)}"
        if "leaves_nothing" in self._tombstone(lead_id):
            over = self._table.delete(key, still, words)
        else:
            over = self._table.update(key, still, words, remove=["erasing"])
        with suppress(Refused):
            self._table.write([over, self._table.delete(_outbox(lead_id, number))])

    def _still(self, lead_id: str, number: int) -> Action:
        """Ask whether this erasure is still going on; that changes nothing."""
        words = Words()
        mine = f"erasing = {words.value(number)}"
        return self._table.update(items.lead_key(lead_id), mine, words, sets={"erasing": number})

    def _steps(self, lead_id: str, number: int) -> Iterator[Sequence[Action]]:
        """Return what is to be done, each step's actions: outbox, ledger, other names."""
        homes, tombstone = self._identities.of(lead_id), self._tombstone(lead_id)
        # Backwards: a name is found by the one that it is a name of.
        names = homes[:0:-1]
        erased_at = tombstone.get("erased_at", "")
        left = self._not_bare(names, erased_at)
        if left == names:  # else these steps were taken before
            itself = _outbox(lead_id, number)
            for prefix in ("OUTBOX#", ""):
                beside = (key for home in homes for key in self._beside(home, prefix))
                found = (key for key in beside if key != itself)
                for keys in batched(found, _ITEMS_A_STEP, strict=False):
                    yield [self._table.delete(key) for key in keys]
        drops = "leaves_nothing" in tombstone
        for some in batched(left, _NAMES_A_STEP, strict=False):
            taken = (self._drop(name) if drops else self._bare(name, erased_at) for name in some)
            yield [action for actions in taken for action in actions]

    def _not_bare(self, names: list[str], erased_at: str) -> list[str]:
        """Return which of these names are still to be bared: the last ones, in few reads."""

        def is_left(name: str) -> int:
            item = self._table.get(*items.lead_key(name)) or {}
            return item.get("last_erased_at") != erased_at

        return names[bisect_left(names, 1, key=is_left) :]

    def _beside(self, home: str, prefix: str) -> Iterator[tuple[str, str]]:
        """Return the keys of what stands beside a lead's own item and its names."""
        condition, values = "pk = :pk", {":pk": f"LEAD#{home}"}
        if prefix:
            condition, values = f"{condition} AND begins_with(sk, :sk)", values | {":sk": prefix}
        for item in self._table.query(condition, values):
            if item["sk"] != "LEAD" and not item["sk"].startswith("IDENTITY#"):
                yield item["pk"], item["sk"]

    def _bare(self, name: str, erased_at: str) -> Iterator[Action]:
        """Leave of a name only what it is a name of: it goes on refusing what comes late."""
        if item := self._table.get(*items.lead_key(name)):
            yield self._table.put(items.stub(item, erased_at))

    def _drop(self, name: str) -> Iterator[Action]:
        """Let nothing be left of a name, unless it has come back meanwhile as a lead of its own."""
        item = self._table.get(*items.lead_key(name))
        if item and (into := item.get("merged_into")):
            words = Words()
            part = f"merged_into = {words.value(into)}"
            yield self._table.delete(items.lead_key(name), part, words)
            yield self._table.delete((f"LEAD#{into}", f"IDENTITY#{name}"))

    def _tombstone(self, lead_id: str) -> Item:
        return self._table.get(*items.lead_key(lead_id)) or {}


def _outbox(lead_id: str, number: int) -> tuple[str, str]:
    return f"LEAD#{lead_id}", numbered("OUTBOX", number)
