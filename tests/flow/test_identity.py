"""Several names of one person are one lead, as far as whoever says so may say it."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.local.engine import clock_at
from infra.local.gateway import Answer
from infra.local.stack import BROWSER, PUBLIC_KEY, SECRET_KEY, LocalStack, local_stack
from infra.workbench import resending
from infra.workbench.verifying import verify_lead
from leadscoring import timers
from leadscoring.interaction import to_text
from leadscoring.joining import MOST_BY_PUBLIC
from leadscoring.model import Model
from leadscoring.settings import MODEL_FILE
from tests.flow.asking import lead, ledger

JANE, JOE = "jane@example.com", "joe@example.com"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MERGED = "mqlambda.lead.merged.v1"


def call(stack: LocalStack, kind: str, *, secret: bool = False, **body: Any) -> None:
    key = SECRET_KEY if secret else PUBLIC_KEY
    answer = stack.request("POST", f"/v1/{kind}", {"writeKey": key, **body})
    assert answer.status == 200, answer.body


def reads_pricing(stack: LocalStack, **who: Any) -> None:
    call(stack, "page", properties={"path": "/pricing"}, **who)


def asks_for_a_demo(stack: LocalStack, **who: Any) -> None:
    call(stack, "track", event="Demo Requested", **who)


def post(stack: LocalStack, lead_id: str, what: str, **body: Any) -> Answer:
    return stack.request("POST", f"/leads/{lead_id}/{what}", body)


def merge(stack: LocalStack, lead_id: str, **other: str) -> Any:
    answer = post(stack, lead_id, "merges", reason="they told us", **other)
    assert answer.status == 200, answer.body
    return answer.json()


def unmerge(stack: LocalStack, lead_id: str, identity: str) -> Any:
    body = {"identity": identity, "reason": "two people, one computer"}
    answer = post(stack, lead_id, "unmerges", **body)
    assert answer.status == 200, answer.body
    return answer.json()


def is_exact(stack: LocalStack) -> bool:
    """Tell whether every lead's counters, traits and limits are what its ledger adds up to."""
    store = stack.functions["leads"].module.store
    model = Model.load(MODEL_FILE)
    found = [
        difference
        for one in stack.leads()
        for difference in verify_lead(store, one["id"], {model.number: model}, NOW)
    ]
    return found == []


def types(stack: LocalStack) -> list[str]:
    stack.pump()
    return [message["type"] for message in stack.received]


# What messages may say


def test_an_anonymous_visitor_who_is_identified_is_one_lead_and_stays_one(
    stack: LocalStack,
) -> None:
    reads_pricing(stack, anonymousId="phone")
    reads_pricing(stack, anonymousId="laptop")
    call(stack, "track", userId=JANE, event="Newsletter Subscribed")
    before = lead(stack, email=JANE)["scorecard"]["score"]

    for device in ("phone", "laptop"):
        call(stack, "identify", userId=JANE, anonymousId=device)
    reads_pricing(stack, anonymousId="phone")
    stack.pump()

    jane = lead(stack, email=JANE)
    assert jane["id"] == lead(stack, anonymousId="phone")["id"]
    assert jane["id"] == lead(stack, anonymousId="laptop")["id"]
    assert jane["interactions"] == len(ledger(stack, email=JANE)) == 6
    assert jane["scorecard"]["score"] > before
    assert [lead["email"] for lead in stack.leads()] == [JANE]
    assert types(stack).count(MERGED) == 2
    assert is_exact(stack)


@pytest.mark.parametrize(
    "tells",
    [
        lambda stack: call(stack, "identify", userId=JANE, anonymousId="phone"),
        lambda stack: call(stack, "identify", anonymousId="phone", traits={"email": JANE}),
        lambda stack: call(stack, "alias", userId=JANE, previousId="phone"),
        lambda stack: stack.request(
            "POST",
            "/f/demo",
            f"email={JANE}&_anonymous_id=phone".encode(),
            {"content-type": "application/x-www-form-urlencoded", "user-agent": BROWSER},
        ),
    ],
    ids=["identify", "identify by trait", "alias", "form"],
)
def test_each_of_these_says_that_a_visitor_and_an_address_are_one(
    stack: LocalStack, tells: Any
) -> None:
    reads_pricing(stack, anonymousId="phone")

    for _ in range(3):
        tells(stack)

    jane = lead(stack, email=JANE)
    assert lead(stack, anonymousId="phone")["id"] == jane["id"]
    assert len(jane["identities"]) == 1
    assert types(stack).count(MERGED) == 1
    assert is_exact(stack)


@pytest.mark.parametrize("kind", ["page", "track", "screen", "group"])
def test_a_message_that_only_names_both_joins_nothing(stack: LocalStack, kind: str) -> None:
    reads_pricing(stack, anonymousId="phone")
    body: dict[str, Any] = {"event": "Demo Requested"} if kind == "track" else {"groupId": "g"}

    call(stack, kind, userId=JANE, anonymousId="phone", **body)

    assert lead(stack, anonymousId="phone")["id"] != lead(stack, email=JANE)["id"]


def test_a_visitor_who_is_identified_before_all_else_is_known_from_then_on(
    stack: LocalStack,
) -> None:
    call(stack, "identify", userId=JANE, anonymousId="phone")
    reads_pricing(stack, anonymousId="phone")

    jane = lead(stack, anonymousId="phone")
    assert (jane["email"], jane["interactions"]) == (JANE, 2)
    assert types(stack).count(MERGED) == 0
    assert is_exact(stack)


def test_a_late_message_of_before_counts_once_for_whom_the_visitor_turned_out_to_be(
    stack: LocalStack,
) -> None:
    reads_pricing(stack, anonymousId="phone", messageId="first")
    call(stack, "identify", userId=JANE, anonymousId="phone")

    for message_id in ("first", "late", "late"):
        reads_pricing(stack, anonymousId="phone", messageId=message_id)

    assert lead(stack, email=JANE)["interactions"] == 3
    assert is_exact(stack)


@pytest.mark.parametrize("seconds", [0, 1, 600])
def test_what_a_browser_sends_again_once_it_knows_who_it_is_counts_once(
    stack: LocalStack, seconds: int
) -> None:
    sent: dict[str, Any] = {"event": "Demo Requested", "messageId": "m", "timestamp": to_text(NOW)}
    names: dict[str, Any] = {"userId": JANE, "anonymousId": "phone"}
    with clock_at(NOW):
        call(stack, "track", anonymousId="phone", **sent)
        call(stack, "identify", **names)
    with clock_at(NOW + timedelta(seconds=seconds)):
        call(stack, "track", **names, **sent)

    # Nobody waits less than a second before sending again: then they are two.
    assert lead(stack, email=JANE)["interactions"] == (2 if seconds else 3)
    assert stack.metrics["Duplicates"] == (1 if seconds else 0)
    assert is_exact(stack)


def test_a_shared_computer_does_not_make_two_known_people_one(stack: LocalStack) -> None:
    reads_pricing(stack, anonymousId="library")
    for address in (JANE, JOE, JANE):
        call(stack, "identify", userId=address, anonymousId="library")

    jane, joe = lead(stack, email=JANE), lead(stack, email=JOE)
    assert jane["id"] != joe["id"]
    assert lead(stack, anonymousId="library")["id"] == jane["id"]
    assert (jane["interactions"], joe["interactions"]) == (3, 1)


@pytest.mark.parametrize("kind", ["identify", "alias"])
def test_the_public_never_makes_two_known_people_one(stack: LocalStack, kind: str) -> None:
    asks_for_a_demo(stack, userId=JANE)
    asks_for_a_demo(stack, userId=JOE)
    asks_for_a_demo(stack, userId="u-1")

    call(stack, kind, userId="u-1", previousId=JOE, traits={"email": JANE})

    ids = {lead(stack, **who)["id"] for who in ({"email": JANE}, {"email": JOE}, {"userId": "u-1"})}
    assert len(ids) == 3


def test_two_visitors_whom_nobody_knows_stay_two(stack: LocalStack) -> None:
    reads_pricing(stack, anonymousId="phone")

    call(stack, "alias", anonymousId="laptop", previousId="phone")

    phone, laptop = (lead(stack, anonymousId=name)["id"] for name in ("phone", "laptop"))
    assert phone != laptop


def test_what_a_bot_says_joins_nobody(stack: LocalStack) -> None:
    reads_pricing(stack, anonymousId="phone")
    body = {"writeKey": PUBLIC_KEY, "userId": JANE, "anonymousId": "phone"}
    stack.request("POST", "/v1/identify", body, {"user-agent": "Googlebot/2.1"})

    assert lead(stack, anonymousId="phone")["email"] is None


def test_the_public_tells_no_more_names_of_a_lead_than_somebody_can_read(
    stack: LocalStack,
) -> None:
    for number in range(MOST_BY_PUBLIC + 2):
        call(stack, "identify", userId=JANE, anonymousId=f"device-{number}")
    call(stack, "identify", secret=True, userId=JANE, anonymousId="theirs")

    known = lead(stack, email=JANE)["identities"]
    assert len(known) == MOST_BY_PUBLIC + 1
    assert [part["who"] for part in known].count("trusted") == 1


# A lead that is joined


def test_a_joined_lead_that_was_promoted_is_not_promoted_again(stack: LocalStack) -> None:
    asks_for_a_demo(stack, userId=JANE)
    stack.pump()
    for number in range(3):
        asks_for_a_demo(stack, anonymousId=f"device-{number}")
        stack.pump()
        call(stack, "identify", userId=JANE, anonymousId=f"device-{number}")
        stack.pump()

    jane = lead(stack, email=JANE)
    assert (jane["stage"], jane["cycle"]) == ("mql", 1)
    assert len(stack.promoted()) == 1
    (promoted,) = stack.promoted().values()
    assert promoted["data"]["lead"]["email"] == JANE


def test_two_who_both_were_promoted_are_one_mql_and_nobody_is_told_again(
    stack: LocalStack,
) -> None:
    for address in (JANE, JOE):
        asks_for_a_demo(stack, userId=address)
        stack.pump()

    joined = merge(stack, lead(stack, email=JANE)["id"], email=JOE)
    stack.pump()

    assert joined["stage"] == "mql"
    assert len(stack.promoted()) == 2
    assert types(stack)[-1] == MERGED
    listed = stack.request("GET", "/leads", query="stage=mql").json()["leads"]
    assert [one["email"] for one in listed] == [JANE]


def test_a_joined_lead_stands_in_the_further_stage_and_the_higher_cycle(
    stack: LocalStack,
) -> None:
    asks_for_a_demo(stack, userId=JANE)
    stack.pump()
    jane = lead(stack, email=JANE)["id"]
    answer = post(stack, jane, "decisions", decision="reject", reason="a student")
    assert answer.status == 200, answer.body
    asks_for_a_demo(stack, userId=JOE)
    stack.pump()

    joined = merge(stack, jane, email=JOE)
    stack.pump()

    assert (joined["stage"], joined["cycle"]) == ("mql", 2)
    assert len(stack.promoted()) == 2


def test_what_is_told_of_a_joined_lead_is_what_the_table_then_says(stack: LocalStack) -> None:
    hour = timedelta(hours=1)
    campaign = {"campaign": {"source": "ads", "name": "spring"}}
    old, new = {"company": "Old", "jobTitle": "CTO"}, {"company": "New"}
    with clock_at(NOW):
        call(stack, "identify", userId=JANE, traits=old)
    with clock_at(NOW + hour):
        call(stack, "identify", anonymousId="phone", traits=new, context=campaign)
    with clock_at(NOW + 2 * hour):
        call(stack, "identify", userId=JANE, anonymousId="phone")
        stack.pump()
        jane = lead(stack, email=JANE)

    (merged,) = (message for message in stack.received if message["type"] == MERGED)
    said = merged["data"]["lead"]
    assert said["traits"] == jane["traits"] == {"company": "New", "jobTitle": "CTO"}
    assert said["first_touch"]["source"] == jane["first_touch"]["source"] == "ads"
    module = stack.functions["leads"].module
    known = module.store.lead(jane["id"])
    assert known.due_at == timers.due_at(known, module.model, NOW + 2 * hour)
    resent = resending.messages(module.store, module.model, module.sender, NOW, known)
    assert merged in [message.model_dump(mode="json") for message in resent]


def test_a_merge_is_told_of_an_objector_by_ids_alone(stack: LocalStack) -> None:
    call(stack, "identify", userId=JANE, traits={"consent": False})
    asks_for_a_demo(stack, userId=JOE)
    stack.pump()
    jane, joe = (lead(stack, email=address)["id"] for address in (JANE, JOE))

    merge(stack, jane, other=joe)
    stack.pump()

    (merged,) = (m["data"] for m in stack.received if m["type"] == MERGED)
    assert (merged["lead"]["id"], merged["merged_lead"]) == (jane, joe)
    assert (merged["lead"]["email"], merged["lead"]["traits"]) == (None, {})


# Who changes address


def test_a_user_who_changes_address_stays_the_same_lead(stack: LocalStack) -> None:
    call(stack, "identify", secret=True, userId="u-1", traits={"email": "jane@old.example"})
    asks_for_a_demo(stack, userId="u-1")
    old = lead(stack, userId="u-1")

    call(stack, "identify", secret=True, userId="u-1", traits={"email": JANE})
    asks_for_a_demo(stack, userId=JANE)
    stack.pump()

    for who in ({"userId": "u-1"}, {"email": JANE}, {"email": "jane@old.example"}):
        assert lead(stack, **who)["id"] == old["id"]
    assert (old["email"], lead(stack, email=JANE)["email"]) == ("jane@old.example", JANE)
    (promoted,) = stack.promoted().values()
    assert promoted["data"]["lead"]["email"] == JANE
    assert is_exact(stack)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_the_address_is_the_one_of_the_latest_message_however_they_arrive(
    stack: LocalStack, order: tuple[int, ...]
) -> None:
    addresses = ["a@example.com", "b@example.com", "c@example.com"]
    with clock_at(NOW):
        for place in order:
            at = to_text(NOW - timedelta(days=10 - place))
            traits = {"email": addresses[place], "company": f"company {place}"}
            call(stack, "identify", secret=True, userId="u-1", timestamp=at, traits=traits)

        jane = lead(stack, userId="u-1")
    assert (jane["email"], jane["traits"]["company"]) == ("c@example.com", "company 2")
    assert len({lead(stack, email=address)["id"] for address in addresses}) == 1
    assert is_exact(stack)


def test_the_public_changes_nobodys_address(stack: LocalStack) -> None:
    call(stack, "identify", secret=True, userId="u-1", traits={"email": JANE})
    call(stack, "identify", userId="u-1", traits={"email": "mallory@example.com"})

    assert lead(stack, userId="u-1")["email"] == JANE
    assert lead(stack, email="mallory@example.com")["id"] != lead(stack, email=JANE)["id"]


# What people decide


def test_people_make_two_known_leads_one_and_that_once(stack: LocalStack) -> None:
    reads_pricing(stack, userId=JANE)
    reads_pricing(stack, userId=JOE)
    jane, joe = (lead(stack, email=address)["id"] for address in (JANE, JOE))

    first = merge(stack, jane, other=joe)
    again = merge(stack, joe, email=JANE)

    assert first["identities"] == again["identities"]
    assert [part["id"] for part in first["identities"]] == [joe]
    (change,) = first["changes"]
    assert (change["kind"], change["why"], change["other"]) == ("merged", "they told us", joe)
    assert first["interactions"] == 2
    assert types(stack).count(MERGED) == 1
    assert is_exact(stack)


@pytest.mark.parametrize(
    ("what", "body", "status", "code", "field"),
    [
        ("merges", {"email": "nobody@example.com", "reason": "so"}, 404, "unknown_lead", "other"),
        ("merges", {"other": "0" * 32, "reason": "so"}, 404, "unknown_lead", "other"),
        ("merges", {"email": JOE}, 400, "invalid", "reason"),
        ("merges", {"email": JOE, "reason": "  "}, 400, "invalid", "reason"),
        ("merges", {"reason": "so"}, 400, "invalid", "other"),
        ("merges", {"email": "joe", "reason": "so"}, 400, "invalid", "other"),
        ("unmerges", {"identity": "0" * 32, "reason": "so"}, 404, "unknown_lead", "identity"),
        ("unmerges", {"identity": "{joe}", "reason": "so"}, 409, "not_merged", "identity"),
        ("unmerges", {"identity": "{jane}", "reason": "so"}, 409, "not_merged", "identity"),
        ("unmerges", {"identity": "{joe}"}, 400, "invalid", "reason"),
        ("unmerges", {"reason": "so"}, 400, "invalid", "identity"),
    ],
)
def test_what_can_not_be_decided_says_why_and_changes_nothing(
    stack: LocalStack, what: str, body: dict[str, str], status: int, code: str, field: str
) -> None:
    for address in (JANE, JOE):
        reads_pricing(stack, userId=address)
    ids = {name: lead(stack, email=f"{name}@example.com")["id"] for name in ("jane", "joe")}
    body = {name: value.format(**ids) for name, value in body.items()}
    before = stack.items("")

    answer = post(stack, ids["jane"], what, **body)

    refused = answer.json()
    assert (answer.status, refused["code"], refused["field"]) == (status, code, field)
    assert stack.items("") == before


def test_an_identity_that_is_taken_out_takes_along_what_it_did_and_nothing_else(
    stack: LocalStack,
) -> None:
    reads_pricing(stack, anonymousId="library")
    call(stack, "identify", userId=JANE, traits={"company": "Jane's"})
    before = lead(stack, email=JANE)
    call(stack, "identify", userId=JANE, anonymousId="library")
    reads_pricing(stack, anonymousId="library")
    library = lead(stack, email=JANE)["identities"][0]["id"]
    stack.pump()

    jane = unmerge(stack, before["id"], library)

    assert jane["interactions"] == before["interactions"] + 1  # the identify is her own
    assert jane["traits"] == {"company": "Jane's"}
    assert jane["identities"] == []
    visitor = lead(stack, anonymousId="library")
    assert (visitor["id"], visitor["email"], visitor["interactions"]) == (library, None, 2)
    assert [change["kind"] for change in visitor["changes"]] == ["unmerged"]
    assert jane["changes"][-1]["other"] == library
    assert is_exact(stack)
    assert unmerge(stack, before["id"], library)["changes"] == jane["changes"]
    heard = len(stack.received)
    stack.pump()
    told = {message["subject"]: message for message in reversed(stack.received[heard:])}
    assert told.keys() == {before["id"], library}
    for message in told.values():
        assert message["type"] == "mqlambda.lead.stage_changed.v1"
        assert message["data"]["stage"] == message["data"]["previous_stage"]
    assert told[library]["data"]["lead"]["email"] is None


def test_what_people_took_apart_no_message_joins_again(stack: LocalStack) -> None:
    call(stack, "identify", userId=JANE, anonymousId="library")
    jane = lead(stack, email=JANE)
    unmerge(stack, jane["id"], jane["identities"][0]["id"])

    for address in (JANE, JOE):
        call(stack, "identify", userId=address, anonymousId="library")
        stack.load_functions()
        call(stack, "identify", secret=True, userId=address, anonymousId="library")
    reads_pricing(stack, anonymousId="library")

    visitor = lead(stack, anonymousId="library")
    assert (visitor["email"], visitor["interactions"]) == (None, 1)
    assert is_exact(stack)
    assert merge(stack, jane["id"], other=visitor["id"])["interactions"] == 4


def test_an_identity_takes_along_what_had_become_part_of_it(stack: LocalStack) -> None:
    for who in ({"userId": JANE}, {"userId": JOE}, {"anonymousId": "joe's"}):
        reads_pricing(stack, **who)
    call(stack, "identify", userId=JOE, anonymousId="joe's", traits={"company": "Joe's"})
    jane, joe = (lead(stack, email=address)["id"] for address in (JANE, JOE))
    merge(stack, jane, other=joe)
    reads_pricing(stack, anonymousId="joe's")

    unmerge(stack, jane, joe)
    reads_pricing(stack, anonymousId="joe's")

    assert lead(stack, email=JANE)["interactions"] == 1
    assert lead(stack, email=JANE)["traits"] == {}
    assert lead(stack, anonymousId="joe's")["id"] == joe
    assert lead(stack, email=JOE)["interactions"] == 5
    assert is_exact(stack)


def test_who_was_promoted_before_a_merge_stands_there_after_it_is_taken_back(
    stack: LocalStack,
) -> None:
    for address in (JANE, JOE):
        asks_for_a_demo(stack, userId=address)
        stack.pump()
    jane, joe = (lead(stack, email=address)["id"] for address in (JANE, JOE))
    merge(stack, jane, other=joe)
    stack.pump()

    unmerge(stack, jane, joe)
    stack.pump()

    listed = stack.request("GET", "/leads", query="stage=mql").json()["leads"]
    assert {one["id"] for one in listed} == {jane, joe}
    assert len(stack.promoted()) == 2
    assert is_exact(stack)


# What holds for all histories

PEOPLE = ("a@example.com", "b@example.com", "c@example.com")
DEVICES = ("d-1", "d-2", "d-3")
NAMES = st.sampled_from(PEOPLE + DEVICES)
STEPS = st.one_of(
    st.tuples(st.just("page"), NAMES),
    st.tuples(st.just("track"), NAMES),
    st.tuples(st.just("identify"), st.sampled_from(PEOPLE), st.sampled_from(DEVICES)),
    st.tuples(st.just("merge"), NAMES, NAMES),
    st.tuples(st.just("unmerge"), NAMES),
    st.tuples(st.just("cold")),
)
EXAMPLES = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
_turns = count()


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalStack]:
    with local_stack() as stack:
        yield stack


class Play:
    """One history, of names that are its own; what people do, they do to whoever is there."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack, self.turn, self.sent = stack, next(_turns), 0

    def who(self, name: str) -> dict[str, Any]:
        kind = "userId" if name in PEOPLE else "anonymousId"
        return {kind: f"{self.turn}-{name}"}

    def found(self, name: str) -> Any:
        answer = self.stack.request("POST", "/leads/find", self.who(name))
        return answer.json() if answer.status == 200 else None

    def take(self, step: tuple[str, ...]) -> None:
        match step:
            case ("page" | "track" as kind, name):
                self.sent += 1
                body: dict[str, Any] = {"event": "Demo Requested"} if kind == "track" else {}
                call(self.stack, kind, **self.who(name), **body)
            case ("identify", person, device):
                self.sent += 1
                traits = {"company": f"of {self.sent}"}
                names = self.who(person) | self.who(device)
                call(self.stack, "identify", **names, traits=traits)
            case ("merge", one, other):
                if (mine := self.found(one)) and (theirs := self.found(other)):
                    merge(self.stack, mine["id"], other=theirs["id"])
            case ("unmerge", name):
                if (whole := self.found(name)) and whole["identities"]:
                    unmerge(self.stack, whole["id"], whole["identities"][-1]["id"])
            case ("cold",):
                self.stack.load_functions()


def entries_of(stack: LocalStack) -> Counter[str]:
    return Counter(item["pk"]["S"] for item in stack.items("INTERACTION#"))


@EXAMPLES
@given(st.lists(STEPS, min_size=2, max_size=16))
def test_whatever_is_said_and_decided_every_counter_is_the_sum_of_its_ledgers(
    shared: LocalStack, steps: list[tuple[str, ...]]
) -> None:
    play = Play(shared)
    before = sum(entries_of(shared).values())

    for step in steps:
        play.take(step)

    found = {one["id"]: one for name in PEOPLE + DEVICES if (one := play.found(name))}
    store = shared.functions["leads"].module.store
    model = shared.functions["leads"].module.model
    for lead_id in found:
        assert verify_lead(store, lead_id, {model.number: model}, NOW) == []
    assert sum(one["interactions"] for one in found.values()) == play.sent
    assert sum(entries_of(shared).values()) - before == play.sent


@EXAMPLES
@given(st.lists(STEPS.filter(lambda step: "merge" not in step[0]), min_size=4, max_size=20))
def test_no_message_of_the_public_makes_two_people_one(
    shared: LocalStack, steps: list[tuple[str, ...]]
) -> None:
    play = Play(shared)

    for step in steps:
        play.take(step)

    people = [one["id"] for name in PEOPLE if (one := play.found(name))]
    assert len(people) == len(set(people))
