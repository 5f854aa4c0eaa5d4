"""All that is known of a lead, for the person it is about."""

import json
from collections.abc import Iterator
from typing import Any

from leadscoring.lead import Lead
from leadscoring.scoring import ADDRESS, TRAIT
from leadscoring.store import Store


def export(store: Store, lead: Lead) -> dict[str, Any]:
    """Return all that the table holds of the lead and of what became part of it, and no more."""
    return {
        "lead": lead,
        "traits": _traits(store, lead),
        "identities": store.identities.parts(lead.id),
        "interactions": list(store.ledger.entries(lead.id)),
        "changes": [c for home in store.identities.of(lead.id) for c in store.changes(home)],
        "limits": store.ledger.allowances(lead.id),
        "pending": list(_pending(store, lead)),
    }


def _pending(store: Store, lead: Lead) -> Iterator[dict[str, Any]]:
    """Return the messages still to be published, but for the links by which sales decides."""
    for home in store.identities.of(lead.id):
        for text in store.pending_of(home):
            message = json.loads(text)
            message["data"].pop("decide", None)
            yield message


def _traits(store: Store, lead: Lead) -> dict[str, dict[str, Any]]:
    """Return each trait with who told it, and when."""
    told = {}
    for name, (claim, value) in store.claims(lead.id).items():
        if name == ADDRESS or name.startswith(TRAIT):
            told_by, _, at = claim.partition("#")
            told[name.removeprefix(TRAIT)] = {
                "value": json.loads(value),
                "told_by": told_by,
                "at": at,
            }
    return told
