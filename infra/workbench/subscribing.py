"""`mqlambda subscribe` and `listen`: who hears of it, and which part of it."""

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from infra.workbench.connection import Topic
from leadscoring.contract import Message, from_sns
from leadscoring.interaction import normalise_email

FILTERS = Path(__file__).parents[2] / "events" / "filters"

_ENDPOINTS = {
    "sqs": r"arn:[a-z-]+:sqs:[^:]+:\d{12}:[^:]+$",
    "lambda": r"arn:[a-z-]+:lambda:",
    "https": r"https://[^/]",
}

type Attributes = Mapping[str, str]


class Protocol(StrEnum):
    """How SNS delivers."""

    SQS = "sqs"
    LAMBDA = "lambda"
    HTTPS = "https"
    EMAIL = "email"


class NoSubscription(Exception):
    """This can't be subscribed so; the text says what to do about it."""


def filtered(name: str | None) -> Attributes:
    """Return the subscription attributes of a policy: one of ours by its name, or a file's.

    Raises:
        NoSubscription: there is neither.
    """
    if name is None:
        return {}
    ours = {path.stem: path for path in FILTERS.glob("*.json")}
    try:
        written = json.loads(ours.get(name, Path(name)).read_text(encoding="utf-8"))
        return {
            attribute: value if isinstance(value, str) else json.dumps(value)
            for attribute, value in written.items()
        }
    except (OSError, ValueError, AttributeError):
        told = f"give {', '.join(sorted(ours))}, or a JSON file as those in events/filters"
        raise NoSubscription(f"there is no filter {name}: {told}") from None


def subscribe(topic: Topic, protocol: Protocol, endpoint: str, attributes: Attributes) -> str:
    """Subscribe the endpoint, let the topic send to it if it is a queue, and return the ARN.

    Raises:
        NoSubscription: it is no such endpoint, or its filter could never match.
    """
    _check(protocol, endpoint, attributes)
    if protocol is Protocol.SQS:
        _allow(topic, endpoint)
    answer = topic.sns.subscribe(
        TopicArn=topic.arn,
        Protocol=protocol,
        Endpoint=endpoint,
        Attributes=attributes,
        ReturnSubscriptionArn=True,
    )
    return answer["SubscriptionArn"]


def what_is_left(topic: Topic, protocol: Protocol, endpoint: str) -> str:
    """Return what a person still has to do until messages arrive."""
    match protocol:
        case Protocol.SQS:
            return "messages arrive from now on"
        case Protocol.LAMBDA:
            return (
                "allow the topic to call it: aws lambda add-permission --statement-id mqlambda "
                f"--action lambda:InvokeFunction --principal sns.amazonaws.com "
                f"--function-name {endpoint} --source-arn {topic.arn}"
            )
        case Protocol.HTTPS:
            return "the endpoint has to visit the SubscribeURL that SNS has sent it"
        case Protocol.EMAIL:
            return "the reader has to follow the link that SNS has sent"


@contextmanager
def listening(topic: Topic, attributes: Attributes) -> Iterator[str]:
    """Give the address of a queue that hears what is published until the end of the block."""
    name = f"mqlambda-listen-{secrets.token_hex(4)}"
    # An hour after a crash nothing of anybody is left in it.
    made = topic.sqs.create_queue(
        QueueName=name,
        Attributes={"MessageRetentionPeriod": "3600", "SqsManagedSseEnabled": "true"},
    )
    url = made["QueueUrl"]
    try:
        raw = {"RawMessageDelivery": "true", **attributes}
        subscription = subscribe(topic, Protocol.SQS, _arn(topic, url), raw)
        try:
            yield url
        finally:
            topic.sns.unsubscribe(SubscriptionArn=subscription)
    finally:
        topic.sqs.delete_queue(QueueUrl=url)


def heard(topic: Topic, url: str, wait: Callable[[], None]) -> Iterator[Message]:
    """Return the messages that come into the queue, without an end; `wait` before looking again."""
    while True:
        answer = topic.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        for delivered in answer.get("Messages", []):
            topic.sqs.delete_message(QueueUrl=url, ReceiptHandle=delivered["ReceiptHandle"])
            with suppress(ValueError):  # somebody else's: not of this contract
                yield from_sns(delivered["Body"])
        if not answer.get("Messages"):
            wait()


def _check(protocol: Protocol, endpoint: str, attributes: Attributes) -> None:
    if protocol is Protocol.EMAIL:
        try:
            normalise_email(endpoint)
        except ValueError as error:
            raise NoSubscription(f"{endpoint} is {error}") from None
        if attributes.get("FilterPolicyScope") == "MessageBody":
            raise NoSubscription("a policy on the body never matches a text that people read")
    elif not re.match(_ENDPOINTS[protocol], endpoint):
        raise NoSubscription(f"{endpoint} is no endpoint for {protocol}")


def _allow(topic: Topic, queue_arn: str) -> None:
    """Let the topic send to the queue, beside all that its policy says already."""
    *_, account, name = queue_arn.split(":")
    found = topic.sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
    url = found["QueueUrl"]
    said = topic.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
    written = said.get("Attributes", {}).get("Policy")
    policy: dict[str, Any] = json.loads(written) if written else {"Version": "2012-10-17"}
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic.arn}},
    }
    statements = policy.setdefault("Statement", [])
    if statement not in statements:
        statements.append(statement)
        topic.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})


def _arn(topic: Topic, url: str) -> str:
    said = topic.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return said["Attributes"]["QueueArn"]
