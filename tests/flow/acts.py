"""What leads do in the tests, and what the table then says of them."""

from collections import Counter
from decimal import Decimal
from typing import Any

from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack

type Message = dict[str, Any]

ACTS: dict[str, Message] = {
    "page": {"type": "page", "properties": {"path": "/"}},
    "product": {"type": "page", "properties": {"path": "/product/planning"}},
    "pricing": {"type": "page", "properties": {"path": "/pricing"}},
    "whitepaper": {
        "type": "track",
        "event": "Content Downloaded",
        "properties": {"kind": "whitepaper"},
    },
    "e-book": {"type": "track", "event": "Content Downloaded", "properties": {"kind": "e-book"}},
    "newsletter": {"type": "track", "event": "Newsletter Subscribed"},
    "webinar": {"type": "track", "event": "Webinar Attended", "properties": {"minutes": 45}},
    "click": {"type": "track", "event": "Email Link Clicked"},
    "form": {"type": "track", "event": "Form Submitted"},
    "demo": {"type": "track", "event": "Demo Requested"},
    "unsubscribed": {"type": "track", "event": "Unsubscribed"},
}


def send(stack: LocalStack, messages: list[Message], *, secret: bool = False) -> None:
    """Send the messages, one as a call of its own and several as a batch."""
    key = SECRET_KEY if secret else PUBLIC_KEY
    if len(messages) == 1:
        call, body = messages[0]["type"], messages[0]
    else:
        call, body = "batch", {"batch": messages}
    answer = stack.request("POST", f"/v1/{call}", {"writeKey": key, **body})
    assert answer.status == 200, answer.body
    assert not answer.json().get("rejected"), answer.body


def lead_item(stack: LocalStack, email: str) -> dict[str, Any]:
    """Return the lead's item in DynamoDB's JSON."""
    (found,) = [item for item in stack.items("LEAD") if item.get("email", {}).get("S") == email]
    return found


def counters(stack: LocalStack, email: str) -> dict[str, int]:
    """Return all that is added up on the lead: units by counter, and how often a rule matched."""
    return {
        name: int(value["N"])
        for name, value in lead_item(stack, email).items()
        if name.startswith(("points:", "seen:")) or name == "interactions"
    }


def ledger_sums(stack: LocalStack, email: str) -> dict[str, int]:
    """Return the same, added up again from the units that stand in the lead's ledger."""
    sums: Counter[str] = Counter()
    pk = lead_item(stack, email)["pk"]
    for entry in stack.items("INTERACTION#"):
        if entry["pk"] == pk:
            sums["interactions"] += 1
            for paid in entry["paid"]["L"]:
                sums[f"seen:{paid['M']['rule']['S']}"] += 1
                sums[paid["M"]["counter"]["S"]] += int(paid["M"]["units"]["N"])
    return {name: total for name, total in sums.items() if total}


def allowances(stack: LocalStack, email: str) -> dict[str, Decimal]:
    """Return how much the lead has used of each allowance, by the table's own count."""
    pk = lead_item(stack, email)["pk"]
    return {
        item["sk"]["S"].removeprefix("LIMIT#"): Decimal(item["used"]["N"])
        for item in stack.items("LIMIT#")
        if item["pk"] == pk
    }


def ledger_uses(stack: LocalStack, email: str) -> dict[str, Decimal]:
    """Return the same, added up again from what payments in the lead's ledger used."""
    uses: dict[str, Decimal] = {}
    pk = lead_item(stack, email)["pk"]
    for entry in stack.items("INTERACTION#"):
        for paid in entry["paid"]["L"] if entry["pk"] == pk else ():
            if "used" in paid["M"]:
                name = paid["M"]["allowance"]["S"]
                uses[name] = uses.get(name, Decimal(0)) + Decimal(paid["M"]["used"]["N"])
    return uses
