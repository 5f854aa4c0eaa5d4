"""Writers, limits and a rescore meet at one lead: ledger, counters and allowances agree exactly."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from infra.workbench.rescoring import rescore
from infra.workbench.verifying import verify, verify_lead
from leadscoring import scoring
from leadscoring.interaction import Identity, Interaction, Trust
from leadscoring.limits import Tally
from leadscoring.model import Model
from leadscoring.store import Store
from tests.engine.conftest import Engine

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
WRITERS, TURNS = 64, 6

OLD = """
number = 1
name = "before"
retention_days = 365
properties = ["title"]
traits = []
dimensions.interest = { half_life_days = 30, cap = 1000 }

[[rules]]
name = "page"
on = "Page Viewed"
points = 1
dimension = "interest"
limit = { times = 20, per = "day" }

[[rules]]
name = "paper"
on = "Content Downloaded"
points = 15
dimension = "interest"
limit = { times = 1, per = "ever", by = "title" }

[[rules]]
name = "click"
on = "Email Link Clicked"
points = 3
dimension = "interest"
limit = { points = 10, per = "week" }

[[rules]]
name = "call"
on = "Call"
points = 5
dimension = "interest"

[[stages]]
name = "captured"
[[stages]]
name = "mql"
enter.score = 100000
"""
# Pages pay more and less often, papers twice as much, clicks as before, calls no more.
NEW = (
    OLD.replace("number = 1", "number = 2")
    .replace("points = 1\n", "points = 2\n")
    .replace("times = 20", "times = 15")
    .replace("points = 15", "points = 30")
    .replace('on = "Call"', 'on = "Called"')
)
BEFORE, AFTER = Model.parse(OLD), Model.parse(NEW)
ACTS = ["Page Viewed", "Content Downloaded", "Email Link Clicked", "Call"]


def act(number: int, turn: int) -> Interaction:
    """Return one of a writer's interactions; every second one is sent by its neighbour too."""
    name = ACTS[(number + turn) % len(ACTS)]
    sender = number if turn % 2 else number // 2
    return Interaction(
        message_id=f"{sender}-{turn}-{name}",
        identity=Identity.of_email("jane@example.com"),
        name=name,
        occurred_at=NOON - timedelta(days=turn),
        received_at=NOON,
        trust=Trust.TRUSTED,
        fingerprint="",
        properties={"title": f"paper {number % 5}"},
    )


def write(engine: Engine, lead_id: str, models: list[Model], meanwhile: list[Model]) -> None:
    """Let all writers write at once, each as a container of its own; rescore while they do.

    Their containers are of these models in turn, as they are while a deployment goes on.
    """
    client = engine.client()

    def writer(number: int) -> None:
        store = Store(client, engine.table_name, budget_seconds=60)
        for turn in range(TURNS):
            store.ledger.record(lead_id, [act(number, turn)], models[number % len(models)])

    def pay_again(new: Model) -> None:
        store = Store(client, engine.table_name, budget_seconds=60)
        for _ in range(3):
            store.begin_rescore(lead_id, NOON)
            store.ledger.pay_again(list(store.ledger.entries(lead_id)), new)
            store.end_rescore(lead_id)

    store = Store(client, engine.table_name)
    store.ledger.record(lead_id, [act(0, 0)], models[0])
    with ThreadPoolExecutor(WRITERS + 2) as threads:
        writing = [threads.submit(writer, number) for number in range(WRITERS)]
        writing += [threads.submit(pay_again, new) for new in meanwhile for _ in range(2)]
        for task in writing:
            task.result()


def check(engine: Engine, lead_id: str, *models: Model) -> None:
    """Assert that counters, ledger, pay and allowances agree, and that no limit was overdrawn."""
    store = Store(engine.client(), engine.table_name)
    by_number = {model.number: model for model in models}
    assert verify_lead(store, lead_id, by_number, NOON) == []
    entries = list(store.ledger.entries(lead_id))
    assert len({entry.message_id for entry in entries}) == len(entries)
    assert {e.message_id for e in entries} == {
        act(number, turn).message_id for number in range(WRITERS) for turn in range(TURNS)
    }
    in_force = models[-1]
    # In any order the tally comes to the same: the limit, or all that there was.
    alone = Tally(in_force)
    alone.cut_all([scoring.enter(act(n, t), in_force) for n, t in unique_acts()])
    stored = {name: used for name, used in store.ledger.allowances(lead_id).items() if used}
    paid_by_force = {name: used for name, used in stored.items() if name in alone.taken}
    assert paid_by_force == alone.taken
    assert stored.keys() == alone.taken.keys()


def unique_acts() -> list[tuple[int, int]]:
    first: dict[str, tuple[int, int]] = {}
    for number in range(WRITERS):
        for turn in range(TURNS):
            first.setdefault(act(number, turn).message_id, (number, turn))
    return list(first.values())


def test_sixty_four_writers_on_one_lead_with_limits_pay_exactly_the_limits(engine: Engine) -> None:
    write(engine, "a" * 32, [BEFORE], [])
    check(engine, "a" * 32, BEFORE)


def test_a_rescore_among_sixty_four_writers_leaves_everything_exact(engine: Engine) -> None:
    lead_id = "b" * 32
    write(engine, lead_id, [BEFORE, AFTER], [AFTER])
    store = Store(engine.client(), engine.table_name)
    while store.ledger.pay_again(list(store.ledger.entries(lead_id)), AFTER):
        pass
    check(engine, lead_id, AFTER)
    assert {entry.model for entry in store.ledger.entries(lead_id)} <= {BEFORE.number, AFTER.number}


def test_a_rescore_among_writers_of_the_new_model_leaves_everything_exact(engine: Engine) -> None:
    lead_id = "c" * 32
    store = Store(engine.client(), engine.table_name)
    for number in range(0, WRITERS, 3):
        store.ledger.record(lead_id, [act(number, turn) for turn in range(TURNS)], BEFORE)
    write(engine, lead_id, [AFTER], [AFTER])
    while store.ledger.pay_again(list(store.ledger.entries(lead_id)), AFTER):
        pass
    check(engine, lead_id, AFTER)


def test_a_model_that_comes_back_finds_its_allowances_as_free_as_they_are(engine: Engine) -> None:
    lead_id = "d" * 32
    back = Model.parse(OLD.replace("number = 1", "number = 3"))
    write(engine, lead_id, [BEFORE], [])
    store = Store(engine.client(), engine.table_name)
    before = store.lead(lead_id)
    for model in (AFTER, back):
        while store.ledger.pay_again(list(store.ledger.entries(lead_id)), model):
            pass
        check(engine, lead_id, model)
    after = store.lead(lead_id)
    assert before
    assert after
    assert sum(before.units.values()) > 0
    assert after.seen == {**before.seen}
    allowances = store.ledger.allowances(lead_id)
    assert all(Decimal(0) <= used for used in allowances.values())


def test_a_whole_table_is_paid_again_and_found_right(engine: Engine) -> None:
    newest = Model.parse(
        NEW.replace("number = 2", "number = 4").replace("points = 30", "points = 9")
    )
    store = Store(engine.client(), engine.table_name)

    outcome = rescore(store, newest, lambda: NOON, most_promotions=0, entries_per_second=100_000)

    assert (outcome.leads, outcome.stopped) == (4, False)
    assert outcome.changed_entries > 0
    report = verify(store, {4: newest}, NOON)
    assert (report.differences, report.unknown) == ([], 0)
