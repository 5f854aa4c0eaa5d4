"""Which campaign brought a lead first, and which last: on the lead, and in its messages."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.stack import LocalStack, local_stack
from leadscoring.interaction import to_text
from tests.flow.acts import ACTS, send
from tests.flow.asking import lead, ledger

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
FORM = {"content-type": "application/x-www-form-urlencoded"}


def visit(days_ago: int, **context: Any) -> dict[str, Any]:
    at = to_text(NOW - days_ago * DAY)
    return {**ACTS["page"], "userId": "jane@example.com", "timestamp": at, "context": context}


def test_the_first_touch_stays_and_the_last_one_moves_in_whatever_order_they_arrive(
    stack: LocalStack,
) -> None:
    send(stack, [visit(5, campaign={"source": "google", "name": "spring"})])
    send(stack, [visit(1, campaign={"source": "linkedin", "medium": "cpc"})])
    send(stack, [visit(9, campaign={"source": "fair"})])
    send(stack, [visit(3, campaign={"source": "mail"}), visit(0)])

    jane = lead(stack, email="jane@example.com")
    assert jane["first_touch"] == {"source": "fair", "at": to_text(NOW - 9 * DAY)}
    assert jane["last_touch"] == {
        "source": "linkedin",
        "medium": "cpc",
        "at": to_text(NOW - 1 * DAY),
    }


UTM = "utm_source=google&utm_medium=cpc&utm_campaign=spring&utm_term=erp&utm_content=blue"
TOLD = {
    "source": "google",
    "medium": "cpc",
    "name": "spring",
    "term": "erp",
    "content": "blue",
}


@pytest.mark.parametrize(
    "message",
    [
        {"context": {"campaign": TOLD}},
        {"context": {"page": {"url": f"https://www.example.com/?{UTM}"}}},
        {"context": {"page": {"search": f"?{UTM}"}}},
        {"properties": {"url": f"https://www.example.com/a?x=1&{UTM}#top"}},
        {"properties": {"search": f"?{UTM}"}},
    ],
)
def test_a_campaign_is_told_in_the_context_or_by_utm_parameters(
    stack: LocalStack, message: dict[str, Any]
) -> None:
    send(stack, [{"type": "page", "userId": "jane@example.com", **message}])
    touch = lead(stack, email="jane@example.com")["last_touch"]
    assert {name: value for name, value in touch.items() if name != "at"} == TOLD
    assert ledger(stack, email="jane@example.com")[0]["context"]["campaign"] == TOLD


def test_a_form_tells_its_campaign_in_fields(stack: LocalStack) -> None:
    body = urlencode({"email": "jane@example.com", "utm_source": "fair", "utm_campaign": "x" * 999})
    assert stack.request("POST", "/f/contact", body.encode(), FORM).status == 303
    touch = lead(stack, email="jane@example.com")["first_touch"]
    assert (touch["source"], touch["name"]) == ("fair", "x" * 100)


@pytest.mark.parametrize(
    "context",
    [
        {"campaign": "spring"},
        {"campaign": ["spring"]},
        {"campaign": {"source": 5, "name": {"a": 1}, "other": "x"}},
        {"campaign": None, "page": "x"},
        {"page": {"url": ["https://[", 5]}},
        {"page": {"url": "https://[::1?utm_source=x"}},
        {"page": {"url": "?utm_source="}},
    ],
)
def test_what_is_no_campaign_is_none(stack: LocalStack, context: dict[str, Any]) -> None:
    send(stack, [visit(0, **context)])
    assert lead(stack, email="jane@example.com")["first_touch"] is None


def test_subscribers_learn_what_brought_the_lead(stack: LocalStack) -> None:
    send(stack, [visit(9, campaign={"source": "fair"}), visit(1, campaign={"source": "google"})])
    send(stack, [{**ACTS["demo"], "userId": "jane@example.com"}], secret=True)
    stack.pump()
    (message,) = stack.promoted().values()
    told = message["data"]["lead"]
    assert (told["first_touch"]["source"], told["last_touch"]["source"]) == ("fair", "google")


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from(["fair", "google", ""]), st.booleans()),
        min_size=1,
        max_size=6,
    )
)
def test_touches_are_those_of_the_earliest_and_the_latest_act(
    touching: LocalStack, acts: list[tuple[int, str, bool]]
) -> None:
    number = len(touching.items("LEAD"))
    who = f"lead{number}@example.com"
    for days, source, secret in acts:
        campaign = {"campaign": {"source": source}} if source else {}
        send(touching, [{**visit(days, **campaign), "userId": who}], secret=secret)
    told = [(to_text(NOW - days * DAY), source) for days, source, _ in acts if source]
    found = lead(touching, email=who)
    for touch, expected in (("first_touch", min), ("last_touch", max)):
        at = expected(told)[0] if told else None
        assert (found[touch] or {"at": None})["at"] == at
        assert at is None or (at, found[touch]["source"]) in told


@pytest.fixture(scope="module")
def touching() -> Any:
    with local_stack() as shared:
        yield shared
