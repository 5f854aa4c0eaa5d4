"""SNS is down, hangs, or loses its answers: each promotion is told, and once."""

import pytest

from infra.local.mapping import EventSourceMapping
from infra.local.stack import LocalStack
from tests.flow.weather import DOWN, HANGING, LOSSY, WELL, Weather
from tests.trust.promises import assert_kept
from tests.trust.town import HOUR, MINUTE, NOON, PEOPLE, all_ask, ask, pump, sweep

SWEEP_SECONDS = 59
"""How long template.yaml lets the sweep run."""


@pytest.fixture
def weather(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Weather:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    return Weather(stack)


def mapping_of(stack: LocalStack, function: str) -> EventSourceMapping:
    (mapping,) = [mapping for mapping in stack.mappings if mapping.function == function]
    return mapping


def test_what_the_relay_gave_up_while_sns_was_down_is_swept_when_it_is_back(
    stack: LocalStack, weather: Weather
) -> None:
    relay = mapping_of(stack, "relay")
    weather.sns = DOWN
    sent = all_ask(stack)
    pump(stack, NOON)

    assert len(relay.on_failure) == len(stack.items("OUTBOX#")) == len(PEOPLE)
    for minutes in range(3, 60, 7):
        sweep(stack, NOON + minutes * MINUTE)
    assert (stack.received, len(stack.items("OUTBOX#"))) == ([], len(PEOPLE))
    assert stack.metrics["SweepFailures"] == 9 * len(PEOPLE)
    weather.sns = WELL
    sweep(stack, NOON + HOUR)

    assert_kept(stack, NOON + HOUR, sent=sent, promoted=PEOPLE)
    # Somebody sends the records in the bucket once more: there is nothing left to do.
    relay.deliver(relay.on_failure.copy())
    assert assert_kept(stack, NOON + HOUR, sent=sent, promoted=PEOPLE) == 0


def test_what_sns_published_without_saying_so_is_published_again_under_the_same_id(
    stack: LocalStack, weather: Weather
) -> None:
    weather.sns = LOSSY
    sent = all_ask(stack)
    pump(stack, NOON)
    sweep(stack, NOON + 5 * MINUTE)
    assert len(stack.promoted()) == len(stack.items("OUTBOX#")) == len(PEOPLE)
    weather.sns = WELL
    sweep(stack, NOON + 6 * MINUTE)

    assert assert_kept(stack, NOON + HOUR, sent=sent, promoted=PEOPLE) > 10 * len(PEOPLE)


def test_while_sns_hangs_the_sweep_ends_in_time_and_leaves_the_rest_to_the_next(
    stack: LocalStack, weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = [f"{number}@example.com" for number in range(20)]
    weather.sns = DOWN
    sent = [ask(stack, email, NOON) for email in crowd]
    pump(stack, NOON)
    monkeypatch.setattr(
        "infra.local.stack._Context.get_remaining_time_in_millis",
        lambda _context: (SWEEP_SECONDS - weather.seconds_hung) * 1000,
    )

    weather.sns = HANGING
    sweep(stack, NOON + 20 * MINUTE)
    assert 0 < stack.metrics["SweepFailures"] < len(crowd)
    assert weather.seconds_hung < SWEEP_SECONDS
    assert stack.metrics["PendingAge"] == 20 * 60

    weather.sns, weather.seconds_hung = WELL, 0
    sweep(stack, NOON + 21 * MINUTE)
    assert_kept(stack, NOON + HOUR, sent=sent, promoted=crowd)


def test_what_was_published_as_the_table_went_away_is_settled_when_it_is_back(
    stack: LocalStack, weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = stack.functions["relay"].module.publisher
    publish = publisher.publish

    def publish_at_last(message: object) -> str:
        said: str = publish(message)
        weather.dynamodb = DOWN
        return said

    sent = all_ask(stack)
    with monkeypatch.context() as breaking:
        breaking.setattr(publisher, "publish", publish_at_last)
        pump(stack, NOON)
    assert len(stack.promoted()) == 1
    weather.dynamodb = WELL
    sweep(stack, NOON + 5 * MINUTE)

    assert assert_kept(stack, NOON + HOUR, sent=sent, promoted=PEOPLE) == 1
