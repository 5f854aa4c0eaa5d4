"""Both engines are fit to judge us: under threads they keep DynamoDB's word, and mean it alike."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from leadscoring.interaction import Identity, Interaction, Trust
from leadscoring.model import Model
from leadscoring.store import Store
from tests.engine import ministack
from tests.engine.conftest import Engine

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
THREADS, TURNS = 32, 4


def all_at_once[T](task: Callable[[int], T]) -> list[T]:
    """Call the task with the number of each thread, none before all are there."""
    ready = threading.Barrier(THREADS)

    def start(number: int) -> T:
        ready.wait()
        return task(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(start, range(THREADS)))


# Through our own store


def interaction(message_id: str, name: str, trust: Trust = Trust.TRUSTED) -> Interaction:
    return Interaction(
        message_id=message_id,
        identity=Identity.of_email("jane@example.com"),
        name=name,
        occurred_at=NOON,
        received_at=NOON,
        trust=trust,
        fingerprint=message_id,
    )


def test_thirty_two_senders_of_overlapping_interactions_count_each_of_them_once(
    engine: Engine,
) -> None:
    model = Model.load(ROOT / "tests" / "model.toml")
    client = engine.client()

    def send(sender: int) -> None:
        store = Store(client, engine.table_name, budget_seconds=30)
        for turn in range(TURNS):
            sent = [
                interaction(f"mine-{sender}-{turn}", "Webinar Attended"),
                interaction(f"ours-{sender // 2}-{turn}", "Unsubscribed"),
                interaction(f"everybody's-{turn}", "Demo Requested"),
            ]
            # In another order at each sender, so that each finds others among its own repeats.
            shift = sender % 3
            store.ledger.record("a" * 32, sent[shift:] + sent[:shift], model)

    all_at_once(send)

    store = Store(client, engine.table_name, budget_seconds=30)
    entries, lead = list(store.ledger.entries("a" * 32)), store.lead("a" * 32)
    assert lead is not None
    ids = {entry.message_id for entry in entries}
    assert len(entries) == len(ids) == TURNS * (THREADS + THREADS // 2 + 1)
    sums: Counter[str] = Counter()
    for paid in (paid for entry in entries for paid in entry.paid):
        sums[paid.counter] += paid.units
    assert sums
    assert lead.units == sums


# The table's own word


def row(name: str) -> dict[str, Any]:
    return {"pk": {"S": "ENGINES"}, "sk": {"S": name}}


def put_new(engine: Engine, item: dict[str, Any]) -> Any:
    return {
        "Put": {
            "TableName": engine.table_name,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def update(engine: Engine, name: str, expression: str, condition: str = "", **values: Any) -> Any:
    action: dict[str, Any] = {
        "TableName": engine.table_name,
        "Key": row(name),
        "UpdateExpression": expression,
        "ExpressionAttributeValues": {f":{word}": value for word, value in values.items()},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    return {"Update": action | ({"ConditionExpression": condition} if condition else {})}


def write(client: Any, *actions: Any) -> list[Any]:
    """Do all actions or none; return for each why it was refused, or an empty list if none was."""
    try:
        client.transact_write_items(TransactItems=actions)
    except client.exceptions.TransactionCanceledException as error:
        reasons: list[Any] = error.response["CancellationReasons"]
        return reasons
    return []


def read(engine: Engine, client: Any, name: str) -> Any:
    answer = client.get_item(TableName=engine.table_name, Key=row(name), ConsistentRead=True)
    return answer.get("Item")


def test_a_cancelled_transaction_takes_nothing_of_other_writers_with_it(engine: Engine) -> None:
    client = engine.client()

    def add(writer: int) -> None:
        for turn in range(TURNS):
            mine = put_new(engine, row(f"mine-{writer}-{turn}"))
            if writer % 2:
                one = update(engine, "sum", "ADD n :n", n={"N": "1"})
                assert write(client, one, mine) == []
            else:
                many = update(engine, "sum", "ADD n :n", n={"N": "1000"})
                never = update(engine, "absent", "ADD n :n", "n = :n", n={"N": "1"})
                assert write(client, many, mine, never)[2]["Code"] == "ConditionalCheckFailed"

    all_at_once(add)

    assert read(engine, client, "sum")["n"] == {"N": str(TURNS * THREADS // 2)}
    assert read(engine, client, "absent") is None
    written = [
        read(engine, client, f"mine-{writer}-{TURNS - 1}") is not None for writer in range(THREADS)
    ]
    assert written == [False, True] * (THREADS // 2)


def test_of_many_who_claim_one_key_one_wins_and_the_others_are_shown_it(engine: Engine) -> None:
    client = engine.client()

    def claim(writer: int) -> Any:
        mine = {**row("claimed"), "by": {"N": str(writer)}}
        wins = update(engine, "wins", "ADD n :n", n={"N": "1"})
        return write(client, put_new(engine, mine), wins)

    refusals = [reasons for reasons in all_at_once(claim) if reasons]

    winner = read(engine, client, "claimed")
    assert [reasons[0]["Item"] for reasons in refusals] == [winner] * (THREADS - 1)
    assert [reasons[1]["Code"] for reasons in refusals] == ["None"] * (THREADS - 1)
    assert read(engine, client, "wins")["n"] == {"N": "1"}


def test_a_limit_holds_at_every_moment_and_whoever_it_stops_is_told_what_is_used(
    engine: Engine,
) -> None:
    client = engine.client()

    def use(_: int) -> Any:
        condition = "attribute_not_exists(used) OR used <= :rest"
        two, rest = {"N": "2"}, {"N": "8"}
        return write(client, update(engine, "limit", "ADD used :n", condition, n=two, rest=rest))

    refusals = [reasons for reasons in all_at_once(use) if reasons]

    assert read(engine, client, "limit")["used"] == {"N": "10"}
    full = {**row("limit"), "used": {"N": "10"}}
    assert [reasons[0]["Item"] for reasons in refusals] == [full] * (THREADS - 5)


def test_counters_go_below_zero_and_back(engine: Engine) -> None:
    client = engine.client()
    seen = []
    for units in ("-4500000000000000000000", "-1", "4500000000000000000001", "7"):
        assert write(client, update(engine, "counter", "ADD n :n", n={"N": units})) == []
        seen.append(read(engine, client, "counter")["n"]["N"])
    assert seen == ["-4500000000000000000000", "-4500000000000000000001", "0", "7"]


def test_a_condition_can_ask_for_a_whole_list_as_it_was_read(engine: Engine) -> None:
    client = engine.client()
    first = {"M": {"rule": {"S": "demo"}, "points": {"N": "2.5"}, "units": {"N": "-15000000"}}}
    other = {"M": {"rule": {"S": "page"}, "points": {"N": "1"}, "units": {"N": "1000000"}}}
    write(client, put_new(engine, {**row("paid"), "paid": {"L": [first, other]}}))
    was = read(engine, client, "paid")["paid"]

    def pay(old: Any, new: Any) -> list[Any]:
        return write(
            client, update(engine, "paid", "SET paid = :new", "paid = :old", old=old, new=new)
        )

    for wrong in ([other, first], [first], []):
        assert pay({"L": wrong}, {"L": []})[0]["Item"]["paid"] == was
    # A map has no order.
    turned = [{"M": dict(reversed(entry["M"].items()))} for entry in was["L"]]
    assert pay({"L": turned}, {"L": [other]}) == []
    assert pay(was, {"L": []})[0]["Item"]["paid"] == {"L": [other]}


def test_segments_of_a_filtered_scan_share_out_what_it_finds(engine: Engine) -> None:
    client = engine.client()
    for number in range(40):
        lead = {"pk": {"S": f"SCANNED#{number:02d}"}, "sk": {"S": "SCANNED"}}
        client.put_item(
            TableName=engine.table_name, Item={**lead, "n": {"N": str(number)}, "x": {"S": "x"}}
        )

    def scan(segment: int) -> list[Any]:
        pages = client.get_paginator("scan").paginate(
            TableName=engine.table_name,
            FilterExpression="sk = :sk AND n >= :n",
            ProjectionExpression="pk, #n",
            ExpressionAttributeNames={"#n": "n"},
            ExpressionAttributeValues={":sk": {"S": "SCANNED"}, ":n": {"N": "10"}},
            Segment=segment,
            TotalSegments=4,
            PaginationConfig={"PageSize": 7},
        )
        return [item for page in pages for item in page["Items"]]

    found = sorted((item for segment in range(4) for item in scan(segment)), key=str)
    assert found == [
        {"pk": {"S": f"SCANNED#{number}"}, "n": {"N": str(number)}} for number in range(10, 40)
    ]


def test_the_table_is_that_of_the_template_with_sparse_indexes_and_a_stream(
    engine: Engine,
) -> None:
    client = engine.client()
    streams: Any = boto3.client("dynamodbstreams")
    table = client.describe_table(TableName=engine.table_name)["Table"]
    arn = table["LatestStreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    from_now_on = streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="LATEST"
    )["ShardIterator"]

    due = {**row("due"), "due": {"S": "1"}, "due_at": {"S": "2026"}}
    never_due = {**row("never due"), "due_at": {"S": "2026"}}
    assert write(client, put_new(engine, due), put_new(engine, never_due)) == []

    indexes = {index["IndexName"] for index in table["GlobalSecondaryIndexes"]}
    assert indexes == {"by-stage", "pending", "due"}
    found = client.query(
        TableName=engine.table_name,
        IndexName="due",
        KeyConditionExpression="due = :due AND due_at < :now",
        ExpressionAttributeValues={":due": {"S": "1"}, ":now": {"S": "2027"}},
    )
    assert found["Items"] == [due]
    records = streams.get_records(ShardIterator=from_now_on)["Records"]
    streams.close()
    assert [record["dynamodb"]["NewImage"] for record in records] == [due, never_due]


# ministack's process


def test_a_ministack_that_cannot_start_tells_in_its_own_words_why(
    ministack_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = urlsplit(ministack_url).port
    monkeypatch.setattr(ministack, "_free_port", lambda: port)
    in_use = f"127.0.0.1:{port} is already in use"
    with pytest.raises(RuntimeError, match=in_use), ministack.ministack():
        pass


def test_ministack_ends_with_whoever_started_it_even_by_a_kill(
    ministack_url: str, tmp_path: Path
) -> None:
    program = (
        "from tests.engine.ministack import ministack\n"
        "with ministack() as url: print(url, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as starter:
        assert starter.stdout
        port = urlsplit(starter.stdout.readline().strip().decode()).port
        assert port
        assert listens(port)
        starter.kill()

    patience = time.monotonic() + 10
    while listens(port):
        assert time.monotonic() < patience
        time.sleep(0.01)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True
