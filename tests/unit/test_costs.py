"""What the lint says a model costs is what the store really writes."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.local.stack import LocalStack
from leadscoring.lint import costs, lint
from leadscoring.model import Model
from tests.flow.acts import ACTS, lead_item, send

EMAIL = "jane@company.example"
EMOJI = "\N{GRINNING FACE}" * 256
RIGHT = Path(__file__).parent / "lint" / "right.toml"


def size(item: dict[str, Any]) -> int:
    """Return the bytes of an item in DynamoDB's JSON, as its developer guide counts them."""
    return sum(len(name.encode()) + value_size(value) for name, value in item.items())


def value_size(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "M":
        return 3 + size(content) + len(content)
    if kind == "N":
        sign, digits, _ = Decimal(content).normalize().as_tuple()
        return (len(digits) + 1) // 2 + 1 + sign
    assert kind == "S"
    return len(content.encode())


def test_no_lead_item_is_larger_or_has_what_is_not_counted(stack: LocalStack) -> None:
    model = Model.load(Path(__file__).parents[1] / "model.toml")
    names = {name for name, _ in costs._attributes(model)} | {
        f"trait:{name}" for name in model.known_traits
    }
    traits = dict.fromkeys(model.known_traits, EMOJI)
    send(stack, [{"type": "identify", "userId": EMAIL, "traits": traits}], secret=True)
    for act in ACTS.values():
        send(stack, [{**act, "userId": EMAIL}], secret=True)
    stack.pump()

    item = lead_item(stack, EMAIL)
    kept = {name: value for name, value in item.items() if not name.startswith("points:")}
    years = {name[:-4] for name in item if name.startswith("points:")}
    assert kept.keys() <= names
    assert years <= {name[:-4] for name in names if name.startswith("points:")}
    assert len(kept) > 15
    assert size(item) <= costs.lead_item(model).most
    bare = {name: value for name, value in item.items() if not name.startswith("trait:")}
    assert size(bare) <= costs.lead_item(model).usual
    # What is said of one trait is no more than what it has.
    longest = max(value_size(value) for name, value in item.items() if name.startswith("trait:"))
    assert longest == costs._map({"claim": costs._CLAIM, "value": costs._TRAIT})


def test_a_limit_costs_two_write_units() -> None:
    model = Model.parse(RIGHT.read_text(encoding="utf-8"))
    units = {rule.name: costs.write_units(rule) for rule in model.rules}
    assert units == {
        "page": 6,
        "product-page": 4,
        "paper": 6,
        "long-webinar": 4,
        "left": 4,
        "demo": 4,
        "fair": 6,
        "renewal": 6,
    }


@pytest.mark.parametrize(
    ("right", "wrong", "more"),
    [
        # A year more: one counter of the dimension that fades.
        ("days = 140", "days = 366", "points:engagement:30d:2026"),
        ('form = "demo"', 'audience = "dach"\nform = "demo"', None),
        ('name = "renewal"', 'name = "renewal-of-a-licence"', None),
    ],
)
def test_the_size_grows_with_what_a_lead_can_have(right: str, wrong: str, more: str | None) -> None:
    text = RIGHT.read_text(encoding="utf-8")
    before, after = (
        costs.lead_item(Model.parse(model)) for model in (text, text.replace(right, wrong, 1))
    )
    assert (after.most > before.most) is (wrong != 'audience = "dach"\nform = "demo"')
    assert more is None or after.most - before.most > len(more)


def test_a_lead_item_that_dynamodb_would_refuse_is_an_error() -> None:
    traits = ", ".join(f'"t{number}"' for number in range(140))
    text = RIGHT.read_text(encoding="utf-8").replace("traits = [", f"traits = [{traits}, ", 1)
    model = Model.parse(text)
    (found,) = lint(text, {3: model.pays})
    assert (found.severity, found.place) == ("error", "traits")
    assert "DynamoDB takes 409,600" in found.message
