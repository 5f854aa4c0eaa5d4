"""The model's guards are those that the code writes, and what the model found is mended."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.local.stack import LocalStack, local_stack
from leadscoring import outbox
from leadscoring.contract import Sender
from leadscoring.forgetting import Forgetter
from leadscoring.interaction import Interaction, Trust
from leadscoring.joining import Joiner
from leadscoring.lead import counted_from
from leadscoring.lifecycle import Decision
from leadscoring.model import Model
from leadscoring.promotion import Promoter
from leadscoring.publisher import Publisher
from leadscoring.store import OutboxKey, Store
from leadscoring.table import Action, Table
from tests.engine.test_rescore import OLD
from tests.protocol.conftest import Searches
from tests.protocol.guards import GUARDS, Guard
from tests.protocol.places import Place, places, told
from tests.tampering import sort_key

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MODEL = Model.parse(OLD)
SENDER = Sender("urn:mqlambda:test")


class Silent(Publisher):
    def __init__(self) -> None:
        pass

    def publish(self, message: Any) -> str:
        return str(message.id)


def store_of(stack: LocalStack) -> Store:
    """Return the store as a container sees it that remembers nothing yet."""
    known: Store = stack.functions["leads"].module.store
    return Store(known._table._dynamodb, known._table._name)


def act(message_id: str, name: str = "Anything", at: datetime = NOON, **more: Any) -> Interaction:
    said = {"trust": Trust.PUBLIC, "properties": {}, "traits": {}} | more
    return Interaction(
        message_id=message_id,
        identity=None,
        name=name,
        occurred_at=at,
        received_at=at,
        fingerprint="",
        **said,
    )


def with_a_name(store: Store) -> None:
    """Let a lead have done something, and have a second name."""
    store.ledger.record("known", [act("first")], MODEL)
    lead = store.lead("known")
    assert lead
    store.identities.note(lead, "other name", NOON, Trust.PUBLIC)


def forgotten(store: Store, lead_id: str) -> int:
    """Let the lead's retention be over, and return the erasure's number."""
    assert not Forgetter(store, MODEL, SENDER).forget(lead_id, NOON + 4000 * DAY)
    lead = store.lead(lead_id)
    assert lead
    assert lead.leaves_nothing
    return lead.changes


def test_who_was_forgotten_and_came_back_does_not_get_what_its_old_name_did(
    stack: LocalStack,
) -> None:
    store, remembers = store_of(stack), store_of(stack)
    with_a_name(store)
    remembers.ledger.record("other name", [act("second")], MODEL)
    number = forgotten(store, "known")
    assert outbox.deliver(OutboxKey("known", number, NOON), store, Silent(), NOON)
    store.ledger.record("known", [act("back")], MODEL)

    remembers.ledger.record("other name", [act("third")], MODEL)

    found = [store.lead(name) for name in ("known", "other name")]
    assert [lead and lead.interactions for lead in found] == [1, 1]


def test_a_name_that_came_back_as_a_lead_is_not_dropped_by_a_late_step(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(stack)
    with_a_name(store)
    number = forgotten(store, "known")
    write = Table.write
    met: list[Sequence[Action]] = []

    def late(table: Table, actions: Sequence[Action]) -> None:
        names = [str(action) for action in actions if "Delete" in action]
        if any("LEAD#other name" in name for name in names) and not met:
            met.append(actions)
            assert store.erasing.go_on("known", number)
            store.ledger.record("other name", [act("back")], MODEL)
        write(table, actions)

    monkeypatch.setattr(Table, "write", late)
    assert not store.erasing.go_on("known", number)

    lead = store.lead("other name")
    assert met
    assert lead
    assert lead.interactions == 1


type Conditions = dict[Place, set[str]]


@pytest.fixture(scope="module")
def conditions() -> Iterator[Conditions]:
    """Return the conditions that the code wrote, by their places, in a life that meets them all."""
    found: Conditions = {}
    write = Table.write

    def heard(table: Table, actions: Sequence[Action]) -> None:
        for place, action in zip(places([did(a) for a in actions]), actions, strict=True):
            (said,) = action.values()
            text = said.get("ConditionExpression", "")
            names = said.get("ExpressionAttributeNames", {})
            for word in sorted(names, reverse=True):
                text = text.replace(word, names[word])
            found.setdefault(place, set()).add(plain(text))
        write(table, actions)

    with pytest.MonkeyPatch.context() as patched, local_stack() as stack:
        patched.setattr(Table, "write", heard)
        live(store_of(stack))
        yield found


def did(action: Action) -> str:
    """Return what an action does, as the model tells it."""
    ((verb, said),) = action.items()
    if verb == "Update":
        verb = said["UpdateExpression"].split()[0]
    return told(verb, sort_key(action), asks="ConditionExpression" in said)


def plain(condition: str) -> str:
    return re.sub(r":\w+", ":v", condition).replace("(", "").replace(")", "")


def live(store: Store) -> None:
    joiner, promoter = Joiner(store, MODEL, SENDER), Promoter(store, MODEL, SENDER)
    forgetter = Forgetter(store, MODEL, SENDER)
    trusted: dict[str, Any] = {"trust": Trust.TRUSTED, "traits": {"consent": True}}
    with_a_name(store)
    for rule in MODEL.rule.values():
        store.ledger.record("known", [act(f"limited {rule.name}", rule.on[0])], MODEL)
    store.ledger.record("known", [act("agrees", **trusted)], MODEL)
    store.ledger.record("other name", [act("second")], MODEL)
    store.ledger.record("else", [act("third")], MODEL)
    joiner.merge("known", "else", "jane", "the same", NOON)
    joiner.unmerge("known", "else", "jane", "not the same", NOON)
    assert promoter.decide("known", Decision("disqualify", "a rival", "jane", "1"), NOON)
    since = counted_from(NOON)
    for change in (1, 2, 3):
        assert outbox.deliver(OutboxKey("known", since + change, NOON), store, Silent(), NOON)
    assert forgetter.erase("known", NOON)
    assert outbox.deliver(OutboxKey("known", since + 4, NOON), store, Silent(), NOON)
    store.ledger.record("known", [act("opt-in", at=NOON + DAY, **trusted)], MODEL)
    store.ledger.record("silent", [act("once")], MODEL)
    lead = store.lead("silent")
    assert lead
    store.identities.note(lead, "silent name", NOON, Trust.PUBLIC)
    number = forgotten(store, "silent")
    assert outbox.deliver(OutboxKey("silent", number, NOON), store, Silent(), NOON)


@pytest.mark.parametrize("guard", [g for g in GUARDS if g.of != "check"], ids=lambda g: g.name)
def test_the_code_writes_each_guard_wherever_the_model_does(
    guard: Guard, searches: Searches, conditions: Conditions
) -> None:
    asked_at = {
        place
        for search in searches
        for write in search.writes
        for place, action in zip(places([one.told for one in write]), write, strict=True)
        if guard.name in {condition.guard for condition in action.conditions}
    }
    assert {place.does.split()[-1] for place in asked_at} == {guard.of}
    # A colon stands in a trait's name, too.
    words = plain(guard.words)
    for place in asked_at:
        assert any(words in condition for condition in conditions.get(place, ())), place
