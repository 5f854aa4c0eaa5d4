"""The hunt can fail: each promise is broken on purpose, and the invariants say which one.

What any life trips over, a short hunt finds by itself; for what is rarer, the life is told.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from infra.local.stack import PUBLIC_KEY
from leadscoring import lifecycle
from leadscoring.erasing import Erasing
from leadscoring.interaction import from_text
from leadscoring.lead import Change, Entry, Lead
from leadscoring.model import Model
from leadscoring.store import Store
from tests.life import invariants as always
from tests.life.invariants import Invariant
from tests.life.machine import DEVICES, PEOPLE, USERS, Life, Mishap, live, tell
from tests.life.world import DIES_BEFORE, World, world
from tests.tampering import Bug, settled_before_it_is_published, unconditional, writes

JANE, USER = PEOPLE[0], USERS[0]
PROMOTE, RELAY = 0, 1


@pytest.fixture(scope="module")
def here() -> Iterator[World]:
    with world() as shared:
        yield shared


def in_the_same_cycle() -> Bug:
    passage = lifecycle._passage

    def broken(lead: Any, *args: Any, **named: Any) -> Change:
        return replace(passage(lead, *args, **named), cycle=lead.cycle)

    return patch.object(lifecycle, "_passage", broken)


def numbered_by_the_clock() -> Bug:
    def broken(sender: Any, lead_id: str, number: int, at: datetime) -> Mapping[str, Any]:
        name = f"{lead_id}:{int(at.timestamp())}"
        return {"id": name, "source": sender.source, "subject": lead_id, "time": at}

    return patch("leadscoring.contract.Sender._head", broken)


def limits_left() -> Bug:
    beside = Erasing._beside

    def broken(erasing: Erasing, home: str, prefix: str) -> Iterator[tuple[str, str]]:
        return (key for key in beside(erasing, home, prefix) if not key[1].startswith("LIMIT#"))

    return patch.object(Erasing, "_beside", broken)


def any_message_begins_anew() -> Bug:
    def broken(entries: Iterable[Entry], lead: Mapping[str, Any]) -> Entry | None:
        since = from_text(lead["erased_at"]) + timedelta(seconds=1) if "erased_at" in lead else None
        return next((replace(entry, occurred_at=since) for entry in entries if since), None)

    return patch("leadscoring.ledger._opt_in", broken)


def reminded_by_timers_alone() -> Bug:
    overdue = lifecycle.overdue

    def broken(lead: Lead, now: datetime, model: Model) -> Change | None:
        return overdue(lead, now, model) if lead.due_at and lead.due_at <= now else None

    return patch.object(lifecycle, "overdue", broken)


# The lives that show what a short hunt seldom meets


def limit_is_reached(life: Life) -> None:
    acts(life, JANE, "Visited", "Visited")
    life.a_container_starts_cold("collect")
    acts(life, JANE, "Visited")


def promoters_are_two(life: Life) -> None:
    """The sweep has read the lead; before it writes, the stream has moved it."""
    life.is_keen(JANE, PUBLIC_KEY, None)
    life.time_passes(timedelta(minutes=3))
    commit = Store.commit

    def overtaken(store: Store, *args: Any, **named: Any) -> None:
        with patch.object(Store, "commit", commit):
            streams(life, PROMOTE)
        commit(store, *args, **named)

    with patch.object(Store, "commit", overtaken):
        life.is_swept(None)


def user_and_address_are_known(life: Life) -> None:
    for who in (JANE, USER):
        acts(life, who, "Visited")
    life.tells_the_address(JANE, USER, PUBLIC_KEY, None)


def objector_goes_on(life: Life) -> None:
    objects(life)
    acts(life, JANE, "Visited")


def mql_objects(life: Life) -> None:
    life.is_keen(JANE, PUBLIC_KEY, None)
    streams(life, PROMOTE)
    objects(life)
    streams(life, RELAY)


def device_of_an_objector_is_joined(life: Life) -> None:
    objects(life)
    acts(life, DEVICES[0], "Visited")
    life.is_identified(JANE, DEVICES[0], PUBLIC_KEY, None)


def objector_consents_again(life: Life) -> None:
    """Her reminder came due while she objected."""
    life.is_keen(JANE, PUBLIC_KEY, None)
    life.comes_to_rest()
    objects(life)
    life.time_passes(timedelta(hours=49))
    life.comes_to_rest()
    life.is_asked_for_consent(JANE, consent=True, key=PUBLIC_KEY, mishap=None)


def relay_dies(life: Life) -> None:
    life.is_keen(JANE, PUBLIC_KEY, None)
    streams(life, PROMOTE)
    streams(life, RELAY, mishap=(2, DIES_BEFORE))


def erased_act_again(life: Life) -> None:
    acts(life, JANE, "Visited")
    life.asks_to_be_forgotten(JANE, None)
    life.comes_to_rest()
    acts(life, JANE, "Visited")


def silent_mql_comes_back(life: Life) -> None:
    """She is forgotten without a trace, and becomes an MQL again as she did the first time."""
    life.is_keen(JANE, PUBLIC_KEY, None)
    life.comes_to_rest()
    for _ in range(4):
        life.time_passes(timedelta(days=31))
        life.comes_to_rest()
    assert not life.history.now.alive()
    life.is_keen(JANE, PUBLIC_KEY, None)


def stream_forgets(life: Life) -> None:
    life.is_keen(JANE, PUBLIC_KEY, None)
    life.the_stream_loses_all(PROMOTE)


def acts(life: Life, who: str, *events: str) -> None:
    life.acts(who, list(events), PUBLIC_KEY, 0, arrives=True, mishap=None)


def objects(life: Life) -> None:
    life.is_asked_for_consent(JANE, consent=False, key=PUBLIC_KEY, mishap=None)


def streams(life: Life, mapping: int, *, again: bool = False, mishap: Mishap = None) -> None:
    life.the_stream_delivers(mapping, None, again=again, mishap=mishap)


HUNTED: list[tuple[str, Callable[[], Bug], Invariant]] = [
    (
        "points are added without an entry in the ledger",
        lambda: writes("INTERACTION#"),
        always.counters_are_what_the_ledger_adds_up_to,
    ),
    (
        "an entry is put whether it is there or not",
        lambda: writes("INTERACTION#", tamper=unconditional),
        always.counters_are_what_the_ledger_adds_up_to,
    ),
    (
        "a writer does not see that a lead was merged",
        lambda: patch("leadscoring.membership.Membership.conditions", lambda *_: []),
        always.counters_are_what_the_ledger_adds_up_to,
    ),
    (
        "limits are paid for, and not counted",
        lambda: writes("LIMIT#"),
        always.allowances_are_used_as_the_ledger_says,
    ),
    (
        "who leaves mql stays in the same cycle",
        in_the_same_cycle,
        always.nobody_is_promoted_twice_in_a_cycle,
    ),
    (
        "a message is named by the time",
        numbered_by_the_clock,
        always.what_is_received_has_happened,
    ),
    (
        "a lead is moved without a change in the ledger",
        lambda: writes("CHANGE#"),
        always.changes_are_numbered_and_lead_where_the_lead_stands,
    ),
    (
        "a lead does not know what became part of it",
        lambda: writes("IDENTITY#"),
        always.an_identity_is_part_of_one_lead,
    ),
    (
        "a timer is set nowhere",
        lambda: patch("leadscoring.items.timer", lambda *_: {}),
        always.a_lead_has_a_timer,
    ),
]
TOLD: list[tuple[str, Callable[[], Bug], Invariant, Callable[[Life], None]]] = [
    (
        "a limit is counted, and holds nobody back",
        lambda: writes("LIMIT#", tamper=unconditional),
        always.allowances_are_used_as_the_ledger_says,
        limit_is_reached,
    ),
    (
        "a lead is moved whatever became of it since it was read",
        lambda: writes("LEAD", "CHANGE#", "OUTBOX#", tamper=unconditional),
        always.changes_are_numbered_and_lead_where_the_lead_stands,
        promoters_are_two,
    ),
    (
        "whoever comes back is counted from the beginning",
        lambda: patch("leadscoring.ledger.counted_from", lambda _: 0),
        always.what_is_received_has_happened,
        silent_mql_comes_back,
    ),
    (
        "anybody joins anybody",
        lambda: patch("leadscoring.joining._may_join", lambda *_: True),
        always.nobody_known_is_joined_to_somebody_known_by_the_public,
        user_and_address_are_known,
    ),
    (
        "who has objected is paid like anybody else",
        lambda: patch("leadscoring.ledger._as_objected", lambda entry: entry),
        always.who_objects_is_paid_nothing_and_not_handed_over,
        objector_goes_on,
    ),
    (
        "what was committed before an objection is published after it",
        lambda: patch("leadscoring.outbox._withheld_by", lambda *_: None),
        always.who_objects_is_paid_nothing_and_not_handed_over,
        mql_objects,
    ),
    (
        "a merge says who has objected",
        lambda: patch("leadscoring.contract.LeadMerged.without_contact", lambda merged: merged),
        always.who_objects_is_paid_nothing_and_not_handed_over,
        device_of_an_objector_is_joined,
    ),
    (
        "any message brings an erased lead back",
        any_message_begins_anew,
        always.nobody_erased_comes_back,
        erased_act_again,
    ),
    (
        "a message is settled before it is published",
        settled_before_it_is_published,
        always.what_happened_is_published,
        relay_dies,
    ),
    (
        "an erasure leaves the limits",
        limits_left,
        always.nothing_of_the_erased_remains,
        erased_act_again,
    ),
    (
        "nobody guards what the stream has lost",
        lambda: patch("leadscoring.store.Store.leads_in", lambda *_: iter(())),
        always.everybody_stands_where_they_should,
        stream_forgets,
    ),
    (
        "only a timer reminds, and only of what is still to come",
        reminded_by_timers_alone,
        always.nobody_waits_for_a_reminder,
        objector_consents_again,
    ),
]


def only(promise: Invariant) -> dict[str, tuple[Invariant, ...]]:
    """Hold nothing but this promise, where it holds."""
    at_rest = promise in always.AT_REST
    return {"always": () if at_rest else (promise,), "at_rest": (promise,) if at_rest else ()}


@pytest.mark.parametrize(
    ("bug", "promise"), [(bug, promise) for _, bug, promise in HUNTED], ids=[n for n, *_ in HUNTED]
)
def test_the_hunt_finds(here: World, bug: Callable[[], Bug], promise: Invariant) -> None:
    with bug(), pytest.raises(AssertionError, match=promise.__name__):
        live(here, lives=40, steps=60, shrinks=False, with_mishaps=True, **only(promise))


@pytest.mark.parametrize(
    ("bug", "promise", "story"), [told for _, *told in TOLD], ids=[name for name, *_ in TOLD]
)
def test_a_life_shows(
    here: World, bug: Callable[[], Bug], promise: Invariant, story: Callable[[Life], None]
) -> None:
    tell(here, story)
    with bug(), pytest.raises(AssertionError, match=promise.__name__):
        tell(here, story, **only(promise))


def test_there_is_a_bug_for_each_promise() -> None:
    broken = {promise for _, _, promise, *_ in (*HUNTED, *TOLD)}
    assert broken == {*always.ALWAYS, *always.AT_REST}
