"""The JSON Schema of the model file, by which editors complete it and check it while you type."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from leadscoring.model import Model

FILE = Path(__file__).parents[2] / "functions" / "model.schema.json"


def schema() -> dict[str, Any]:
    """Return the schema: what `Model` tells pydantic, and the words that `matching` checks."""
    found = Model.model_json_schema(schema_generator=_AsToml)
    parts = found["$defs"]
    parts |= _pattern_words()
    parts["Texts"] = _one_or_more({"type": "string"})
    parts["BodyPaths"] = _one_or_more(_ref("BodyPath"))
    rule, condition = parts["Rule"]["properties"], parts["Condition"]["properties"]
    rule["when"] = _ref("Pattern")
    rule["page"] = _one_or_more(_ref("Word"))
    condition["grade"] = _one_or_more(_ref("Grade"))
    condition["matrix"] = _one_or_more(_ref("Cell"))
    found["$defs"] = dict(sorted(parts.items()))
    return {"$schema": GenerateJsonSchema.schema_dialect, **found}


class _AsToml(GenerateJsonSchema):
    """A schema of what TOML can say: it has numbers, and nothing for what is not there."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        number: JsonSchemaValue = {"type": "number"}
        self.update_with_validations(number, schema, self.ValidationsMapping.numeric)
        return {key: _plain(value) for key, value in number.items()}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        found = self.generate_inner(schema["schema"])
        default = schema.get("default")
        if isinstance(default, bool | int | str | Decimal):
            found = {**found, "default": _plain(default)}
        return found

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def _plain(value: Any) -> Any:
    """Return a number as TOML would say it."""
    if isinstance(value, Decimal | float):
        return int(value) if value == int(value) else float(value)
    return value


def _pattern_words() -> dict[str, Any]:
    """Return the schemas of patterns: `matching` checks them, pydantic doesn't know them."""
    text, numbers = {"type": "string"}, {"type": ["number", "string"]}
    excluded = {"anyOf": [_SCALAR, _word("prefix", text), _word("suffix", text)]}
    words = {
        "prefix": text,
        "suffix": text,
        "equals-ignore-case": text,
        "anything-but": _one_or_more(excluded),
        "numeric": {"type": "array", "items": numbers, "minItems": 2, "maxItems": 4},
        "exists": {"type": "boolean"},
    }
    asked = ("context", "properties", "traits")
    return {
        "Word": {"anyOf": [_SCALAR, *(_word(name, taken) for name, taken in words.items())]},
        "Field": {
            "anyOf": [
                {"type": "array", "items": _ref("Word"), "minItems": 1},
                {"type": "object", "additionalProperties": _ref("Field")},
            ]
        },
        "Pattern": _combined("Pattern", dict.fromkeys(asked, _ref("Field")), others=False),
        "LeadPattern": {
            **_combined("LeadPattern", {}, others=_ref("Field")),
            "minProperties": 1,
        },
    }


_SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean"]}


def _word(name: str, taken: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: taken},
        "required": [name],
        "additionalProperties": False,
    }


def _combined(name: str, fields: dict[str, Any], *, others: Any) -> dict[str, Any]:
    several = {"type": "array", "items": _ref(name), "minItems": 1}
    joined = {"any": several, "all": several, "not": _ref(name)}
    return {"type": "object", "properties": fields | joined, "additionalProperties": others}


def _one_or_more(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}]}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}
