"""The schema that editors read says what the model says, as far as a schema can."""

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings

from infra.workbench import model_schema
from leadscoring.model import Model
from tests.conftest import SHIPPED_MODEL_FILE
from tests.unit.histories import EXAMPLES, models

RIGHT = Path(__file__).parent / "lint" / "right.toml"
SCHEMA = json.loads(model_schema.FILE.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)


def faults(document: Any) -> list[str]:
    """Return the places at which the document does not fit the schema."""
    return sorted({error.json_path for error in VALIDATOR.iter_errors(document)})


def as_json(value: Any) -> Any:
    """Return the document as editors see it: dates are texts."""
    if isinstance(value, dict):
        return {key: as_json(part) for key, part in value.items()}
    if isinstance(value, list):
        return [as_json(part) for part in value]
    return value.isoformat() if isinstance(value, date) else value


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["description"].startswith("A whole scoring model")


@pytest.mark.parametrize(
    "file",
    [SHIPPED_MODEL_FILE, SHIPPED_MODEL_FILE.parents[1] / "tests" / "model.toml", RIGHT],
    ids=str,
)
def test_right_models_fit_it(file: Path) -> None:
    assert faults(as_json(tomllib.loads(file.read_text(encoding="utf-8")))) == []


def test_the_model_of_the_company_names_it_on_its_first_line() -> None:
    first = SHIPPED_MODEL_FILE.read_text(encoding="utf-8").partition("\n")[0]
    assert first == f"#:schema ./{model_schema.FILE.name}"
    assert model_schema.FILE.parent == SHIPPED_MODEL_FILE.parent


@pytest.mark.parametrize(
    ("right", "wrong", "place"),
    [
        ("number = 3", "numbr = 3", "$"),
        ("number = 3", "number = 0", "$.number"),
        ("half_life_days = 30", "half_life_days = 6", "$.dimensions.engagement.half_life_days"),
        ("half_life_days = 30", "half_life = 30", "$.dimensions.engagement"),
        ("points = 60", "points = 1001", "$.rules[5].points"),
        ("points = 60", 'points = "60"', "$.rules[5].points"),
        ('on = "Page Viewed"', "on = []", "$.rules[0].on"),
        ('name = "page"', 'name = "Page"', "$.rules[0].name"),
        ('["paper"]', '"paper"', "$.rules[2].when.properties"),
        ("when.properties.kind", "when.property.kind", "$.rules[2].when"),
        ("prefix", "praefix", "$.rules[1].page"),
        ('numeric = [">=", 60]', 'numeric = ">="', "$.rules[3].when.any[0].properties"),
        ("until = 2026-04-01", 'until = "tomorrow"', "$.rules[6].until"),
        ('per = "day"', 'per = "year"', "$.rules[0].limit.per"),
        ('grade = ["A", "B"]', 'grade = "G"', "$.stages[3].enter.any[1].grade"),
        ("exit.below.score = 25", "exit.below.score = 0", "$.stages[2].exit.below.score"),
        ("exit.below.score = 25", "exit.under.score = 25", "$.stages[2].exit"),
        ("A = 30\n", "G = 30\n", "$.grades"),
        ('email = "data.email"', "email = 1", "$.webhooks.crm.email"),
        ('scheme = "standard"', 'scheme = "none"', "$.webhooks.crm.scheme"),
    ],
)
def test_wrong_models_do_not(right: str, wrong: str, place: str) -> None:
    text = RIGHT.read_text(encoding="utf-8")
    assert right in text
    assert faults(as_json(tomllib.loads(text.replace(right, wrong, 1)))) == [place]


@settings(EXAMPLES, max_examples=40)
@given(models())
def test_what_is_a_model_fits_it(model: Model) -> None:
    written = model.model_dump_json(by_alias=True, exclude_defaults=True)
    document = json.loads(written, parse_float=float)
    assert faults(numbered(document)) == []


def numbered(value: Any) -> Any:
    """Return the document with its decimals as numbers, which JSON of pydantic has as texts."""
    if isinstance(value, dict):
        return {
            key: part if key in ("name", "by") else numbered(part) for key, part in value.items()
        }
    if isinstance(value, list):
        return [numbered(part) for part in value]
    try:
        return float(value) if isinstance(value, str) and value not in ("nan", "inf") else value
    except ValueError:
        return value
