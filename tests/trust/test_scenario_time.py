"""Clocks that disagree by minutes, and events that claim the future.

How far a stated time is believed is told in tests/flow/test_time.py.
"""

from datetime import timedelta

import pytest

from infra.local.engine import clock_at
from infra.local.mapping import Record
from infra.local.stack import LocalStack
from leadscoring.interaction import to_text
from tests.flow.acts import ACTS, send
from tests.trust.promises import assert_kept
from tests.trust.town import HOUR, MINUTE, NOON, PEOPLE, all_ask, ask, pump, sweep


def shifted(record: Record, by: timedelta) -> Record:
    """Return the record as a table whose clock is wrong would have stamped it."""
    told = record["dynamodb"]
    created = told["ApproximateCreationDateTime"] + int(by.total_seconds())
    return {**record, "dynamodb": {**told, "ApproximateCreationDateTime": created}}


@pytest.mark.parametrize("minutes", [-90, -5, 5, 90])
def test_a_table_and_a_schedule_whose_clocks_are_wrong_promote_everybody_once(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    monkeypatch.setattr(stack.functions["sweep"].module, "PARTS", 1)
    skew = minutes * MINUTE
    sent = all_ask(stack)
    for mapping in stack.mappings:
        mapping.deliver([shifted(record, skew) for record in stack.stream.read()])
    sent += [ask(stack, email, NOON + MINUTE, "page") for email in PEOPLE]
    for mapping in stack.mappings:
        mapping.deliver([shifted(record, -skew) for record in stack.stream.read()])
    for at in (NOON + skew, NOON - skew, NOON + 2 * HOUR):
        sweep(stack, at)
        pump(stack, at)

    assert assert_kept(stack, NOON + 3 * HOUR, sent=sent, promoted=PEOPLE) == 0
    for change in stack.items("CHANGE#"):
        assert change["published_at"]["S"] >= change["at"]["S"]


@pytest.mark.parametrize("secret", [False, True])
def test_who_claims_the_future_is_scored_as_of_now_and_once(
    stack: LocalStack, *, secret: bool
) -> None:
    claims = [NOON + timedelta(days=days) for days in (1, 400, 4000)]
    messages = [
        {**ACTS["demo"], "userId": email, "messageId": f"{email}-{n}", "timestamp": to_text(at)}
        for email in PEOPLE
        for n, at in enumerate(claims)
    ]
    for _ in range(2):
        with clock_at(NOON):
            send(stack, messages, secret=secret)
        pump(stack, NOON)

    assert {row["occurred_at"]["S"] for row in stack.items("INTERACTION#")} == {to_text(NOON)}
    sent = [str(message["messageId"]) for message in messages]
    assert assert_kept(stack, NOON + HOUR, sent=sent, promoted=PEOPLE) == 0
