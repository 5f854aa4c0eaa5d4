"""What a busy table answers: tried again within the budget, and told to the sender past it."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from infra.local.stack import LocalStack
from tests.flow.acts import counters, ledger_sums

JANE = "jane@example.com"
DEMO = {
    "writeKey": "local-public",
    "userId": JANE,
    "messageId": "m-1",
    "event": "Demo Requested",
}


def cancelled(*codes: str) -> ClientError:
    response: Any = {
        "Error": {"Code": "TransactionCanceledException", "Message": ""},
        "CancellationReasons": [{"Code": code} for code in codes],
    }
    return ClientError(response, "TransactWriteItems")


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "TransactWriteItems")


PASSING = [
    cancelled("None", "TransactionConflict"),
    cancelled("ThrottlingError", "None"),
    refused("TransactionInProgressException"),
    refused("ThrottlingException"),
    EndpointConnectionError(endpoint_url="https://dynamodb"),
    ReadTimeoutError(endpoint_url="https://dynamodb"),
]


def disturb(stack: LocalStack, answers: Callable[[int], Exception | None]) -> list[float]:
    """Let collect's writes fail as told by their number; return the waits that this brings."""
    table = stack.functions["collect"].module.store._table
    write = table._dynamodb.transact_write_items
    tries: list[int] = []
    waits: list[float] = []

    def disturbed(**request: Any) -> Any:
        tries.append(1)
        if error := answers(len(tries) - 1):
            raise error
        return write(**request)

    table._dynamodb.transact_write_items = disturbed
    table._sleep = waits.append
    return waits


def test_a_write_that_meets_another_is_tried_again_until_it_is_counted_once(
    stack: LocalStack,
) -> None:
    waits = disturb(stack, lambda number: PASSING[number] if number < len(PASSING) else None)

    assert stack.request("POST", "/v1/track", DEMO).status == 200
    assert len(waits) == len(PASSING)
    assert counters(stack, JANE)["interactions"] == 1
    assert counters(stack, JANE) == ledger_sums(stack, JANE)


def test_past_the_budget_the_sender_is_told_to_come_again_and_loses_nothing(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = stack.functions["collect"].module.store._table
    write = table._dynamodb.transact_write_items
    monkeypatch.setattr(table, "_budget_seconds", 0.2)
    disturb(stack, lambda _: cancelled("None", "TransactionConflict"))

    answer = stack.request("POST", "/v1/track", DEMO)

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "busy"
    assert stack.items("INTERACTION#") == []
    table._dynamodb.transact_write_items = write
    assert stack.request("POST", "/v1/track", DEMO).status == 200
    assert counters(stack, JANE)["interactions"] == 1


def test_an_error_that_no_repeating_mends_is_not_repeated(stack: LocalStack) -> None:
    waits = disturb(stack, lambda _: refused("AccessDeniedException"))

    assert stack.request("POST", "/v1/track", DEMO).status == 500
    assert waits == []
