"""Points that somebody gives or takes by hand: with author and reason, once, and by nobody else."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.engine import clock_at
from infra.local.gateway import Answer
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from tests.flow.acts import allowances, counters, ledger_sums, send
from tests.flow.asking import everything, lead, ledger
from tests.flow.own_model import stack_with

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PRINCIPAL = "arn:aws:iam::123456789012:user/local"

MODEL = """
number = 1
name = "adjusted"
retention_days = 365
properties = ["points", "dimension", "reason"]
traits = ["country"]
dimensions.interest = { half_life_days = 30, cap = 120 }
dimensions.loyalty = { expires_months = 6 }

[[rules]]
name = "page"
on = "Page Viewed"
points = 10
dimension = "interest"

[[stages]]
name = "captured"

[[stages]]
name = "engaged"
enter.score = 50
exit.below.score = 25

[[stages]]
name = "mql"
enter.score = 100
exit.below.score = 30
"""

MET = {"points": 25, "dimension": "interest", "reason": "met at a fair", "author": "Jana"}


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL) as shared:
        yield shared


def known(stack: LocalStack, email: str) -> str:
    """Let the lead view a page at noon, and return its id."""
    with clock_at(NOON):
        send(stack, [{"type": "page", "userId": email, "messageId": "page"}])
        stack.pump()
    found: str = lead(stack, email=email)["id"]
    return found


def ask(stack: LocalStack, lead_id: str, body: object, at: datetime = NOON) -> Answer:
    with clock_at(at):
        answer = stack.request("POST", f"/leads/{lead_id}/adjustments", body)
        stack.pump()
    return answer


def adjust(stack: LocalStack, lead_id: str, at: datetime = NOON, **given: object) -> dict[str, Any]:
    answer = ask(stack, lead_id, {**MET, **given}, at)
    assert answer.status == 200, answer.body
    adjusted: dict[str, Any] = answer.json()
    return adjusted


def score(stack: LocalStack, email: str, at: datetime = NOON) -> float:
    with clock_at(at):
        points: float = lead(stack, email=email)["scorecard"]["score"]
    return points


# What it is


def test_an_adjustment_stands_in_the_ledger_with_author_reason_and_who_sent_it(
    stack: LocalStack,
) -> None:
    email = "told@example.com"
    answer = adjust(stack, known(stack, email), at=NOON + DAY, messageId="fair-1")

    (entry,) = [e for e in ledger(stack, email=email) if e["trust"] == "staff"]
    assert (entry["message_id"], entry["name"], entry["model"]) == ("fair-1", "Adjusted", 1)
    assert entry["occurred_at"] == entry["received_at"] == "2026-03-03T12:00:00.000Z"
    assert entry["properties"] == {
        "points": 25,
        "dimension": "interest",
        "author": "Jana",
        "principal": PRINCIPAL,
        "reason": "met at a fair",
    }
    (payment,) = entry["paid"]
    assert (payment["rule"], payment["points"]) == ("adjustment", 25)
    assert payment["counter"] == "points:interest:30d:2026"
    (reason,) = [reason for reason in answer["reasons"] if reason["rule"] == "adjustment"]
    assert (reason["name"], reason["trust"], reason["points_now"]) == ("Adjusted", "staff", 25)
    assert answer["interactions"] == 2


def test_without_an_author_it_is_whoever_sent_it(stack: LocalStack) -> None:
    email = "anonymous.author@example.com"
    body = {name: value for name, value in MET.items() if name != "author"}
    assert ask(stack, known(stack, email), body).status == 200

    (entry,) = [e for e in ledger(stack, email=email) if e["trust"] == "staff"]
    assert entry["properties"]["author"] == entry["properties"]["principal"] == PRINCIPAL


@pytest.mark.parametrize(
    ("points", "at_once", "a_half_life_later"),
    [(25, 35, 17.5), (0.124, 10.124, 5.062), (-4, 6, 3), (-25, 0, 0), (1000, 120, 120)],
)
def test_its_points_count_and_fade_like_all_others(
    stack: LocalStack, points: float, at_once: float, a_half_life_later: float
) -> None:
    email = f"points{points}@example.com"
    lead_id = known(stack, email)

    adjusted = adjust(stack, lead_id, points=points)

    assert adjusted["scorecard"]["score"] == score(stack, email) == at_once
    assert score(stack, email, at=NOON + 30 * DAY) == a_half_life_later
    assert counters(stack, email) == ledger_sums(stack, email)
    assert counters(stack, email)["seen:adjustment"] == 1
    assert allowances(stack, email) == {}


def test_points_where_points_expire_end_with_them(stack: LocalStack) -> None:
    email = "loyal@example.com"
    adjust(stack, known(stack, email), dimension="loyalty")

    loyalty = []
    for month in (3, 9, 10):
        with clock_at(datetime(2026, month, 30, tzinfo=UTC)):
            card = lead(stack, email=email)["scorecard"]
        loyalty.append(card["dimensions"]["loyalty"]["points"])
    assert loyalty == [25, 25, 0]


def test_it_moves_the_lead_through_the_stream_like_everything_else(stack: LocalStack) -> None:
    email = "moved@example.com"
    lead_id = known(stack, email)
    adjusted = adjust(stack, lead_id, points=95, messageId="up")
    assert adjusted["stage"] == "captured"  # as committed: the stream comes after
    adjust(stack, lead_id, points=-80, messageId="down", at=NOON + DAY)

    now = lead(stack, email=email)
    assert [change["to_stage"] for change in now["changes"]] == ["mql", "recycled"]
    published = [m for m in stack.received if m["data"]["lead"]["id"] == lead_id]
    assert [message["type"] for message in published] == [
        "mqlambda.lead.promoted.v1",
        "mqlambda.lead.stage_changed.v1",
    ]
    reasons = published[0]["data"]["reasons"]
    assert [(r["rule"], r["points_now"], r["trust"]) for r in reasons] == [
        ("adjustment", 95, "staff"),
        ("page", 10, "public"),
    ]
    assert published[0]["data"]["trusted_share"] == pytest.approx(95 / 105, abs=0.001)


def test_a_lead_without_an_address_can_be_adjusted_but_never_promoted(stack: LocalStack) -> None:
    send(stack, [{"type": "page", "anonymousId": "a-1"}])
    lead_id = lead(stack, anonymousId="a-1")["id"]

    adjust(stack, lead_id, points=1000)

    now = lead(stack, anonymousId="a-1")
    assert (now["stage"], now["email"]) == ("engaged", None)


# Once


@pytest.mark.parametrize(
    "again", [{}, {"reason": "met again", "points": 40}, {"dimension": "loyalty", "author": None}]
)
def test_the_same_id_again_is_the_same_success_and_counts_once(
    stack: LocalStack, again: dict[str, object]
) -> None:
    email = f"once{len(again)}.{'author' in again}@example.com".lower()
    lead_id = known(stack, email)
    first = adjust(stack, lead_id, messageId="fair-1")
    table = sorted(everything(stack), key=str)
    conflicts = stack.metrics["Conflicting"]

    answer = ask(stack, lead_id, {**MET, "messageId": "fair-1", **again})
    assert (answer.status, answer.json()) == (200, first)

    assert sorted(everything(stack), key=str) == table
    assert stack.metrics["Conflicting"] == conflicts  # a visitor's metric: this is no visitor
    assert score(stack, email) == 35


def test_without_an_id_each_request_is_one_of_its_own_however_often_it_is_delivered(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = "requests@example.com"
    lead_id = known(stack, email)
    invoke = stack.invoke

    def twice(function: str, event: dict[str, Any]) -> Any:
        if function == "leads":
            invoke(function, event)
        return invoke(function, event)

    adjust(stack, lead_id)
    adjust(stack, lead_id)
    assert score(stack, email) == 60
    monkeypatch.setattr(stack, "invoke", twice)
    adjust(stack, lead_id)
    assert score(stack, email) == 85


def test_an_id_is_the_leads_own(stack: LocalStack) -> None:
    emails = ["one@example.com", "other@example.com"]
    for email in emails:
        adjust(stack, known(stack, email), messageId="fair-1")
    assert [score(stack, email) for email in emails] == [35, 35]


# What is refused


@pytest.mark.parametrize("lead_id", ["0" * 32, "jane", "x" * 5000])
def test_a_lead_that_nobody_knows_can_not_be_adjusted(stack: LocalStack, lead_id: str) -> None:
    before = everything(stack)
    answer = ask(stack, lead_id, MET)
    assert (answer.status, answer.json()["code"]) == (404, "unknown_lead")
    assert everything(stack) == before


MISSING = object()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("dimension", value) for value in ["fit", "score", "", "Interest", None, 5, MISSING]),
        *(("reason", value) for value in ["", "  ", None, ["why"], "x" * 501, MISSING]),
        *(("points", value) for value in [1000.001, -1001, 0.0001, "many", None, [5], MISSING]),
        *(("points", value) for value in [True, "NaN", "Infinity", "1e400", 10**400, {}]),
        *(("author", value) for value in ["x" * 201, ["Jana"], {}]),
        *(("messageId", value) for value in ["", "x" * 129, ["m"]]),
    ],
    ids=lambda value: "missing" if value is MISSING else str(value)[:12],
)
def test_what_is_wrong_is_named_and_changes_nothing(
    stack: LocalStack, field: str, value: object
) -> None:
    lead_id = known(stack, "unharmed@example.com")
    before = everything(stack)
    body = {name: v for name, v in {**MET, field: value}.items() if v is not MISSING}

    answer = ask(stack, lead_id, body)

    assert (answer.status, answer.json()["field"]) == (400, field), answer.body
    assert answer.json()["message"]
    assert everything(stack) == before


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"[]", 400), (b"points=5", 400), (b"\xff", 400), (b"{" * 40_000, 413)],
)
def test_a_body_that_is_none_is_refused(stack: LocalStack, body: bytes, status: int) -> None:
    answer = ask(stack, known(stack, "unharmed@example.com"), body)
    assert (answer.status, answer.json()["field"]) == (status, "body")


def test_points_can_not_be_taken_where_points_expire(stack: LocalStack) -> None:
    """The score would rise by itself on the day when the penalty ends."""
    lead_id = known(stack, "unharmed@example.com")
    before = everything(stack)

    answer = ask(stack, lead_id, {**MET, "dimension": "loyalty", "points": -1})

    assert (answer.status, answer.json()["field"]) == (400, "points")
    assert everything(stack) == before


def test_a_busy_table_asks_to_send_it_again_and_then_counts_it_once(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    email = "busy@example.com"
    lead_id = known(stack, email)
    table = stack.functions["leads"].module.store.ledger._table
    response: Any = {"Error": {"Code": "ThrottlingException", "Message": ""}}

    def throttled(**_: object) -> None:
        raise ClientError(response, "TransactWriteItems")

    with monkeypatch.context() as patched:
        patched.setattr(table, "_budget_seconds", 0)
        patched.setattr(table._dynamodb, "transact_write_items", throttled)
        answer = ask(stack, lead_id, {**MET, "messageId": "fair-1"})
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "busy"
    assert score(stack, email) == 10

    adjust(stack, lead_id, messageId="fair-1")
    assert score(stack, email) == 35


# By nobody else


@pytest.mark.parametrize("key", [PUBLIC_KEY, SECRET_KEY])
def test_no_key_can_forge_one(stack: LocalStack, key: str) -> None:
    email = f"{key}@example.com"
    lead_id = known(stack, email)
    adjust(stack, lead_id, messageId="fair-1")
    forged: dict[str, Any] = {
        "type": "track",
        "userId": email,
        "event": "Adjusted",
        "trust": "staff",
        "properties": {**MET, "points": 500, "principal": PRINCIPAL, "trust": "staff"},
        "context": {"trust": "staff"},
    }
    ids = ["fair-1", "staff#fair-1", "x#staff#y", "#staff#fair-2", "adjustment"]
    for id_ in ids:
        message = {**forged, "writeKey": key, "messageId": id_}
        with clock_at(NOON):
            assert stack.request("POST", "/v1/track", message).status == 200
    with clock_at(NOON):
        batch = {"writeKey": key, "batch": [{**forged, "messageId": f"batch-{i}"} for i in ids]}
        assert stack.request("POST", "/v1/batch", batch).json()["rejected"] == []

    assert score(stack, email) == 35
    entries = ledger(stack, email=email)
    assert [e["message_id"] for e in entries if e["trust"] == "staff"] == ["fair-1"]
    assert len(entries) == 2 + 2 * len(ids)
    assert all(
        e["paid"] == [] for e in entries if e["name"] == "Adjusted" and e["trust"] != "staff"
    )
    assert counters(stack, email)["seen:adjustment"] == 1


@pytest.mark.parametrize("key", [PUBLIC_KEY, SECRET_KEY])
def test_the_route_is_no_call_of_the_public_api(stack: LocalStack, key: str) -> None:
    lead_id = known(stack, "unharmed@example.com")
    before = everything(stack)
    for path in ("/v1/adjustments", "/v1/adjust", f"/v1/leads/{lead_id}/adjustments"):
        assert stack.request("POST", path, {"writeKey": key, **MET}).status == 404
    assert everything(stack) == before
