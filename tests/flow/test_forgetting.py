"""The right to be forgotten: what is erased is gone, wherever a crash stops it, and stays so."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.core.models import botocore_stubber

from infra.local.engine import clock_at
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from infra.workbench.verifying import verify_lead
from leadscoring.model import Model
from tests.flow import own_model
from tests.flow.asking import everything, lead

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RETENTION = timedelta(days=60)
JANE, JOE = "jane.canary@example.com", "joe@example.com"
ERASED = "mqlambda.lead.erased.v1"

MODEL = (
    (Path(__file__).parents[1] / "model.toml")
    .read_text(encoding="utf-8")
    .replace("retention_days = 730", f"retention_days = {RETENTION.days}")
    .replace(
        'points = 1\ndimension = "engagement"',
        'points = 1\ndimension = "engagement"\nlimit = { times = 3, per = "ever" }',
    )
    .replace(
        'points = 15\ndimension = "engagement"',
        'points = 15\ndimension = "engagement"\nlimit = { points = 20, per = "month" }',
    )
)


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with own_model.stack_with(MODEL) as fresh:
        yield fresh


def call(stack: LocalStack, kind: str, *, key: str = PUBLIC_KEY, **message: Any) -> int:
    return stack.request("POST", f"/v1/{kind}", {"writeKey": key, **message}).status


def live(stack: LocalStack, email: str = JANE) -> None:
    """Read on two devices, say who that is, and become an MQL that sales may call."""
    for device in ("phone", "laptop"):
        mine = f"{device} of {email}"
        call(stack, "page", anonymousId=mine, properties={"path": "/canary", "title": "Canary"})
        call(stack, "identify", anonymousId=mine, userId=email, traits={"company": "Canary"})
    for kind in ("whitepaper", "e-book", "whitepaper"):
        call(stack, "track", userId=email, event="Content Downloaded", properties={"kind": kind})
    call(stack, "track", userId=email, event="Demo Requested", messageId="canary-demo")


def erase(stack: LocalStack, email: str = JANE) -> Any:
    answer = stack.request("POST", "/leads/erase", {"email": email})
    assert answer.status in (200, 202), answer.body
    return answer.json() | {"status": answer.status}


def sweep(stack: LocalStack, at: datetime) -> None:
    (schedule,) = stack.template.schedules
    with clock_at(at):
        stack.run_schedule(schedule)


def erasures(stack: LocalStack) -> list[str]:
    return [message["id"] for message in stack.received if message["type"] == ERASED]


STUB = {"pk", "sk", "revision", "changes", "merged_into", "last_erased_at"}
TOMBSTONE = {*STUB, "identities", "erased_at"} - {"merged_into"}
NAMES = 2


def of_leads(stack: LocalStack) -> list[dict[str, Any]]:
    """Return all items of leads, none of which may hold anything of Jane."""
    items = [item for item in everything(stack) if item["pk"]["S"].startswith("LEAD#")]
    assert "canary" not in json.dumps(items).lower()
    return items


def only_tombstones(stack: LocalStack, erased: int = 1) -> None:
    """Assert that nothing is left but so many tombstones and the stubs of their names."""
    items = of_leads(stack)
    leads = [set(item) for item in items if item["sk"]["S"] == "LEAD"]
    assert sum("erased_at" in item for item in leads) == erased
    assert all(item <= TOMBSTONE or item <= STUB for item in leads)
    others = [item["sk"]["S"] for item in items if item["sk"]["S"] != "LEAD"]
    assert len(leads) - erased == len(others) == erased * NAMES
    assert all(sk.startswith("IDENTITY#") for sk in others)


def test_of_an_erased_lead_nothing_remains_but_a_tombstone_and_the_world_is_told_once(
    stack: LocalStack,
) -> None:
    with clock_at(NOON):
        live(stack)
        stack.pump()
        jane = lead(stack, email=JANE)
        receipt = erase(stack)
        stack.pump()
        again = erase(stack)
        stack.pump()

    assert (receipt["status"], receipt["finished"]) == (202, False)
    assert (again["status"], again["finished"]) == (200, True)
    assert again["remains"] == receipt["remains"]
    assert again["lead"] == jane["id"]
    only_tombstones(stack)
    assert erasures(stack) == [f"{jane['id']}:{jane['changes'][-1]['number'] + 1}"]
    (told,) = [message for message in stack.received if message["type"] == ERASED]
    assert sorted(told["data"]["merged_leads"]) == sorted(p["id"] for p in jane["identities"])
    assert stack.request("GET", f"/leads/{jane['id']}").status == 404
    assert stack.pending() == 0


class Crash(Exception):
    """The function is gone in the middle of what it does."""


class Crashing:
    """Lets the process die at one of the calls that change something, before or after it."""

    def __init__(self, stack: LocalStack, *, done: bool) -> None:
        self.calls = self.at = 0
        self._done = done
        for name in ("leads", "relay", "sweep"):
            module = stack.functions[name].module
            self._watch(module.store._table._dynamodb, "dynamodb.TransactWriteItems")
            if publisher := getattr(module, "publisher", None):
                self._watch(publisher._sns, "sns.Publish")

    def _watch(self, client: Any, operation: str) -> None:
        client.meta.events.register_first(f"before-send.{operation}", self)

    def __call__(self, request: AWSPreparedRequest, **_named: object) -> None:
        self.calls += 1
        if self.calls == self.at:
            if self._done:
                botocore_stubber("before-send", request)
            raise Crash


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_an_erasure_goes_on_from_a_crash_at_any_write(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, *, done: bool
) -> None:
    monkeypatch.setattr("leadscoring.erasing._ITEMS_A_STEP", 6)
    monkeypatch.setattr("leadscoring.erasing._NAMES_A_STEP", 1)
    crashing = Crashing(stack, done=done)
    while crashing.at <= crashing.calls:
        crashing.calls, crashing.at = 0, crashing.at + 1
        person, now = f"{crashing.at}.{JANE}", NOON + crashing.at * HOUR
        with clock_at(now):
            live(stack, person)
            stack.request("POST", "/leads/erase", {"email": person})
            erase(stack, person)
            stack.pump()
        for minutes in (3, 4):
            with suppress(Crash):
                sweep(stack, now + timedelta(minutes=minutes))

        assert erase(stack, person)["finished"]
        only_tombstones(stack, crashing.at)
        assert len(set(erasures(stack))) == crashing.at
        assert stack.pending() == 0
    assert crashing.at > 10


def test_a_long_erasure_goes_on_every_minute_and_is_published_when_it_is_over(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadscoring.erasing._ITEMS_A_STEP", 2)
    monkeypatch.setattr("leadscoring.erasing._STEPS_AT_ONCE", 2)
    with clock_at(NOON):
        live(stack)
        stack.pump()
        erase(stack)
        stack.pump()
    assert erasures(stack) == []

    minutes = 2
    while not erasures(stack):
        minutes += 1
        sweep(stack, NOON + timedelta(minutes=minutes))
        call(stack, "track", userId=JANE, event="Newsletter Subscribed")
    assert minutes > 4
    only_tombstones(stack)
    assert len(erasures(stack)) == 1


def test_an_erasure_of_more_names_than_a_run_takes_comes_to_an_end(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadscoring.erasing._NAMES_A_STEP", 1)
    monkeypatch.setattr("leadscoring.erasing._STEPS_AT_ONCE", 2)
    with clock_at(NOON):
        for number in range(5):
            call(stack, "page", anonymousId=f"device {number}")
            call(stack, "identify", anonymousId=f"device {number}", userId=JANE)
        stack.pump()
        erase(stack)
        stack.pump()
    assert erasures(stack) == []

    for minutes in range(3, 7):
        sweep(stack, NOON + timedelta(minutes=minutes))

    assert len(erasures(stack)) == 1
    assert all("last_erased_at" in item for item in stack.items("LEAD"))


ACTS: dict[str, tuple[str, dict[str, Any]]] = {
    "page": ("page", {"anonymousId": "phone"}),
    "identify": ("identify", {"anonymousId": "phone", "userId": JANE, "messageId": "i-1"}),
    "laptop": ("identify", {"anonymousId": "laptop", "userId": JANE, "messageId": "i-2"}),
    "company": ("identify", {"userId": JANE, "traits": {"company": "Canary"}, "messageId": "i-3"}),
    "demo": ("track", {"userId": JANE, "event": "Demo Requested", "messageId": "t-1"}),
    "alias": ("alias", {"previousId": "tablet", "userId": JANE, "messageId": "a-1"}),
}
OTHERS = ["erase", "pump", "sweep"]


@given(st.lists(st.sampled_from([*ACTS, *OTHERS]), max_size=12))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_whatever_comes_in_whatever_order_after_an_erasure_the_lead_does_not_come_back(
    steps: list[str],
) -> None:
    with own_model.stack_with(MODEL) as stack, clock_at(NOON):
        act(stack, "company")
        for step in steps:
            act(stack, step)
        erase(stack)
        for step in steps:
            act(stack, step)
        stack.pump()
        sweep(stack, NOON + HOUR)

        of_leads(stack)
        assert stack.request("POST", "/leads/find", {"email": JANE}).status == 404
        assert len(erasures(stack)) == 1
        assert stack.received[-1]["type"] == ERASED
        assert stack.pending() == 0


def act(stack: LocalStack, step: str) -> None:
    match step:
        case "erase":
            erase(stack)
        case "pump":
            stack.pump()
        case "sweep":
            sweep(stack, NOON + HOUR)
        case _:
            kind, message = ACTS[step]
            assert call(stack, kind, **message) == 200


# Who comes back


def opt_in(stack: LocalStack, at: datetime, **named: Any) -> int:
    named.setdefault("userId", JANE)
    with clock_at(at):
        return call(stack, "identify", key=SECRET_KEY, traits={"consent": True}, **named)


def test_a_trusted_opt_in_begins_a_new_generation_and_what_was_before_is_dropped(
    stack: LocalStack,
) -> None:
    with clock_at(NOON):
        live(stack)
        stack.pump()
        first = lead(stack, email=JANE)
        erase(stack)
        stack.pump()

    assert opt_in(stack, NOON + 2 * HOUR) == 200
    for at, key in ((NOON + HOUR, PUBLIC_KEY), (NOON - HOUR, SECRET_KEY)):
        late = {"event": "Demo Requested", "timestamp": at.isoformat(), "messageId": str(at)}
        with clock_at(NOON + 3 * HOUR):
            assert call(stack, "track", key=key, userId=JANE, **late) == 200
    with clock_at(NOON + 3 * HOUR):
        for _ in range(2):
            call(stack, "page", anonymousId=f"phone of {JANE}", messageId="new")
        stack.pump()
        jane = lead(stack, email=JANE)

    assert jane["id"] == first["id"]
    assert (jane["interactions"], jane["stage"], jane["cycle"]) == (2, "captured", 1)
    assert jane["traits"] == {"consent": True}
    store = stack.functions["leads"].module.store
    assert verify_lead(store, jane["id"], {1: Model.parse(MODEL)}, NOON + DAY) == []
    assert len(stack.promoted()) == 1


def test_no_opt_in_of_before_the_erasure_and_none_of_the_public_s_brings_the_lead_back(
    stack: LocalStack,
) -> None:
    with clock_at(NOON):
        live(stack)
    assert opt_in(stack, NOON, messageId="opt-in") == 200
    with clock_at(NOON + HOUR):
        erase(stack)
        stack.pump()

    before = {"timestamp": NOON.isoformat()}
    assert opt_in(stack, NOON + 2 * HOUR, messageId="opt-in", **before) == 200
    assert opt_in(stack, NOON + 2 * HOUR, messageId="another", **before) == 200
    with clock_at(NOON + 2 * HOUR):
        assert call(stack, "identify", userId=JANE, traits={"consent": True}) == 200
    only_tombstones(stack)


def test_who_opts_in_while_being_erased_is_asked_to_come_back_when_that_is_over(
    stack: LocalStack,
) -> None:
    with clock_at(NOON):
        live(stack)
        erase(stack)

    assert opt_in(stack, NOON + HOUR) == 503
    with clock_at(NOON):
        stack.pump()
    assert opt_in(stack, NOON + HOUR) == 200
    assert lead(stack, email=JANE)["interactions"] == 1


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_a_step_that_comes_late_takes_nothing_of_who_has_begun_anew(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """One function stops before a step; another ends the erasure; then the first one goes on."""
    monkeypatch.setattr("leadscoring.erasing._ITEMS_A_STEP", 2)
    with clock_at(NOON):
        live(stack)
        stack.pump()
        erase(stack)
    writes = 0

    def pause(**_named: object) -> None:
        nonlocal writes
        writes += 1
        if writes == step:
            sweep(stack, NOON + HOUR)
            assert opt_in(stack, NOON + 2 * HOUR) == 200
            with clock_at(NOON + 3 * HOUR):
                live(stack)

    dynamodb = stack.functions["relay"].module.store._table._dynamodb
    dynamodb.meta.events.register_first("before-send.dynamodb.TransactWriteItems", pause)
    with clock_at(NOON + 4 * HOUR):
        stack.pump()
        jane = lead(stack, email=JANE)

    assert writes >= step
    assert len(jane["identities"]) == NAMES
    assert jane["interactions"] == 9
    store = stack.functions["leads"].module.store
    assert verify_lead(store, jane["id"], {1: Model.parse(MODEL)}, NOON + DAY) == []


def test_a_lead_can_be_erased_again_and_again(stack: LocalStack) -> None:
    with clock_at(NOON):
        live(stack)
        erase(stack)
        stack.pump()
    for hours in (1, 3):
        assert opt_in(stack, NOON + hours * HOUR) == 200
        with clock_at(NOON + (hours + 1) * HOUR):
            erase(stack)
            stack.pump()
    only_tombstones(stack)
    assert len(set(erasures(stack))) == 3


# What is known


def test_an_export_holds_all_of_a_lead_and_nothing_of_anybody_else(stack: LocalStack) -> None:
    with clock_at(NOON):
        live(stack)
        call(stack, "identify", userId=JOE, traits={"company": "Somebody Else"})
        stack.functions["promote"]({"Records": stack.stream.read()})
        jane = lead(stack, email=JANE)
        answer = stack.request("GET", f"/leads/{jane['id']}/export")

    assert answer.status == 200
    export = answer.json()
    assert "joe" not in answer.body.decode()
    assert "Somebody" not in answer.body.decode()
    assert export["lead"]["email"] == JANE
    assert export["traits"]["company"] == {
        "value": "Canary",
        "told_by": "public",
        "at": "2026-03-02T12:00:00.000Z",
    }
    ids = {jane["id"], *(part["id"] for part in export["identities"])}
    assert len(ids) == 1 + NAMES
    mine = [item for item in everything(stack) if item["pk"]["S"].removeprefix("LEAD#") in ids]
    kinds = [item["sk"]["S"].split("#")[0] for item in mine]
    assert len(export["interactions"]) == kinds.count("INTERACTION") == jane["interactions"]
    assert len(export["changes"]) == kinds.count("CHANGE")
    assert len(export["limits"]) == len({i["sk"]["S"] for i in mine if "LIMIT#" in i["sk"]["S"]})
    assert export["lead"]["first_touch"] is None
    waiting = [json.loads(item["message"]["S"]) for item in mine if "message" in item]
    assert {message["type"].split(".")[2] for message in waiting} >= {"merged", "promoted"}
    # Whom sales decides on is not whom it gives the means to.
    assert any(message["data"].pop("decide", None) for message in waiting)
    assert sorted(export["pending"], key=_id) == sorted(waiting, key=_id)


def _id(message: dict[str, Any]) -> str:
    return str(message["id"])


def test_the_receipt_says_of_each_place_what_the_template_says(stack: LocalStack) -> None:
    with clock_at(NOON):
        live(stack)
        remains = erase(stack)["remains"]
    data = (Path(__file__).parents[2] / "infra" / "data.yaml").read_text(encoding="utf-8")
    assert f"ExpirationInDays: {remains['failure_bucket']['days']}" in data
    spooled = timedelta(days=remains["spool"]["days"])
    assert f"MessageRetentionPeriod: {spooled.total_seconds():.0f}" in data
    parameters = (Path(__file__).parents[2] / "template.yaml").read_text(encoding="utf-8")
    (named,) = re.findall(r"`(\w+)`", remains["logs"]["holds"])
    assert parameters.count(f"RetentionInDays: !Ref {named}") == len(stack.functions)
    # DynamoDB keeps a stream for a day, and backups of every second for 35.
    assert (remains["stream"]["days"], remains["backups"]["days"]) == (1, 35)
