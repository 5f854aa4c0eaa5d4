"""The sample's 90 days, through the real handlers, against a computation without any of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

import pytest

from infra.local.__main__ import SAMPLE
from infra.local.replay import Message, Summary, at, read_messages, replay
from infra.local.stack import LocalStack, local_stack
from tests.flow.plain import promotions


@dataclass
class Replayed:
    stack: LocalStack
    messages: list[Message]
    summary: Summary


@pytest.fixture(scope="module")
def replayed() -> Iterator[Replayed]:
    messages = read_messages(SAMPLE, datetime.now(UTC).date())
    with local_stack() as stack:
        yield Replayed(stack, messages, replay(stack, messages))


def test_the_sample_is_of_at_least_300_leads_over_90_days_and_ends_yesterday() -> None:
    today = datetime(2026, 11, 22, tzinfo=UTC).date()
    messages = read_messages(SAMPLE, today)
    days = (at(messages[-1]).date() - at(messages[0]).date()).days
    assert len({message.get("userId") for message in messages}) > 300
    assert 85 <= days <= 90
    assert (today - at(messages[-1]).date()).days == 1
    assert SAMPLE.stat().st_size < 2_000_000


def test_between_5_and_30_percent_are_promoted_by_points_and_by_criterion(
    replayed: Replayed,
) -> None:
    summary = replayed.summary
    promoted = summary.promoted_by_points + summary.promoted_by_criterion
    assert 0.05 <= promoted / summary.leads <= 0.30
    assert summary.promoted_by_points > 0
    assert summary.promoted_by_criterion > 0
    assert summary.interactions + summary.duplicates == summary.messages
    assert replayed.stack.status()["pending"] == 0


def test_the_promoted_leads_and_instants_are_those_of_a_plain_computation(
    replayed: Replayed,
) -> None:
    received = {
        message["data"]["lead"]["email"]: datetime.fromisoformat(message["time"])
        for message in replayed.stack.promoted().values()
    }
    assert received == promotions(replayed.messages)


def test_the_sample_again_shuffled_in_batches_by_new_functions_changes_nothing(
    replayed: Replayed,
) -> None:
    stack = replayed.stack
    leads, received = list(stack.items("LEAD")), list(stack.received)
    shuffled = list(replayed.messages)
    Random(42).shuffle(shuffled)
    stack.load_functions()

    summary = replay(stack, shuffled, batch_size=100)

    assert (summary.interactions, summary.duplicates) == (0, len(shuffled))
    assert list(stack.items("LEAD")) == leads
    assert stack.received == received
