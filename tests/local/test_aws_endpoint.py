"""AWS's own clients at the local stack's address: what `mqlambda --local` goes through."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import monotonic, sleep
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
import pytest
import uvicorn
from botocore.config import Config
from moto.dynamodb.models import DynamoDBBackend

from infra.local.engine import SERVICES
from infra.local.server import AWS, Replaying, application
from infra.local.stack import LocalStack, local_stack
from tests.flow.acts import ACTS, send

SIGNED = (
    "AWS4-HMAC-SHA256 Credential=local/20260302/eu-central-1/{}/aws4_request, SignedHeaders=host"
)


@dataclass
class Served:
    """A stack that answers HTTP."""

    stack: LocalStack
    wake: threading.Event
    url: str

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="eu-central-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(proxies={}, retries={"total_max_attempts": 1}),
        )


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    wake = threading.Event()
    with local_stack() as stack, socket.create_server(("127.0.0.1", 0)) as listening:
        application_ = application(stack, Replaying("none"), wake)
        server = uvicorn.Server(uvicorn.Config(application_, log_level="warning", ws="none"))
        thread = threading.Thread(target=partial(server.run, sockets=[listening]))
        thread.start()
        deadline = monotonic() + 30
        while not server.started and monotonic() < deadline:
            sleep(0.01)
        try:
            yield Served(stack, wake, f"http://127.0.0.1:{listening.getsockname()[1]}{AWS}")
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def dynamodb(served: Served) -> Any:
    return served.client("dynamodb")


def row(served: Served, pk: str, **attributes: Any) -> dict[str, Any]:
    item = {"pk": {"S": pk}, "sk": {"S": "RÖW"}, **attributes}
    return {"TableName": served.stack.table_name, "Item": item}


def test_what_a_client_writes_it_reads_again(served: Served, dynamodb: Any) -> None:
    put = row(served, "here", bytes={"B": b"\x00\xff"})
    dynamodb.put_item(**put)
    table = {"TableName": served.stack.table_name}
    key = {"pk": put["Item"]["pk"], "sk": put["Item"]["sk"]}
    queried = dynamodb.query(
        **table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "here"}},
    )
    assert dynamodb.get_item(**table, Key=key)["Item"] == put["Item"]
    assert queried["Items"] == [put["Item"]]
    assert put["Item"] in served.stack.items("RÖW")


def test_a_refused_transaction_says_of_each_action_why_and_changes_nothing(
    served: Served, dynamodb: Any
) -> None:
    taken = row(served, "taken", n={"N": "1"})
    dynamodb.put_item(**taken)
    refusal = {
        "ConditionExpression": "attribute_not_exists(pk)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as refused:
        dynamodb.transact_write_items(
            TransactItems=[{"Put": row(served, "new")}, {"Put": {**taken, **refusal}}]
        )
    first, second = refused.value.response["CancellationReasons"]
    assert first["Code"] == "None"
    assert (second["Code"], second["Item"]) == ("ConditionalCheckFailed", taken["Item"])
    assert "new" not in {item["pk"]["S"] for item in served.stack.items("RÖW")}


def test_callers_at_the_same_time_are_answered_one_after_another(
    served: Served, dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_item, inside, met = DynamoDBBackend.get_item, threading.Semaphore(), []

    def slow(backend: DynamoDBBackend, *asked: Any, **named: Any) -> Any:
        alone = inside.acquire(blocking=False)
        met.append(alone)
        sleep(0.02)
        if alone:
            inside.release()
        return get_item(backend, *asked, **named)

    monkeypatch.setattr(DynamoDBBackend, "get_item", slow)
    keys = {"pk": {"S": "KEYS"}, "sk": {"S": "KEYS"}}
    with ThreadPoolExecutor(8) as threads:
        for _ in range(8):
            threads.submit(dynamodb.get_item, TableName=served.stack.table_name, Key=keys)
    assert met == [True] * 8


def test_the_data_stack_tells_its_table_and_its_topic(served: Served) -> None:
    (stack,) = served.client("cloudformation").describe_stacks(StackName="data")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert outputs["TableName"] == served.stack.table_name
    topics = served.client("sns").list_topics()["Topics"]
    assert [topic["TopicArn"] for topic in topics] == [outputs["TopicArn"]]


def test_a_queue_is_found_and_read_by_its_own_url(served: Served) -> None:
    sqs = served.client("sqs")
    queue = sqs.create_queue(QueueName="mine")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="hello, Jörg")
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert message["Body"] == "hello, Jörg"


def test_what_a_client_wrote_is_in_the_stream_and_somebody_is_told(
    served: Served, dynamodb: Any
) -> None:
    email = "by-hand@example.com"
    send(served.stack, [{**ACTS["demo"], "userId": email, "messageId": "m-1"}])
    (lead,) = served.stack.items("LEAD")
    served.stack.pump()
    assert len(served.stack.promoted()) == 1
    served.wake.clear()

    dynamodb.update_item(
        TableName=served.stack.table_name,
        Key={"pk": lead["pk"], "sk": lead["sk"]},
        UpdateExpression="ADD revision :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )
    assert served.wake.is_set()
    assert served.stack.pending() == 1


@pytest.mark.parametrize("path", ["", "/", "/deeper/than/that"])
@pytest.mark.parametrize(
    ("authorization", "status", "says"),
    [
        ("", 403, "no signed call"),
        ("Basic bG9jYWw6", 403, "no signed call"),
        ("AWS4-HMAC-SHA256 Credential=local", 403, "no signed call"),
        (SIGNED.format("evil.example/"), 403, "no signed call"),
        (SIGNED.format("s3"), 404, f"no s3 here, only {', '.join(SERVICES)}"),
        (SIGNED.format("dynamodb"), 400, "moto raised"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    served: Served, path: str, authorization: str, status: int, says: str
) -> None:
    headers = {
        "authorization": authorization,
        "content-type": "application/x-amz-json-1.0",
        "x-amz-target": "DynamoDB_20120810.GetItem",
    }
    answer, said = post(served.url + path, b"no JSON", headers)
    assert (answer.code, answer.headers["access-control-allow-origin"]) == (status, None)
    assert says in said


def test_a_call_larger_than_any_service_takes_is_refused(served: Served) -> None:
    body = bytes(16 * 1024 * 1024 + 1)
    answer, _ = post(served.url, body, {"authorization": SIGNED.format("dynamodb")})
    assert answer.code == 413


def test_pages_of_other_origins_may_not_ask(served: Served) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer, _ = post(served.url, b"", asked, method="OPTIONS")
    assert (answer.code, answer.headers["access-control-allow-origin"]) == (405, None)


def post(
    url: str, body: bytes, headers: dict[str, str], method: str = "POST"
) -> tuple[HTTPError, str]:
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(url, body, headers, method=method))
    with refused.value as answer:
        return answer, answer.read().decode()
