"""What the sample comes to without any store or stream: by hand, with floats, from the file."""

import tomllib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from infra.local.replay import Message, at
from leadscoring.settings import MODEL_FILE


@dataclass
class Plain:
    """A lead as one would compute it by hand: every act, with floats, from the beginning."""

    email: str | None
    earned: list[tuple[str, float, datetime]] = field(default_factory=list)
    asked_for_a_demo: bool = False

    def score(self, now: datetime, dimensions: dict[str, Any]) -> float:
        total = 0.0
        for name, dimension in dimensions.items():
            days = [
                (points, (now - then).total_seconds() / 86400)
                for of, points, then in self.earned
                if of == name
            ]
            faded = sum(p * 2 ** (-age / dimension["half_life_days"]) for p, age in days)
            total += min(max(faded, 0), dimension["cap"])
        return round(total, 3)


def promotions(messages: list[Message]) -> dict[str, datetime]:
    """Return who is promoted and when, from the file and the model alone."""
    model = tomllib.loads(MODEL_FILE.read_text())
    leads: dict[str, Plain] = {}
    seen: set[tuple[str, str]] = set()
    promoted: dict[str, datetime] = {}
    owners: dict[str, str] = {}
    for message in messages:
        device: str = message.get("anonymousId", "")
        name = message.get("userId") or device
        if (name, message["messageId"]) in seen:
            continue
        seen.add((name, message["messageId"]))
        email = message.get("userId") or owners.get(device)
        lead = leads.setdefault(email or device, Plain(email))
        if email and device and message["type"] == "identify" and device not in owners:
            owners[device] = email
            lead.earned += leads.pop(device, Plain(None)).earned
        did = {"page": "Page Viewed", "identify": "Identified"}.get(message["type"])
        did = did or message["event"]
        for rule in model["rules"]:
            if rule["on"] == did and fits(rule, message.get("properties", {})):
                lead.earned.append((rule["dimension"], rule["points"], at(message)))
        lead.asked_for_a_demo |= did == "Demo Requested"
        enough = lead.score(at(message), model["dimensions"]) >= 100
        if email and (enough or lead.asked_for_a_demo):
            promoted.setdefault(email, at(message))
    return promoted


def fits(rule: dict[str, Any], properties: dict[str, Any]) -> bool:
    wanted = rule.get("when", {}).get("properties", {})
    return all(
        any(
            str(properties.get(name, "")).startswith(word["prefix"])
            if isinstance(word, dict)
            else properties.get(name) == word
            for word in words
        )
        for name, words in wanted.items()
    )
