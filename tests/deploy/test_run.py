"""The built functions do their work with nothing beside them but what Lambda's runtime brings.

Each runs in a process of its own, with the environment that the template gives it.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.deploy.aws import Aws, Item, account
from tests.deploy.conftest import REGION, Runtime, Template, functions

NOW = datetime(2026, 5, 4, 9, 55, tzinfo=UTC)
EMAIL = "ada@müller.example"  # loads what only such an address needs


@pytest.fixture
def aws() -> Iterator[Aws]:
    with account() as mine:
        yield mine


class Stack:
    """The functions, each told by the template where the table, the topic and the spool are."""

    def __init__(self, aws: Aws, runtime: Runtime, expansion: Template) -> None:
        self.aws = aws
        self._runtime = runtime
        self._expansion = expansion

    def call(self, function: str, event: dict[str, Any] | None = None) -> Any:
        return self._runtime.run(function, self._environment(function), event)

    def _environment(self, function: str) -> dict[str, str]:
        told = functions(self._expansion)[function]["Environment"]["Variables"]
        return {
            **{name: self._value(value) for name, value in told.items()},
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_ENDPOINT_URL": self.aws.endpoint,
            "AWS_LAMBDA_FUNCTION_NAME": function,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def _value(self, value: Any) -> str:
        match value:
            case {"Fn::GetAtt": ["Data", str(output)]}:
                return self.aws.outputs[output.removeprefix("Outputs.")]
            case {"Ref": str(parameter)}:
                return str(self._expansion["Parameters"][parameter]["Default"])
            case {"Fn::Sub": str(text)}:
                return text.replace("${AWS::StackName}", "mqlambda")
            case _:
                return str(value)


@pytest.fixture
def stack(aws: Aws, runtime: Runtime, expansion: Template) -> Stack:
    return Stack(aws, runtime, expansion)


def test_every_function_starts_in_a_clean_environment(stack: Stack, expansion: Template) -> None:
    names = sorted(functions(expansion))
    assert names == ["Collect", "Leads", "Promote", "Relay", "Retry", "Sweep"]
    for name in names:
        stack.call(name)


def test_a_demo_request_becomes_a_promotion_that_subscribers_hear_of(stack: Stack) -> None:
    request_demo(stack)
    [lead] = stack.aws.items("LEAD")
    [entry] = stack.aws.items("INTERACTION#public#")
    assert entry["pk"] == lead["pk"]
    assert entry["name"] == {"S": "Demo Requested"}

    assert stack.call("Promote", stream_record("MODIFY", lead)) == {"batchItemFailures": []}
    [lead] = stack.aws.items("LEAD")
    [change] = stack.aws.items("CHANGE#")
    [outbox] = stack.aws.items("OUTBOX#")
    assert lead["stage"] == change["to"] == {"S": "mql"}
    assert stack.aws.received() == []

    assert stack.call("Relay", stream_record("INSERT", outbox)) == {"batchItemFailures": []}
    [message] = map(json.loads, stack.aws.received())
    assert message["type"] == "mqlambda.lead.promoted.v1"
    assert message["source"] == "urn:mqlambda:mqlambda"
    assert stack.aws.items("OUTBOX#") == []


def test_the_sweeper_publishes_what_the_relay_never_got(stack: Stack) -> None:
    request_demo(stack)
    [lead] = stack.aws.items("LEAD")
    stack.call("Promote", stream_record("MODIFY", lead))

    swept = stack.call("Sweep", {"time": f"{NOW + timedelta(minutes=3):%Y-%m-%dT%H:%M:%SZ}"})

    assert swept["SweptOutboxItems"] == 1
    assert "SweepFailures" not in swept
    assert len(stack.aws.received()) == 1
    assert stack.aws.items("OUTBOX#") == []


def test_a_form_out_of_the_spool_is_recorded(stack: Stack) -> None:
    form = http_request("POST /f/{form}", "", form="demo")
    form["headers"]["content-type"] = "application/x-www-form-urlencoded"
    form["body"] = urlencode({"email": EMAIL})

    assert stack.call("Retry", queue_message(form)) == {"batchItemFailures": []}

    [entry] = stack.aws.items("INTERACTION#public#")
    assert entry["received_at"] == {"S": "2026-05-04T09:55:00.000Z"}


def test_a_lead_can_be_found_with_its_reasons(stack: Stack) -> None:
    request_demo(stack)

    answer = stack.call("Leads", http_request("POST /leads/find", {"email": EMAIL}))

    assert answer["statusCode"] == 200
    found = json.loads(answer["body"])
    [lead] = stack.aws.items("LEAD")
    assert lead["pk"]["S"].endswith(found["id"])
    assert [reason["rule"] for reason in found["reasons"]] == ["demo-requested"]


def request_demo(stack: Stack) -> None:
    """Send a browser's message that asks for a demo; it is taken."""
    # Whoever asks first makes the stack's keys, of which the page has one.
    stack.call("Collect", http_request("POST /v1/{call}", {"writeKey": "none"}, call="track"))
    [keys] = stack.aws.items("KEYS")
    message = {
        "writeKey": keys["public"]["S"],
        "messageId": "ajs-next-1777888500000-0001",
        "event": "Demo Requested",
        "anonymousId": "3f0c7d3a-6b0e-4a64-9a57-1a3c1d2e4f50",
        "properties": {"email": EMAIL},
        "sentAt": NOW.isoformat(),
        "timestamp": NOW.isoformat(),
    }
    answer = stack.call("Collect", http_request("POST /v1/{call}", message, call="track"))
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"success": True})


def http_request(route: str, body: object, **path_parameters: str) -> dict[str, Any]:
    """Return what API Gateway hands a function, format 2.0."""
    method, path = route.format_map(path_parameters).split(" ")
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "user-agent": "Mozilla/5.0 (X11; Linux)"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "Mozilla/5.0 (X11; Linux)",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": route,
            "stage": "$default",
            "time": f"{NOW:%d/%b/%Y:%H:%M:%S +0000}",
            "timeEpoch": int(NOW.timestamp() * 1000),
        },
        "pathParameters": path_parameters,
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def queue_message(body: object) -> dict[str, Any]:
    """Return what the spool hands a function, one message."""
    return {
        "Records": [
            {
                "messageId": "19dd0b57-b21e-4ac1-bd88-01bbb068cb78",
                "receiptHandle": "MessageReceiptHandle",
                "body": json.dumps(body),
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:spool",
                "awsRegion": REGION,
            }
        ]
    }


def stream_record(name: str, item: Item) -> dict[str, Any]:
    """Return what the stream hands a function, one record."""
    return {
        "Records": [
            {
                "eventID": "c4ca4238a0b923820dcc509a6f75849b",
                "eventName": name,
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": REGION,
                "dynamodb": {
                    "ApproximateCreationDateTime": int(NOW.timestamp()),
                    "Keys": {"pk": item["pk"], "sk": item["sk"]},
                    "NewImage": item,
                    "SequenceNumber": "4421584500000000017450439091",
                    "SizeBytes": 420,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
                "eventSourceARN": f"arn:aws:dynamodb:{REGION}:123456789012:table/t/stream/s",
            }
        ]
    }
