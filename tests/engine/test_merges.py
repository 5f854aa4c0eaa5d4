"""Writers, merges, partings and corrections meet: no entry is lost, and all is where it belongs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from infra.workbench.verifying import verify_lead
from leadscoring.contract import Sender
from leadscoring.interaction import Identity, IdentityKind, Interaction, Trust
from leadscoring.joining import Joiner
from leadscoring.keys import Keys
from leadscoring.model import Model
from leadscoring.recorder import Recorder
from leadscoring.store import Store
from leadscoring.table import Busy
from tests.engine.conftest import Engine
from tests.engine.test_rescore import ACTS, AFTER, NOON, OLD

THREADS, TURNS = 64, 4
MODEL = Model.parse(OLD.replace("traits = []", 'traits = ["company"]'))
NEWER = AFTER
KEYS = Keys(lead_ids=b"merges", public="", secrets=(), links={}, webhooks={}, captchas={})
SENDER = Sender("urn:mqlambda:test")


class Crowd:
    """Some people and their devices, at one engine."""

    def __init__(self, engine: Engine, name: str, people: int, devices: int) -> None:
        self.engine, self.client = engine, engine.client()
        self.people = [Identity.of_email(f"{n}@{name}.example") for n in range(people)]
        self.devices = [Identity(IdentityKind.ANONYMOUS_ID, f"{name}-{n}") for n in range(devices)]
        self.ids = [one.lead_id(KEYS.lead_ids) for one in (*self.people, *self.devices)]

    def store(self) -> Store:
        return Store(self.client, self.engine.table_name, budget_seconds=60)

    def act(self, who: Identity, message_id: str, turn: int, *also: Identity) -> Interaction:
        return Interaction(
            message_id=message_id,
            identity=who,
            name="Identified" if also else ACTS[turn % len(ACTS)],
            occurred_at=NOON - timedelta(hours=turn),
            received_at=NOON,
            trust=Trust.PUBLIC,
            fingerprint="",
            traits={"company": message_id},
            also=also,
        )

    def differences(self, model: Model) -> list[object]:
        store = self.store()
        roots = {store.identities.whole_id(lead_id) for lead_id in self.ids}
        models = {MODEL.number: MODEL, model.number: model}
        return [
            difference
            for root in roots
            if store.lead(root)
            for difference in verify_lead(store, root, models, NOON)
        ]

    def entries(self) -> set[tuple[str, str]]:
        store = self.store()
        return {
            (entry.home, entry.message_id)
            for lead_id in self.ids
            for entry in store.ledger.entries_at(lead_id)
        }


def until_taken(task: Callable[[], object]) -> None:
    while True:
        try:
            task()
        except Busy:  # whoever is told so comes again
            continue
        return


def test_sixty_four_writers_and_the_merges_of_their_leads_lose_nothing(engine: Engine) -> None:
    crowd = Crowd(engine, "messages", people=4, devices=12)
    names = [*crowd.people, *crowd.devices]

    def write(writer: int) -> None:
        recorder = Recorder(crowd.store(), MODEL, SENDER)
        for turn in range(TURNS):
            act = crowd.act(names[(writer + turn) % len(names)], f"{writer}-{turn}", turn)
            device = crowd.devices[writer % len(crowd.devices)]
            person = crowd.people[writer % len(crowd.people)]
            told = crowd.act(person, f"told-{writer}", turn, device)
            acts = [act, told] if turn == 2 else [act]
            until_taken(partial(recorder.record, acts, KEYS))

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(write, range(THREADS)))

    assert len(crowd.entries()) == THREADS * (TURNS + 1)
    assert crowd.differences(MODEL) == []
    store = crowd.store()
    roots = {store.identities.whole_id(lead_id) for lead_id in crowd.ids}
    assert roots == {one.lead_id(KEYS.lead_ids) for one in crowd.people}


def test_people_join_and_part_leads_while_all_write_to_them(engine: Engine) -> None:
    crowd = Crowd(engine, "decisions", people=3, devices=3)
    names = [*crowd.people, *crowd.devices]

    def write(writer: int) -> None:
        store = crowd.store()
        for turn in range(3 * TURNS):
            who = names[(writer + turn) % len(names)]
            act = crowd.act(who, f"{writer}-{turn}", turn)
            home = who.lead_id(KEYS.lead_ids)
            until_taken(partial(store.ledger.record, home, [act], MODEL))

    def decide(decider: int) -> None:
        store = crowd.store()
        joiner = Joiner(store, MODEL, SENDER)
        for turn in range(TURNS):
            one, other = (crowd.ids[(decider + n * (turn + 1)) % len(crowd.ids)] for n in (1, 2))
            until_taken(partial(joiner.merge, one, other, "me", "one", NOON))
            whole = store.identities.whole_id(one)
            for part in store.identities.parts(whole)[:1]:
                until_taken(partial(joiner.unmerge, whole, part.id, "me", "two", NOON))

    with ThreadPoolExecutor(10) as threads:
        tasks = [threads.submit(write, writer) for writer in range(8)]
        tasks += [threads.submit(decide, decider) for decider in range(2)]
        for task in tasks:
            task.result()

    assert len(crowd.entries()) == 8 * 3 * TURNS
    assert crowd.differences(MODEL) == []
    store = crowd.store()
    parted = sum(
        change.kind == "unmerged" for lead_id in crowd.ids for change in store.changes(lead_id)
    )
    assert parted > 0


def test_what_is_paid_again_or_corrected_finds_the_lead_that_it_belongs_to_now(
    engine: Engine,
) -> None:
    crowd = Crowd(engine, "corrections", people=2, devices=2)
    store = crowd.store()
    joiner, recorder = Joiner(store, MODEL, SENDER), Recorder(store, MODEL, SENDER)
    jane, joe, phone, laptop = crowd.ids
    for turn in range(8):
        for name, lead_id in zip((*crowd.people, *crowd.devices), crowd.ids, strict=True):
            act = crowd.act(name, f"{lead_id}-{turn}", turn)
            doubted = replace(act, withheld_by="crawlerdetect" if turn % 3 == 0 else None)
            recorder.record([doubted], KEYS)
    read = {lead_id: list(store.ledger.entries(lead_id)) for lead_id in crowd.ids}

    joiner.merge(joe, laptop, "me", "one", NOON)
    joiner.merge(jane, phone, "me", "one", NOON)
    joiner.merge(jane, joe, "me", "one", NOON)
    for lead_id in crowd.ids:
        doubts = [entry for entry in read[lead_id] if entry.is_withheld]
        assert store.ledger.overrule(lead_id, doubts, MODEL) == len(doubts) == 3
    assert crowd.differences(MODEL) == []
    assert store.ledger.withhold(laptop, read[laptop][:4], "people", MODEL)
    joiner.unmerge(jane, joe, "me", "two", NOON)
    assert crowd.differences(MODEL) == []
    for lead_id in crowd.ids:
        store.ledger.pay_again(list(store.ledger.entries_at(lead_id)), NEWER)

    assert crowd.differences(NEWER) == []
    assert store.identities.of(joe) == [joe, laptop]
    assert store.identities.of(jane) == [jane, phone]


def test_a_container_that_saw_it_in_a_lead_before_two_partings_looks_again(
    engine: Engine,
) -> None:
    crowd = Crowd(engine, "partings", people=2, devices=1)
    jane, joe, phone = crowd.ids
    warm, store = crowd.store(), crowd.store()
    joiner, recorder = Joiner(store, MODEL, SENDER), Recorder(store, MODEL, SENDER)
    for name in (*crowd.people, *crowd.devices):
        recorder.record([crowd.act(name, f"first-{name.value}", 0)], KEYS)
    joiner.merge(joe, phone, "me", "one", NOON)
    warm.ledger.record(phone, [crowd.act(crowd.devices[0], "second", 1)], MODEL)

    joiner.merge(jane, joe, "me", "one", NOON)
    joiner.unmerge(jane, phone, "me", "two", NOON)
    joiner.unmerge(jane, joe, "me", "two", NOON)
    warm.ledger.record(phone, [crowd.act(crowd.devices[0], "third", 2)], MODEL)

    assert crowd.differences(MODEL) == []
    counted = [store.lead(lead_id) for lead_id in crowd.ids]
    assert [lead and lead.interactions for lead in counted] == [1, 1, 3]


def test_a_lead_that_was_left_and_merged_while_somebody_looked_is_looked_at_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(engine, "looks", people=2, devices=1)
    jane, joe, phone = crowd.ids
    looking, store = crowd.store(), crowd.store()
    joiner, recorder = Joiner(store, MODEL, SENDER), Recorder(store, MODEL, SENDER)
    for name in (*crowd.people, *crowd.devices):
        recorder.record([crowd.act(name, f"first-{name.value}", 0)], KEYS)
    joiner.merge(joe, phone, "me", "one", NOON)
    read = looking.identities._lead

    def read_slowly(lead_id: str) -> Any:
        found = read(lead_id)
        if lead_id == phone and not store.identities.parts(jane):
            joiner.unmerge(joe, phone, "me", "two", NOON)
            joiner.merge(jane, joe, "me", "one", NOON)
        return found

    monkeypatch.setattr(looking.identities, "_lead", read_slowly)
    looking.ledger.record(phone, [crowd.act(crowd.devices[0], "second", 1)], MODEL)

    assert crowd.differences(MODEL) == []
    parted = store.lead(phone)
    assert parted
    assert parted.interactions == 2
