"""The contract in files is the contract in code, and every delivery of SNS can be read."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from infra.workbench import asyncapi, model_schema, openapi
from infra.workbench import contract as written
from leadscoring.contract import MESSAGES, Message, from_sns
from tests import node

EVENTS = Path(__file__).parents[2] / "events"
PROMOTED = json.loads((EVENTS / "messages/mqlambda.lead.promoted.v1.example.json").read_text())


def test_the_files_are_what_the_models_say_now() -> None:
    expected = written.files()
    files = (*written.MESSAGES.iterdir(), model_schema.FILE, openapi.FILE, asyncapi.FILE)
    actual = {path: path.read_text() for path in files}
    assert actual == expected, "run `make contract`"


def test_every_type_of_message_has_an_example() -> None:
    kinds = get_args(get_args(Message.__value__)[0])
    assert {type(example) for example in written.examples()} == set(kinds)


@pytest.mark.parametrize("kind", [example.type for example in written.examples()])
def test_each_example_fits_its_schema_and_not_without_its_lead(kind: str) -> None:
    def document(suffix: str) -> Any:
        return json.loads((EVENTS / f"messages/{kind}.{suffix}.json").read_text())

    schema, example = document("schema"), document("example")
    jsonschema.validate(example, schema)
    assert from_sns(example).model_dump(mode="json") == example
    del example["data"]["lead"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(example, schema)


def test_the_asyncapi_document_is_one_to_its_own_parser(tmp_path: Path) -> None:
    kinds = [example.type for example in written.examples()]
    assert read_by_its_parser(asyncapi.FILE) == {"complaints": [], "messages": kinds}

    broken = json.loads(asyncapi.FILE.read_text())
    del broken["components"]["schemas"]["LeadErased"]
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    (complaint,) = read_by_its_parser(tmp_path / "broken.json")["complaints"]
    assert complaint.startswith("components.messages.LeadErased.payload")


def read_by_its_parser(file: Path) -> Any:
    return json.loads(node.run(node.CLIENTS, "node", "asyncapi.js", file))


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
    assert [item["sk"]["S"] for item in stack.items("OUTBOX#")] == ["OUTBOX#1772452801"]
    assert call("relay") == {"batchItemFailures": []}
    assert call("sweep") == {}
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
