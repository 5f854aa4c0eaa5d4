"""The whole life of a lead: up, down, recycled, back again, shut out and let in."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.local.engine import clock_at
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from leadscoring.interaction import to_text
from tests.flow.acts import lead_item
from tests.flow.asking import lead
from tests.flow.own_model import stack_with

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)

# With a half-life of ten days: 80 points are 40 after ten, and 20 after twenty.
MODEL = """
number = 1
name = "lives"
retention_days = 730
properties = []
traits = ["jobTitle", "country"]
dimensions.interest = { half_life_days = 10, cap = 300 }
scores.whole.dimensions = ["interest"]
grades = { A = 20, B = 10 }
recycling.cool_down_days = 14

[[rules]]
name = "page"
on = "Page Viewed"
points = 1
dimension = "interest"

[[rules]]
name = "form"
on = "Form Submitted"
points = 40
dimension = "interest"

[[rules]]
name = "demo"
on = "Demo Requested"
points = 60
dimension = "interest"

[[fit.rules]]
name = "dach"
when.country = ["DE"]
points = 10

[[fit.gates]]
name = "student"
when.jobTitle = [{ equals-ignore-case = "student" }]

[[fit.gates]]
name = "rival"
when.email.domain = ["rival.example"]

[[stages]]
name = "captured"

[[stages]]
name = "nurtured"
enter.score = 15
exit.below.score = 5

[[stages]]
name = "engaged"
enter.score = 40
exit.below.score = 20

[[stages]]
name = "mql"
enter.any = [{ score = 100 }, { seen.demo = 2 }]
enter_again.any = [{ score = 130 }, { seen.demo = 2 }]
exit.below.score = 30
"""

EVENTS = {"form": "Form Submitted", "demo": "Demo Requested"}


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL) as shared:
        yield shared


def act(stack: LocalStack, email: str, *names: str, days: float = 0) -> dict[str, Any]:
    """Let the lead do all this so many days after noon; return it as it then stands."""
    batch = [
        {"type": "track", "event": EVENTS[name], "userId": email}
        if name in EVENTS
        else {"type": name, "userId": email}
        for name in names
    ]
    with clock_at(NOON + days * DAY):
        answer = stack.request("POST", "/v1/batch", {"writeKey": PUBLIC_KEY, "batch": batch})
        assert answer.json() == {"success": True, "rejected": []}
        stack.pump()
        now: dict[str, Any] = lead(stack, email=email)
    return now


def told(
    stack: LocalStack, email: str, traits: dict[str, str], *, days: float = 0
) -> dict[str, Any]:
    """Let a server tell traits of the lead; return it as it then stands."""
    body = {"writeKey": SECRET_KEY, "userId": email, "traits": traits}
    with clock_at(NOON + days * DAY):
        assert stack.request("POST", "/v1/identify", body).status == 200
        stack.pump()
        now: dict[str, Any] = lead(stack, email=email)
    return now


def published(stack: LocalStack, email: str) -> list[tuple[str, str, int]]:
    """Return what was published of the lead: the kind, the stage, the cycle."""
    return [
        (m["type"].split(".")[2], m["data"]["stage"], m["data"]["cycle"])
        for m in stack.received
        if m["data"]["lead"]["email"] == email
    ]


def listed(stack: LocalStack, email: str) -> list[str]:
    """Return the stages under which the lead is listed."""
    stages = ["mql", "sql", "customer", "recycled", "disqualified"]
    return [
        stage
        for stage in stages
        for summary in stack.request("GET", "/leads", query=f"stage={stage}&limit=100").json()[
            "leads"
        ]
        if summary["email"] == email
    ]


# Up and down


def test_an_engaged_lead_falls_back_at_its_next_interaction_and_that_is_published(
    stack: LocalStack,
) -> None:
    email = "cooling@example.com"
    steps = [
        (0, "form", "engaged", 40),
        (9, "page", "engaged", 22.435),  # below the bar to enter, above the one to leave
        (12, "page", "nurtured", 19.223),
        (12.5, "page", "nurtured", 19.568),
        (40, "page", "captured", 3.909),
        (41, "form", "engaged", 43.647),
    ]
    for days, name, stage, score in steps:
        now = act(stack, email, name, days=days)
        assert (days, now["stage"], now["scorecard"]["score"]) == (days, stage, score)

    assert now["cycle"] == 1
    assert listed(stack, email) == []
    assert published(stack, email) == [
        ("stage_changed", stage, 1) for stage in ("engaged", "nurtured", "captured", "engaged")
    ]
    assert [change["why"] for change in now["changes"]] == [
        "score 40 reached 40",
        "score 19.223 is below 20",
        "score 3.909 is below 5",
        "score 43.647 reached 40",
    ]


def test_nothing_falls_while_nothing_happens(stack: LocalStack) -> None:
    """Stages are judged when something happens; the score that is shown is that of the day."""
    email = "idle@example.com"
    act(stack, email, "form", "form", "form")
    with clock_at(NOON + 365 * DAY):
        stack.pump()
        now = lead(stack, email=email)
    assert (now["stage"], now["scorecard"]["score"]) == ("mql", 0)


# Round again


def test_an_mql_that_cools_is_recycled_and_comes_back_over_a_higher_bar(stack: LocalStack) -> None:
    email = "round@example.com"
    act(stack, email, "form", "form", "form")
    assert listed(stack, email) == ["mql"]

    left = act(stack, email, "page", days=25)
    assert (left["stage"], left["cycle"], left["scorecard"]["score"]) == ("recycled", 2, 22.213)
    assert listed(stack, email) == ["recycled"]

    # Whatever it does: so long it stays, and so long nothing is published.
    cooling = act(stack, email, *["form"] * 4, days=38.99)
    assert (cooling["stage"], cooling["scorecard"]["score"] > 130) == ("recycled", True)
    # 100 were enough in the first cycle.
    hot = act(stack, email, "page", days=45)
    assert (hot["stage"], hot["scorecard"]["score"] > 100) == ("engaged", True)
    assert listed(stack, email) == []
    back = act(stack, email, "form", days=46)
    assert (back["stage"], back["cycle"]) == ("mql", 2)
    assert listed(stack, email) == ["mql"]

    assert published(stack, email) == [
        ("promoted", "mql", 1),
        ("stage_changed", "recycled", 2),
        ("stage_changed", "engaged", 2),
        ("promoted", "mql", 2),
    ]
    promoted = [m for m in stack.promoted().values() if m["data"]["lead"]["email"] == email]
    numbers = [change["number"] for change in back["changes"]]
    assert [m["id"] for m in promoted] == [f"{back['id']}:{numbers[n]}" for n in (0, 3)]
    assert [m["data"]["why"] for m in promoted] == [
        "score 120 reached 100",
        f"score {back['scorecard']['score']:g} reached 130",
    ]


def test_a_recycled_lead_waits_until_it_does_something_after_its_cool_down(
    stack: LocalStack,
) -> None:
    email = "waiting@example.com"
    act(stack, email, "form", "form", "form")
    left = act(stack, email, "page", days=25)
    assert left["changes"][-1]["at"] == to_text(NOON + 25 * DAY)
    assert lead_item(stack, email)["stage_since"] == {"S": to_text(NOON + 25 * DAY)}

    last = act(stack, email, "page", days=25 + 13.999)
    first = act(stack, email, "page", days=25 + 14)

    assert (last["stage"], first["stage"], first["cycle"]) == ("recycled", "captured", 2)
    assert first["changes"][-1]["why"] == "back after recycling"
    assert "stage_since" not in lead_item(stack, email)


def test_what_was_seen_in_an_earlier_cycle_is_not_seen_in_the_next(stack: LocalStack) -> None:
    email = "asks.again@example.com"
    act(stack, email, "demo")
    assert act(stack, email, "demo", days=1)["stage"] == "mql"
    assert act(stack, email, "page", days=50)["stage"] == "recycled"
    once = act(stack, email, "demo", days=70)
    twice = act(stack, email, "demo", days=71)

    assert (once["stage"], once["scorecard"]["score"] < 130) == ("engaged", True)
    assert (twice["stage"], twice["cycle"], twice["scorecard"]["score"] < 130) == ("mql", 2, True)
    assert [change["why"] for change in twice["changes"]][-1] == "demo seen 2 of 2"
    assert lead_item(stack, email)["seen:demo"] == {"N": "4"}


def test_a_third_cycle_follows_the_second(stack: LocalStack) -> None:
    email = "thrice@example.com"
    for cycle, days in enumerate([0, 100, 200], 1):
        now = act(stack, email, *["form"] * 4, days=days)
        assert (now["stage"], now["cycle"]) == ("mql", cycle)
        left = act(stack, email, "page", days=days + 40)
        assert (left["stage"], left["cycle"]) == ("recycled", cycle + 1)

    kinds = [kind for kind, _, _ in published(stack, email)]
    assert kinds == ["promoted", "stage_changed"] * 3
    ids = [m["id"] for m in stack.received if m["data"]["lead"]["email"] == email]
    assert len(set(ids)) == 6


# Gates


def test_who_passes_a_gate_is_shut_out_at_once_and_let_in_when_the_trait_changes(
    stack: LocalStack,
) -> None:
    email = "student@example.com"
    shut = told(stack, email, {"jobTitle": "Student", "country": "DE"})
    assert (shut["stage"], shut["scorecard"]["gate"]) == ("disqualified", "student")
    assert listed(stack, email) == ["disqualified"]
    assert act(stack, email, "demo", "demo", "demo", days=1)["stage"] == "disqualified"

    let_in = told(stack, email, {"jobTitle": "Head of IT"}, days=2)

    assert (let_in["stage"], let_in["cycle"], let_in["scorecard"]["gate"]) == ("mql", 1, None)
    assert listed(stack, email) == ["mql"]
    assert published(stack, email) == [
        ("stage_changed", "disqualified", 1),
        ("promoted", "mql", 1),
    ]
    changes = [(c["from_stage"], c["to_stage"], c["why"]) for c in let_in["changes"]]
    assert changes[0] == ("captured", "disqualified", "gate student")
    assert changes[1][:2] == ("disqualified", "mql")


def test_who_has_nothing_to_show_is_let_in_at_the_first_stage(stack: LocalStack) -> None:
    email = "poor.student@example.com"
    told(stack, email, {"jobTitle": "STUDENT"})
    let_in = told(stack, email, {"jobTitle": "Teacher"}, days=1)
    assert let_in["stage"] == "captured"
    assert [change["why"] for change in let_in["changes"]] == ["gate student", "no longer student"]
    assert "gate" not in lead_item(stack, email)


def test_an_mql_that_passes_a_gate_is_shut_out_and_begins_its_next_cycle(stack: LocalStack) -> None:
    email = "became.student@example.com"
    act(stack, email, "demo", "demo")
    shut = told(stack, email, {"jobTitle": "student"}, days=1)
    let_in = told(stack, email, {"jobTitle": "CTO"}, days=2)

    assert (shut["stage"], shut["cycle"]) == ("disqualified", 2)
    # Its demos were of the first cycle, and 104 points are not the 130 of the second.
    assert (let_in["stage"], let_in["cycle"]) == ("engaged", 2)
    assert [stage for _, stage, _ in published(stack, email)] == ["mql", "disqualified", "engaged"]


def test_a_rival_is_none_of_us_by_its_address_alone(stack: LocalStack) -> None:
    email = "spy@rival.example"
    assert act(stack, email, "demo", "demo")["stage"] == "disqualified"
    assert published(stack, email) == [("stage_changed", "disqualified", 1)]


# What subscribers filter by


@pytest.mark.parametrize(
    ("traits", "grade"),
    [
        ({"country": "DE"}, "B"),
        ({"country": "FR"}, "F"),
        ({"country": "DE", "jobTitle": "student"}, "F"),
    ],
)
def test_messages_carry_the_grade_as_an_attribute(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, traits: dict[str, str], grade: str
) -> None:
    sent: list[dict[str, Any]] = []
    sns = stack.functions["relay"].module.publisher._sns
    publish = sns.publish

    def overheard(**call: Any) -> Any:
        sent.append(call)
        return publish(**call)

    monkeypatch.setattr(sns, "publish", overheard)
    email = f"graded.{'.'.join(traits.values())}@example.com".lower()

    told(stack, email, traits)
    act(stack, email, "form", "demo", days=1)

    attributes = [
        {name: attribute["StringValue"] for name, attribute in call["MessageAttributes"].items()}
        for call in sent
    ]
    assert attributes
    assert {attribute["grade"] for attribute in attributes} == {grade}
    received = [m["data"]["grade"] for m in stack.received if m["data"]["lead"]["email"] == email]
    assert set(received) == {grade}


# A rescore


def test_nobody_decides_while_a_lead_is_paid_again_and_the_stream_does_after(
    stack: LocalStack,
) -> None:
    email = "rescored@example.com"
    before = act(stack, email, "page")
    store = stack.functions["leads"].module.store
    with clock_at(NOON):
        store.begin_rescore(before["id"], NOON + timedelta(minutes=5))
        stack.pump()

    blocked = act(stack, email, "demo", "demo", days=1 / 1440)
    assert (blocked["stage"], blocked["scorecard"]["score"] > 100) == ("captured", True)
    assert published(stack, email) == []

    with clock_at(NOON + timedelta(minutes=2)):
        store.end_rescore(before["id"])
        stack.pump()
    assert published(stack, email) == [("promoted", "mql", 1)]
    assert "rescoring_until" not in lead_item(stack, email)


def test_a_rescore_that_never_ended_holds_nobody_for_longer_than_it_said(stack: LocalStack) -> None:
    email = "abandoned@example.com"
    before = act(stack, email, "page")
    with clock_at(NOON):
        store = stack.functions["leads"].module.store
        store.begin_rescore(before["id"], NOON + timedelta(minutes=5))
        stack.pump()

    assert act(stack, email, "demo", "demo", days=4.99 / 1440)["stage"] == "captured"
    assert act(stack, email, "page", days=5 / 1440)["stage"] == "mql"


def test_a_rescore_brings_nobody_back_who_has_done_nothing(stack: LocalStack) -> None:
    email = "nothing.done@example.com"
    act(stack, email, "form", "form", "form")
    left = act(stack, email, "page", days=25)
    store = stack.functions["leads"].module.store
    with clock_at(NOON + 100 * DAY):
        store.begin_rescore(left["id"], NOON + 101 * DAY)
        store.end_rescore(left["id"])
        stack.pump()

    assert lead(stack, email=email)["changes"] == left["changes"]
    assert act(stack, email, "page", days=101)["stage"] == "captured"
