"""What is past retention is forgotten by itself, and the counters never notice."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest

from events.subscribers.inbox import FileInbox, News, take
from infra.local.engine import clock_at
from infra.local.stack import SECRET_KEY, LocalStack
from infra.workbench.rescoring import rescore
from infra.workbench.verifying import verify_lead
from leadscoring.contract import from_sns
from leadscoring.model import Model
from leadscoring.store import Store
from leadscoring.table import Table
from tests.flow import own_model
from tests.flow.asking import everything, lead, ledger
from tests.flow.test_forgetting import (
    DAY,
    JANE,
    JOE,
    MODEL,
    NAMES,
    NOON,
    RETENTION,
    call,
    erasures,
    live,
    sweep,
)

DOWNLOADS = 100


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with own_model.stack_with(MODEL) as fresh:
        yield fresh


def store_of(stack: LocalStack) -> Store:
    store: Store = stack.functions["leads"].module.store
    return store


def is_exact(stack: LocalStack, email: str, at: datetime) -> bool:
    """Tell whether the lead's counters and limits are its ledger's, and its reasons its score."""
    with clock_at(at):
        found = lead(stack, email=email)
    points = sum(reason["points_now"] for reason in found["reasons"])
    earned = sum(part["earned"] for part in found["scorecard"]["dimensions"].values())
    assert round(points, 3) == round(earned, 3)
    return verify_lead(store_of(stack), found["id"], {1: Model.parse(MODEL)}, at) == []


def busy_life(stack: LocalStack) -> None:
    """Let Jane do something on a day, more a month later, and something again today."""
    for days in (0, 30):
        with clock_at(NOON + days * DAY):
            live(stack)
            for number in range(DOWNLOADS):
                paper: dict[str, Any] = {"properties": {"kind": "whitepaper"}, "userId": JANE}
                paper["messageId"] = f"{days}-{number}"
                call(stack, "track", event="Content Downloaded", **paper)
            stack.pump()


def test_old_entries_are_carried_into_sums_and_the_counters_stay_equal_to_the_ledger(
    stack: LocalStack,
) -> None:
    busy_life(stack)
    before, known = lead(stack, email=JANE), len(ledger_of(stack))
    ring = NOON + RETENTION + DAY
    assert is_exact(stack, JANE, ring)
    with clock_at(ring):
        worth = lead(stack, email=JANE)["scorecard"]

    sweep(stack, ring)

    with clock_at(ring):
        jane = lead(stack, email=JANE)
    assert len(ledger_of(stack)) < known / 2 + 5
    assert jane["scorecard"] == worth
    for name in ("interactions", "traits", "first_touch", "stage", "cycle"):
        assert jane[name] == before[name]
    assert is_exact(stack, JANE, ring)
    assert {e["name"] for e in ledger_of(stack) if e["carries"]} == {"Carried"}
    with clock_at(ring):
        call(stack, "track", userId=JANE, event="Newsletter Subscribed")
    assert is_exact(stack, JANE, ring)

    later = ring + 31 * DAY
    sweep(stack, later)
    assert sum(not entry["carries"] for entry in ledger_of(stack)) == 1
    assert is_exact(stack, JANE, later)


def test_what_a_server_repeats_after_retention_was_counted_long_ago(stack: LocalStack) -> None:
    demo = {"userId": JANE, "event": "Demo Requested", "messageId": "m-1", "key": SECRET_KEY}
    last = NOON + RETENTION - DAY
    for at in (NOON, last):
        with clock_at(at):
            assert call(stack, "track", **demo | {"messageId": f"{at}"}, timestamp=f"{at}") == 200
    sweep(stack, ring := NOON + RETENTION + DAY)
    assert {entry["carries"] for entry in ledger_of(stack)} == {0, 1}
    before = lead(stack, email=JANE)

    with clock_at(ring + DAY):
        for at in (NOON, last):
            assert call(stack, "track", **demo | {"messageId": f"{at}"}, timestamp=f"{at}") == 200

    assert lead(stack, email=JANE)["interactions"] == before["interactions"] == 2
    assert (stack.metrics["PastRetention"], stack.metrics["Duplicates"]) == (1, 1)
    assert is_exact(stack, JANE, ring + DAY)


def ledger_of(stack: LocalStack) -> list[Any]:
    jane, found, cursor = lead(stack, email=JANE)["id"], [], ""
    while cursor is not None:
        query = "limit=100" + (f"&cursor={cursor}" if cursor else "")
        page = stack.request("GET", f"/leads/{jane}/ledger", query=query).json()
        found += page["interactions"]
        cursor = page["next"]
    return found


def test_at_every_step_of_carrying_the_counters_are_the_ledger_s_sum(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leadscoring.forgetting._ENTRIES_A_STEP", 2)
    monkeypatch.setattr("leadscoring.forgetting._STEPS_AT_ONCE", 1)
    with clock_at(NOON):
        live(stack)
        for _ in range(6):
            call(stack, "track", userId=JANE, event="Form Submitted")
    with clock_at(NOON + 30 * DAY):
        call(stack, "track", userId=JANE, event="Newsletter Subscribed")
    forgetter, jane = stack.functions["sweep"].module.forgetter, lead(stack, email=JANE)["id"]
    at, steps = NOON + RETENTION + DAY, 0
    while forgetter.forget(jane, at):
        steps += 1
        assert is_exact(stack, JANE, at)
    assert steps > 3
    assert is_exact(stack, JANE, at)


def test_a_rescore_pays_what_is_there_and_leaves_the_sums(stack: LocalStack) -> None:
    busy_life(stack)
    sweep(stack, NOON + RETENTION + DAY)
    newer = Model.parse(MODEL.replace("number = 1\n", "number = 2\n").replace("= 60\n", "= 70\n"))
    carried = [entry for entry in ledger_of(stack) if entry["carries"]]

    at = NOON + RETENTION + DAY
    rescore(store_of(stack), newer, lambda: at, most_promotions=9, entries_per_second=1e9)

    assert [entry for entry in ledger_of(stack) if entry["carries"]] == carried
    jane = lead(stack, email=JANE)["id"]
    models = {1: Model.parse(MODEL), 2: newer}
    assert verify_lead(store_of(stack), jane, models, at) == []


def test_a_lead_silent_for_the_whole_retention_is_erased_without_a_trace(
    stack: LocalStack,
) -> None:
    with clock_at(NOON):
        live(stack)
        stack.pump()
        old = lead(stack, email=JANE)
    sweep(stack, NOON + RETENTION - DAY)
    assert lead(stack, email=JANE)["id"] == old["id"]

    end = NOON + RETENTION + DAY
    sweep(stack, end)
    with clock_at(end):
        assert call(stack, "track", userId=JANE, event="Newsletter Subscribed") == 503
        stack.pump()

    assert [item for item in everything(stack) if item["pk"]["S"].startswith("LEAD#")] == []
    assert len(erasures(stack)) == 1
    with clock_at(end + DAY):
        call(stack, "page", anonymousId=f"phone of {JANE}", properties={"path": "/"})
        call(stack, "track", userId=JANE, event="Newsletter Subscribed")
        stack.pump()
        assert [one["interactions"] for one in stack.leads()] == [1, 1]
        assert lead(stack, email=JANE)["changes"] == []
    assert is_exact(stack, JANE, end + DAY)


def test_what_is_told_of_a_person_who_was_forgotten_and_comes_back_is_news(
    stack: LocalStack,
) -> None:
    for returns in range(2):
        at = NOON + returns * (RETENTION + 2 * DAY)
        with clock_at(at):
            live(stack)
            stack.pump()
        sweep(stack, at + RETENTION + DAY)
        with clock_at(at + RETENTION + DAY):
            stack.pump()
            assert stack.leads() == []

    with closing(FileInbox(":memory:")) as inbox:
        heard = [take(message, inbox, lambda *_: None) for message in map(from_sns, stack.received)]

    assert set(heard) == {News.NEW}
    assert len(stack.promoted()) == 2


def test_a_name_that_did_nothing_is_counted_like_a_lead(stack: LocalStack) -> None:
    with clock_at(NOON):
        call(stack, "identify", userId=JANE, anonymousId="kiosk")
        jane = lead(stack, email=JANE)
        (kiosk,) = jane["identities"]
        said = {"identity": kiosk["id"], "reason": "they are two"}
        assert stack.request("POST", f"/leads/{jane['id']}/unmerges", said).status == 200

    (change,) = store_of(stack).changes(kiosk["id"])

    assert change.number == int(NOON.timestamp()) + 1


def test_who_asks_to_be_forgotten_while_retention_ends_gets_a_tombstone(
    stack: LocalStack,
) -> None:
    with clock_at(NOON):
        live(stack)
        stack.pump()
    end = NOON + RETENTION + DAY
    sweep(stack, end)
    with clock_at(end):
        assert stack.request("POST", "/leads/erase", {"email": JANE}).status == 202
        stack.pump()
        call(stack, "track", userId=JANE, event="Newsletter Subscribed")

    assert stack.request("POST", "/leads/find", {"email": JANE}).status == 404
    assert len([item for item in stack.items("LEAD") if "erased_at" in item]) == 1
    assert len(stack.items("IDENTITY#")) == NAMES
    assert stack.pending() == 0


def test_who_comes_back_while_silence_is_being_found_is_not_forgotten(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clock_at(NOON):
        live(stack)
        stack.pump()
    end, put = NOON + RETENTION + DAY, Table.put
    back: list[int] = []

    def put_late(*given: Any) -> Any:
        if not back:
            with clock_at(end):
                back.append(call(stack, "track", userId=JANE, event="Newsletter Subscribed"))
        return put(*given)

    monkeypatch.setattr(Table, "put", put_late)
    for minutes in range(3):
        sweep(stack, end + timedelta(minutes=minutes))

    assert back == [200]
    assert erasures(stack) == []
    assert {e["name"] for e in ledger_of(stack)} == {"Carried", "Newsletter Subscribed"}
    assert is_exact(stack, JANE, end)


def test_what_one_lead_loses_no_other_one_does(stack: LocalStack) -> None:
    with clock_at(NOON):
        live(stack)
        live(stack, JOE)
    with clock_at(NOON + 30 * DAY):
        call(stack, "track", userId=JOE, event="Newsletter Subscribed")
    sweep(stack, NOON + RETENTION + DAY)
    with clock_at(NOON + RETENTION + DAY):
        stack.pump()
    assert [one["email"] for one in stack.leads()] == [JOE]
    assert len(ledger(stack, email=JOE)) <= 1 + 3


def test_who_was_taken_out_of_a_lead_after_its_past_was_carried_is_looked_at_once(
    stack: LocalStack,
) -> None:
    with clock_at(NOON):
        call(stack, "track", userId=JOE, event="Newsletter Subscribed")
    with clock_at(NOON + 30 * DAY):
        for email in (JANE, JOE):
            call(stack, "track", userId=email, event="Demo Requested")
        jane, joe = (lead(stack, email=email)["id"] for email in (JANE, JOE))
        said = {"other": joe, "reason": "one person"}
        assert stack.request("POST", f"/leads/{jane}/merges", said).status == 200
    at = NOON + RETENTION + DAY
    sweep(stack, at)
    with clock_at(at):
        said = {"identity": joe, "reason": "they are two"}
        assert stack.request("POST", f"/leads/{jane}/unmerges", said).status == 200

    for minutes in (1, 2):
        sweep(stack, at + timedelta(minutes=minutes))

    rings = {one.id: one.due_at for one in store_of(stack).leads(100).items}
    assert rings.keys() == {jane, joe}
    assert all(due_at and due_at > at + DAY for due_at in rings.values())
    assert is_exact(stack, JANE, at)
    assert is_exact(stack, JOE, at)


def test_who_was_erased_and_is_taken_out_of_a_lead_that_began_anew_stays_without_a_past(
    stack: LocalStack,
) -> None:
    demo: dict[str, Any] = {"event": "Demo Requested", "timestamp": NOON.isoformat()}
    with clock_at(NOON):
        for email in (JANE, JOE):
            call(stack, "track", userId=email, messageId="demo", **demo)
        jane, joe = (lead(stack, email=email)["id"] for email in (JANE, JOE))
        said = {"other": joe, "reason": "one person"}
        assert stack.request("POST", f"/leads/{jane}/merges", said).status == 200
        assert stack.request("POST", "/leads/erase", {"email": JANE}).status == 202
        stack.pump()
    with clock_at(NOON + DAY):
        call(stack, "identify", key=SECRET_KEY, userId=JANE, traits={"consent": True})
        call(stack, "track", userId=JOE, event="Newsletter Subscribed")
        said = {"identity": joe, "reason": "they are two"}
        assert stack.request("POST", f"/leads/{jane}/unmerges", said).status == 200
        call(stack, "track", userId=JOE, messageId="demo", **demo)
        assert [entry["name"] for entry in ledger(stack, email=JOE)] == ["Newsletter Subscribed"]
