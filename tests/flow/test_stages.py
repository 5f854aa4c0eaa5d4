"""How a lead moves through the stages, what that publishes, and what can't move it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from infra.local.engine import clock_at
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack, local_stack
from tests.flow.acts import ACTS
from tests.flow.asking import lead, ledger

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MONTH = timedelta(days=30)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with local_stack() as shared:
        yield shared


def act(
    stack: LocalStack, email: str, *names: str, at: datetime = NOON, key: str = PUBLIC_KEY
) -> dict[str, Any]:
    """Let the lead do all this at one instant, deliver the stream, and return the lead."""
    batch = [{**ACTS[name], "userId": email} for name in names]
    with clock_at(at):
        answer = stack.request("POST", "/v1/batch", {"writeKey": key, "batch": batch})
        assert answer.json() == {"success": True, "rejected": []}
        stack.pump()
        found: dict[str, Any] = lead(stack, email=email)
    return found


def told_of(stack: LocalStack, email: str) -> list[dict[str, Any]]:
    """Return what the customer received about this lead, in order."""
    return [message for message in stack.received if message["data"]["lead"]["email"] == email]


def test_each_stage_on_the_way_to_mql_is_published_once(stack: LocalStack) -> None:
    email = "step.by.step@example.com"
    steps = [
        ("click", "captured", 3),
        ("whitepaper", "nurtured", 18),
        ("click", "nurtured", 21),
        ("newsletter", "nurtured", 31),
        ("webinar", "engaged", 56),
        ("form", "engaged", 96),
        ("pricing", "mql", 105),
        ("webinar", "mql", 128),
    ]

    for name, stage, score in steps:
        now = act(stack, email, name)
        assert (name, now["stage"], now["scorecard"]["score"]) == (name, stage, score)

    kinds = [(message["type"], message["data"]["stage"]) for message in told_of(stack, email)]
    assert kinds == [
        ("mqlambda.lead.stage_changed.v1", "nurtured"),
        ("mqlambda.lead.stage_changed.v1", "engaged"),
        ("mqlambda.lead.promoted.v1", "mql"),
    ]
    sequence = [message["data"]["sequence"] for message in told_of(stack, email)]
    assert sequence == [sequence[0], sequence[0] + 1, sequence[0] + 2]
    assert [change["to_stage"] for change in now["changes"]] == ["nurtured", "engaged", "mql"]
    assert all(change["published_as"] for change in now["changes"])


def test_a_jump_to_mql_publishes_the_promotion_alone(stack: LocalStack) -> None:
    act(stack, "jump@example.com", "demo")

    (message,) = told_of(stack, "jump@example.com")
    assert message["type"] == "mqlambda.lead.promoted.v1"
    assert message["data"]["previous_stage"] == "captured"


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["demo"], "demo-requested seen 1 of 1"),
        (["form", "form", "webinar"], "score 105 reached 100"),
        (["form", "form", "demo"], "score 120 reached 100"),
    ],
)
def test_a_promotion_says_whether_points_or_a_criterion_made_it(
    stack: LocalStack, names: list[str], why: str
) -> None:
    email = f"why.{'.'.join(names)}@example.com"
    act(stack, email, *names)
    assert [message["data"]["why"] for message in told_of(stack, email)] == [why]


@pytest.mark.parametrize(
    "who",
    [{"anonymousId": "a-1"}, {"anonymousId": "ghost@example.com"}, {"userId": "4711"}],
)
def test_a_lead_without_an_address_is_never_promoted(
    stack: LocalStack, who: dict[str, str]
) -> None:
    acts = ["demo", "form", "form", "webinar", "webinar", "webinar"]
    batch = [{**ACTS[name], **who} for name in acts]
    for key in (PUBLIC_KEY, SECRET_KEY):
        stack.request("POST", "/v1/batch", {"writeKey": key, "batch": batch})
        stack.pump()

    ghost = lead(stack, **who)
    assert ghost["email"] is None
    assert ghost["scorecard"]["score"] > 190
    assert ghost["stage"] == "engaged"
    listed = stack.request("GET", "/leads", query="limit=100").json()["leads"]
    assert ghost["id"] not in [summary["id"] for summary in listed]


def test_only_a_server_can_take_points_away(stack: LocalStack) -> None:
    email = "leaving@example.com"
    act(stack, email, "webinar", "webinar", "pricing")

    score = [
        act(stack, email, "unsubscribed", key=key)["scorecard"]["score"]
        for key in (PUBLIC_KEY, SECRET_KEY)
    ]

    assert score == [59, 29]
    gone = [entry for entry in ledger(stack, email=email) if entry["name"] == "Unsubscribed"]
    assert [(entry["trust"], [p["points"] for p in entry["paid"]]) for entry in gone] == [
        ("public", []),
        ("trusted", [-30]),
    ]


def test_a_dimension_counts_from_zero_to_its_cap(stack: LocalStack) -> None:
    low = act(stack, "low@example.com", "pricing", "unsubscribed", key=SECRET_KEY)
    high = act(stack, "high@example.com", *["webinar"] * 6, *["pricing"] * 2)

    assert low["scorecard"]["dimensions"] == {
        "engagement": {"earned": -29, "points": 0},
        "intent": {"earned": 8, "points": 8},
    }
    assert low["scorecard"]["score"] == 8
    assert high["scorecard"]["dimensions"]["engagement"] == {"earned": 152, "points": 80}
    assert (high["scorecard"]["score"], high["stage"]) == (96, "engaged")


def test_a_lead_is_promoted_by_what_its_points_are_worth_now(stack: LocalStack) -> None:
    email = "slow@example.com"
    early = act(stack, email, "webinar", "webinar", "webinar", at=NOON)
    middle = act(stack, email, "form", at=NOON + MONTH)
    late = act(stack, email, "form", at=NOON + MONTH)

    assert [early["scorecard"]["score"], early["stage"]] == [75, "engaged"]
    assert [middle["scorecard"]["score"], middle["stage"]] == [77.5, "engaged"]
    assert [late["scorecard"]["score"], late["stage"]] == [117.5, "mql"]
    assert [m["data"]["score"] for m in told_of(stack, email)] == [75, 117.5]


CLAIMS = {
    "server, early": (SECRET_KEY, -5, {"company": "ACME", "employees": 100}),
    "server, late": (SECRET_KEY, -3, {"employees": 120}),
    "visitor, early": (PUBLIC_KEY, -4, {"company": "Evil Corp", "country": "FR", "phone": "1"}),
    "visitor, late": (PUBLIC_KEY, -1, {"employees": 9, "country": "DE", "shoeSize": 44}),
    "visitor, at once": (PUBLIC_KEY, -1, {"country": "AT", "phone": ""}),
}


@pytest.mark.parametrize(
    ("number", "order"), list(enumerate(permutations(CLAIMS)))[::4], ids=lambda x: str(x)
)
def test_a_trait_is_what_the_best_source_said_last_in_whatever_order_it_arrives(
    stack: LocalStack, number: int, order: tuple[str, ...]
) -> None:
    email = f"traits{number}@example.com"
    for name in order:
        key, days, traits = CLAIMS[name]
        stated = (NOON + timedelta(days=days)).isoformat()
        message = {"writeKey": key, "userId": email, "traits": traits, "timestamp": stated}
        with clock_at(NOON):
            assert stack.request("POST", "/v1/identify", message).status == 200

    assert lead(stack, email=email)["traits"] == {
        "company": "ACME",
        "employees": 120,
        "country": "DE",
        "phone": "1",
    }


def test_the_promotion_carries_the_traits_that_are_known(stack: LocalStack) -> None:
    email = "known@example.com"
    traits = {"firstName": "Jörg", "employees": 250, "country": "DE", "vip": True}
    identify = {"writeKey": PUBLIC_KEY, "userId": email, "traits": traits}
    stack.request("POST", "/v1/identify", identify)
    act(stack, email, "demo")

    (message,) = told_of(stack, email)
    assert message["data"]["lead"]["traits"] == {
        "firstName": "Jörg",
        "employees": 250,
        "country": "DE",
    }
