"""The event source mappings: what comes, in which batches, and what follows a failure."""

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import boto3
import pytest

from infra.local.engine import clock_at, engine
from infra.local.mapping import EventSourceMapping, QueueMapping, Record, Stream
from infra.local.stack import LocalStack
from infra.local.template import QueueTrigger, StreamTrigger, Template

ANY = '{"eventName": ["INSERT"]}'


def record(number: int, sk: str = "LEAD", event_name: str = "INSERT") -> Record:
    keys = {"pk": {"S": "LEAD#0f"}, "sk": {"S": sk}}
    return {"eventName": event_name, "dynamodb": {"Keys": keys, "SequenceNumber": str(number)}}


def numbers(records: Sequence[Record]) -> list[int]:
    return [int(record["dynamodb"]["SequenceNumber"]) for record in records]


class Function:
    """Notes the numbers of each batch, and answers as it is told."""

    def __init__(self, answer: Callable[[list[int]], Any] = lambda _: None) -> None:
        self.batches: list[list[int]] = []
        self.answer = answer

    def __call__(self, event: dict[str, Any]) -> Any:
        batch = numbers(event["Records"])
        self.batches.append(batch)
        return self.answer(batch)


def mapping(
    function: Function,
    *,
    size: int = 100,
    retries: int = 2,
    bisect: bool = False,
    reports: bool = True,
) -> EventSourceMapping:
    trigger = StreamTrigger("promote", (ANY,), size, retries, bisect, reports)
    return EventSourceMapping(trigger, function)


def failures(*failed: object) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}


RECORDS = [record(number) for number in range(1, 9)]


@pytest.mark.parametrize(
    ("function", "event_name", "sk", "wanted"),
    [
        ("promote", "INSERT", "LEAD", True),
        ("promote", "MODIFY", "LEAD", True),
        ("promote", "REMOVE", "LEAD", False),
        ("promote", "INSERT", "LEADING", False),
        ("promote", "INSERT", "INTERACTION#public#m-1", False),
        ("promote", "INSERT", "OUTBOX#000001", False),
        ("relay", "INSERT", "OUTBOX#000001", True),
        ("relay", "MODIFY", "OUTBOX#000001", False),
        ("relay", "REMOVE", "OUTBOX#000001", False),
        ("relay", "INSERT", "CHANGE#000001", False),
        ("relay", "INSERT", "LEAD", False),
    ],
)
def test_the_filters_of_the_template_let_through_what_the_function_is_for(
    *, function: str, event_name: str, sk: str, wanted: bool
) -> None:
    called = Function()
    (trigger,) = [t for t in Template.load().streams if t.function == function]

    EventSourceMapping(trigger, called).deliver([record(1, sk, event_name)])

    assert called.batches == ([[1]] if wanted else [])


def test_a_batch_has_at_most_its_size_and_only_records_that_pass() -> None:
    function = Function()
    deleted = record(99, event_name="REMOVE")
    mapping(function, size=3).deliver([*RECORDS[:2], deleted, *RECORDS[2:]])
    assert function.batches == [[1, 2, 3], [4, 5, 6], [7, 8]]


@pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": None}, failures()])
def test_an_answer_without_failures_is_success(answer: Any) -> None:
    function = Function(lambda _: answer)
    mapping(function).deliver(RECORDS)
    assert function.batches == [[1, 2, 3, 4, 5, 6, 7, 8]]


@pytest.mark.parametrize(
    "answer",
    [failures(""), failures(None), failures("99"), {"batchItemFailures": [{"id": "8"}]}, "done"],
)
def test_an_answer_that_names_no_record_of_the_batch_fails_all_of_it(answer: Any) -> None:
    function = Function(lambda _: answer)
    tried = mapping(function, retries=1)
    tried.deliver(RECORDS[:2])
    assert function.batches == [[1, 2], [1, 2]]
    assert numbers(tried.on_failure) == [1, 2]


@pytest.mark.parametrize("bisect", [False, True])
def test_a_partial_failure_goes_on_from_the_lowest_number_reported(*, bisect: bool) -> None:
    answers = iter([failures("7", "4", "6"), failures("6"), None])
    function = Function(lambda _: next(answers))
    tried = mapping(function, bisect=bisect)

    tried.deliver(RECORDS)

    assert function.batches == [[1, 2, 3, 4, 5, 6, 7, 8], [4, 5, 6, 7, 8], [6, 7, 8]]
    assert tried.on_failure == []


def test_a_failure_of_the_first_record_brings_the_whole_batch_again() -> None:
    answers = iter([failures("1"), None])
    function = Function(lambda _: next(answers))
    mapping(function, bisect=True).deliver(RECORDS[:3])
    assert function.batches == [[1, 2, 3], [1, 2, 3]]


def poisoned(batch: list[int]) -> None:
    if 6 in batch:
        raise ValueError("poison")


def test_a_batch_that_raises_comes_again_as_a_whole_until_its_retries_are_over() -> None:
    function = Function(poisoned)
    tried = mapping(function, size=4, retries=2)

    tried.deliver(RECORDS)

    assert function.batches == [[1, 2, 3, 4], *[[5, 6, 7, 8]] * 3]
    assert numbers(tried.on_failure) == [5, 6, 7, 8]


def test_bisecting_leaves_only_the_poison_behind_and_a_split_uses_up_no_retry() -> None:
    function = Function(poisoned)
    tried = mapping(function, retries=1, bisect=True)

    tried.deliver(RECORDS)

    assert numbers(tried.on_failure) == [6]
    assert [b for b in function.batches if 6 not in b] == [[1, 2, 3, 4], [5], [7, 8]]
    assert [b for b in function.batches if 6 in b][1:] == [[5, 6, 7, 8], [5, 6], [6], [6]]


def test_a_report_comes_before_bisecting_so_what_is_behind_the_poison_goes_with_it() -> None:
    function = Function(lambda batch: failures("6") if 6 in batch else None)
    tried = mapping(function, retries=3, bisect=True)

    tried.deliver(RECORDS)

    assert function.batches == [[1, 2, 3, 4, 5, 6, 7, 8], *[[6, 7, 8]] * 3]
    assert numbers(tried.on_failure) == [6, 7, 8]


def test_a_report_that_nobody_asked_for_is_not_read() -> None:
    function = Function(lambda _: failures("6"))
    tried = mapping(function, reports=False)
    tried.deliver(RECORDS)
    assert function.batches == [[1, 2, 3, 4, 5, 6, 7, 8]]
    assert tried.on_failure == []


def test_both_mappings_of_the_template_ask_for_reports_and_bisect_and_give_up() -> None:
    streams = Template.load().streams
    assert {trigger.function for trigger in streams} == {"promote", "relay"}
    assert all(trigger.reports and trigger.bisect and trigger.retries > 0 for trigger in streams)


def test_what_waits_behind_a_batch_comes_when_that_is_done_or_given_up_and_in_order() -> None:
    function = Function(lambda batch: failures("3") if 3 in batch else None)
    mapping(function, size=2, retries=2).deliver(RECORDS[:6])
    assert function.batches == [[1, 2], [3, 4], [3, 4], [3, 4], [5, 6]]


def test_a_stream_loses_what_is_older_than_a_day_and_nothing_else(stack: LocalStack) -> None:
    stream = Stream(stack.table_name)
    stream.read()
    for hours, name in ((0, "a"), (0, "b"), (1, "c")):
        with clock_at(NOON + timedelta(hours=hours)):
            item = {"pk": {"S": f"LEAD#{name}"}, "sk": {"S": "LEAD"}}
            stack.dynamodb.put_item(TableName=stack.table_name, Item=item)

    assert stream.trim(NOON + timedelta(hours=24)) == 0
    assert stream.trim(NOON + timedelta(hours=24, seconds=1)) == 2

    (left,) = stream.read()
    assert left["dynamodb"]["Keys"]["pk"] == {"S": "LEAD#c"}
    assert stream.trim(NOON + timedelta(days=9)) == 0


def test_what_failed_for_good_does_not_hold_up_what_comes_after() -> None:
    function = Function(lambda batch: failures("2") if 2 in batch else None)
    tried = mapping(function, size=2, retries=1)

    tried.deliver(RECORDS[:4])

    assert function.batches == [[1, 2], [2], [3, 4]]
    assert numbers(tried.on_failure) == [2]


NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Queue:
    """A queue with some messages, and the function that its mapping calls."""

    def __init__(self, bodies: str, size: int, answer: Callable[[list[str]], Any]) -> None:
        sqs = boto3.client("sqs")
        url = sqs.create_queue(QueueName="q", Attributes={"VisibilityTimeout": "180"})["QueueUrl"]
        for body in bodies:
            sqs.send_message(QueueUrl=url, MessageBody=body)
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arn = attributes["Attributes"]["QueueArn"]
        self.mapping = QueueMapping(QueueTrigger("retry", size), sqs, url, arn, self._call)
        self.batches: list[str] = []
        self._answer = answer

    def _call(self, event: dict[str, Any]) -> Any:
        self.batches.append("".join(record["body"] for record in event["Records"]))
        return self._answer([record["messageId"] for record in event["Records"]])

    def deliver(self, minutes: int) -> list[str]:
        """Deliver so long after noon; return the batches that the function was called with."""
        self.batches = []
        with clock_at(NOON + timedelta(minutes=minutes)):
            self.mapping.deliver()
        return self.batches


@pytest.fixture
def queue() -> Iterator[Callable[..., Queue]]:
    def made(
        bodies: str, size: int = 10, answer: Callable[[list[str]], Any] = lambda _: None
    ) -> Queue:
        with clock_at(NOON):
            return Queue(bodies, size, answer)

    region = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "local"}
    with patch.dict(os.environ, {**region, "AWS_SECRET_ACCESS_KEY": "local"}), engine():
        yield made


def test_a_queue_is_emptied_batch_by_batch(queue: Callable[..., Queue]) -> None:
    full = queue("abcde", size=2)
    assert full.mapping.waiting() == 5
    assert [len(batch) for batch in full.deliver(0)] == [2, 2, 1]
    assert full.mapping.waiting() == 0
    assert full.deliver(0) == []


def test_only_the_messages_that_failed_come_again_after_their_timeout(
    queue: Callable[..., Queue],
) -> None:
    failing = queue("abc", answer=lambda ids: failures(ids[1]))

    assert failing.deliver(0) == ["abc"]

    assert failing.mapping.waiting() == 1
    assert failing.deliver(2) == []
    assert failing.deliver(4) == ["b"]


def raising(_ids: list[str]) -> None:
    raise ValueError("poison")


@pytest.mark.parametrize(
    "answer",
    [raising, lambda _: failures("99"), lambda _: failures(None), lambda _: "done"],
)
def test_a_batch_that_raises_or_answers_nonsense_comes_again_as_a_whole(
    queue: Callable[..., Queue], answer: Callable[[list[str]], Any]
) -> None:
    failing = queue("abc", answer=answer)
    assert failing.deliver(0) == failing.deliver(4) == ["abc"]
