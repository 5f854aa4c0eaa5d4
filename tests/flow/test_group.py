"""What is known of a lead's company and of its consent, and what a changed trait changes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.local.engine import clock_at
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from tests.flow.acts import Message
from tests.flow.asking import everything, lead, ledger
from tests.flow.own_model import stack_with

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

MODEL = """
number = 1
name = "groups"
retention_days = 365
properties = []
traits = ["jobTitle", "employees", "group.name", "group.employees", "group.industry"]
dimensions.interest = { half_life_days = 30 }
scores.whole.dimensions = ["interest"]
grades = { A = 40, B = 20, C = 10 }

[[rules]]
name = "demo"
on = "Demo Requested"
points = 60
dimension = "interest"

[[rules]]
name = "software"
on = "Grouped"
when.traits.group.industry = ["Software"]
points = 5
dimension = "interest"

[[fit.rules]]
name = "large"
when.group.employees = [{ numeric = [">=", 50] }]
points = 20

[[fit.rules]]
name = "decides"
when.jobTitle = [{ prefix = "Head" }]
points = 20

[[fit.rules]]
name = "freelancer"
when.employees = [1]
points = -10

[[stages]]
name = "captured"

[[stages]]
name = "engaged"
enter.score = 20

[[stages]]
name = "mql"
enter = { score = 50, grade = ["A", "B"], not.consent = false }
exit.any = [{ below.score = 10 }, { consent = false }]
"""

ACME = {"name": "ACME", "employees": 250, "industry": "Software"}
HEAD = {"jobTitle": "Head of IT"}
KNOWN = {f"group.{name}": value for name, value in ACME.items()}


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL) as shared:
        yield shared


def post(
    stack: LocalStack, call: str, body: Message, at: datetime = NOON, key: str = PUBLIC_KEY
) -> Any:
    with clock_at(at):
        answer = stack.request("POST", f"/v1/{call}", {"writeKey": key, **body})
        stack.pump()
    assert answer.status == 200, answer.body
    return answer.json()


def group(
    stack: LocalStack, email: str, traits: object, *, at: datetime = NOON, key: str = PUBLIC_KEY
) -> None:
    post(stack, "group", {"userId": email, "groupId": "g-1", "traits": traits}, at, key)


def identify(
    stack: LocalStack, email: str, traits: object, *, at: datetime = NOON, key: str = PUBLIC_KEY
) -> None:
    post(stack, "identify", {"userId": email, "traits": traits}, at, key)


def demo(stack: LocalStack, email: str, at: datetime = NOON) -> None:
    post(stack, "track", {"userId": email, "event": "Demo Requested"}, at)


def stages(stack: LocalStack, email: str) -> list[str]:
    return [change["to_stage"] for change in lead(stack, email=email)["changes"]]


# The call


@pytest.mark.parametrize("call", ["group", "g", "batch", "b"])
@pytest.mark.parametrize("key", [PUBLIC_KEY, SECRET_KEY])
def test_what_a_group_call_says_stands_under_group(stack: LocalStack, call: str, key: str) -> None:
    email = f"{call}.{key}@example.com"
    message: Message = {"type": "group", "userId": email, "groupId": "g-1", "traits": ACME}
    body = {"batch": [message]} if call.startswith("b") else message

    post(stack, call, body, key=key)

    assert lead(stack, email=email)["traits"] == KNOWN
    (entry,) = ledger(stack, email=email)
    assert (entry["name"], entry["traits"]) == ("Grouped", KNOWN)
    assert [payment["rule"] for payment in entry["paid"]] == ["software"]


@pytest.mark.parametrize(
    "traits",
    [
        {"plan": "enterprise", "jobTitle": "Head of all", "consent": True, "group.name": "X"},
        {"name": None, "employees": [250], "industry": {"code": 62}},
        {"name": "", "employees": 2**60},
        {"group": {"name": "ACME"}},
    ],
)
def test_of_a_company_only_the_traits_that_the_model_names_are_kept(
    stack: LocalStack, traits: dict[str, object]
) -> None:
    email = f"dropped.{'.'.join(traits)}@example.com".lower()
    group(stack, email, traits)

    assert lead(stack, email=email)["traits"] == {}
    (entry,) = ledger(stack, email=email)
    assert entry["traits"] == {}


def test_a_company_and_a_person_of_one_word_are_two(stack: LocalStack) -> None:
    email = "two@example.com"
    identify(stack, email, {"employees": 1})
    group(stack, email, {"employees": 250}, at=NOON + HOUR)
    told = {"traits": {"name": "ACME"}, "context": {"traits": {**HEAD, "employees": 2}}}
    post(stack, "group", {"userId": email, **told}, at=NOON + 2 * HOUR)

    assert lead(stack, email=email)["traits"] == {
        "employees": 2,
        "jobTitle": "Head of IT",
        "group.employees": 250,
        "group.name": "ACME",
    }


@pytest.mark.parametrize(
    "who", [{"userId": "u-1"}, {"anonymousId": "a-1"}, {"userId": "u-2", "anonymousId": "a-2"}]
)
def test_the_address_of_a_company_is_never_that_of_a_lead(
    stack: LocalStack, who: dict[str, str]
) -> None:
    traits = {**ACME, "email": f"info@{'.'.join(who.values())}.example"}
    post(stack, "group", {"groupId": "g-1", "traits": traits, **who})

    found = lead(stack, **dict(list(who.items())[:1]))
    assert (found["email"], found["traits"]) == (None, KNOWN)
    answer = stack.request("POST", "/leads/find", {"email": traits["email"]})
    assert answer.status == 404


def test_a_group_call_that_names_nobody_but_its_company_is_refused(stack: LocalStack) -> None:
    before = everything(stack)
    message: Message = {"type": "group", "groupId": "g-1", "traits": {"email": "info@acme.example"}}
    answer = stack.request("POST", "/v1/group", {"writeKey": PUBLIC_KEY, **message})
    assert (answer.status, answer.json()["field"]) == (400, "userId")
    assert everything(stack) == before

    batch = [message, {"type": "page", "userId": "u-9"}]
    (rejected,) = post(stack, "batch", {"batch": batch})["rejected"]
    assert (rejected["index"], rejected["field"]) == (0, "userId")


@pytest.mark.parametrize("place", ["context", "properties"])
def test_a_group_call_can_name_its_lead_by_address_elsewhere(stack: LocalStack, place: str) -> None:
    email = f"{place}@example.com"
    told = {"email": email} if place == "properties" else {"traits": {"email": email}}
    traits = {**ACME, "email": "info@acme.example"}
    post(stack, "group", {"userId": "u-3", "traits": traits, place: told})
    assert lead(stack, email=email)["traits"] == KNOWN


def test_a_visitor_can_not_say_otherwise_of_a_company_than_a_server(stack: LocalStack) -> None:
    email = "trusted@example.com"
    group(stack, email, {"employees": 250}, key=SECRET_KEY)
    group(stack, email, {"employees": 3, "name": "Evil Corp"}, at=NOON + HOUR)
    identify(stack, email, {"group.employees": 4}, at=NOON + HOUR)
    assert lead(stack, email=email)["traits"] == {
        "group.employees": 250,
        "group.name": "Evil Corp",
    }


def test_a_repeat_tells_no_other_traits_whatever_comes_with_it(stack: LocalStack) -> None:
    """The first wins, also where the repeat arrives in a request beside something new."""
    email = "repeated@example.com"
    first: Message = {"type": "group", "userId": email, "messageId": "m-1", "traits": ACME}
    post(stack, "batch", {"batch": [first]})
    other = {**first, "traits": {"employees": 5, "industry": "Banking"}}
    new = {"type": "group", "userId": email, "messageId": "m-2", "traits": {"name": "ACME Ltd"}}

    post(stack, "batch", {"batch": [other, new]}, at=NOON + HOUR)
    post(stack, "batch", {"batch": [other]}, at=NOON + 2 * HOUR)

    found = lead(stack, email=email)
    assert found["traits"] == KNOWN | {"group.name": "ACME Ltd"}
    told = [entry["traits"] for entry in ledger(stack, email=email)]
    assert told == [KNOWN, {"group.name": "ACME Ltd"}]


# What a changed trait changes


def test_the_grade_follows_the_traits(stack: LocalStack) -> None:
    email = "graded@example.com"
    changes: list[tuple[dict[str, object], dict[str, object], str]] = [
        ({}, {"name": "ACME"}, "F"),
        ({}, {"employees": 49}, "F"),
        ({}, {"employees": 50}, "B"),
        ({"jobTitle": "Head of IT"}, {}, "A"),
        ({"employees": 1}, {}, "B"),
        ({"employees": 2}, {"employees": "250"}, "B"),
        ({"jobTitle": "Assistant"}, {}, "F"),
    ]
    for hour, (own, companys, grade) in enumerate(changes):
        if own:
            identify(stack, email, own, at=NOON + hour * HOUR)
        if companys:
            group(stack, email, companys, at=NOON + hour * HOUR)
        assert lead(stack, email=email)["scorecard"]["grade"] == grade, (own, companys)


@pytest.mark.parametrize("call", ["group", "identify"])
def test_a_changed_trait_alone_makes_a_lead_an_mql(stack: LocalStack, call: str) -> None:
    email = f"by.{call}@example.com"
    demo(stack, email)
    assert stages(stack, email) == ["engaged"]

    if call == "group":
        group(stack, email, {"employees": 250}, at=NOON + HOUR)
    else:
        identify(stack, email, HEAD, at=NOON + HOUR)

    (promoted,) = [m for m in stack.promoted().values() if m["data"]["lead"]["email"] == email]
    assert promoted["time"].startswith("2026-03-02T13:00:00")
    assert promoted["data"]["grade"] == "B"
    assert promoted["data"]["why"] == "score 59.942 reached 50 and grade B and nothing against it"
    assert len(promoted["data"]["lead"]["traits"]) == 1
    assert stages(stack, email) == ["engaged", "mql"]


# Consent


def test_consent_given_or_withdrawn_decides_where_the_model_asks_for_it(stack: LocalStack) -> None:
    email = "consent@example.com"
    identify(stack, email, {**HEAD, "consent": False})
    demo(stack, email, at=NOON + HOUR)
    assert stages(stack, email) == []
    identify(stack, email, {"consent": True}, at=NOON + 2 * HOUR)
    demo(stack, email, at=NOON + 2 * HOUR)
    assert stages(stack, email) == ["mql"]
    identify(stack, email, {"consent": False}, at=NOON + 3 * HOUR)

    now = lead(stack, email=email)
    assert (now["stage"], now["cycle"], now["traits"]["consent"]) == ("recycled", 2, False)
    assert [change["why"] for change in now["changes"]][-1] == "consent withdrawn"


@pytest.mark.parametrize("said", ["yes", "true", "on", 1, "false", 0, "", None])
def test_only_true_and_false_are_consent(stack: LocalStack, said: object) -> None:
    """What is neither leaves the promotion to the rest: nothing was withdrawn, nor given."""
    email = f"said.{said}@example.com".lower()
    identify(stack, email, {**HEAD, "consent": said})
    demo(stack, email, at=NOON + HOUR)
    identify(stack, email, {"consent": said}, at=NOON + 2 * HOUR)
    assert stages(stack, email) == ["mql"]


def test_a_visitor_can_not_give_the_consent_that_a_server_says_is_withdrawn(
    stack: LocalStack,
) -> None:
    email = "objected@example.com"
    identify(stack, email, {**HEAD, "consent": False}, key=SECRET_KEY)
    demo(stack, email, at=NOON + HOUR)
    identify(stack, email, {"consent": True}, at=NOON + 2 * HOUR)

    demo(stack, email, at=NOON + 3 * HOUR)

    found = lead(stack, email=email)
    assert (found["traits"]["consent"], found["scorecard"]["score"]) == (False, 0)
    assert stages(stack, email) == []
