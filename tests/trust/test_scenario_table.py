"""The table is away, or loses its answers, while forms arrive, promotions are due, or messages.

What a form alone meets there is told in tests/flow/test_spool.py.
"""

import pytest

from infra.local.stack import LocalStack
from tests.flow.posting import submit
from tests.flow.weather import DOWN, LOSSY, WELL, Weather
from tests.trust.promises import assert_kept
from tests.trust.town import HOUR, MINUTE, NOON, PEOPLE, pump, sweep

PHASES = ["forms", "promotions", "messages"]


@pytest.fixture
def weather(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Weather:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    monkeypatch.setattr(stack.functions["sweep"].module, "PARTS", 1)
    return Weather(stack)


def ids_of_forms(stack: LocalStack) -> list[str]:
    """Return by which ids the forms were entered: their own, made of what they say."""
    return [row["sk"]["S"].split("#", 2)[2] for row in stack.items("INTERACTION#")]


@pytest.mark.parametrize("away", [DOWN, LOSSY])
@pytest.mark.parametrize("phase", PHASES)
def test_whenever_the_table_goes_away_each_form_counts_once_and_leads_to_one_promotion(
    stack: LocalStack, weather: Weather, phase: str, away: str
) -> None:
    promote, relay = stack.mappings
    assert submit(stack, "demo", {"email": PEOPLE[0]}).status == 303  # the keys are known

    weather.dynamodb = away if phase == "forms" else WELL
    for email in (*PEOPLE, *PEOPLE):
        assert submit(stack, "demo", {"email": email}, at=NOON + MINUTE).status == 303
    for hours in (1, 2):
        if phase == "forms":
            pump(stack, NOON + hours * HOUR)
    weather.dynamodb = away if phase == "promotions" else WELL
    promote.deliver(stack.stream.read())
    weather.dynamodb = away if phase == "messages" else WELL
    relay.deliver(stack.stream.read())
    weather.dynamodb = WELL
    pump(stack, NOON + 3 * HOUR)
    for minutes in (3, 6):
        sweep(stack, NOON + 3 * HOUR + minutes * MINUTE)
        pump(stack, NOON + 3 * HOUR + minutes * MINUTE)

    sent = ids_of_forms(stack)
    assert len(sent) == len(PEOPLE)
    repeats = assert_kept(stack, NOON + 4 * HOUR, sent=sent, promoted=PEOPLE)
    assert repeats == 0
    # It was as bad as it was meant to be.
    assert stack.metrics["Spooled"] == (2 * len(PEOPLE) if phase == "forms" else 0)
    if phase == "promotions":
        assert stack.metrics["LostLeadsFound"] == len(PEOPLE)
        assert promote.on_failure
    if phase == "messages":
        assert stack.metrics["SweptOutboxItems"] == len(PEOPLE)
        assert relay.on_failure
