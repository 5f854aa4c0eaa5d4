"""Everybody gets the same answer: none tells who is known, what is doubted, or what is dropped."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest

from infra.local.stack import PUBLIC_KEY, LocalStack
from tests.flow import attack
from tests.flow.asking import ledger
from tests.flow.attack import JANE, NOON, Sent, call, form, hook, link, message, send
from tests.flow.own_model import stack_with

MOST = 3
GONE = "erased@example.com"
MODEL = (
    attack.MODEL
    + f"""
[staff]
domains = ["ours.example"]

[public]
most_per_day = {MOST}

[bots]
most = 2
seconds = 10
"""
)
CRAWLER = {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalStack]:
    with stack_with(MODEL) as stack:
        attack.open_hooks(stack)
        gone = {**message("track"), "userId": GONE, "messageId": "before"}
        send(stack, call("track", {"writeKey": PUBLIC_KEY, **gone}), NOON)
        stack.request("POST", "/leads/erase", {"email": GONE})
        stack.pump()
        yield stack


def shown(stack: LocalStack, sent: Sent, minutes: int = 0) -> tuple[int, Mapping[str, str], bytes]:
    """Return all that the sender sees of the answer, but for the time."""
    answer = send(stack, sent, NOON + timedelta(minutes=minutes))
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    return answer.status, headers, re.sub(rb"\d{4}-\d\d-\d\dT[\d:.]+Z", b"", answer.body)


def doings(name: str, said: Mapping[str, object]) -> Iterator[tuple[str, Sent]]:
    """Return the same call by all whom it must tell nothing, the unknown first."""

    def sent(**more: object) -> Sent:
        document = {**message(str(said["type"])), **said, **more}
        if name == "batch":
            document = {"batch": [document]}
        return call(name, {"writeKey": PUBLIC_KEY, **document})

    yield "unknown", sent(userId="new@example.com", messageId="m-1")
    yield "known", sent(userId="new@example.com", messageId="m-2")
    yield "duplicate", sent(userId="new@example.com", messageId="m-2")
    yield "conflicting", sent(userId="new@example.com", messageId="m-2", properties={"kind": "x"})
    yield "anonymous", sent(userId="", anonymousId="a-9")
    yield "crawler", sent(userId="bot@example.com").changed(headers={**sent().headers, **CRAWLER})
    yield (
        "no agent",
        sent(userId="bot@example.com", messageId="m-4").changed(
            headers={"content-type": "application/json", "user-agent": ""}
        ),
    )
    yield "erased", sent(userId=GONE)
    yield "erased, a repeat", sent(userId=GONE, messageId="before")
    yield "staff", sent(userId="anna@ours.example")
    yield "what only a server may send", sent(userId="new@example.com", event="Order Completed")
    for number in range(2 * MOST):
        yield "too many a day", sent(userId="busy@example.com", messageId=f"m-{number}")


@pytest.mark.parametrize("name", ["track", "identify", "page", "screen", "alias", "group", "batch"])
def test_a_call_gets_the_same_answer_whoever_sent_it(shared: LocalStack, name: str) -> None:
    kind = "track" if name == "batch" else name
    answers = [
        (who, shown(shared, sent, minutes=index))
        for index, (who, sent) in enumerate(doings(name, {"type": kind}))
    ]
    assert [(who, answer) for who, answer in answers if answer != answers[0][1]] == []
    assert answers[0][1][0] == 200


def test_the_answers_were_the_same_though_what_became_of_it_was_not(shared: LocalStack) -> None:
    busy = ledger(shared, email="busy@example.com")
    assert len(busy) < 2 * MOST * 7
    doubts = {entry["withheld_by"] for entry in ledger(shared, email="bot@example.com")}
    assert {"crawlerdetect", "no-agent"} <= doubts
    assert {entry["withheld_by"] for entry in ledger(shared, email="anna@ours.example")} == {
        "staff"
    }
    assert shared.request("POST", "/leads/find", {"email": GONE}).status == 404


def test_a_form_gets_the_same_answer_whoever_filled_it_in(shared: LocalStack) -> None:
    good = form("contact", {"email": "form@example.com", "title": "Prices"})
    honeypot = form("contact", {"email": "form@example.com", "_gotcha": "x"})
    answers = {
        "unknown": shown(shared, good),
        "duplicate": shown(shared, good),
        "known": shown(shared, form("contact", {"email": "form@example.com"})),
        "honeypot": shown(shared, honeypot),
        "erased": shown(shared, form("contact", {"email": GONE})),
        "staff": shown(shared, form("contact", {"email": "anna@ours.example"})),
        "crawler": shown(shared, good.changed(headers={**good.headers, **CRAWLER}), minutes=1),
        **{
            f"too many, {number}": shown(
                shared, form("contact", {"email": "form@example.com", "title": str(number)})
            )
            for number in range(2 * MOST)
        },
    }
    assert [who for who, answer in answers.items() if answer != answers["unknown"]] == []
    assert answers["unknown"][0] == 303
    assert "honeypot" in {
        entry["withheld_by"] for entry in ledger(shared, email="form@example.com")
    }


def test_a_link_leads_on_whoever_follows_it(shared: LocalStack) -> None:
    known, unknown = link(shared, JANE), link(shared, "nobody@example.com")
    send(shared, call("track", {"writeKey": PUBLIC_KEY, **message("track")}))
    answers = {
        "known": shown(shared, known),
        "unknown": shown(shared, unknown),
        "again": shown(shared, known),
        "crawler": shown(shared, unknown.changed(headers=CRAWLER)),
        "too soon": shown(shared, link(shared, JANE, NOON - timedelta(seconds=1))),
    }
    assert [who for who, answer in answers.items() if answer != answers["known"]] == []


def test_a_webhook_gets_the_same_answer_whomever_it_tells_of(shared: LocalStack) -> None:
    send(shared, call("track", {"writeKey": PUBLIC_KEY, **message("track")}))
    answers = {
        "known": shown(shared, hook("stripe", JANE, id="evt_1")),
        "again": shown(shared, hook("stripe", JANE, id="evt_1")),
        "unknown": shown(shared, hook("stripe", "nobody@example.com", id="evt_2")),
        "no address": shown(shared, hook("stripe", "nobody", id="evt_3")),
        "no event of ours": shown(shared, hook("stripe", JANE, id="evt_4", type="other")),
    }
    assert [who for who, answer in answers.items() if answer != answers["known"]] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"messageId": "x" * 129},
        {"event": ""},
        {"timestamp": "soon"},
        {"properties": 5},
        {"traits": {"x" * 257: 1}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_no_error_tells_who_is_known(shared: LocalStack, wrong: dict[str, object]) -> None:
    send(shared, call("track", {"writeKey": PUBLIC_KEY, **message("track")}))
    answers = [
        shown(
            shared, call("track", {"writeKey": PUBLIC_KEY, **message("track", userId=who), **wrong})
        )
        for who in (JANE, "stranger@example.com", "anna@ours.example", "u-unknown")
    ]
    assert answers[0][0] == 400
    assert answers == answers[:1] * len(answers)
