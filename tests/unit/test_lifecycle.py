"""The stage machine: which stage a lead has reached, and the words for why."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from leadscoring.criteria import Condition, Stage
from leadscoring.lead import Change, Lead, Scorecard
from leadscoring.lifecycle import decide
from leadscoring.model import Model
from leadscoring.settings import MODEL_FILE

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JANE = Lead(
    id="0f" * 16,
    stage="captured",
    cycle=2,
    changes=4,
    email="jane@example.com",
    seen={"demo": 1, "webinar": 3},
)


def model(**conditions: dict[str, Any]) -> Model:
    """Return a model with these stages after `captured`."""
    stages = [Stage(name=n, enter=Condition.model_validate(c)) for n, c in conditions.items()]
    update = {"number": 7, "stages": (Stage(name="captured"), *stages)}
    return Model.load(MODEL_FILE).model_copy(update=update)


def card(score: float) -> Scorecard:
    return Scorecard(score=score, dimensions={}, model=7, at=NOON)


@pytest.mark.parametrize(
    ("condition", "score", "why"),
    [
        ({"score": 50}, 49.999, None),
        ({"score": 50}, 50, "score 50 reached 50"),
        ({"score": 50}, 1000, "score 1000 reached 50"),
        ({"seen": {"demo": 1}}, 0, "demo seen 1 of 1"),
        ({"seen": {"webinar": 2}}, 0, "webinar seen 3 of 2"),
        ({"seen": {"webinar": 4}}, 0, None),
        ({"seen": {"form": 1}}, 0, None),
        ({"seen": {"demo": 1, "webinar": 4}}, 0, None),
        ({"seen": {"demo": 1, "webinar": 3}}, 0, "demo seen 1 of 1 and webinar seen 3 of 3"),
        ({"score": 5, "seen": {"demo": 1}}, 4, None),
        ({"score": 5, "seen": {"demo": 1}}, 5, "score 5 reached 5 and demo seen 1 of 1"),
        ({"any": [{"score": 50}, {"seen": {"demo": 1}}]}, 50, "score 50 reached 50"),
        ({"any": [{"score": 50}, {"seen": {"demo": 1}}]}, 0, "demo seen 1 of 1"),
        ({"any": [{"score": 50}, {"seen": {"form": 1}}]}, 0, None),
        ({"all": [{"score": 50}, {"seen": {"demo": 1}}]}, 0, None),
        (
            {"all": [{"score": 50}, {"seen": {"demo": 1}}]},
            50,
            "score 50 reached 50 and demo seen 1 of 1",
        ),
        ({"not": {"score": 50}}, 50, None),
        ({"not": {"score": 50}}, 49, "nothing against it"),
        ({"not": {"score": 50, "seen": {"form": 1}}}, 50, "nothing against it"),
        ({"score": 5, "not": {"seen": {"demo": 1}}}, 9, None),
        (
            {"all": [{"any": [{"score": 99}, {"not": {"seen": {"form": 1}}}]}], "score": 5},
            9,
            "score 9 reached 5 and nothing against it",
        ),
    ],
)
def test_a_condition_holds_when_all_that_it_says_holds(
    condition: dict[str, Any], score: float, why: str | None
) -> None:
    change = decide(JANE, card(score), model(mql=condition))
    assert (change.why if change else None) == why


LADDER = model(nurtured={"score": 15}, engaged={"score": 50}, mql={"score": 100})


@pytest.mark.parametrize(
    ("stage", "score", "reached"),
    [
        ("captured", 14, None),
        ("captured", 15, "nurtured"),
        ("captured", 50, "engaged"),
        ("captured", 100, "mql"),
        ("nurtured", 49, None),
        ("nurtured", 100, "mql"),
        ("engaged", 15, None),
        ("engaged", 50, None),
        ("mql", 500, None),
        ("mql", 0, None),
        ("customer", 500, None),
        ("a stage of an older model", 100, "mql"),
        ("a stage of an older model", 20, "nurtured"),
        (None, 500, None),
    ],
)
def test_a_lead_enters_the_highest_stage_it_reaches_and_never_goes_back(
    stage: str | None, score: float, reached: str | None
) -> None:
    change = decide(replace(JANE, stage=stage), card(score), LADDER)
    assert (change.to_stage if change else None) == reached


@pytest.mark.parametrize(("stage", "reached"), [("captured", "engaged"), ("engaged", None)])
def test_a_lead_that_nobody_could_call_stops_before_mql(stage: str, reached: str | None) -> None:
    change = decide(replace(JANE, stage=stage, email=None), card(500), LADDER)
    assert (change.to_stage if change else None) == reached


def test_a_change_says_who_decided_what_when_and_why() -> None:
    assert decide(JANE, card(100), LADDER) == Change(
        lead_id=JANE.id,
        number=5,
        cycle=2,
        from_stage="captured",
        to_stage="mql",
        why="score 100 reached 100",
        who="model 7",
        at=NOON,
    )


def test_a_score_that_equals_its_bar_has_reached_it() -> None:
    for tenths in range(1, 100):
        bar = Decimal(tenths) / 10
        ladder = LADDER.model_copy(
            update={"stages": (LADDER.stages[0], Stage(name="mql", enter=Condition(score=bar)))}
        )
        assert decide(JANE, card(float(bar)), ladder)
