"""What alarms and the dashboard go by: ages that somebody measures, under the stack's own name."""

from datetime import UTC, datetime, timedelta

import pytest

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from tests.flow.acts import ACTS, send


def ask_for_a_demo(stack: LocalStack, ago: timedelta) -> datetime:
    """Let Jane have asked so long ago, and the stream wake up now; return when she asked."""
    then = datetime.now(UTC) - ago
    with clock_at(then):
        send(stack, [{**ACTS["demo"], "userId": "jane@example.com"}])
    stack.pump()
    return then


@pytest.mark.parametrize("ago", [timedelta(0), timedelta(hours=1)])
def test_the_time_to_publish_is_what_has_passed_since_the_interaction(
    stack: LocalStack, ago: timedelta
) -> None:
    ask_for_a_demo(stack, ago)

    assert stack.metrics["Published"] == 1
    waited = timedelta(milliseconds=stack.metrics["TimeToPublish"])
    assert timedelta(0) <= waited - ago < timedelta(seconds=30)


def ask_without_relay(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, ago: timedelta
) -> datetime:
    """Let Jane have asked so long ago, and the relay fail until the stream gives up."""

    def out_of_order(_event: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as outage:
        outage.setitem(stack.functions, "relay", out_of_order)
        return ask_for_a_demo(stack, ago)


def test_the_time_to_publish_is_told_of_what_the_sweep_publishes_late(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    ago = timedelta(hours=1)
    ask_without_relay(stack, monkeypatch, ago)
    (schedule,) = stack.template.schedules
    stack.run_schedule(schedule)

    assert (stack.metrics["Published"], stack.metrics["SweptOutboxItems"]) == (0, 1)
    waited = timedelta(milliseconds=stack.metrics["TimeToPublish"])
    assert timedelta(0) <= waited - ago < timedelta(seconds=30)


def test_the_sweep_tells_how_long_a_message_has_waited_while_it_waits(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    then = ask_without_relay(stack, monkeypatch, timedelta(0))
    told: list[int] = []
    (schedule,) = stack.template.schedules
    for minutes in (1, 10, 11):
        before = stack.metrics["PendingAge"]
        with clock_at(then + timedelta(minutes=minutes)):
            stack.run_schedule(schedule)
        told.append(stack.metrics["PendingAge"] - before)

    # Young ones are the stream's; the second run publishes it, and the third finds nothing.
    assert told == [0, pytest.approx(600, abs=2), 0]


def test_what_the_functions_measure_stands_under_the_name_of_their_stack(stack: LocalStack) -> None:
    measuring = {name for name, f in stack.functions.items() if hasattr(f.module, "metrics")}
    assert {"collect", "retry", "promote", "relay", "sweep"} == measuring
    for name in measuring:
        metrics = stack.functions[name].module.metrics
        assert (metrics.namespace, metrics.service) == ("urn:mqlambda:local", name)
