"""What a crowd's messages come to: from the messages and the model's file alone.

Plain Python, nothing of ours but the words: no ledger, no counters, no limits that anybody holds.
"""

import tomllib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

from leadscoring.interaction import Trust
from tests.trust.crowd import END, Message

MODEL = Path(__file__).with_name("model.toml")

_NAMES = {"page": "Page Viewed", "identify": "Identified"}


@dataclass
class Lead:
    """All that one person is worth in the end, and what stands in the ledgers of its names."""

    email: str | None
    units: Counter[str] = field(default_factory=Counter)
    entries: set[tuple[str, Trust, str]] = field(default_factory=set)
    points: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    complaints: float = 0


class Truth:
    """What must be true in the end, whoever sent what how often, and in which order."""

    def __init__(self, messages: Sequence[Message]) -> None:
        model = tomllib.loads(MODEL.read_text(encoding="utf-8"))
        self._rules = model["rules"]
        self._dimensions = model["dimensions"]
        self._bar: float
        (self._bar,) = (s["enter"]["score"] for s in model["stages"] if s["name"] == "mql")
        self.owners = {
            message.document["anonymousId"]: message.document["userId"]
            for message in messages
            if message.document["type"] == "identify"
        }
        self.leads: dict[str, Lead] = {}
        self._used: Counter[tuple[str, ...]] = Counter()
        for message in messages:
            self._take(message)

    @property
    def promoted(self) -> set[str]:
        """Those whose worth is above the bar in the end: so it was, once, for all to see."""
        return {
            name
            for name, lead in self.leads.items()
            if lead.email and self.worth(lead) >= self._bar
        }

    @property
    def undecided(self) -> set[str]:
        """Those who were above the bar only if all complaints came last: nobody can say."""
        return {
            name
            for name, lead in self.leads.items()
            if lead.email and self.worth(lead) < self._bar <= self.worth(lead) + lead.complaints
        }

    def worth(self, lead: Lead) -> float:
        """Return the lead's score at the end."""
        caps = {name: float(dimension["cap"]) for name, dimension in self._dimensions.items()}
        return round(sum(min(max(lead.points[name], 0), cap) for name, cap in caps.items()), 3)

    def _take(self, message: Message) -> None:
        said = message.document
        home = said.get("userId") or said["anonymousId"]
        name = self.owners.get(home, home)
        lead = self.leads.setdefault(name, Lead(name if "@" in name else None))
        lead.entries.add((home, message.trust, said["messageId"]))
        at = datetime.fromisoformat(said["timestamp"])
        for rule in self._rules:
            if rule["on"] != _NAMES.get(said["type"], said.get("event")):
                continue
            if rule.get("trusted") and message.trust is not Trust.TRUSTED:
                continue
            if not self._is_left(rule, home, at, said):
                continue
            self._earn(lead, rule, at)

    def _is_left(self, rule: dict[str, Any], home: str, at: datetime, said: dict[str, Any]) -> bool:
        if not (limit := rule.get("limit")):
            return True
        window = at.date().isoformat() if limit["per"] == "day" else ""
        by = said["properties"][limit["by"]] if "by" in limit else ""
        allowance = home, rule["name"], window, by
        self._used[allowance] += 1
        return self._used[allowance] <= int(limit["times"])

    def _earn(self, lead: Lead, rule: dict[str, Any], at: datetime) -> None:
        dimension, points = rule["dimension"], rule["points"]
        half_life = self._dimensions[dimension].get("half_life_days")
        counter, growth = f"points:{dimension}", Decimal(1)
        if half_life:
            counter += f":{half_life}d:{at.year}"
            growth = _growth(half_life, at)
            lead.points[dimension] += points * float(growth / _growth(half_life, END))
        else:
            lead.points[dimension] += points
        lead.units[counter] += round(points * growth * 10**6)
        lead.complaints -= min(points, 0)


def _growth(half_life_days: int, at: datetime) -> Decimal:
    days = Decimal(int((at - datetime(at.year, 1, 1, tzinfo=UTC)).total_seconds())) / 86400
    with localcontext(prec=50):
        return Decimal(2) ** (days / half_life_days)
