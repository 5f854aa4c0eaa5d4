"""The model changes in the middle: between record, promotion and message, and under a rescore."""

import pytest

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from infra.workbench.rescoring import Effect, rescore
from leadscoring.model import Model
from leadscoring.settings import MODEL_FILE
from tests.flow.own_model import deploy
from tests.trust.promises import assert_kept
from tests.trust.town import HOUR, MINUTE, NOON, PEOPLE, all_ask, ask, pump, sweep

OLD = MODEL_FILE.read_text(encoding="utf-8")
NEW = OLD.replace("number = 1", "number = 2").replace("points = 60", "points = 70")
MODELS = [Model.parse(OLD), Model.parse(NEW)]


@pytest.mark.parametrize("after", ["record", "promotion", "message"])
def test_a_model_that_changes_between_two_steps_promotes_everybody_once(
    stack: LocalStack, after: str
) -> None:
    promote, relay = stack.mappings
    sent = all_ask(stack)
    for step, mapping in (("record", promote), ("promotion", relay), ("message", promote)):
        if step == after:
            deploy(stack, NEW)
        with clock_at(NOON + MINUTE):
            mapping.deliver(stack.stream.read())
    sent += all_ask(stack, NOON + HOUR)
    pump(stack, NOON + HOUR)

    now = NOON + 2 * HOUR
    assert assert_kept(stack, now, sent=sent, promoted=PEOPLE, models=MODELS) == 0
    paid_by = {row["model"]["N"] for row in stack.items("INTERACTION#")}
    assert paid_by == {"1", "2"}


def test_interactions_that_arrive_while_all_is_paid_again_count_once_by_either_model(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack.functions["sweep"].module, "PARTS", 1)
    sent = [ask(stack, email, NOON, "form") for email in PEOPLE]
    pump(stack, NOON)
    sent += [ask(stack, email, NOON + HOUR) for email in PEOPLE]
    store = stack.functions["leads"].module.store
    pay_again, at = store.ledger.pay_again, NOON + 2 * HOUR
    acts = iter(["page", "pricing", "whitepaper", "webinar"] * len(PEOPLE))

    def among_others(*said: object) -> int:
        """Let old and new containers record, and the stream judge, before each payment."""
        act = next(acts, None)
        if act:
            deploy(stack, OLD if act in ("page", "whitepaper") else NEW)
            sent.extend(
                ask(stack, email, at, act)
                for email in PEOPLE
                if f"{act}-{email}-02-14-00" not in sent
            )
            pump(stack, at)
        paid: int = pay_again(*said)
        return paid

    monkeypatch.setattr(store.ledger, "pay_again", among_others)
    effects: list[Effect] = []
    rescore(
        store,
        MODELS[1],
        lambda: at,
        most_promotions=99,
        entries_per_second=1e9,
        progress=effects.append,
    )
    monkeypatch.undo()
    deploy(stack, NEW)
    pump(stack, at + HOUR)
    sweep(stack, at + HOUR)

    assert sum(effect.changed > 0 for effect in effects) == len(PEOPLE)
    assert len(sent) > 3 * len(PEOPLE)
    assert assert_kept(stack, at + 2 * HOUR, sent=sent, promoted=PEOPLE, models=MODELS) == 0
