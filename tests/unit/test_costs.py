"""What the lint says a model costs is what the store really writes."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.local.stack import LocalStack
from leadscoring.contract import Sender
from leadscoring.interaction import Identity, IdentityKind, Interaction, Trust
from leadscoring.keys import Keys
from leadscoring.lead import CONSENT
from leadscoring.lint import costs, lint
from leadscoring.model import Model
from leadscoring.recorder import Recorder
from leadscoring.store import Store
from tests.expressions import LARGEST, Size, sizes
from tests.flow.acts import ACTS, lead_item, send

KEYS = Keys(lead_ids=b"costs", public="")
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
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


def largest() -> Model:
    """Return a model that makes as much of a lead as the lint takes."""
    names = ", ".join(f'"t{number}"' for number in range(24))
    text = RIGHT.read_text(encoding="utf-8").replace("traits = [", f"traits = [{names}, ", 1)
    text = text.replace("retention_days = 140", "retention_days = 3380")
    text = text.replace("expires_months = 6", "expires_months = 120")
    # A counter for each month, and for each month of an audience.
    text = text.replace('"intent"\naudience', '"loyalty"\naudience')
    model = Model.parse(text)
    assert not [found for found in lint(text, {3: model.pays}) if found.severity == "error"]
    assert len(model.known_traits) == costs.TRAITS_MAX
    assert costs.COUNTERS_MAX - 10 <= costs.counters(model) <= costs.COUNTERS_MAX
    return model


@pytest.fixture
def deep() -> Iterator[None]:
    """Let moto read long expressions: it goes one call deeper with each of their parts."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("deep")
def test_the_largest_lead_is_written_and_joined_in_expressions_that_dynamodb_takes(
    stack: LocalStack,
) -> None:
    model, asked = largest(), list[Size]()
    client = boto3.client("dynamodb")
    client.meta.events.register(
        "before-parameter-build.dynamodb.*", lambda params, **_: asked.extend(sizes(params))
    )
    store = Store(client, stack.table_name)
    recorder = Recorder(store, model, Sender("urn:mqlambda:test"))
    device, jane = Identity(IdentityKind.ANONYMOUS_ID, "phone"), Identity.of_email(EMAIL)
    said = Interaction(
        message_id="said by a visitor",
        identity=device,
        name="Page Viewed",
        occurred_at=NOON,
        received_at=NOON,
        trust=Trust.PUBLIC,
        fingerprint="",
        traits=dict.fromkeys(model.known_traits - {CONSENT}, "said"),
        context={"campaign": {"source": "news"}},
    )
    recorder.record([said], KEYS)
    every = [name for name, _ in costs._attributes(model) if name.startswith(("points:", "seen:"))]
    client.update_item(
        TableName=stack.table_name,
        Key={"pk": {"S": f"LEAD#{device.lead_id(KEYS.lead_ids)}"}, "sk": {"S": "LEAD"}},
        AttributeUpdates={n: {"Action": "ADD", "Value": {"N": "1" * 20}} for n in every},
    )
    told = replace(said, message_id="told by Jane", identity=jane, also=(device,))
    recorder.record([told], KEYS)

    lead = store.lead(jane.lead_id(KEYS.lead_ids))
    assert lead
    assert len(lead.units) + len(lead.seen) >= costs.counters(model)
    # No bound is far from what it is there for.
    assert LARGEST.length * 0.7 < max(size.length for size in asked) <= LARGEST.length
    assert LARGEST.operators * 0.8 < max(size.operators for size in asked) <= LARGEST.operators
