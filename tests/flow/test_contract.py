"""The contract in files is the contract in code, and every delivery of SNS can be read."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from infra.workbench import contract as written
from infra.workbench import model_schema, openapi
from leadscoring.contract import MESSAGES, from_sns

EVENTS = Path(__file__).parents[2] / "events"
PROMOTED = json.loads((EVENTS / "messages/mqlambda.lead.promoted.v1.example.json").read_text())


def test_the_files_are_what_the_models_say_now() -> None:
    expected = written.files()
    files = (*written.MESSAGES.iterdir(), model_schema.FILE, openapi.FILE)
    actual = {path: path.read_text() for path in files}
    assert actual == expected, "run `make contract`"


@pytest.mark.parametrize("kind", ["promoted", "stage_changed"])
def test_each_example_fits_its_schema_and_not_without_its_id(kind: str) -> None:
    def document(suffix: str) -> Any:
        return json.loads((EVENTS / f"messages/mqlambda.lead.{kind}.v1.{suffix}.json").read_text())

    schema, example = document("schema"), document("example")
    jsonschema.validate(example, schema)
    del example["data"]["lead"]["id"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(example, schema)


@pytest.mark.parametrize(
    "delivery",
    [
        PROMOTED,
        json.dumps(PROMOTED),
        json.dumps(PROMOTED).encode(),
        json.dumps({"Type": "Notification", "Message": json.dumps(PROMOTED)}),
        {"body": json.dumps({"Type": "Notification", "Message": json.dumps(PROMOTED)})},
        {"body": json.dumps(PROMOTED)},
        {"EventSource": "aws:sns", "Sns": {"Message": json.dumps(PROMOTED)}},
    ],
    ids=["parsed", "raw", "bytes", "https", "sqs", "sqs-raw", "lambda"],
)
def test_a_subscriber_reads_every_delivery_of_sns(delivery: Any) -> None:
    assert from_sns(delivery).model_dump(mode="json") == PROMOTED


@pytest.mark.parametrize("delivery", ["", "[]", '{"type": "mqlambda.lead.other.v1"}', "{}"])
def test_what_is_no_message_of_ours_is_refused(delivery: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (pydantic's own is one)
        from_sns(delivery)


def test_what_the_stack_publishes_fits_the_schema_and_carries_the_filter_attributes(
    stack: LocalStack,
) -> None:
    published: list[dict[str, Any]] = []
    sns = stack.functions["relay"].module.publisher._sns
    sns.meta.events.register(
        "provide-client-params.sns.Publish", lambda params, **_: published.append(params)
    )
    with clock_at(datetime(2026, 3, 2, 12, tzinfo=UTC)):
        stack.invoke("collect", json.loads((EVENTS / "functions/collect.json").read_text()))
        stack.pump()

    schema = json.loads((EVENTS / "messages/mqlambda.lead.promoted.v1.schema.json").read_text())
    (message,) = stack.received
    jsonschema.validate(message, schema)
    assert published[0]["MessageAttributes"] == {
        "type": {"DataType": "String", "StringValue": "mqlambda.lead.promoted.v1"},
        "stage": {"DataType": "String", "StringValue": "mql"},
        "score": {"DataType": "Number", "StringValue": "60.0"},
    }


def test_the_sample_events_make_one_story(stack: LocalStack) -> None:
    def call(function: str) -> Any:
        event = json.loads((EVENTS / f"functions/{function}.json").read_text())
        return stack.invoke(function, event)

    samples = {path.stem for path in (EVENTS / "functions").iterdir()}
    assert samples == set(stack.template.functions)
    assert json.loads(call("collect")["body"]) == {"success": True}
    assert call("promote") == {"batchItemFailures": []}
    assert [item["sk"]["S"] for item in stack.items("OUTBOX#")] == ["OUTBOX#000001"]
    assert call("relay") == {"batchItemFailures": []}
    assert call("sweep") == {"relayed": 0, "failed": 0}
    assert json.loads(call("leads")["body"])["stage"] == "mql"
    assert call("retry") == {"batchItemFailures": []}
    stack.pump()
    assert [message["type"] for message in stack.received] == ["mqlambda.lead.promoted.v1"]


def test_a_message_that_can_not_be_read_shows_nothing_of_the_lead(
    stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    with clock_at(datetime(2026, 3, 2, 12, tzinfo=UTC)):
        stack.invoke("collect", json.loads((EVENTS / "functions/collect.json").read_text()))
        stack.invoke("promote", {"Records": stack.stream.read()[-1:]})
    (item,) = stack.items("OUTBOX#")
    item["message"]["S"] = item["message"]["S"].replace('"stage":', '"stadium":')
    stack.dynamodb.put_item(TableName=stack.table_name, Item=item)
    relayed = json.loads((EVENTS / "functions/relay.json").read_text())
    relayed["Records"][0]["dynamodb"]["Keys"] = {"pk": item["pk"], "sk": item["sk"]}

    answer = stack.invoke("relay", relayed)

    assert len(answer["batchItemFailures"]) == 1
    assert "jane" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="stage") as failure:
        MESSAGES.validate_json(item["message"]["S"])
    assert "jane" not in str(failure.value)
