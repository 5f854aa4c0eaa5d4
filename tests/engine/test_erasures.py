"""Writers, merges, opt-ins and erasures meet at one lead: it is gone, or whole, and never half."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from infra.workbench.verifying import verify_lead
from leadscoring import outbox
from leadscoring.contract import LeadErased, Message, Sender
from leadscoring.forgetting import Forgetter
from leadscoring.interaction import Interaction, Trust
from leadscoring.joining import Joiner
from leadscoring.model import Model
from leadscoring.publisher import Publisher
from leadscoring.store import Store
from leadscoring.table import Busy
from tests.engine.conftest import Engine
from tests.engine.test_rescore import ACTS, OLD

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MODEL = Model.parse(f"{OLD}\n".replace("traits = []", 'traits = ["company"]'))
SENDER = Sender("urn:mqlambda:test")
WRITERS, TURNS = 12, 8


class Heard(Publisher):
    """Keeps what it is asked to publish."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def publish(self, message: Message) -> str:
        self.messages.append(message)
        return message.id

    @property
    def erasures(self) -> set[str]:
        return {message.id for message in self.messages if isinstance(message, LeadErased)}


def act(message_id: str, at: datetime = NOON, *, consent: bool = False) -> Interaction:
    return Interaction(
        message_id=message_id,
        identity=None,
        name=ACTS[len(message_id) % len(ACTS)],
        occurred_at=at,
        received_at=at,
        trust=Trust.TRUSTED if consent else Trust.PUBLIC,
        fingerprint="",
        properties={"title": message_id},
        traits={"consent": True} if consent else {"company": "Canary"},
    )


def left_of(engine: Engine, lead_ids: list[str]) -> dict[str, set[str]]:
    """Return the attributes of all items that are left of these leads, by their keys."""
    found = {}
    for lead_id in lead_ids:
        answer = engine.client().query(
            TableName=engine.table_name,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"LEAD#{lead_id}"}},
            ConsistentRead=True,
        )
        for item in answer["Items"]:
            found[f"{lead_id[0]} {item['sk']['S']}"] = set(item) - {"pk", "sk"}
    return found


def deliver_all(engine: Engine, heard: Publisher, at: datetime) -> None:
    store = Store(engine.client(), engine.table_name, budget_seconds=60)
    while keys := list(store.pending(at)):
        for key in keys:
            outbox.deliver(key, store, heard, at)


def test_writers_and_merges_that_race_an_erasure_leave_nothing_of_the_lead(engine: Engine) -> None:
    jane, phone, laptop = (digit * 32 for digit in "123")
    client, started, heard = engine.client(), threading.Event(), Heard()

    def write(writer: int) -> None:
        store = Store(client, engine.table_name, budget_seconds=60)
        for turn in range(TURNS):
            if turn == TURNS // 2:
                started.set()
            home = (jane, phone)[writer % 2]
            store.ledger.record(home, [act(f"{writer}-{turn}-{'x' * writer}")], MODEL)

    def join() -> None:
        store = Store(client, engine.table_name, budget_seconds=60)
        joiner = Joiner(store, MODEL, SENDER)
        for _ in range(TURNS):
            with suppress(Busy):
                joiner.merge(jane, laptop, "staff", "the same person", NOON)

    def erase() -> None:
        store = Store(client, engine.table_name, budget_seconds=60)
        started.wait()
        assert Forgetter(store, MODEL, SENDER).erase(jane, NOON)
        deliver_all(engine, heard, NOON + HOUR)

    store = Store(client, engine.table_name, budget_seconds=60)
    for home in (jane, phone, laptop):
        store.ledger.record(home, [act("first")], MODEL)
    Joiner(store, MODEL, SENDER).merge(jane, phone, "staff", "the same person", NOON)
    with ThreadPoolExecutor(WRITERS + 3) as threads:
        tasks = [threads.submit(write, writer) for writer in range(WRITERS)]
        tasks += [threads.submit(join), threads.submit(erase), threads.submit(erase)]
        for task in tasks:
            task.result()
    deliver_all(engine, heard, NOON + HOUR)

    merged = store.lead(laptop)
    gone = [jane, phone, *([laptop] if merged and merged.merged_into else [])]
    tombstone = {"revision", "changes", "identities", "erased_at", "last_erased_at"}
    left = left_of(engine, gone)
    names = {key for key in left if "IDENTITY#" in key}
    assert len(names) == len(gone) - 1
    assert left.keys() - names == {f"{lead_id[0]} LEAD" for lead_id in gone}
    assert left["1 LEAD"] <= tombstone
    assert all(left[f"{name[0]} LEAD"] <= tombstone | {"merged_into"} for name in gone)
    assert len(heard.erasures) == 1
    store.ledger.record(phone, [act("late")], MODEL)
    assert left_of(engine, gone) == left


def test_opt_ins_that_race_erasures_begin_anew_at_most_once_and_leave_the_lead_whole(
    engine: Engine,
) -> None:
    jane, client, heard = "4" * 32, engine.client(), Heard()
    opted_in = NOON + HOUR

    def opt_in(writer: int) -> None:
        store = Store(client, engine.table_name, budget_seconds=60)
        for turn in range(TURNS):
            with suppress(Busy):
                word = act(f"yes-{writer}-{turn}", opted_in, consent=True)
                store.ledger.record(jane, [word], MODEL)
            before = act(f"before-{writer}-{turn}", opted_in - timedelta(seconds=1))
            store.ledger.record(jane, [before], MODEL)
            store.ledger.record(jane, [act(f"after-{writer}-{turn}", opted_in + HOUR)], MODEL)

    def relay() -> None:
        for _ in range(TURNS):
            deliver_all(engine, heard, NOON + 3 * HOUR)

    store = Store(client, engine.table_name, budget_seconds=60)
    store.ledger.record(jane, [act("first")], MODEL)
    assert Forgetter(store, MODEL, SENDER).erase(jane, NOON)
    with ThreadPoolExecutor(WRITERS + 2) as threads:
        tasks = [threads.submit(opt_in, writer) for writer in range(WRITERS)]
        tasks += [threads.submit(relay), threads.submit(relay)]
        for task in tasks:
            task.result()
    store.ledger.record(jane, [act("yes-at-last", opted_in, consent=True)], MODEL)

    lead = store.lead(jane)
    assert lead
    assert lead.generation_started_at == opted_in
    assert verify_lead(store, jane, {MODEL.number: MODEL}, NOON + 4 * HOUR) == []
    assert {e.message_id.split("-")[0] for e in store.ledger.entries(jane)} <= {"yes", "after"}
    assert len(heard.erasures) == 1
