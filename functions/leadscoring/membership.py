"""Which lead an identity is a part of, as one container has seen it: mostly without any read.

Whoever writes for an identity writes to the lead that it was last seen in, and that lead refuses
where this is not true any more: it says that it was merged, or counts how often anything was taken
out of it. That count is known before the identity is looked for, so nothing is taken out between
the look and the write; and a merge adds up the counts, so no lead hides behind another.
"""

from leadscoring.identities import Identities
from leadscoring.table import Item, Words

_REMEMBERED = 1_000


class Membership:
    """What one container remembers of the identities that it wrote for."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._part_of: dict[str, str] = {}
        self._partings: dict[str, int] = {}

    def lead_of(self, home: str) -> str:
        """Return the id of the lead that the identity was last seen in, else its own."""
        return self._part_of.get(home, home)

    def conditions(self, home: str, words: Words) -> list[str]:
        """Return on which conditions that lead still is the identity's."""
        conditions = ["attribute_not_exists(merged_into)"]
        if (lead_id := self.lead_of(home)) != home:
            known = self._partings.get(lead_id)
            as_known = f"partings = {words.value(known)}" if known else None
            conditions.append(as_known or "attribute_not_exists(partings)")
            # Its names say more than its key: who was forgotten may have come back without them.
            conditions.append("attribute_exists(identities)")
        return conditions

    def learn(self, home: str, refused: Item) -> bool:
        """Learn from the lead that refused; tell whether the identity was looked for again."""
        lead_id, partings = self.lead_of(home), int(refused.get("partings", 0))
        named = "identities" in refused and partings == self._partings.get(lead_id, 0)
        as_known = lead_id == home or named
        if as_known and "merged_into" not in refused:
            return False
        self._remember(self._partings, lead_id, partings)
        self._remember(self._part_of, home, self._identities.whole_id(home))
        return True

    def _remember[T](self, known: dict[str, T], name: str, value: T) -> None:
        known[name] = value
        while len(known) > _REMEMBERED:
            del known[next(iter(known))]
