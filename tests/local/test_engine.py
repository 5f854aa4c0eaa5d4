"""moto under threads: nothing is lost, counted twice, or left behind by what was cancelled."""

import importlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.local import engine, gateway
from infra.local.engine import clock_at
from infra.local.gateway import Request
from infra.local.stack import BROWSER, PUBLIC_KEY, Function, LocalStack, local_stack
from tests.flow.acts import ACTS, counters, ledger_sums

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CALLERS, TURNS = 16, 6


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with local_stack() as shared:
        yield shared


def containers(name: str) -> Iterator[Function]:
    """Start a container for each caller, as Lambda does when all call at once."""
    for _ in range(CALLERS):
        sys.modules.pop(name, None)
        yield Function(importlib.import_module(name))


def test_sixteen_containers_at_one_lead_count_each_interaction_once(stack: LocalStack) -> None:
    email = "busy@example.com"

    def send(container: Function, caller: int) -> set[int]:
        statuses = set()
        for turn in range(TURNS):
            sent = {
                f"mine-{caller}-{turn}": ACTS["pricing"],
                f"ours-{caller // 2}-{turn}": ACTS["webinar"],
                f"everybody's-{turn}": ACTS["demo"],
            }
            batch = [{**act, "userId": email, "messageId": id_} for id_, act in sent.items()]
            body = json.dumps({"writeKey": PUBLIC_KEY, "batch": batch}).encode()
            request = Request("POST", "/v1/batch", "", {"user-agent": BROWSER}, body, NOON)
            answer = gateway.answer(request, stack.template.routes, lambda _, e: container(e))
            statuses.add(answer.status)
        return statuses

    with ThreadPoolExecutor(CALLERS) as threads:
        answers = list(threads.map(send, containers("collect"), range(CALLERS)))
        stack.pump()
    stack.pump()

    assert answers == [{200}] * CALLERS
    counted = counters(stack, email)
    assert counted == ledger_sums(stack, email)
    assert [counted[f"seen:{rule}"] for rule in ("pricing-page", "webinar-attended")] == [96, 48]
    assert counted["interactions"] == stack.metrics["Interactions"] == 96 + 48 + 6
    assert stack.metrics["Duplicates"] == 3 * CALLERS * TURNS - 150
    assert len(stack.promoted()) == 1


def test_a_cancelled_transaction_leaves_every_row_and_the_stream_as_they_were(
    stack: LocalStack,
) -> None:
    def row(name: str) -> Any:
        return {"TableName": stack.table_name, "Key": {"pk": {"S": name}, "sk": {"S": "ROW"}}}

    def add(name: str) -> Any:
        values = {":one": {"N": "1"}}
        return {**row(name), "UpdateExpression": "ADD n :one", "ExpressionAttributeValues": values}

    for name in ("touched", "untouched"):
        stack.dynamodb.update_item(**add(name))
    stack.stream.read()
    before = stack.items("")

    actions: list[Any] = [
        {"Put": {"TableName": stack.table_name, "Item": row("new")["Key"]}},
        {"Update": add("touched")},
        {"Update": add("another")},
        {"ConditionCheck": {**row("absent"), "ConditionExpression": "attribute_exists(pk)"}},
    ]
    with pytest.raises(stack.dynamodb.exceptions.TransactionCanceledException):
        stack.dynamodb.transact_write_items(TransactItems=actions)

    assert stack.items("") == before
    assert stack.stream.unread() == []
    stack.dynamodb.update_item(**add("touched"))
    (record,) = stack.stream.read()
    assert record["dynamodb"]["NewImage"]["n"] == {"N": "2"}


def test_a_function_tells_its_own_metrics_and_no_other_functions(stack: LocalStack) -> None:
    stack.functions["collect"].module.metrics.add_metric("Unfinished", "Count", 1)
    stack.invoke("sweep", {"time": NOON.isoformat()})
    assert "Unfinished" not in stack.metrics


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let threads take turns after a few steps, so that they meet where they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
def test_a_reader_never_sees_half_a_transaction(stack: LocalStack) -> None:
    def write_pairs(writer: int) -> None:
        for number in range(30):
            keys = [
                {"pk": {"S": f"{side}{writer}"}, "sk": {"S": f"PAIR#{number}"}} for side in "LR"
            ]
            puts: list[Any] = [{"Put": {"TableName": stack.table_name, "Item": k}} for k in keys]
            stack.dynamodb.transact_write_items(TransactItems=puts)

    with ThreadPoolExecutor(4) as threads:
        writing = [threads.submit(write_pairs, writer) for writer in range(4)]
        while not all(task.done() for task in writing):
            sides = [row["pk"]["S"][0] for row in stack.items("PAIR#")]
            assert sides.count("L") == sides.count("R")
    for task in writing:
        task.result()


def test_the_clock_is_the_threads_own_and_dates_the_stream(stack: LocalStack) -> None:
    stack.stream.read()
    with clock_at(NOON), ThreadPoolExecutor(1) as other:
        assert engine.now() == NOON
        assert other.submit(engine.now).result() != NOON
        stack.request("POST", "/v1/identify", {"writeKey": PUBLIC_KEY, "userId": "u-1"})

    assert engine.now() != NOON
    dates = {r["dynamodb"]["ApproximateCreationDateTime"] for r in stack.stream.read()}
    assert dates == {int(NOON.timestamp())}
