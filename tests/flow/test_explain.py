"""Why a lead has its score: reasons that add up, now and at every instant that is asked about."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from leadscoring.answers import as_json
from leadscoring.interaction import to_text
from tests.flow.acts import Message, send
from tests.flow.asking import lead
from tests.flow.own_model import stack_with

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)

MODEL = """
number = 1
name = "explained"
retention_days = 365
properties = []
traits = ["country", "employees", "jobTitle"]
dimensions.engagement = { half_life_days = 30, cap = 80 }
dimensions.intent = { half_life_days = 21, cap = 110.5 }
dimensions.loyalty = { expires_months = 2 }
audiences.dach.country = ["DE", "AT", "CH"]
scores.interest = { dimensions = ["engagement", "intent"], cap = 150, decides = true }
scores.whole = { dimensions = ["engagement", "intent", "loyalty", "fit"] }
grades = { A = 20, B = 10 }
recycling.cool_down_days = 3

[[rules]]
name = "page"
on = "Page Viewed"
points = 1
dimension = "engagement"
limit = { times = 2, per = "day" }

[[rules]]
name = "click"
on = "Email Link Clicked"
points = 3
dimension = "engagement"
limit = { points = 7.5, per = "week" }

[[rules]]
name = "webinar"
on = "Webinar Attended"
points_from = { property = "minutes", factor = 0.333, max = 30 }
dimension = "engagement"

[[rules]]
name = "unsubscribed"
on = "Unsubscribed"
points = -30
dimension = "engagement"
trusted = true

[[rules]]
name = "campaign"
on = "Form Submitted"
points = 100
dimension = "engagement"

[[rules]]
name = "demo"
on = "Demo Requested"
points = 60
dimension = "intent"

[[rules]]
name = "fair"
on = "Fair Visited"
points = 12.345
dimension = "intent"
audience = "dach"

[[rules]]
name = "anniversary"
on = "Anniversary"
points = 7
dimension = "loyalty"

[fit]
cap = 25

[[fit.rules]]
name = "large"
when.employees = [{ numeric = [">=", 50] }]
points = 20

[[fit.rules]]
name = "decides"
when.jobTitle = [{ prefix = "Head" }]
points = 20

[[fit.rules]]
name = "free-mail"
when.email.kind = ["free"]
points = -10

[[stages]]
name = "captured"

[[stages]]
name = "engaged"
enter.score = 50
exit.below.score = 20

[[stages]]
name = "mql"
enter.score = 100
exit.below.score = 40
"""
SCORES = {
    "interest": ["engagement", "intent"],
    "whole": ["engagement", "intent", "loyalty", "fit"],
}

ACTS: dict[str, Message] = {
    "page": {"type": "page"},
    "click": {"type": "track", "event": "Email Link Clicked"},
    "short": {"type": "track", "event": "Webinar Attended", "properties": {"minutes": 20}},
    "long": {"type": "track", "event": "Webinar Attended", "properties": {"minutes": 120}},
    "unsubscribed": {"type": "track", "event": "Unsubscribed"},
    "campaign": {"type": "track", "event": "Form Submitted"},
    "demo": {"type": "track", "event": "Demo Requested"},
    "fair": {"type": "track", "event": "Fair Visited"},
    "anniversary": {"type": "track", "event": "Anniversary"},
    "unheard of": {"type": "track", "event": "Coffee Made"},
    "german": {"type": "identify", "traits": {"country": "DE"}},
    "american": {"type": "identify", "traits": {"country": "US"}},
    "large": {"type": "identify", "traits": {"employees": 400}},
    "head": {"type": "identify", "traits": {"jobTitle": "Head of IT", "employees": 4}},
}

# The last comes first in the ledger, which is in the order of ids: nothing may depend on that.
_numbers = count(999_999, -1)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL) as shared:
        yield shared


def post(
    stack: LocalStack,
    email: str,
    *acts: str,
    at: datetime = NOON,
    occurred: datetime | None = None,
    secret: bool = True,
) -> None:
    stated = {"timestamp": to_text(occurred)} if occurred else {}
    messages = [
        {**ACTS[name], **stated, "userId": email, "messageId": f"m-{next(_numbers)}"}
        for name in acts
    ]
    with clock_at(at):
        send(stack, messages, secret=secret)
        stack.pump()


def as_of(stack: LocalStack, lead_id: str, at: str) -> Any:
    answer = stack.request("GET", f"/leads/{lead_id}", query=f"at={at}")
    assert answer.status == 200, answer.body
    return answer.json()


def exact(points: float) -> Decimal:
    return Decimal(str(points))


def adds_up(found: Any) -> None:
    """Assert that reasons and lines are the dimensions, and dimensions and lines the scores."""
    card, reasons, lines = found["scorecard"], found["reasons"], found["lines"]
    for reason in reasons:
        left = exact(reason["earned"]) - sum(map(exact, reason["taken"].values()))
        assert exact(reason["points_now"]) == left, reason
    for name, part in card["dimensions"].items():
        added = [r["points_now"] for r in reasons if r["dimension"] == name]
        added += [line["points"] for line in lines if line["of"] == name]
        assert sum(map(exact, added)) == exact(part["points"]), name
    for name, score in card["scores"].items():
        added = [card["dimensions"][dimension]["points"] for dimension in SCORES[name]]
        added += [line["points"] for line in lines if line["of"] == name]
        assert sum(map(exact, added)) == exact(score), name
    assert card["score"] == card["scores"]["interest"]
    assert {r["dimension"] for r in reasons} <= card["dimensions"].keys()
    assert {line["of"] for line in lines} <= card["dimensions"].keys() | card["scores"].keys()


# What is added and taken


@pytest.mark.parametrize(
    ("email", "acts", "lines"),
    [
        ("plain@example.com", ["page", "demo", "anniversary"], []),
        ("cap@example.com", ["campaign"], [("engagement", "cap 80", -20)]),
        ("broken.cap@example.com", ["demo", "demo"], [("intent", "cap 110.5", -9.5)]),
        ("floor@example.com", ["short", "unsubscribed"], [("engagement", "never below 0", 23.34)]),
        ("limit@example.com", ["page"] * 5 + ["click"] * 4, []),
        ("outside@example.com", ["fair", "american"], []),
        ("inside@example.com", ["fair", "german"], []),
        ("large@example.com", ["large"], [("fit", "large", 20)]),
        (
            "fit@example.com",
            ["head", "large"],
            [("fit", "large", 20), ("fit", "decides", 20), ("fit", "cap 25", -15)],
        ),
        (
            "free@gmx.de",
            ["page"],
            [("fit", "free-mail", -10), ("fit", "never below 0", 10)],
        ),
        (
            "whole@gmx.de",
            ["campaign", "demo", "demo", "large", "anniversary"],
            [
                ("fit", "large", 20),
                ("fit", "free-mail", -10),
                ("engagement", "cap 80", -20),
                ("intent", "cap 110.5", -9.5),
                ("interest", "cap 150", -40.5),
            ],
        ),
    ],
)
def test_reasons_and_lines_add_up_to_every_dimension_and_every_score(
    stack: LocalStack, email: str, acts: list[str], lines: list[tuple[str, str, float]]
) -> None:
    for minute, act in enumerate(acts):
        post(stack, email, act, at=NOON + timedelta(minutes=minute), occurred=NOON)
    with clock_at(NOON):
        found = lead(stack, email=email)

    assert [(line["of"], line["by"], line["points"]) for line in found["lines"]] == lines
    adds_up(found)
    for days in (0.01, 1, 17.3, 45, 100, 3000):
        with clock_at(NOON + days * DAY):
            adds_up(lead(stack, email=email))


@pytest.mark.parametrize(
    ("acts", "days", "taken"),
    [
        (["page"] * 3, 0, [{}, {}, {"limit": 1}]),
        (["page"] * 3, 30, [{"decay": 0.5}, {"decay": 0.5}, {"limit": 1}]),
        (["click"] * 3, 0, [{}, {}, {"limit": 1.5}]),
        (["click"] * 3, 60, [{"decay": 2.25}, {"decay": 2.25}, {"limit": 1.5, "decay": 1.125}]),
        (["fair"], 0, [{"audience": 12.345}]),
        (["american", "fair"], 21, [{"audience": 12.345}]),
        (["german", "fair"], 0, [{}]),
        (["german", "fair"], 21, [{"decay": 6.173}]),
        (["anniversary"], 90, [{}]),
        (["anniversary"], 91, [{"decay": 7}]),
    ],
)
def test_what_was_taken_of_the_points_is_told_with_its_cause(
    stack: LocalStack, acts: list[str], days: int, taken: list[dict[str, float]]
) -> None:
    """Loyalty earned on 2 March counts until the end of May."""
    email = f"{'.'.join(acts)}.{days}@example.com"
    post(stack, email, *acts)
    with clock_at(NOON + days * DAY):
        found = lead(stack, email=email)

    reasons = sorted(found["reasons"], key=lambda reason: len(reason["taken"]))
    assert sorted(reasons, key=lambda r: -r["points"] and -r["points_now"]) == found["reasons"]
    assert [reason["taken"] for reason in found["reasons"]] == taken
    adds_up(found)


def test_points_of_an_audience_come_and_go_with_the_trait(stack: LocalStack) -> None:
    email = "mover@example.com"
    scores = []
    for hour, act in enumerate(["fair", "german", "american", "german"]):
        post(stack, email, act, at=NOON + timedelta(hours=hour))
        with clock_at(NOON):
            scores.append(lead(stack, email=email)["scorecard"]["score"])
    assert scores == [0, 12.345, 0, 12.345]


def test_a_lead_that_no_rule_matched_has_zero_points_and_a_note(stack: LocalStack) -> None:
    post(stack, "silent@example.com", "unheard of", "german")
    with clock_at(NOON):
        found = lead(stack, email="silent@example.com")

    assert (found["reasons"], found["lines"]) == ([], [])
    assert found["note"] == "no rule matched"
    nothing = {"earned": 0, "points": 0}
    assert found["scorecard"]["score"] == 0
    assert found["scorecard"]["scores"] == {"interest": 0, "whole": 0}
    assert found["scorecard"]["dimensions"] == dict.fromkeys(SCORES["whole"], nothing)
    assert (found["scorecard"]["grade"], found["interactions"]) == ("F", 2)


@pytest.mark.parametrize("act", ["large", "page"])
def test_a_lead_with_a_reason_or_a_line_has_no_note(stack: LocalStack, act: str) -> None:
    post(stack, f"{act}.says@example.com", act)
    assert lead(stack, email=f"{act}.says@example.com")["note"] is None


# At another instant


def test_the_past_is_told_as_it_had_arrived_by_then(stack: LocalStack) -> None:
    email = "past@example.com"
    post(stack, email, "german", "fair", at=NOON)
    post(stack, email, "campaign", at=NOON + DAY)
    post(stack, email, "demo", "american", at=NOON + 2 * DAY)
    post(stack, email, "page", at=NOON + 60 * DAY)
    now = lead(stack, email=email)
    assert (now["stage"], now["cycle"]) == ("recycled", 2)

    told = {}
    for days in (-1, 0, 1, 2, 60):
        then = as_of(stack, now["id"], to_text(NOON + days * DAY))
        adds_up(then)
        told[days] = (
            then["stage"],
            then["cycle"],
            then["traits"].get("country"),
            then["interactions"],
            [change["to_stage"] for change in then["changes"]],
            then["scorecard"]["score"],
            then["updated_at"],
        )

    def at(days: int) -> str:
        return to_text(NOON + days * DAY)

    fair, demo = 12.345 * 0.5 ** (1 / 21), 60 * 0.5 ** (58 / 21)
    campaign = 80, 100 * 0.5 ** (59 / 30) + 1
    assert told == {
        -1: ("captured", 1, None, 0, [], 0, None),
        0: ("captured", 1, "DE", 2, [], 12.345, at(0)),
        1: ("engaged", 1, "DE", 3, ["engaged"], round(fair + campaign[0], 3), at(1)),
        2: ("mql", 1, "US", 5, ["engaged", "mql"], 140, at(2)),
        60: ("recycled", 2, "US", 6, ["engaged", "mql", "recycled"], told[60][5], at(60)),
    }
    assert told[60][5] == pytest.approx(campaign[1] + demo, abs=0.002)


def test_before_a_lead_was_there_it_had_done_nothing(stack: LocalStack) -> None:
    email = "unborn@example.com"
    post(stack, email, "campaign", "large", at=NOON)

    before = as_of(stack, lead(stack, email=email)["id"], to_text(NOON - timedelta(milliseconds=1)))

    assert (before["interactions"], before["traits"], before["changes"]) == (0, {}, [])
    assert (before["scorecard"]["score"], before["note"]) == (0, "no rule matched")
    assert before["updated_at"] is None


def test_before_a_lead_was_joined_it_had_nothing_of_the_other_nor_of_what_was_part_of_that(
    stack: LocalStack,
) -> None:
    whole, part, part_of_it = (f"{name}@joined.example" for name in ("whole", "part", "part-of-it"))
    for email in (whole, part, part_of_it):
        post(stack, email, "campaign", at=NOON)
    for days, into, other in ((1, part, part_of_it), (2, whole, part)):
        with clock_at(NOON + days * DAY):
            path = f"/leads/{lead(stack, email=into)['id']}/merges"
            assert stack.request("POST", path, {"email": other, "reason": "one"}).status == 200
    lead_id = lead(stack, email=whole)["id"]

    had = {days: as_of(stack, lead_id, to_text(NOON + days * DAY)) for days in (1, 1.5, 2)}

    assert [then["interactions"] for then in had.values()] == [1, 1, 3]
    assert [len(then["identities"]) for then in had.values()] == [0, 0, 2]


def test_the_future_is_told_as_it_comes_if_nothing_happens(stack: LocalStack) -> None:
    email = "future@example.com"
    post(stack, email, "campaign", "anniversary", at=NOON)
    lead_id = lead(stack, email=email)["id"]

    for days in (0, 10, 30, 365):
        then = as_of(stack, lead_id, to_text(NOON + days * DAY))
        adds_up(then)
        with clock_at(NOON + days * DAY):
            assert then == lead(stack, email=email)
    assert then["scorecard"]["dimensions"]["engagement"]["points"] == 0.022
    assert then["scorecard"]["at"] == to_text(NOON + 365 * DAY)


def test_what_arrives_late_is_worth_what_it_would_have_been(stack: LocalStack) -> None:
    """20 days late with a half-life of 30: 100 points are 50 after 30 days."""
    email = "late@example.com"
    post(stack, email, "campaign", at=NOON + 20 * DAY, occurred=NOON)
    lead_id = lead(stack, email=email)["id"]

    def engagement(days: int) -> float:
        then = as_of(stack, lead_id, to_text(NOON + days * DAY))
        earned: float = then["scorecard"]["dimensions"]["engagement"]["earned"]
        return earned

    assert [engagement(days) for days in (10, 19, 30, 60, 90)] == [0, 0, 50, 25, 12.5]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-05T12:00:00Z", "2026-03-05T12:00:00.000Z"),
        ("2026-03-05T12:00:00", "2026-03-05T12:00:00.000Z"),
        ("2026-03-05T12:00:00.1239Z", "2026-03-05T12:00:00.123Z"),
        ("2026-03-05T12:00:00+02:00", "2026-03-05T10:00:00.000Z"),
        ("2026-03-05T12:00:00%2B02:00", "2026-03-05T10:00:00.000Z"),
        ("2026-03-05T12:00:00-05:00", "2026-03-05T17:00:00.000Z"),
        ("2026-03-05", "2026-03-05T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
    ],
)
def test_an_instant_is_read_as_it_is_meant(stack: LocalStack, text: str, instant: str) -> None:
    email = "asked@example.com"
    if not any(i.get("email", {}).get("S") == email for i in stack.items("LEAD")):
        post(stack, email, *(act for act in ACTS if act != "unsubscribed"))

    then = as_of(stack, lead(stack, email=email)["id"], text)

    assert then["scorecard"]["at"] == instant
    adds_up(then)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "now",
        "1772452800",
        "2026-02-30T12:00:00Z",
        "2026-13-01",
        "2026-03-02T25:00:00Z",
        "2026-03-02T12:00:00+25:00",
        "-0044-03-15",
        "10000-01-01T00:00:00Z",
        "0001-01-01T00:00:00%2B14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-03-02T12:00:00Z&at=2026-03-03T12:00:00Z",
        "%C2%B2026-03-02",
        "%00",
        pytest.param("2" * 5000, id="long"),
    ],
)
def test_what_is_no_instant_is_named(stack: LocalStack, text: str) -> None:
    post(stack, "asked.badly@example.com", "page")
    lead_id = lead(stack, email="asked.badly@example.com")["id"]
    answer = stack.request("GET", f"/leads/{lead_id}", query=f"at={text}")
    assert (answer.status, answer.json()["code"], answer.json()["field"]) == (400, "invalid", "at")


# Any history

A_DAY = 24 * 60  # minutes

# Enough of what makes an MQL that some become one.
HISTORIES = st.lists(
    st.tuples(
        st.sampled_from([*sorted(ACTS), *["campaign", "demo", "german", "page"] * 4]),
        st.sampled_from([0, 1, 10, 60, A_DAY, 4 * A_DAY, 45 * A_DAY]),  # minutes before it
        st.sampled_from([0, 0, 1, A_DAY, 20 * A_DAY]),  # minutes on the way
        st.booleans(),
    ),
    min_size=4,
    max_size=9,
)
EXAMPLES = settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def live(stack: LocalStack, lead_id: str, at: datetime) -> Any:
    """Return the lead by its counters alone, as lists of leads show it."""
    private = stack.functions["leads"].module
    return json.loads(as_json(private.summary(private.store.lead(lead_id), at)))


# An MQL that cools down, hears of itself from everybody, and comes back.
RECYCLED = [
    ("campaign", 0, 0, True),
    ("demo", 60, 0, False),
    ("page", 45 * A_DAY, 0, False),
    ("german", 0, 20 * A_DAY, True),
    ("american", 1, 0, True),
    ("campaign", 4 * A_DAY, A_DAY, True),
    ("demo", 0, 20 * A_DAY, False),
    ("demo", 1, 1, True),
]


@EXAMPLES
@given(HISTORIES)
@example(RECYCLED)
def test_the_score_from_the_ledger_as_of_an_instant_is_the_live_score_at_that_instant(
    stack: LocalStack, history: list[tuple[str, int, int, bool]]
) -> None:
    email = f"lead{next(_numbers)}@gmx.de"
    clock, lead_id = NOON, ""
    shown: dict[str, Any] = {}
    for act, gap, late, secret in history:
        clock += timedelta(minutes=gap)
        post(stack, email, act, at=clock, occurred=clock - timedelta(minutes=late), secret=secret)
        lead_id = lead_id or lead(stack, email=email)["id"]
        for instant in (clock, clock + timedelta(minutes=gap / 2)):
            shown[to_text(instant)] = live(stack, lead_id, instant)
        clock += timedelta(minutes=gap / 2, milliseconds=1)

    for asked, summary in shown.items():
        then = as_of(stack, lead_id, asked)
        adds_up(then)
        assert {name: then[name] for name in summary} == summary
