"""What a rule may pay one lead: whoever sends it, in whatever cuts, and at no second round trip."""

import importlib
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from infra.local import gateway
from infra.local.engine import clock_at
from infra.local.gateway import Request
from infra.local.stack import BROWSER, PUBLIC_KEY, SECRET_KEY, Function, LocalStack
from tests.flow.acts import Message, allowances, counters, ledger_sums, ledger_uses, send
from tests.flow.asking import lead, ledger
from tests.flow.own_model import deploy, stack_with

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
RETENTION_DAYS = 365
PERIODS = ["hour", "day", "week", "month", "ever"]

# Points that stay: what was paid is what the lead has.
MODEL = f"""
number = 1
name = "limits"
retention_days = {RETENTION_DAYS}
properties = ["title"]
traits = ["country"]
dimensions.interest = {{}}

[[rules]]
name = "click"
on = "Email Link Clicked"
points = 3
dimension = "interest"
limit = {{ points = 10, per = "week" }}

[[rules]]
name = "attended"
on = "Webinar Attended"
points = 20
dimension = "interest"
limit = {{ times = 1, per = "day" }}

[[rules]]
name = "listened"
on = "Webinar Attended"
points_from = {{ property = "minutes", factor = 0.5, max = 30 }}
dimension = "interest"
limit = {{ points = 25, per = "ever" }}

[[rules]]
name = "paper"
on = "Content Downloaded"
points = 15
dimension = "interest"
limit = {{ times = 1, per = "ever", by = "title" }}

[[rules]]
name = "complaint"
on = "Complained"
points = -5
dimension = "interest"
trusted = true
limit = {{ points = 8, per = "day" }}

[[stages]]
name = "captured"

[[stages]]
name = "mql"
enter.score = 100000
""" + "".join(
    f"""
[[rules]]
name = "per-{period}"
on = "Per {period}"
points = 5
dimension = "interest"
limit = {{ times = 2, per = "{period}" }}
"""
    for period in PERIODS
)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL) as shared:
        yield shared


def act(number: int, event: str, **properties: object) -> Message:
    id_ = f"m-{number:03d}"
    return {"type": "track", "event": event, "messageId": id_, "properties": properties}


def post(
    stack: LocalStack, email: str, *messages: Message, at: datetime = NOON, secret: bool = False
) -> None:
    with clock_at(at):
        send(stack, [{**message, "userId": email} for message in messages], secret=secret)


def paid(stack: LocalStack, email: str) -> list[float]:
    """Return what each of the lead's interactions was paid, in the order of their ids."""
    return [sum(p["points"] for p in entry["paid"]) for entry in ledger(stack, email=email)]


def agree(stack: LocalStack, email: str) -> None:
    """Assert that counters and allowances are what the ledger adds up to."""
    assert counters(stack, email) == ledger_sums(stack, email)
    assert allowances(stack, email) == ledger_uses(stack, email)


def transactions(stack: LocalStack) -> list[int]:
    """Start collect cold; return a list that grows by the actions of each transaction it tries."""
    stack.functions["collect"] = cold("collect")
    client = stack.functions["collect"].module.store._table._dynamodb
    write = client.transact_write_items
    sizes: list[int] = []

    def counted(**request: Any) -> Any:
        sizes.append(len(request["TransactItems"]))
        return write(**request)

    client.transact_write_items = counted
    return sizes


def cold(name: str) -> Function:
    sys.modules.pop(name, None)
    return Function(importlib.import_module(name))


# Windows: the first and the last instant of one, and the first of the next one

WINDOWS = {
    "hour": ("2026-03-02T10:00:00.000Z", "2026-03-02T10:59:59.999Z", "2026-03-02T11:00:00.000Z"),
    "day": ("2026-03-02T00:00:00.000Z", "2026-03-02T23:59:59.999Z", "2026-03-03T00:00:00.000Z"),
    "week": ("2026-12-28T00:00:00.000Z", "2027-01-03T23:59:59.999Z", "2027-01-04T00:00:00.000Z"),
    "month": ("2026-12-01T00:00:00.000Z", "2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00.000Z"),
}


@pytest.mark.parametrize("counted", ["by arrival", "by occurrence"])
@pytest.mark.parametrize("period", WINDOWS)
def test_a_window_pays_its_allowance_and_the_next_one_pays_again(
    stack: LocalStack, period: str, counted: str
) -> None:
    secret = counted == "by occurrence"
    email = f"{period}.{secret}@example.com".lower()
    first, last, following = map(datetime.fromisoformat, WINDOWS[period])
    for number, at in enumerate([first, last, last, following]):
        message = act(number, f"Per {period}")
        if secret:  # a server tells a day later when it happened
            message["timestamp"] = at.isoformat()
        post(stack, email, message, at=at + DAY if secret else at, secret=secret)

    assert paid(stack, email) == [5, 5, 0, 5]
    agree(stack, email)
    expiries = [int(i["expires_at"]["N"]) for i in stack.items(f"LIMIT#per-{period}#")]
    assert int(following.timestamp()) + (RETENTION_DAYS + 1) * 86400 == min(expiries)


def test_an_allowance_for_ever_is_never_forgotten_and_never_renewed(stack: LocalStack) -> None:
    email = "ever@example.com"
    for number, days in enumerate([0, 800, 1600, 5000]):
        post(stack, email, act(number, "Per ever"), at=NOON + timedelta(days=days))

    assert paid(stack, email) == [5, 5, 0, 0]
    agree(stack, email)
    (limit,) = stack.items("LIMIT#per-ever#")
    assert "expires_at" not in limit


def test_a_window_is_one_of_utc_whatever_offset_the_sender_writes(stack: LocalStack) -> None:
    email = "offset@example.com"
    stated = ["2026-03-01T00:30:00+02:00", "2026-02-28T01:00:00Z", "2026-02-27T20:00:00-05:00"]
    for number, at in enumerate([*stated, "2026-03-01T00:30:00Z"]):
        post(stack, email, {**act(number, "Per day"), "timestamp": at}, secret=True)

    assert paid(stack, email) == [5, 5, 0, 5]


# What an allowance is of


@pytest.mark.parametrize(
    ("event", "minutes", "points", "used"),
    [
        ("Email Link Clicked", [None] * 5, [3, 3, 3, 1, 0], [3, 3, 3, 1, 0]),
        ("Complained", [None] * 3, [-5, -3, 0], [5, 3, 0]),
        ("Webinar Attended", [25, 25, 25], [32.5, 12.5, 0], [12.5, 12.5, 0]),
        ("Webinar Attended", [45.5, 0, 45.5, 1], [42.75, 0, 2.25, 0], [22.75, 0, 2.25, 0]),
    ],
)
def test_a_limit_of_points_pays_the_last_one_in_part(
    stack: LocalStack,
    event: str,
    minutes: list[float | None],
    points: list[float],
    used: list[float],
) -> None:
    email = f"part.{event}.{len(minutes)}@example.com".replace(" ", "-").lower()
    for number, long in enumerate(minutes):
        post(stack, email, act(number, event, minutes=long), secret=True)

    assert paid(stack, email) == points
    limited = [entry["paid"][-1] for entry in ledger(stack, email=email)]
    assert [payment["used"] for payment in limited] == used
    assert sum(points) == lead(stack, email=email)["scorecard"]["dimensions"]["interest"]["earned"]
    agree(stack, email)


def test_what_a_limit_took_stands_in_the_ledger_beside_what_it_left(stack: LocalStack) -> None:
    email = "told@example.com"
    post(stack, email, *(act(number, "Email Link Clicked") for number in range(5)))

    payments = [entry["paid"][0] for entry in ledger(stack, email=email)]
    assert [(p["points"], p["unlimited"]) for p in payments] == [
        *[(3, None)] * 3,
        (1, 3),
        (0, 3),
    ]
    assert {p["rule"]: counters(stack, email)[f"seen:{p['rule']}"] for p in payments} == {
        "click": 5
    }


@pytest.mark.parametrize("sent", ["one by one", "together"])
def test_each_value_of_a_property_has_an_allowance_of_its_own(stack: LocalStack, sent: str) -> None:
    email = f"by.{sent.replace(' ', '.')}@example.com"
    titles: list[object] = ["A", "B", "A", 1, "1", True, 1, None, None, ["A"], {"a": 1}, "B"]
    messages = [act(n, "Content Downloaded", title=title) for n, title in enumerate(titles)]
    messages.append(act(len(titles), "Content Downloaded"))
    for part in [messages] if sent == "together" else [[message] for message in messages]:
        post(stack, email, *part)

    # No title, and a title of null, are one and the same.
    assert paid(stack, email) == [15, 15, 0, 15, 15, 15, 0, 15, 0, 15, 15, 0, 0]
    agree(stack, email)


def test_two_limits_on_one_interaction_are_kept_each_for_itself(stack: LocalStack) -> None:
    email = "two@example.com"
    for number in range(3):
        post(stack, email, act(number, "Webinar Attended", minutes=20), at=NOON + number * DAY / 2)

    by_rule = [{p["rule"]: p["points"] for p in e["paid"]} for e in ledger(stack, email=email)]
    assert by_rule == [
        {"attended": 20, "listened": 10},  # Monday noon
        {"attended": 20, "listened": 10},  # midnight, which is Tuesday
        {"attended": 0, "listened": 5},
    ]
    agree(stack, email)


def test_each_lead_has_its_own_allowance(stack: LocalStack) -> None:
    emails = [f"own{number}@example.com" for number in range(3)]
    messages = [
        {**act(10 * turn + number, "Per day"), "userId": email}
        for turn in range(3)
        for number, email in enumerate(emails)
    ]
    with clock_at(NOON):
        send(stack, messages)

    assert [paid(stack, email) for email in emails] == [[5, 5, 0]] * 3


# When: the public's arrival, a server's word


def test_a_history_that_a_server_imports_at_once_is_paid_day_by_day(stack: LocalStack) -> None:
    email = "imported@example.com"
    days = [NOON - day * DAY for day in range(10) for _ in range(4)]
    history = [
        {**act(number, "Per day"), "timestamp": at.isoformat()} for number, at in enumerate(days)
    ]
    post(stack, email, *history, secret=True)

    assert paid(stack, email) == [5, 5, 0, 0] * 10
    assert set(allowances(stack, email).values()) == {Decimal(2)}
    agree(stack, email)


@pytest.mark.parametrize("stated", ["timestamp", "originalTimestamp"])
def test_a_visitor_who_states_other_days_is_paid_for_one(stack: LocalStack, stated: str) -> None:
    email = f"{stated}@example.com".lower()
    days = [NOON - day * DAY for day in range(10)]
    history = [{**act(n, "Per day"), stated: at.isoformat()} for n, at in enumerate(days)]
    post(stack, email, *history[:5])
    for message in history[5:]:
        post(stack, email, message)

    assert paid(stack, email) == [5, 5] + [0] * 8
    (name,) = allowances(stack, email)
    assert name.endswith("#2026-03-02")
    agree(stack, email)


# Transactions


def test_interactions_of_one_request_share_a_limit_in_one_transaction(stack: LocalStack) -> None:
    email = "shared@example.com"
    sizes = transactions(stack)
    post(stack, email, *(act(number, "Per day") for number in range(5)))

    assert sizes == [5 + 1 + 1]
    assert paid(stack, email) == [5, 5, 0, 0, 0]
    agree(stack, email)


def test_a_reached_limit_costs_one_container_one_second_round_trip(stack: LocalStack) -> None:
    email = "reached@example.com"
    tries = []
    for start in (0, 10, 20):
        sizes = transactions(stack)
        for number in range(4):
            post(stack, email, act(start + number, "Per day"))
        tries.append(sizes)

    within, refused, known = [3], [3, 2], [2]
    assert tries == [
        # The third is the first one too many; the fourth is known to be.
        [*within, *within, *refused, *known],
        [*refused, *known, *known, *known],
        [*refused, *known, *known, *known],
    ]
    assert paid(stack, email) == [5, 5] + [0] * 10
    agree(stack, email)


def test_a_limit_that_a_container_knows_to_be_reached_is_one_of_that_window_and_lead(
    stack: LocalStack,
) -> None:
    sizes = transactions(stack)
    for number in range(3):
        post(stack, "known@example.com", act(number, "Per day"))
    post(stack, "known@example.com", act(3, "Per day"), at=NOON + DAY)
    post(stack, "unknown@example.com", act(0, "Per day"))

    assert sizes == [3, 3, 3, 2, 3, 3]
    assert paid(stack, "known@example.com") == [5, 5, 0, 5]
    assert paid(stack, "unknown@example.com") == [5]


def test_repeats_and_reached_limits_are_refused_in_one_transaction(stack: LocalStack) -> None:
    email = "both@example.com"
    post(stack, email, *(act(number, "Per day") for number in range(2)))
    post(stack, email, act(2, "Email Link Clicked"))
    sizes = transactions(stack)
    repeated = stack.metrics["Duplicates"]
    mixed = [
        act(0, "Per day"),
        act(3, "Per day"),
        act(2, "Email Link Clicked"),
        act(4, "Content Downloaded", title="A"),
        *(act(number, "Email Link Clicked") for number in range(5, 9)),
    ]
    post(stack, email, *mixed)

    # All 8 with three limits; 6 without the repeats and the reached one; the clicks in part.
    assert sizes == [8 + 3 + 1, 6 + 2 + 1]
    assert paid(stack, email) == [5, 5, 3, 0, 15, 3, 3, 1, 0]
    assert stack.metrics["Duplicates"] - repeated == 2
    agree(stack, email)


def test_a_request_of_repeats_alone_changes_nothing(stack: LocalStack) -> None:
    email = "again@example.com"
    messages = [act(number, "Per day") for number in range(3)]
    post(stack, email, *messages)
    before = sorted(stack.items(""), key=str)
    for _ in range(2):
        sizes = transactions(stack)
        post(stack, email, *messages)
        assert len(sizes) == 1

    assert sorted(stack.items(""), key=str) == before


def test_a_batch_of_many_allowances_is_cut_into_transactions_that_hold_them(
    stack: LocalStack,
) -> None:
    email = "many@example.com"
    titles = [f"paper {number}" for number in range(60)]
    messages = [
        act(number, "Content Downloaded", title=title) for number, title in enumerate(titles * 2)
    ]
    sizes = transactions(stack)
    post(stack, email, *messages)

    assert sizes[0] == 99  # 49 papers, each with its allowance, and the lead
    assert max(sizes) <= 100
    assert counters(stack, email) == {
        "points:interest": 15 * 60 * 10**6,
        "seen:paper": 120,
        "interactions": 120,
    }
    agree(stack, email)
    post(stack, email, *reversed(messages))
    assert counters(stack, email)["interactions"] == 120


# Editions of a rule


def test_a_rule_that_is_edited_counts_its_limit_anew_and_others_go_on(stack: LocalStack) -> None:
    """Model 2 pays 7 for what is done daily, and says the rest as before."""
    email = "edited@example.com"
    daily = 'on = "Per day"\npoints = '
    edited = MODEL.replace("number = 1", "number = 2").replace(f"{daily}5", f"{daily}7")
    acts = ["Per day", "Per day", "Per day", "Per week"]
    post(stack, email, *(act(number, event) for number, event in enumerate(acts)))
    deploy(stack, edited)
    post(stack, email, *(act(4 + number, event) for number, event in enumerate(acts)))
    post(stack, email, act(8, "Per week"))
    deploy(stack, MODEL)
    post(stack, email, act(9, "Per day"))

    assert paid(stack, email) == [5, 5, 0, 5, 7, 7, 0, 5, 0, 0]
    assert [entry["model"] for entry in ledger(stack, email=email)] == [1] * 4 + [2] * 5 + [1]
    assert sorted(allowances(stack, email).values()) == [2, 2, 2]
    agree(stack, email)


# Many at once

CALLERS, CONTAINERS, TURNS = 64, 16, 3


def test_sixty_four_callers_at_one_lead_are_paid_exactly_the_limits(stack: LocalStack) -> None:
    email = "busy@example.com"
    containers = [cold("collect") for _ in range(CONTAINERS)]

    def call(caller: int) -> set[int]:
        container, statuses = containers[caller % CONTAINERS], set()
        for turn in range(TURNS):
            batch = [
                {**act(0, "Per day"), "messageId": f"mine-{caller}-{turn}"},
                {**act(0, "Email Link Clicked"), "messageId": f"ours-{caller // 2}-{turn}"},
                {
                    **act(0, "Content Downloaded", title=f"paper {(caller + turn) % 7}"),
                    "messageId": f"paper-{caller}-{turn}",
                },
            ]
            # In another order at each, so that each meets others' repeats and limits elsewhere.
            batch = batch[caller % 3 :] + batch[: caller % 3]
            messages = [{**message, "userId": email} for message in batch]
            key = SECRET_KEY if caller % 4 < 2 else PUBLIC_KEY
            body = json.dumps({"writeKey": key, "batch": messages}).encode()
            request = Request("POST", "/v1/batch", "", {"user-agent": BROWSER}, body, NOON)
            answer = gateway.answer(request, stack.template.routes, lambda _, e: container(e))
            statuses.add(answer.status)
        return statuses

    with ThreadPoolExecutor(CALLERS) as threads:
        answers = list(threads.map(call, range(CALLERS)))

    assert answers == [{200}] * CALLERS
    agree(stack, email)
    by_rule: dict[str, list[Decimal]] = {}
    for name, used in allowances(stack, email).items():
        by_rule.setdefault(name.partition("#")[0], []).append(used)
    assert by_rule == {"per-day": [2], "click": [10], "paper": [1] * 7}
    assert counters(stack, email) == {
        "points:interest": (2 * 5 + 10 + 7 * 15) * 10**6,
        "seen:per-day": CALLERS * TURNS,
        "seen:click": CALLERS * TURNS // 2,
        "seen:paper": CALLERS * TURNS,
        "interactions": CALLERS * TURNS * 5 // 2,
    }
