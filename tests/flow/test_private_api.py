"""The private API: who is where, and why; by IAM alone."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from infra.local.engine import clock_at
from infra.local.stack import LocalStack, local_stack
from leadscoring.interaction import to_text
from leadscoring.keys import SecretKey
from tests.flow.acts import ACTS, send
from tests.flow.asking import lead

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PEOPLE = ["zoe", "adam", "mia", "ben", "lea", "kim", "tom"]


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """Seven leads become MQLs, one an hour; Ida comes back on five days and asks for nothing."""
    with local_stack() as shared:
        for hour, name in enumerate(PEOPLE):
            with clock_at(NOON + timedelta(hours=hour)):
                send(shared, [{**ACTS["demo"], "userId": f"{name}@example.com"}])
                shared.pump()
        for day in range(5):
            with clock_at(NOON + timedelta(days=day)):
                send(shared, [{**ACTS["webinar"], "userId": "ida-42", "messageId": f"day-{day}"}])
        yield shared


def get(stack: LocalStack, path: str, **query: object) -> Any:
    return stack.request("GET", path, query="&".join(f"{k}={v}" for k, v in query.items()))


def pages(stack: LocalStack, path: str, of: str, limit: int) -> list[list[Any]]:
    """Follow the cursors to the end."""
    found: list[list[Any]] = []
    query: dict[str, object] = {"limit": limit}
    while len(found) <= len(PEOPLE):
        page = get(stack, path, **query).json()
        found.append(page[of])
        if page["next"] is None:
            return found
        query["cursor"] = quote(page["next"])
    pytest.fail("the cursors never end")


def cursor_of(value: object) -> str:
    return quote(base64.urlsafe_b64encode(json.dumps(value).encode()))


def test_every_route_to_leads_needs_iam_and_no_other_does(stack: LocalStack) -> None:
    routes = stack.template.routes
    assert {route.key for route in routes if route.iam} == {
        "GET /leads",
        "POST /leads/find",
        "GET /leads/{id}",
        "GET /leads/{id}/ledger",
        "POST /leads/{id}/adjustments",
        "POST /leads/{id}/decisions",
        "POST /leads/{id}/merges",
        "POST /leads/{id}/unmerges",
        "DELETE /leads/{id}",
        "POST /leads/erase",
        "GET /leads/{id}/export",
    }
    assert {route.function for route in routes if route.iam} == {"leads"}
    signed = {"GET /d/{token}", "POST /d/{token}"}
    opened = {route.key: route.function for route in routes if not route.iam}
    assert {key for key, function in opened.items() if function == "leads"} == signed
    assert set(opened.values()) == {"collect", "leads"}


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ({"userId": "Jane@Example.com "}, {"email": "jane@example.COM"}),
        ({"userId": "Joe@Example.com"}, {"userId": "joe@example.com"}),
        ({"userId": "u-1", "traits": {"email": "jim@example.com"}}, {"email": "jim@example.com"}),
        ({"userId": "u-2"}, {"userId": "u-2"}),
        ({"anonymousId": "a-1"}, {"anonymousId": "a-1"}),
    ],
)
def test_a_lead_is_found_by_what_its_messages_call_it(
    stack: LocalStack, sent: dict[str, Any], asked: dict[str, str]
) -> None:
    send(stack, [{"type": "identify", **sent}])

    found = lead(stack, **asked)

    assert found["interactions"] == 1
    assert get(stack, f"/leads/{found['id']}").json()["id"] == found["id"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/leads/find", {"email": "nobody@example.com"}),
        ("POST", "/leads/find", {"userId": "day-1"}),
        ("POST", "/leads/find", {"anonymousId": "ida-42"}),
        ("GET", f"/leads/{'0' * 32}", b""),
        ("GET", "/leads/zoe%40example.com", b""),
        ("GET", f"/leads/{'0' * 32}/ledger", b""),
    ],
)
def test_a_lead_that_nobody_knows_is_not_found(
    stack: LocalStack, method: str, path: str, body: object
) -> None:
    answer = stack.request(method, path, body)
    assert (answer.status, answer.json()["code"]) == (404, "unknown_lead")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "email"),
        ({"email": "jane"}, 400, "email"),
        ({"email": 5}, 400, "email"),
        ({"userId": None}, 400, "email"),
        ([], 400, "body"),
        (b"email=zoe@example.com", 400, "body"),
        (b"\xff\xfe", 400, "body"),
        (b"", 400, "body"),
        ({"email": "x" * 32_000}, 413, "body"),
    ],
)
def test_a_question_that_names_nobody_is_refused(
    stack: LocalStack, body: object, status: int, field: str
) -> None:
    answer = stack.request("POST", "/leads/find", body)
    assert (answer.status, answer.json()["field"]) == (status, field)


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_all_pages_together_are_all_mqls_the_longest_waiting_first(
    stack: LocalStack, limit: int
) -> None:
    found = pages(stack, "/leads", "leads", limit)

    assert all(len(page) <= limit for page in found)
    emails = [summary["email"] for page in found for summary in page]
    assert emails == [f"{name}@example.com" for name in PEOPLE]
    assert {summary["stage"] for page in found for summary in page} == {"mql"}


@pytest.mark.parametrize("limit", [2, 5])
def test_all_pages_of_a_ledger_together_are_the_ledger(stack: LocalStack, limit: int) -> None:
    ida = lead(stack, userId="ida-42")["id"]
    found = pages(stack, f"/leads/{ida}/ledger", "interactions", limit)

    assert all(len(page) <= limit for page in found)
    assert [e["message_id"] for page in found for e in page] == [f"day-{n}" for n in range(5)]
    payment = found[0][0]["paid"][0]
    assert (payment["rule"], payment["points"], payment["counter"]) == (
        "webinar-attended",
        25,
        "points:engagement:30d:2026",
    )
    assert payment["units"] > 25 * 10**6


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *(("limit", text) for text in ["0", "101", "-1", "1.5", "ten", "", "%C2%B2", "1&limit=2"]),
        ("limit", "0000000010000"),
        pytest.param("limit", "9" * 5_000, id="limit-long"),
        *(("cursor", text) for text in ["", "x", "%FF", "W1tb", cursor_of(5), cursor_of([])]),
        *(("cursor", cursor_of(key)) for key in [{}, {"pk": "x"}, ["pk", "sk"], "pk"]),
        pytest.param("cursor", quote(base64.urlsafe_b64encode(b"[" * 6_000)), id="cursor-deep"),
    ],
)
@pytest.mark.parametrize("path", ["/leads", "/leads/{ida}/ledger"])
def test_a_limit_or_cursor_that_is_none_is_named(
    stack: LocalStack, path: str, field: str, text: str
) -> None:
    ida = lead(stack, userId="ida-42")["id"]
    answer = get(stack, path.format(ida=ida), **{field: text})
    assert (answer.status, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize("stage", ["engaged", "captured", "vip", ""])
def test_only_stages_from_mql_on_are_listed(stack: LocalStack, stage: str) -> None:
    answer = get(stack, "/leads", stage=stage)
    assert (answer.status, answer.json()["field"]) == (400, "stage")


def test_points_fade_while_the_reasons_remember_what_they_were(stack: LocalStack) -> None:
    with clock_at(NOON):
        send(stack, [{**ACTS["webinar"], "userId": "uma@example.com"}])
        send(stack, [{**ACTS["form"], "userId": "uma@example.com"}], secret=True)
    cards, reasons = [], []
    for days in (0, 21, 30):
        with clock_at(NOON + timedelta(days=days)):
            uma = lead(stack, email="uma@example.com")
        cards.append({name: d["points"] for name, d in uma["scorecard"]["dimensions"].items()})
        reasons.append({r["rule"]: (r["points"], r["points_now"]) for r in uma["reasons"]})
        assert uma["scorecard"]["score"] == pytest.approx(sum(cards[-1].values()), abs=0.001)

    assert cards[0] == {"engagement": 25, "intent": 40}
    assert cards[1] == {"engagement": pytest.approx(25 * 0.5**0.7, abs=0.001), "intent": 20}
    assert reasons[0] == {"form": (40, 40), "webinar-attended": (25, 25)}
    assert reasons[2]["webinar-attended"] == (25, 12.5)
    trusts = {r["rule"]: r["trust"] for r in uma["reasons"]}
    assert trusts == {"form": "trusted", "webinar-attended": "public"}


def test_a_secret_key_that_came_before_all_others_leaves_room_for_them(stack: LocalStack) -> None:
    store = stack.functions["collect"].module.store
    stack.dynamodb.put_item(
        TableName=stack.table_name,
        Item={"pk": {"S": "KEYS"}, "sk": {"S": "KEYS"}, f"secret:{'a' * 64}": {"S": to_text(NOON)}},
    )
    made = store.keys()
    assert made.secrets == (SecretKey("a" * 64, NOON),)
    assert len(made.lead_ids) == 32
    assert made == store.keys()
