"""Each fault is what it says: to the caller, to botocore's retries, and to the table."""

from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from leadscoring.settings import AWS_CLIENT
from tests.engine.conftest import Engine
from tests.trust.faults import Died, Fault, Faults, over_http, seeded, to_moto


class Row:
    """One number in the table, and a client that something happens to."""

    def __init__(self, engine: Engine, script: Iterator[Fault | None], attempts: int) -> None:
        config = Config(**{**AWS_CLIENT, "retries": {"total_max_attempts": attempts}})
        self.faults = Faults(script, to_moto if engine.name == "moto" else over_http(), later=2)
        self.client = boto3.client("dynamodb", config=config)
        self.faults.attach(self.client)
        self._engine = engine
        self._calm = engine.client()
        self._key = {"pk": {"S": "FAULTS"}, "sk": {"S": "N"}}
        self._calm.delete_item(TableName=engine.table_name, Key=self._key)

    def add(self) -> None:
        self.client.update_item(**self._addition())

    def add_in_a_transaction(self) -> None:
        self.client.transact_write_items(TransactItems=[{"Update": self._addition()}])

    def _addition(self) -> Any:
        return {
            "TableName": self._engine.table_name,
            "Key": self._key,
            "UpdateExpression": "ADD n :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }

    def sum(self) -> int:
        answer = self._calm.get_item(
            TableName=self._engine.table_name, Key=self._key, ConsistentRead=True
        )
        return int(answer.get("Item", {}).get("n", {"N": "0"})["N"])


CALLS = [
    # what happens, whether the caller hears of it, and how often one addition is done then
    (Fault.REQUEST_LOST, "EndpointConnectionError", 0),
    (Fault.ANSWER_LOST, "ReadTimeoutError", 1),
    (Fault.TWICE, "", 2),
    (Fault.AGAIN_LATER, "", 2),
    (Fault.ERROR_AFTER_COMMIT, "InternalServerError", 1),
    (Fault.THROTTLED, "ProvisionedThroughputExceededException", 0),
    (Fault.DIES_BEFORE, "Died", 0),
    (Fault.DIES_AFTER, "Died", 1),
    (None, "", 1),
]


def heard(call: Any) -> str:
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except (Exception, Died) as error:  # noqa: BLE001 (its name is looked at)
        return type(error).__name__
    return ""


@pytest.mark.parametrize(("fault", "error", "done"), CALLS)
def test_a_plain_addition_is_done_so_often(
    engine: Engine, fault: Fault | None, error: str, done: int
) -> None:
    row = Row(engine, iter([fault]), attempts=1)
    assert heard(row.add) == error
    row.faults.stop()
    assert row.sum() == done
    assert row.faults.happened == ({fault: 1} if fault else {})


@pytest.mark.parametrize("fault", [Fault.CONFLICT, Fault.IN_PROGRESS])
def test_a_transaction_that_meets_another_does_nothing(engine: Engine, fault: Fault) -> None:
    row = Row(engine, iter([fault, fault]), attempts=1)
    with pytest.raises(ClientError) as error:
        row.add_in_a_transaction()
    if fault is Fault.CONFLICT:
        (reason,) = error.value.response["CancellationReasons"]
        assert reason["Code"] == "TransactionConflict"
    row.add()
    assert row.sum() == row.faults.happened[fault] == 1


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.ERROR_AFTER_COMMIT])
def test_botocore_repeats_what_was_done_already(engine: Engine, fault: Fault) -> None:
    row = Row(engine, iter([fault]), attempts=2)
    row.add()
    assert row.sum() == 2
    assert row.faults.attempts == 2


def test_what_comes_later_comes_between_other_calls(engine: Engine) -> None:
    row = Row(engine, iter([Fault.AGAIN_LATER]), attempts=1)
    sums = []
    for _ in range(3):
        row.add()
        sums.append(row.sum())
    assert sums == [1, 2, 4]


def test_every_lost_answer_is_a_timeout_however_often_it_is_asked(engine: Engine) -> None:
    row = Row(engine, chain([None], repeat(Fault.ANSWER_LOST, 2)), attempts=2)
    row.add()
    with pytest.raises(ReadTimeoutError):
        row.add()
    assert row.sum() == 3


def test_the_same_seed_writes_the_same_script() -> None:
    odds = {Fault.TWICE: 0.2, Fault.THROTTLED: 0.1}
    first, again = seeded(7, odds), seeded(7, odds)
    happens = [next(first) for _ in range(1000)]
    assert happens == [next(again) for _ in range(1000)]
    assert 150 < happens.count(Fault.TWICE) < 250
    assert happens != [next(seeded(8, odds)) for _ in range(1000)]
