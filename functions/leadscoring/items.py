"""What stands in the table's items: words of the domain in, words out. Only the store uses it."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from leadscoring.decay import Counter
from leadscoring.interaction import Interaction, Trust, from_text, to_text
from leadscoring.lead import Change, Entry, Lead, Payment
from leadscoring.model import Model

type Item = dict[str, Any]
type Claims = Mapping[str, tuple[str, str]]
"""Of each trait, how far and since when it is believed, and its value as JSON."""


def numbered(kind: str, number: int) -> str:
    """Return the sort key of a lead's `number`-th change, or of its place in the outbox."""
    return f"{kind}#{number:06d}"


def entry_item(lead_id: str, entry: Entry) -> Item:
    """Return the ledger item of an entry."""
    return {
        "pk": f"LEAD#{lead_id}",
        "sk": f"INTERACTION#{entry.trust}#{entry.message_id}",
        "name": entry.name,
        "occurred_at": to_text(entry.occurred_at),
        "received_at": to_text(entry.received_at),
        "fingerprint": entry.fingerprint,
        "model": entry.model,
        "paid": [dataclasses.asdict(payment) for payment in entry.paid],
        "properties": json.dumps(entry.properties),
    }


def entry(item: Item) -> Entry:
    """Return the entry that a ledger item holds."""
    _, trust, message_id = item["sk"].split("#", 2)
    return Entry(
        message_id=message_id,
        trust=Trust(trust),
        name=item["name"],
        occurred_at=from_text(item["occurred_at"]),
        received_at=from_text(item["received_at"]),
        fingerprint=item["fingerprint"],
        model=int(item["model"]),
        paid=tuple(
            Payment(paid["rule"], paid["points"], paid["counter"], int(paid["units"]))
            for paid in item["paid"]
        ),
        properties=json.loads(item["properties"]),
    )


def change_item(change: Change) -> Item:
    """Return the ledger item of a change that is not published yet."""
    return {
        "pk": f"LEAD#{change.lead_id}",
        "sk": numbered("CHANGE", change.number),
        "cycle": change.cycle,
        "from": change.from_stage,
        "to": change.to_stage,
        "why": change.why,
        "who": change.who,
        "at": to_text(change.at),
    }


def change(item: Item) -> Change:
    """Return the change that a ledger item holds."""
    return Change(
        lead_id=item["pk"].removeprefix("LEAD#"),
        number=int(item["sk"].removeprefix("CHANGE#")),
        cycle=int(item["cycle"]),
        from_stage=item["from"],
        to_stage=item["to"],
        why=item["why"],
        who=item["who"],
        at=from_text(item["at"]),
        published_at=_instant(item.get("published_at")),
        published_as=item.get("published_as"),
    )


def lead(item: Item) -> Lead:
    """Return the lead that an item shows, even one that has nothing but its keys."""
    return Lead(
        id=item["pk"].removeprefix("LEAD#"),
        stage=item.get("stage"),
        cycle=int(item.get("cycle", 1)),
        revision=int(item.get("revision", 0)),
        changes=int(item.get("changes", 0)),
        interactions=int(item.get("interactions", 0)),
        email=item.get("email"),
        updated_at=_instant(item.get("updated_at")),
        units={name: int(value) for name, value in item.items() if Counter.parse(name)},
        seen={name: int(value) for name, value in _under("seen:", item)},
        traits={name: json.loads(trait["value"]) for name, trait in _under("trait:", item)},
    )


def _under(prefix: str, item: Item) -> Iterator[tuple[str, Any]]:
    return (
        (name.removeprefix(prefix), value)
        for name, value in item.items()
        if name.startswith(prefix)
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else from_text(text)


def claims(interactions: Sequence[Interaction], model: Model) -> Claims:
    """Return for each trait the strongest claim: a server's before the public's, then the latest.

    "public" sorts before "trusted", so one comparison of texts decides both, in any order.
    """
    claims: dict[str, tuple[str, str]] = {}
    for interaction in interactions:
        claim = f"{interaction.trust}#{to_text(interaction.occurred_at)}"
        for name in interaction.traits.keys() & model.traits:
            ours = (claim, json.dumps(interaction.traits[name]))
            claims[name] = max(ours, claims.get(name, ours))
    return claims


def unbeaten(claims: Claims, item: Item) -> Claims:
    """Return the claims that are stronger than what the lead item holds."""
    held = {name: item.get(f"trait:{name}", {"claim": "", "value": ""}) for name in claims}
    return {
        name: ours
        for name, ours in claims.items()
        if ours > (held[name]["claim"], held[name]["value"])
    }
