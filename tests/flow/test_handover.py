"""Hand-over to sales: decisions by people, by API and by signed links, and what nobody decides."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from infra.local.engine import clock_at
from infra.local.gateway import Answer
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from leadscoring.interaction import to_text
from tests.flow.acts import lead_item
from tests.flow.asking import everything, lead
from tests.flow.own_model import stack_with

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PRINCIPAL = "arn:aws:iam::123456789012:user/local"

# With a half-life of ten days: 110 points are 30 after 18.7 days.
MODEL = """
number = 1
name = "handed over"
retention_days = 730
properties = []
traits = ["consent"]
dimensions.interest = { half_life_days = 10, cap = 300 }
recycling.cool_down_days = 14
reply.hours = 48
rules = [
  { name = "demo", on = "Demo Requested", points = 110, dimension = "interest" },
  { name = "form", on = "Form Submitted", points = 40, dimension = "interest" },
]

[[stages]]
name = "captured"

[[stages]]
name = "engaged"
enter.score = 40
exit.below.score = 20

[[stages]]
name = "mql"
enter.score = 100
enter_again.score = 130
exit.below.score = 30
"""

people = (f"{number}@example.com" for number in range(1_000))


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL) as shared:
        yield shared


@pytest.fixture
def email() -> str:
    return next(people)


def act(stack: LocalStack, email: str, *names: str, days: float = 0) -> dict[str, Any]:
    """Let the lead do all this so many days after noon; return it as it then stands."""
    batch = [{"type": "track", "event": name, "userId": email} for name in names]
    with clock_at(NOON + days * DAY):
        sent = {"writeKey": PUBLIC_KEY, "batch": batch}
        assert stack.request("POST", "/v1/batch", sent).status == 200
        stack.pump()
    return seen(stack, email, days)


def object_to_it(stack: LocalStack, email: str, days: float = 0, *, consent: bool = False) -> None:
    sent = {"writeKey": SECRET_KEY, "userId": email, "traits": {"consent": consent}}
    with clock_at(NOON + days * DAY):
        assert stack.request("POST", "/v1/identify", sent).status == 200


def consent_again(stack: LocalStack, email: str, days: float) -> None:
    object_to_it(stack, email, days, consent=True)
    with clock_at(NOON + days * DAY):
        stack.pump()


def seen(stack: LocalStack, email: str, days: float = 0) -> dict[str, Any]:
    with clock_at(NOON + days * DAY):
        now: dict[str, Any] = lead(stack, email=email)
    return now


def decide(stack: LocalStack, email: str, said: Mapping[str, object], days: float = 0) -> Answer:
    """Decide over the private API."""
    with clock_at(NOON + days * DAY):
        answer = stack.request("POST", f"/leads/{lead(stack, email=email)['id']}/decisions", said)
        stack.pump()
    return answer


def mql(stack: LocalStack, email: str) -> dict[str, Any]:
    now = act(stack, email, "Demo Requested")
    assert now["stage"] == "mql"
    return now


def told(stack: LocalStack, email: str) -> list[tuple[str, str, int]]:
    """Return what was published of the lead: the kind, the stage, the cycle."""
    return [
        (m["type"].split(".")[2], m["data"]["stage"], m["data"]["cycle"])
        for m in stack.received
        if m["data"]["lead"]["email"] == email
    ]


def sweep(stack: LocalStack, days: float) -> None:
    """Run the schedule so many days after noon, and then the stream."""
    (schedule,) = stack.template.schedules
    with clock_at(NOON + days * DAY):
        stack.run_schedule(schedule)
        stack.pump()


# Decisions by people with keys

REASON = {"reason": "no budget"}
REJECTED = {"decision": "reject", **REASON}


@pytest.mark.parametrize(
    ("decisions", "stage", "cycle"),
    [
        ([{"decision": "accept"}], "sql", 1),
        ([REJECTED], "recycled", 2),
        ([{"decision": "accept"}, REJECTED], "recycled", 2),
        ([{"decision": "disqualify", **REASON}], "disqualified", 2),
        ([{"decision": "customer"}], "customer", 1),
        ([{"decision": "accept"}, {"decision": "customer"}], "customer", 1),
    ],
)
def test_people_decide_on_an_mql_and_the_world_is_told(
    stack: LocalStack, email: str, decisions: list[dict[str, str]], stage: str, cycle: int
) -> None:
    mql(stack, email)
    for said in decisions:
        answer = decide(stack, email, {"author": "Kim", **said}, days=1)
        assert answer.status == 200, answer.body

    now = answer.json()
    assert (now["stage"], now["cycle"]) == (stage, cycle)
    assert told(stack, email)[-1] == ("stage_changed", stage, cycle)
    assert len(told(stack, email)) == 1 + len(decisions)
    change = now["changes"][-1]
    assert (change["who"], change["at"]) == (f"Kim ({PRINCIPAL})", "2026-03-03T12:00:00.000Z")
    assert change["why"] == decisions[-1].get("reason", change["why"])


def test_who_was_rejected_is_opened_again_in_the_next_cycle(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    decide(stack, email, REJECTED)
    now = decide(stack, email, {"decision": "reopen"}, days=1).json()
    assert (now["stage"], now["cycle"], now["changes"][-1]["who"]) == ("captured", 3, PRINCIPAL)


@pytest.mark.parametrize("decision", ["accept", "reject", "customer", "reopen"])
def test_what_is_not_possible_is_a_conflict_that_names_the_stage(
    stack: LocalStack, email: str, decision: str
) -> None:
    act(stack, email, "Form Submitted")
    before = everything(stack)

    answer = decide(stack, email, {"decision": decision, **REASON})

    assert (answer.status, answer.json()) == (
        409,
        {
            "code": "not_possible",
            "field": "decision",
            "stage": "engaged",
            "message": "the lead is at engaged",
        },
    )
    assert everything(stack) == before


def test_a_request_that_is_repeated_decides_once(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    said = {"decision": "accept", "requestId": "r-1"}
    first, second = decide(stack, email, said), decide(stack, email, said, days=1)

    assert (first.status, second.status) == (200, 200)
    assert first.json()["changes"] != []
    assert [c["to_stage"] for c in second.json()["changes"]] == ["mql", "sql"]
    assert decide(stack, email, {**said, "requestId": "r-2"}).status == 409
    assert len(told(stack, email)) == 2


def test_a_request_that_is_repeated_after_a_merge_changes_nothing(
    stack: LocalStack, email: str
) -> None:
    twin = next(people)
    lead_id, twin_id = (act(stack, one, "Demo Requested")["id"] for one in (email, twin))
    fair = {"points": 20, "dimension": "interest", "reason": "met at the fair"}
    requests = {
        "decisions": {"decision": "reject", "reason": "no budget", "requestId": "r-1"},
        "adjustments": {**fair, "messageId": "a-1"},
    }

    def ask() -> None:
        for route, said in requests.items():
            assert stack.request("POST", f"/leads/{twin_id}/{route}", said).status == 200

    with clock_at(NOON):
        ask()
        one_person = {"other": twin_id, "reason": "one person"}
        assert stack.request("POST", f"/leads/{lead_id}/merges", one_person).status == 200
        before = lead(stack, email=email)
        ask()
        assert lead(stack, email=email) == before
    assert before["stage"] == "mql"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"decision": "reject"}, "reason"),
        ({"decision": "disqualify", "reason": "  "}, "reason"),
        ({"decision": "promote"}, "decision"),
        ({}, "decision"),
        ({"decision": "accept", "requestId": ""}, "requestId"),
        ({"decision": "accept", "author": "x" * 201}, "author"),
    ],
)
def test_a_decision_that_is_none_names_the_field(
    stack: LocalStack, email: str, said: dict[str, object], field: str
) -> None:
    mql(stack, email)
    answer = decide(stack, email, said)
    assert (answer.status, answer.json()["field"]) == (400, field)
    assert seen(stack, email)["stage"] == "mql"


def test_nobody_decides_on_a_lead_that_is_not_there(stack: LocalStack) -> None:
    answer = stack.request("POST", f"/leads/{'0' * 32}/decisions", {"decision": "accept"})
    assert answer.status == 404


# Decisions by whoever has the link


def links(stack: LocalStack, email: str) -> dict[str, str]:
    """Return the paths of the links in the last message about the lead."""
    (*_, message) = (m for m in stack.received if m["data"]["lead"]["email"] == email)
    base = "http://127.0.0.1:8000"
    found: dict[str, str] = message["data"]["decide"]
    assert all(link.startswith(f"{base}/d/") for link in found.values())
    return {kind: link.removeprefix(base) for kind, link in found.items()}


def opened(stack: LocalStack, path: str, days: float = 0) -> Answer:
    with clock_at(NOON + days * DAY):
        return stack.request("GET", path)


def pressed(stack: LocalStack, path: str, days: float = 0, **fields: str) -> Answer:
    """Press the button of the page that the link opens."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    with clock_at(NOON + days * DAY):
        answer = stack.request("POST", path, urlencode(fields).encode(), headers)
        stack.pump()
    return answer


def title(answer: Answer) -> str:
    (found,) = re.findall(r"<h1>(.*?)</h1>", answer.body.decode())
    return str(found)


def test_opening_a_link_decides_nothing_and_its_button_does(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    accept = links(stack, email)["accept"]
    before = everything(stack)

    pages = [opened(stack, accept) for _ in range(3)]
    assert {(page.status, title(page)) for page in pages} == {(200, "Accept this lead?")}
    assert everything(stack) == before

    answer = pressed(stack, accept, days=1, author="Kim")
    assert (answer.status, title(answer)) == (200, "Thank you.")
    now = seen(stack, email)
    assert now["stage"] == "sql"
    change = now["changes"][-1]
    assert (change["who"], change["why"]) == ("Kim (link)", "accepted")
    assert told(stack, email)[-1] == ("stage_changed", "sql", 1)


def test_a_rejection_by_link_asks_for_a_reason(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    reject = links(stack, email)["reject"]
    assert b'name="reason" required' in opened(stack, reject).body

    refused = pressed(stack, reject, reason="  ")
    assert (refused.status, title(refused)) == (400, "Reject this lead?")
    assert seen(stack, email)["stage"] == "mql"

    assert pressed(stack, reject, reason="no <budget>").status == 200
    now = seen(stack, email)
    assert (now["stage"], now["cycle"]) == ("recycled", 2)
    assert (now["changes"][-1]["who"], now["changes"][-1]["why"]) == ("link", "no <budget>")


def test_a_button_pressed_twice_decides_once_and_thanks_twice(
    stack: LocalStack, email: str
) -> None:
    mql(stack, email)
    accept = links(stack, email)["accept"]
    assert pressed(stack, accept).body == pressed(stack, accept, days=1).body
    assert len(told(stack, email)) == 2


def test_who_comes_too_late_is_told_what_the_lead_is(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    found = links(stack, email)
    pressed(stack, found["accept"])

    late = pressed(stack, found["reject"], reason="too late")
    assert (late.status, title(late)) == (409, "This link is out of date.")
    assert b"is sql since 2 March 2026" in late.body
    assert title(opened(stack, found["reject"])) == "This link is out of date."
    assert seen(stack, email)["stage"] == "sql"


def test_a_link_is_good_in_its_own_cycle_alone(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    first = links(stack, email)
    decide(stack, email, REJECTED)
    again = act(stack, email, "Demo Requested", "Demo Requested", days=15)
    assert (again["stage"], again["cycle"]) == ("mql", 2)

    for path in first.values():
        assert title(opened(stack, path, days=15)) == "This link is out of date."
        assert pressed(stack, path, days=15, reason="old").status == 409
    assert seen(stack, email, days=15)["stage"] == "mql"
    assert pressed(stack, links(stack, email)["accept"], days=15).status == 200


def test_of_a_lead_that_was_joined_into_another_cycle_nobody_is_said_to_have_decided(
    stack: LocalStack, email: str
) -> None:
    other = next(people)
    mql(stack, email)
    path = links(stack, email)["accept"]
    mql(stack, other)
    decide(stack, other, REJECTED)
    with clock_at(NOON):
        merges = f"/leads/{lead(stack, email=email)['id']}/merges"
        stack.request("POST", merges, {"email": other, "reason": "one person"})
    joined = seen(stack, email)
    assert (joined["stage"], joined["cycle"]) == ("mql", 2)

    page = opened(stack, path)
    assert title(page) == "This link is out of date."
    assert b"in cycle 2, and waits for a decision" in page.body
    assert b"look for a newer message" in page.body


def test_the_reminders_links_are_the_same_decision(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    first = links(stack, email)
    sweep(stack, days=2)
    second = links(stack, email)
    assert first != second
    assert pressed(stack, first["accept"], days=3).status == 200
    assert title(pressed(stack, second["accept"], days=3)) == "Thank you."
    assert told(stack, email).count(("stage_changed", "sql", 1)) == 1


def test_forged_old_and_foreign_tokens_are_one_page(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    accept = links(stack, email)["accept"]
    before = everything(stack)
    forged = f"{accept[:-2]}{'AA' if accept[-2:] != 'AA' else 'BA'}"
    bad = [forged, accept[:-1], "/d/nothing", f"/d/{'A' * 5_001}"]

    answers = [ask(stack, path) for path in bad for ask in (opened, pressed)]
    answers += [opened(stack, accept, days=30), pressed(stack, accept, days=30)]

    assert {(answer.status, title(answer)) for answer in answers} == {
        (404, "This link leads nowhere.")
    }
    assert everything(stack) == before
    assert stack.request("GET", f"/c/{accept.removeprefix('/d/')}").status == 404


def test_a_link_lives_as_long_as_its_key_and_the_next_one_is_good_at_once(
    stack: LocalStack, email: str
) -> None:
    mql(stack, email)
    first = links(stack, email)["accept"]
    assert opened(stack, first).status == 200
    store = stack.functions["leads"].module.store
    store.change_keys(lambda keys: keys.without(keys.newest_link))

    other = next(people)
    mql(stack, other)
    assert opened(stack, links(stack, other)["accept"], days=0.001).status == 200
    assert opened(stack, first, days=0.001).status == 404


def test_no_page_says_who_the_lead_is_or_can_be_framed(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    accept = links(stack, email)["accept"]
    for page in (opened(stack, accept), pressed(stack, accept), opened(stack, accept)):
        assert email.encode() not in page.body
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"


# What nobody decides


def test_an_mql_that_nobody_decides_on_is_reported_once_in_its_cycle(
    stack: LocalStack, email: str
) -> None:
    mql(stack, email)
    sweep(stack, days=2 - 1e-6)
    assert told(stack, email) == [("promoted", "mql", 1)]
    for days in (2, 2.01, 5):
        sweep(stack, days)
    assert told(stack, email) == [("promoted", "mql", 1), ("reply_overdue", "mql", 1)]
    assert seen(stack, email, days=5)["stage"] == "mql"


def test_a_device_that_is_joined_when_the_reminder_is_due_does_not_take_it_away(
    stack: LocalStack, email: str
) -> None:
    mql(stack, email)
    due = NOON + 2 * DAY
    for call, device in (("page", {}), ("identify", {"userId": email})):
        with clock_at(due + timedelta(seconds=30)):
            sent = {"writeKey": PUBLIC_KEY, "anonymousId": f"phone of {email}", **device}
            assert stack.request("POST", f"/v1/{call}", sent).status == 200
    assert lead_item(stack, email)["due_at"]["S"] <= to_text(due + timedelta(minutes=1))

    sweep(stack, days=2.001)

    assert [kind for kind, *_ in told(stack, email)] == ["promoted", "merged", "reply_overdue"]


def test_who_is_an_mql_again_because_a_merge_was_wrong_is_waited_for_again(
    stack: LocalStack, email: str
) -> None:
    other = next(people)
    rejected = act(stack, other, "Form Submitted")["id"]
    wrong = mql(stack, email)["id"]
    ways = (
        ("merges", {"other": wrong, "reason": "the same"}),
        ("decisions", {"decision": "disqualify", "reason": "a rival"}),
        ("unmerges", {"identity": wrong, "reason": "another"}),
    )
    for days, (what, body) in enumerate(ways, 1):
        with clock_at(NOON + days * DAY):
            assert stack.request("POST", f"/leads/{rejected}/{what}", body).status == 200
            stack.pump()

    for later in (3.001, 4):
        sweep(stack, later)

    assert seen(stack, email, days=4)["stage"] == "mql"
    assert told(stack, email).count(("reply_overdue", "mql", 1)) == 1


def test_who_was_decided_on_in_time_is_not_reported(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    decide(stack, email, {"decision": "accept"}, days=1)
    sweep(stack, days=3)
    assert "reply_overdue" not in {kind for kind, *_ in told(stack, email)}


def test_an_mql_cools_by_itself_and_comes_back_over_the_higher_bar(
    stack: LocalStack, email: str
) -> None:
    mql(stack, email)
    sweep(stack, days=2)
    for days in (18.7, 18.8):
        sweep(stack, days)
    now = seen(stack, email, days=18.8)
    assert (now["stage"], now["cycle"]) == ("recycled", 2)

    # In the cool-down nothing moves it; after that what it did in the meantime does, by time alone.
    assert act(stack, email, "Demo Requested", "Demo Requested", days=30)["stage"] == "recycled"
    sweep(stack, days=32.6)
    assert seen(stack, email, days=32.6)["stage"] == "recycled"
    sweep(stack, days=32.8)
    assert (seen(stack, email, days=32.8))["stage"] == "mql"
    sweep(stack, days=35)

    assert told(stack, email) == [
        ("promoted", "mql", 1),
        ("reply_overdue", "mql", 1),
        ("stage_changed", "recycled", 2),
        ("promoted", "mql", 2),
        ("reply_overdue", "mql", 2),
    ]


def test_the_sweep_itself_moves_who_has_cooled_whatever_the_stream_does(
    stack: LocalStack, email: str
) -> None:
    mql(stack, email)
    (schedule,) = stack.template.schedules
    with clock_at(NOON + 18.8 * DAY):
        stack.run_schedule(schedule)
    assert seen(stack, email, days=18.8)["stage"] == "recycled"


def test_a_timer_that_rings_too_early_reminds_nobody_again(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    sweep(stack, days=2)
    act(stack, email, "Form Submitted", days=10)
    sweep(stack, days=18.8)  # then it would have cooled without the form
    assert told(stack, email) == [("promoted", "mql", 1), ("reply_overdue", "mql", 1)]
    assert seen(stack, email, days=18.8)["stage"] == "mql"
    sweep(stack, days=27)
    assert told(stack, email)[2:] == [("stage_changed", "recycled", 2)]


def test_who_comes_back_below_the_higher_bar_is_no_mql(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    sweep(stack, days=20)
    assert act(stack, email, "Demo Requested", days=40)["stage"] == "engaged"


# Objection


def outbox_of(stack: LocalStack, now: dict[str, Any]) -> int:
    return sum(item["pk"]["S"] == f"LEAD#{now['id']}" for item in stack.items("OUTBOX#"))


def test_who_objects_between_promotion_and_publication_is_not_published(
    stack: LocalStack, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_event: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as outage:
        outage.setitem(stack.functions, "relay", fails)
        now = mql(stack, email)
    assert outbox_of(stack, now) == 1
    object_to_it(stack, email)

    sweep(stack, days=0.01)

    assert told(stack, email) == []
    assert outbox_of(stack, now) == 0
    (change,) = seen(stack, email)["changes"]
    assert (change["published_as"], change["published_at"]) == ("withheld: consent", None)
    # Nor is it later, whoever delivers the record again, and though consent comes back.
    consent_again(stack, email, days=1)
    sweep(stack, days=1)
    assert told(stack, email) == []
    # But sales hears of it all the same, once it should have replied.
    sweep(stack, days=2)
    assert told(stack, email) == [("reply_overdue", "mql", 1)]


def test_who_objects_before_the_promotion_is_committed_is_not_promoted(
    stack: LocalStack, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stack.functions["promote"].module.store
    commit = store.commit

    def objecting_first(*said: Any, **more: Any) -> None:
        monkeypatch.setattr(store, "commit", commit)
        object_to_it(stack, email)
        commit(*said, **more)

    monkeypatch.setattr(store, "commit", objecting_first)
    now = act(stack, email, "Demo Requested")

    assert now["stage"] != "mql"
    assert "promoted" not in {kind for kind, *_ in told(stack, email)}


def test_who_objects_at_the_last_moment_before_the_relay_looks_is_not_published(
    stack: LocalStack, email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stack.functions["relay"].module.store
    read = store.pending_message

    def objecting_then(*said: Any) -> Any:
        message = read(*said)
        monkeypatch.setattr(store, "pending_message", read)
        object_to_it(stack, email)
        return message

    monkeypatch.setattr(store, "pending_message", objecting_then)
    assert act(stack, email, "Demo Requested")["changes"][-1]["published_as"] == "withheld: consent"
    assert told(stack, email) == []


def test_who_objects_is_not_reported_as_overdue(stack: LocalStack, email: str) -> None:
    mql(stack, email)
    object_to_it(stack, email)
    sweep(stack, days=3)
    assert told(stack, email) == [("promoted", "mql", 1)]
    # Nor is it looked at each minute until it consents again: then sales is reminded, once.
    assert lead_item(stack, email)["due_at"]["S"] > to_text(NOON + 4 * DAY)
    for days in (5, 6):
        consent_again(stack, email, days)
        sweep(stack, days)
    assert told(stack, email) == [("promoted", "mql", 1), ("reply_overdue", "mql", 1)]


def test_what_takes_an_objector_out_of_the_lists_is_still_told(
    stack: LocalStack, email: str
) -> None:
    mql(stack, email)
    object_to_it(stack, email)
    decide(stack, email, {"decision": "accept"}, days=1)
    decide(stack, email, REJECTED, days=2)
    assert told(stack, email) == [("promoted", "mql", 1), ("stage_changed", "recycled", 2)]
