"""Limits: how much of a rule's allowance is left in a window of time, and what that pays."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from leadscoring.decay import Counter
from leadscoring.interaction import Interaction, Trust
from leadscoring.lead import Entry, Payment
from leadscoring.model import Limit, Model, Rule

_WINDOW = {
    "hour": "%Y-%m-%dT%H",
    "day": "%Y-%m-%d",
    "week": "%G-W%V",
    "month": "%Y-%m",
    "ever": "ever",
}


@dataclass(frozen=True, slots=True)
class Allowance:
    """Names one allowance of a lead: a version of a rule, a window of time, a property's value."""

    rule: str
    version: str
    window: str
    by: str = ""

    @classmethod
    def of(cls, rule: Rule, limit: Limit, act: Interaction | Entry) -> Self:
        """Return the allowance that pays the rule for this act.

        The public's acts count when they arrive: a stranger states any time. A server's count when
        they happened, so that a history can be imported.
        """
        at = act.received_at if act.trust is Trust.PUBLIC else act.occurred_at
        by = ""
        if limit.by:
            value = json.dumps(valued(act.properties, limit.by), sort_keys=True)
            by = hashlib.sha256(value.encode()).hexdigest()[:12]
        return cls(rule.name, rule.version, at.astimezone(UTC).strftime(_WINDOW[limit.per]), by)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the allowance that `str` wrote."""
        return cls(*text.split("#"))

    def __str__(self) -> str:
        return "#".join((self.rule, self.version, self.window, self.by)).rstrip("#")

    def is_forgotten(self, now: datetime, retention: timedelta) -> bool:
        """Tell whether nobody can ask for it any more: what arrives is younger than its window."""
        return self.ends_at is not None and self.ends_at + retention < now

    @property
    def ends_at(self) -> datetime | None:
        """The end of the window, or None if it never ends."""
        match self.window.replace("T", "-").split("-"):
            case [year, month, day, hour]:
                start = datetime(int(year), int(month), int(day), int(hour), tzinfo=UTC)
                return start + timedelta(hours=1)
            case [year, month, day]:
                return datetime(int(year), int(month), int(day), tzinfo=UTC) + timedelta(days=1)
            case [year, week] if week.startswith("W"):
                monday = datetime.fromisocalendar(int(year), int(week[1:]), 1)
                return monday.replace(tzinfo=UTC) + timedelta(days=7)
            case [year, month]:
                index = int(year) * 12 + int(month)
                return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)
            case _:
                return None


class Tally:
    """Pays within allowances of which so much is `used` already, and counts what is `taken`."""

    def __init__(self, model: Model, used: Mapping[str, Decimal] | None = None) -> None:
        self._model = model
        self.used = dict(used or {})
        self.taken: dict[str, Decimal] = {}

    def cut(self, entry: Entry) -> Entry:
        """Return the entry, each payment cut to what is left of its allowance."""
        paid = tuple(self._pay(payment, entry.occurred_at) for payment in entry.paid)
        return replace(entry, paid=paid)

    def cut_all(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the entries, cut one after another."""
        return [self.cut(entry) for entry in entries]

    def _pay(self, payment: Payment, at: datetime) -> Payment:
        if payment.allowance is None or payment.is_settled:
            return payment
        limit = self._model.rule[payment.rule].limit
        if limit is None:
            return payment
        left = max(limit.most - self.used.get(payment.allowance, Decimal(0)), Decimal(0))
        wanted = Decimal(1) if limit.times else abs(payment.points)
        use = min(wanted, left)
        if use:
            taken = self.taken.get(payment.allowance, Decimal(0))
            self.taken[payment.allowance] = taken + use
            self.used[payment.allowance] = self.used.get(payment.allowance, Decimal(0)) + use
        if use == wanted:
            return replace(payment, used=use)
        points = use.copy_sign(payment.points) if limit.points and use else Decimal(0)
        counter = Counter.parse(payment.counter)
        units = counter.units(points, at) if counter else 0
        return replace(payment, points=points, units=units, used=use, unlimited=payment.points)


def valued(table: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, or None where there is none."""
    value: Any = table
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
