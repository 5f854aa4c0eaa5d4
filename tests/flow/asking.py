"""What the private API says of a lead, and the table of everything."""

from typing import Any

from infra.local.stack import LocalStack


def lead(stack: LocalStack, **named: str) -> Any:
    """Return the lead of an email, a userId or an anonymousId."""
    answer = stack.request("POST", "/leads/find", named)
    assert answer.status == 200, answer.body
    return answer.json()


def ledger(stack: LocalStack, **named: str) -> Any:
    """Return the lead's interactions, by message id."""
    path = f"/leads/{lead(stack, **named)['id']}/ledger"
    return stack.request("GET", path, query="limit=100").json()["interactions"]


def everything(stack: LocalStack) -> list[dict[str, Any]]:
    """Return all items of the table."""
    return list(stack.items(""))
