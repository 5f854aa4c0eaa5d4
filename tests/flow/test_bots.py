"""Bots get everybody's answer; what they did stands in the ledger, and pays and tells nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from infra.local.engine import clock_at
from infra.local.gateway import Answer
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from tests.flow.acts import counters, lead_item, ledger_sums
from tests.flow.asking import lead, ledger
from tests.flow.own_model import stack_with

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
JANE = "jane@example.com"
MODEL = (Path(__file__).parents[1] / "model.toml").read_text(encoding="utf-8") + (
    '[bots]\nmost = 5\nseconds = 10\n[staff]\ndomains = ["acme.example"]\n'
)


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL) as stack, clock_at(NOON):
        yield stack


def ask_for_a_demo(
    stack: LocalStack, agent: str | None = None, key: str = PUBLIC_KEY, **message: Any
) -> Answer:
    body = {"writeKey": key, "event": "Demo Requested", "userId": JANE, **message}
    return stack.request("POST", "/v1/track", body, {} if agent is None else {"user-agent": agent})


def fill_in(stack: LocalStack, agent: str | None = None, email: str = JANE) -> Answer:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode({"email": email, "company": "Acme"}).encode()
    return stack.request(
        "POST", "/f/demo", body, headers if agent is None else {**headers, "user-agent": agent}
    )


@pytest.mark.parametrize("agent", [GOOGLEBOT, ""], ids=["crawler", "no agent"])
def test_a_bot_is_answered_as_everybody_and_promotes_nobody(stack: LocalStack, agent: str) -> None:
    told: dict[str, Any] = {
        "traits": {"email": JANE, "company": "Bots"},
        "context": {"traits": {"phone": "1"}},
    }
    answers = [ask_for_a_demo(stack, who, **told) for who in (agent, None)]
    assert (answers[0].status, answers[0].body) == (answers[1].status, answers[1].body)
    forms = [fill_in(stack, who, "joe@example.com") for who in (agent, None)]
    assert forms[0] == forms[1]
    assert stack.metrics["Withheld"] == 2


def test_what_a_bot_did_stands_in_the_ledger_with_the_detector_and_no_points(
    stack: LocalStack,
) -> None:
    ask_for_a_demo(
        stack, GOOGLEBOT, context={"traits": {"company": "Bots"}, "campaign": {"name": "spring"}}
    )
    stack.pump()

    (entry,) = ledger(stack, email=JANE)
    found = lead(stack, email=JANE)
    assert (entry["withheld_by"], entry["overruled"], entry["paid"]) == ("crawlerdetect", False, [])
    assert (found["stage"], found["scorecard"]["score"], found["traits"]) == ("captured", 0, {})
    assert (found["withheld"], found["note"]) == (
        {"crawlerdetect": 1},
        "all that it did is withheld",
    )
    assert not {"touch:first", "touch:last"} & lead_item(stack, JANE).keys()
    assert counters(stack, JANE) == ledger_sums(stack, JANE) == {"interactions": 1}
    assert stack.promoted() == {}


def test_a_person_is_promoted_after_a_bot_filled_in_the_same_form(stack: LocalStack) -> None:
    fill_in(stack, GOOGLEBOT)
    fill_in(stack)
    fill_in(stack)
    stack.pump()
    assert [entry["withheld_by"] for entry in ledger(stack, email=JANE)] == [None, "crawlerdetect"]
    assert len(stack.promoted()) == 1


def test_a_server_may_be_any_program_and_forward_a_crawlers_visit(stack: LocalStack) -> None:
    ask_for_a_demo(stack, "curl/8.14.1", SECRET_KEY)
    ask_for_a_demo(stack, "curl/8.14.1", SECRET_KEY, context={"userAgent": GOOGLEBOT})
    found = sorted(str(entry["withheld_by"]) for entry in ledger(stack, email=JANE))
    assert found == ["None", "crawlerdetect"]


def test_impossible_speed_is_found_in_a_batch_and_from_request_to_request(
    stack: LocalStack,
) -> None:
    page = {"type": "page", "userId": JANE}
    pages = [{**page, "messageId": f"m-{number}"} for number in range(9)]
    for part in (pages[:4], pages[4:], pages):
        stack.request("POST", "/v1/batch", {"writeKey": PUBLIC_KEY, "batch": part})
    with clock_at(NOON + timedelta(seconds=10)):
        stack.request("POST", "/v1/page", {"writeKey": PUBLIC_KEY, **page, "messageId": "n"})
    found = {entry["message_id"]: entry["withheld_by"] for entry in ledger(stack, email=JANE)}
    passed = {name for name, detector in found.items() if detector is None}
    assert passed == {"m-0", "m-1", "m-2", "m-3", "m-4", "n"}
    assert {found[name] for name in found.keys() - passed} == {"speed"}


def test_our_own_people_are_nobodys_lead(stack: LocalStack) -> None:
    fill_in(stack, email="ann@sales.acme.example")
    (entry,) = ledger(stack, email="ann@sales.acme.example")
    assert entry["withheld_by"] == "staff"


def test_a_doubted_visit_is_no_sign_of_life(stack: LocalStack) -> None:
    visit = {"writeKey": PUBLIC_KEY, "userId": "jane@example.com", "event": "Newsletter Subscribed"}
    stack.request("POST", "/v1/track", visit)
    before = lead(stack, email="jane@example.com")["updated_at"]
    stack.request("POST", "/v1/track", {**visit, "messageId": "b"}, {"user-agent": "Googlebot/2.1"})

    jane = lead(stack, email="jane@example.com")
    assert (jane["interactions"], jane["updated_at"]) == (2, before)
