"""Writers, corrections and a daily most meet at one lead: ledger, counters and limits agree."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from infra.workbench.verifying import verify_lead
from leadscoring import scoring
from leadscoring.interaction import Interaction, Trust
from leadscoring.model import Model
from leadscoring.store import Store
from leadscoring.table import Busy
from tests.engine.conftest import Engine
from tests.engine.test_rescore import ACTS, OLD

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MOST, WRITERS, TURNS = 20, 16, 8
MODEL = Model.parse(OLD.replace("traits = []", 'traits = ["company"]'))
CUT = Model.parse(f"{OLD}[public]\nmost_per_day = {MOST}\n")


def act(writer: int, turn: int, trust: Trust = Trust.PUBLIC) -> Interaction:
    """Return one of a writer's interactions; every third one is a bot's."""
    return Interaction(
        message_id=f"{writer}-{turn}",
        identity=None,
        name=ACTS[(writer + turn) % len(ACTS)],
        occurred_at=NOON - timedelta(hours=turn, minutes=writer),
        received_at=NOON,
        trust=trust,
        fingerprint="",
        properties={"title": f"paper {writer % 5}"},
        traits={"company": f"{writer} & {turn}"},
        withheld_by="crawlerdetect" if (writer + turn) % 3 == 0 else None,
    )


def test_corrections_among_writers_leave_everything_exact(engine: Engine) -> None:
    lead_id, client = "e" * 32, engine.client()

    def write(writer: int) -> None:
        store = Store(client, engine.table_name, budget_seconds=60)
        for turn in range(TURNS):
            store.ledger.record(lead_id, [act(writer, turn)], MODEL)

    def correct(*, pay: bool) -> None:
        store = Store(client, engine.table_name, budget_seconds=60)
        for _ in range(6):
            doubted = [entry for entry in store.ledger.entries(lead_id) if entry.withheld_by]
            try:
                if pay:
                    store.ledger.overrule(lead_id, doubted[::2], MODEL)
                else:
                    store.ledger.withhold(lead_id, doubted[::3], "crawlerdetect", MODEL)
            except Busy:  # everybody else writes: who corrects comes again
                continue

    store = Store(client, engine.table_name)
    store.ledger.record(lead_id, [act(0, 0)], MODEL)
    with ThreadPoolExecutor(WRITERS + 4) as threads:
        tasks = [threads.submit(write, writer) for writer in range(WRITERS)]
        tasks += [threads.submit(correct, pay=pay) for pay in (True, False, True, False)]
        for task in tasks:
            task.result()
    doubted = [entry for entry in store.ledger.entries(lead_id) if entry.withheld_by]
    store.ledger.overrule(lead_id, doubted[::2], MODEL)
    store.ledger.withhold(lead_id, doubted[1::2], "crawlerdetect", MODEL)

    assert verify_lead(store, lead_id, {MODEL.number: MODEL}, NOON) == []
    entries = list(store.ledger.entries(lead_id))
    assert len(entries) == WRITERS * TURNS
    withheld = [entry for entry in entries if entry.is_withheld]
    assert len(withheld) == len(doubted) // 2
    assert not any(entry.paid for entry in withheld)
    remembered = store.lead(lead_id)
    assert remembered
    assert remembered.traits == scoring.remember(remembered, entries).traits


def test_writers_at_once_are_given_no_more_than_the_most_of_a_day(engine: Engine) -> None:
    lead_id, client = "f" * 32, engine.client()

    def write(writer: int) -> int:
        store = Store(client, engine.table_name, budget_seconds=60)
        kept = 0
        for turn in range(TURNS):
            for day in range(3):
                late = replace(
                    act(writer, turn),
                    message_id=f"{writer}-{turn}-{day}",
                    received_at=NOON + timedelta(days=day),
                )
                kept += store.ledger.record(lead_id, [late], CUT).stored
            kept += store.ledger.record(lead_id, [act(writer, turn, Trust.TRUSTED)], CUT).stored
        return kept

    with ThreadPoolExecutor(WRITERS) as threads:
        kept = sum(threads.map(write, range(WRITERS)))

    store = Store(client, engine.table_name)
    assert verify_lead(store, lead_id, {CUT.number: CUT}, NOON) == []
    entries = list(store.ledger.entries(lead_id))
    assert len(entries) == kept
    assert sum(entry.trust is Trust.TRUSTED for entry in entries) == WRITERS * TURNS
    public = len(entries) - WRITERS * TURNS
    # What arrives on an earlier day than the last one counts on that: days come in any order here.
    assert MOST <= public <= 4 * MOST
