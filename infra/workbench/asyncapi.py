"""AsyncAPI of what is published: one topic, one message for each thing that can happen to a lead.

https://www.asyncapi.com/docs/reference/specification/v3.1.0
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from leadscoring.contract import Message

FILE = Path(__file__).parents[2] / "events" / "asyncapi.json"

_ATTRIBUTES = {
    "type": {"type": "string"},
    "stage": {"type": "string", "description": "where the lead stands now"},
    "grade": {"type": "string"},
    "score": {"type": "number"},
}


def document(examples: Sequence[Message]) -> dict[str, Any]:
    """Return the document: one message for each example, with its schema."""
    kinds = [type(example) for example in examples]
    _, schemas = models_json_schema(
        [(kind, "serialization") for kind in kinds], ref_template="#/components/schemas/{model}"
    )
    names = [kind.__name__ for kind in kinds]
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "MQLambda: what subscribers hear",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in JSON over one SNS topic, at least once: deduplicate "
            "on `id`, order by what follows its colon.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "sns": {
                "host": "sns.{region}.amazonaws.com",
                "protocol": "sns",
                "variables": {"region": {"default": "eu-central-1"}},
            }
        },
        "channels": {
            "leads": {
                "address": "arn:aws:sns:{region}:{account}:{topic}",
                "description": "The stack's topic, its output `TopicArn`.",
                "parameters": {"region": {}, "account": {}, "topic": {}},
                "messages": {name: _to(f"components/messages/{name}") for name in names},
            }
        },
        "operations": {
            "tell": {
                "action": "send",
                "channel": _to("channels/leads"),
                "messages": [_to(f"channels/leads/messages/{name}") for name in names],
            }
        },
        "components": {
            "messages": {type(example).__name__: _message(example) for example in examples},
            "schemas": schemas["$defs"],
        },
    }


def _message(example: Message) -> dict[str, Any]:
    kind = type(example)
    return {
        "name": example.type,
        "summary": kind.__doc__,
        "headers": {
            "type": "object",
            "description": "SNS message attributes: what filter policies read.",
            "properties": {
                name: schema
                for name, schema in _ATTRIBUTES.items()
                if name == "type" or hasattr(example.data, name)
            },
        },
        "payload": _to(f"components/schemas/{kind.__name__}"),
        "examples": [{"payload": example.model_dump(mode="json")}],
    }


def _to(place: str) -> dict[str, str]:
    return {"$ref": f"#/{place}"}
