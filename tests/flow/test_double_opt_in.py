"""Double opt-in: a form pays when a server has confirmed it, in whatever order the two arrive."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.local.engine import clock_at
from infra.local.gateway import Answer
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from infra.workbench.verifying import verify
from leadscoring.ledger import Ledger
from leadscoring.model import Model
from leadscoring.store import Store
from leadscoring.table import Busy
from tests.flow.acts import counters, lead_item, ledger_sums
from tests.flow.asking import lead, ledger
from tests.flow.own_model import stack_with

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONFIRMED = "Subscription Confirmed"
MODEL = (
    (Path(__file__).parents[1] / "model.toml")
    .read_text(encoding="utf-8")
    .replace("[forms.newsletter]\n", f'[forms.newsletter]\nconfirm_by = "{CONFIRMED}"\n')
)
NEW = count()


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL) as stack:
        yield stack


@pytest.fixture
def email() -> str:
    return f"lead-{next(NEW)}@example.com"


def subscribe(stack: LocalStack, email: str, minutes: int = 0, **fields: str) -> Answer:
    with clock_at(NOON + timedelta(minutes=minutes)):
        return stack.request(
            "POST",
            "/f/newsletter",
            urlencode({"email": email, **fields}).encode(),
            {"content-type": "application/x-www-form-urlencoded"},
        )


def confirm(
    stack: LocalStack, email: str, minutes: int = 10, key: str = SECRET_KEY, name: str = CONFIRMED
) -> Answer:
    body = {"writeKey": key, "event": name, "userId": email, "messageId": f"c-{minutes}"}
    with clock_at(NOON + timedelta(minutes=minutes)):
        return stack.request("POST", "/v1/track", body)


def seen(stack: LocalStack, email: str) -> int:
    """Return how many subscriptions were paid, and check that all adds up."""
    assert counters(stack, email) == ledger_sums(stack, email)
    return counters(stack, email).get("seen:newsletter", 0)


def test_a_form_waits_for_its_confirmation(stack: LocalStack, email: str) -> None:
    answer = subscribe(stack, email, company="Acme", utm_source="fair")
    assert answer.status == 303
    (entry,) = ledger(stack, email=email)
    assert (entry["withheld_by"], entry["paid"]) == ("unconfirmed", [])
    assert (seen(stack, email), lead(stack, email=email)["traits"]) == (0, {})

    confirm(stack, email)

    assert seen(stack, email) == 1
    assert lead(stack, email=email)["traits"] == {"company": "Acme"}
    assert "touch:first" in lead_item(stack, email)
    paid = [e for e in ledger(stack, email=email) if e["paid"]]
    assert [(e["withheld_by"], e["overruled"]) for e in paid] == [("unconfirmed", True)]


def test_all_that_waits_is_confirmed_at_once_and_moves_the_lead(
    stack: LocalStack, email: str
) -> None:
    subscribe(stack, email)
    subscribe(stack, email, company="Acme")
    stack.pump()
    assert lead(stack, email=email)["stage"] == "captured"
    confirm(stack, email)
    stack.pump()
    assert seen(stack, email) == 2
    assert lead(stack, email=email)["stage"] == "nurtured"


@pytest.mark.parametrize(
    ("key", "name"), [(PUBLIC_KEY, CONFIRMED), (SECRET_KEY, "Newsletter Subscribed")]
)
def test_only_a_servers_word_of_that_name_confirms(
    stack: LocalStack, email: str, key: str, name: str
) -> None:
    subscribe(stack, email)
    confirm(stack, email, key=key, name=name)
    subscribe(stack, email, company="Acme")
    waiting = [e for e in ledger(stack, email=email) if e["withheld_by"]]
    assert [(e["paid"], e["overruled"]) for e in waiting] == [([], False)] * 2


def test_a_confirmation_is_for_what_had_arrived_by_then(stack: LocalStack, email: str) -> None:
    confirm(stack, email, 10)
    subscribe(stack, email, 20)
    assert seen(stack, email) == 0
    confirm(stack, email, 30)
    assert seen(stack, email) == 1


def test_a_form_that_is_recorded_late_is_confirmed_by_what_came_after_it(
    stack: LocalStack, email: str
) -> None:
    # As from the spool: it keeps the time of its arrival.
    confirm(stack, email, 10)
    subscribe(stack, email, 5)
    assert seen(stack, email) == 1


def test_a_confirmation_sent_again_heals_what_a_crash_left(stack: LocalStack, email: str) -> None:
    subscribe(stack, email)
    with patch.object(Ledger, "overrule", side_effect=Busy):
        assert confirm(stack, email).status == 503
    assert seen(stack, email) == 0

    assert confirm(stack, email).status == 200
    assert confirm(stack, email).status == 200

    assert seen(stack, email) == 1


def test_what_a_bot_filled_in_is_not_confirmed_with_the_rest(stack: LocalStack, email: str) -> None:
    subscribe(stack, email, _gotcha="filled in")
    confirm(stack, email)
    assert seen(stack, email) == 0


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    acts=st.lists(
        st.tuples(st.sampled_from([subscribe, confirm]), st.integers(0, 9)), min_size=1, max_size=8
    )
)
def test_in_whatever_order_they_are_recorded_what_was_confirmed_is_paid(
    stack: LocalStack, acts: list[tuple[object, int]]
) -> None:
    email = f"lead-{next(NEW)}@example.com"
    for act, minutes in acts:
        if act is subscribe:
            subscribe(stack, email, minutes, company=f"at {minutes}")
        else:
            confirm(stack, email, minutes)

    last = max((minutes for act, minutes in acts if act is confirm), default=-1)
    asked = {minutes for act, minutes in acts if act is subscribe}
    assert seen(stack, email) == sum(minutes <= last for minutes in asked)


def test_all_is_right_at_the_end(stack: LocalStack) -> None:
    model = Model.parse(MODEL)
    report = verify(Store(stack.dynamodb, stack.table_name), {model.number: model}, NOON)
    assert (report.differences, report.unknown) == ([], 0)
    assert report.leads > 5
