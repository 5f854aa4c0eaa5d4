"""How many public interactions a lead is given in a day, without a write of its own.

Who has had no more in its life than the daily most has not had more today, and the lead's counter
of interactions says so. Only from then on is the day counted, on the lead itself: `public_today`
is the day's number times a million, plus how many. On the day on which that begins it may come to
twice the most.
"""

from collections.abc import Sequence
from datetime import UTC

from leadscoring.interaction import Trust
from leadscoring.lead import Entry
from leadscoring.table import Item, Words

_DAY = 10**6


class DailyMost:
    """What one lead is given of its daily most, by all that is known of it.

    `so_far` is its count as last seen, which never falls; None while its life's counter suffices.
    """

    def __init__(self, most: int, so_far: int | None) -> None:
        self.so_far = so_far
        self._most = most

    def cut(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries without the last ones that are too many."""
        if not entries:
            return []
        if self.so_far is None:
            if _public(entries) <= self._most:
                return list(entries)
            self.so_far = 0
        rest = self._most - max(self.so_far - self._start(entries), 0)
        return [e for e in entries if e.trust is not Trust.PUBLIC or (rest := rest - 1) >= 0]

    def take(
        self, entries: Sequence[Entry], words: Words
    ) -> tuple[dict[str, int], dict[str, int], str]:
        """Return what the lead's update must add, set and ask for, to take that for the entries."""
        count = _public(entries)
        if not count:
            return {}, {}, ""
        if self.so_far is None:
            rest = words.value(self._most - count)
            return {}, {}, f"(attribute_not_exists(interactions) OR interactions <= {rest})"
        start = self._start(entries)
        if self.so_far < start:
            begun = {"public_today": start + count}
            earlier = f"public_today < {words.value(start)}"
            return {}, begun, f"(attribute_not_exists(public_today) OR {earlier})"
        least, rest = words.value(start), words.value(start + self._most - count)
        return {"public_today": count}, {}, f"(public_today BETWEEN {least} AND {rest})"

    def taken(self, entries: Sequence[Entry]) -> None:
        """Note that the entries were written."""
        if self.so_far is not None:
            self.so_far = max(self.so_far, self._start(entries)) + _public(entries)

    def refused(self, entries: Sequence[Entry], lead: Item) -> None:
        """Note what the lead says that refused the entries."""
        in_its_life = int(lead.get("interactions", 0)) + _public(entries)
        if self.so_far is not None or in_its_life > self._most:
            self.so_far = int(lead.get("public_today", 0))

    def _start(self, entries: Sequence[Entry]) -> int:
        """Return the count with which their day begins; what comes late belongs to the last one."""
        arrived = max(entry.received_at for entry in entries)
        day = arrived.astimezone(UTC).toordinal()
        return max(day, (self.so_far or 0) // _DAY) * _DAY


def _public(entries: Sequence[Entry]) -> int:
    return sum(entry.trust is Trust.PUBLIC for entry in entries)
