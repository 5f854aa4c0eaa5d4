"""What the lint holds for impossible does not happen: any model, any history, any instant."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscoring import scoring
from leadscoring.interaction import Trust
from leadscoring.lifecycle import _Judgement
from leadscoring.lint import _remarks, overlaps, reach, rules
from leadscoring.lint.entailment import TooMany
from leadscoring.lint.reach import Reach
from leadscoring.lint.ways import conjunction, ways
from leadscoring.model import Dimension, Model
from tests.unit.histories import EXAMPLES, INSTANTS, LEAD, histories, models, paid

ROUNDED = Decimal("0.001")
FEW = settings(EXAMPLES, max_examples=40)


@FEW
@given(st.data())
def test_no_lead_comes_to_more_than_is_said(data: st.DataObject) -> None:
    model = data.draw(models())
    ledger = paid(data.draw(histories(model)), model)
    most = Reach(model)
    by_rules = [entry for entry in ledger if entry.trust is not Trust.STAFF]
    now = data.draw(INSTANTS)
    for entries, limit in ((ledger, "by_caps"), (by_rules, "by_rules")):
        arrived = [entry for entry in entries if entry.received_at <= now]
        card = scoring.scorecard(scoring.remember(LEAD, arrived), model, now)
        for name, part in card.dimensions.items():
            bound = getattr(most.dimensions[name], limit)
            assert Decimal(str(part.points)) <= bound + ROUNDED
        for name, points in card.scores.items():
            bound = getattr(most.scores[name], limit)
            assert Decimal(str(points)) <= bound + ROUNDED * len(card.dimensions)


@FEW
@given(st.data())
def test_a_rule_that_covers_another_pays_for_all_that_the_other_pays_for(
    data: st.DataObject,
) -> None:
    model = data.draw(models())
    ledger = paid(data.draw(histories(model)), model)
    for entry in ledger:
        pays = {payment.rule for payment in entry.paid}
        # A form's interaction has the form's name, wherever it comes from.
        named = [rule for rule in model.rules if entry.name in rules.names(rule, model)]
        for narrow in (rule for rule in named if rule.name in pays):
            never = rules.never_matches(narrow)
            assert never is None or never.severity == "warning"
            for broad in named:
                if overlaps._covers(broad, narrow, model) and broad.points_from is None:
                    assert broad.name in pays
                if not overlaps._can_meet(narrow, broad, model):
                    assert broad.name not in pays or broad.dimension != narrow.dimension


@FEW
@given(st.data())
def test_a_condition_that_never_holds_does_not_and_one_that_follows_does(
    data: st.DataObject,
) -> None:
    model = data.draw(models())
    entries = paid(data.draw(histories(model)), model)
    now = data.draw(INSTANTS)
    lead = scoring.remember(LEAD, entries)
    judgement = _Judgement(lead, scoring.scorecard(lead, model, now), model)
    conditions = [condition for stage in model.stages for condition in stage.conditions()]
    for condition in (part for whole in conditions for part in whole.parts()):
        holds = judgement._why(condition) is not None
        assert not (holds and conjunction(condition, model).is_impossible)
        for other in conditions:
            try:
                follows = all(way.meets(other, model) for way in ways(condition, model))
            except TooMany:
                continue
            assert not (holds and follows) or judgement._why(other) is not None


@FEW
@given(models())
def test_the_lint_has_an_opinion_on_every_model(model: Model) -> None:
    for remark in _remarks(model, {}):
        assert remark.severity in ("error", "warning")


@pytest.mark.parametrize(
    ("clock", "per", "expected"),
    [
        ({"half_life_days": 7}, "week", Decimal(3)),
        ({"half_life_days": 14}, "week", Decimal("4.4142")),
        ({"half_life_days": 7}, "ever", Decimal(1)),
        ({"expires_months": 2}, "month", Decimal(3)),
        ({"expires_months": 1}, "day", Decimal(62)),
        ({}, "day", Decimal("Infinity")),
        ({}, "ever", Decimal(1)),
    ],
)
def test_windows_add_up_as_far_as_points_live(
    clock: dict[str, int], per: str, expected: Decimal
) -> None:
    model = limited(clock, per)
    most = reach._most_of(model.rules[0], model.dimensions["d"])
    assert float(most) == pytest.approx(float(expected), abs=1e-4)


def test_the_bound_is_not_far_from_what_a_keen_lead_comes_to() -> None:
    """Paid at the end of every week until it is full, and at the beginning of the next."""
    model = limited({"half_life_days": 14}, "week")
    counter_at = datetime(2026, 6, 1, tzinfo=UTC)
    ends = [counter_at - timedelta(weeks=n, seconds=1) for n in range(60)]
    clock = Dimension(half_life_days=14)
    alive = sum(2 ** (-(counter_at - end) / timedelta(days=14)) for end in ends) + 1
    bound = reach._most_of(model.rules[0], clock)
    assert 0 <= float(bound) - alive < 0.001


def limited(clock: dict[str, int], per: str) -> Model:
    rule = {
        "name": "r",
        "on": ["A"],
        "points": 1,
        "dimension": "d",
        "limit": {"times": 1, "per": per},
    }
    return Model.model_validate(
        {
            "number": 1,
            "name": "Limited",
            "retention_days": 30,
            "properties": [],
            "traits": [],
            "dimensions": {"d": clock},
            "rules": [rule],
            "stages": [{"name": "captured"}, {"name": "mql", "enter": {"score": 1}}],
        }
    )
