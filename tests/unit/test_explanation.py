"""Reasons that add up: for one lead told in words, and for random models and histories."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from leadscoring import explanation, scoring
from leadscoring.decay import Counter
from leadscoring.explanation import as_of, explain, trusted_share
from leadscoring.interaction import Interaction, Trust
from leadscoring.lead import Change, Entry, Explanation, Lead, Line, Scorecard
from leadscoring.limits import Tally
from leadscoring.model import Model
from tests.unit.histories import (
    EXAMPLES,
    INSTANTS,
    LEAD,
    START,
    end,
    histories,
    models,
    paid,
    readings,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JANE = Lead(id="0f" * 16, stage="engaged", cycle=2, changes=3, email="jane@company.example")
MODEL = """\
number = 7
name = "Small"
retention_days = 365
properties = []
traits = ["country"]
audiences.dach.country = ["DE", "AT", "CH"]

[dimensions]
engagement = { half_life_days = 30, cap = 50 }
intent = {}

[[rules]]
name = "page"
on = "Page Viewed"
points = 8
dimension = "engagement"
limit = { points = 20, per = "day" }

[[rules]]
name = "fair"
on = "Fair Visited"
points = 100
dimension = "engagement"

[[rules]]
name = "dach-event"
on = "Fair Visited"
points = 5
dimension = "intent"
audience = "dach"

[[rules]]
name = "unsubscribed"
on = "Unsubscribed"
points = -30
trusted = true
dimension = "intent"

[fit]
cap = 10
rules = [{ name = "from-dach", when.country = ["DE"], points = 20 }]

[scores]
total = { dimensions = ["engagement", "intent", "fit"], cap = 55 }

[[stages]]
name = "captured"
[[stages]]
name = "mql"
enter.score = 50
"""
SMALL = Model.parse(MODEL)


def act(name: str, hours: float = 0, **more: Any) -> Interaction:
    at = NOON + timedelta(hours=hours)
    plain = Interaction(f"{name}-{hours}", None, name, at, at, Trust.PUBLIC, "f")
    return replace(plain, **more)


# One lead, in words


def test_a_limit_takes_what_it_does_not_pay_and_decay_what_has_faded() -> None:
    ledger = paid([act("Page Viewed", hour) for hour in range(4)], SMALL)
    why = explain(JANE, ledger, SMALL, NOON + timedelta(days=30))
    first, second, third, fourth = sorted(why.reasons, key=lambda reason: reason.occurred_at)
    assert (first.rule, first.name, first.dimension) == ("page", "Page Viewed", "engagement")
    assert (first.earned, first.points, first.points_now) == (8, 8, 4)
    assert first.taken == {"decay": 4}
    assert (second.points_now, second.occurred_at) == (4.004, NOON + timedelta(hours=1))
    assert (third.earned, third.points, third.points_now) == (8, 4, 2.004)
    assert third.taken == {"limit": 4, "decay": 1.996}
    assert (fourth.earned, fourth.points, fourth.points_now) == (8, 0, 0)
    assert fourth.taken == {"limit": 8}
    assert why.scorecard.dimensions["engagement"].points == 10.008
    assert why.lines == []


def test_what_an_audience_does_not_pay_is_said_to_be_taken_by_it() -> None:
    ledger = paid([act("Fair Visited")], SMALL)
    (reason,) = (r for r in explain(JANE, ledger, SMALL, NOON).reasons if r.rule == "dach-event")
    assert (reason.earned, reason.points, reason.points_now) == (5, 5, 0)
    assert reason.taken == {"audience": 5}


def test_caps_the_floor_and_fit_stand_in_lines_of_their_own() -> None:
    acts = [
        act("Fair Visited", traits={"country": "DE"}),
        act("Unsubscribed", trust=Trust.TRUSTED),
    ]
    why = explain(JANE, paid(acts, SMALL), SMALL, NOON)
    assert why.lines == [
        Line(of="fit", by="from-dach", points=20),
        Line(of="engagement", by="cap 50", points=-50),
        Line(of="intent", by="never below 0", points=25),
        Line(of="fit", by="cap 10", points=-10),
        Line(of="total", by="cap 55", points=-5),
    ]
    assert why.scorecard.score == 55
    assert why.note is None


def test_the_reason_that_counts_most_now_comes_first_and_of_equal_ones_the_older() -> None:
    acts = [act("Page Viewed", 2), act("Page Viewed", 1), act("Fair Visited", -900)]
    why = explain(JANE, paid(acts, SMALL), SMALL, NOON + timedelta(hours=2))
    told = [(reason.rule, reason.occurred_at) for reason in why.reasons]
    assert told == [
        ("fair", NOON - timedelta(hours=900)),
        ("page", NOON + timedelta(hours=2)),
        ("page", NOON + timedelta(hours=1)),
        ("dach-event", NOON - timedelta(hours=900)),
    ]
    unfading = replace(act("Adjusted", 9), trust=Trust.STAFF)
    given = [
        replace(unfading, message_id=name, occurred_at=NOON + timedelta(hours=hours))
        for name, hours in (("later", 2), ("sooner", 1))
    ]
    gifts = [replace(a, properties={"points": 5.0, "dimension": "intent"}) for a in given]
    reasons = explain(JANE, paid(gifts, SMALL), SMALL, NOON + timedelta(days=9)).reasons
    assert [r.occurred_at.hour for r in reasons] == [13, 14]


def test_a_lead_without_any_reason_is_told_so() -> None:
    assert explain(JANE, [], SMALL, NOON).note == "no rule matched"
    assert explain(JANE, paid([act("Logged In")], SMALL), SMALL, NOON).note == "no rule matched"
    told = paid([act("Identified", traits={"country": "DE"})], SMALL)
    assert explain(JANE, told, SMALL, NOON).note is None


def test_a_lead_whose_rules_pay_nothing_is_told_so_too() -> None:
    free = Model.parse(MODEL.replace("points = -30\n", "points = 0\n"))
    ledger = paid([act("Unsubscribed", trust=Trust.TRUSTED)], free)
    assert explain(JANE, ledger, free, NOON).note == "the rules that matched pay 0 points"


LIMITED_PENALTY = 'points = -30\nlimit = { points = 30, per = "day" }\n'
FADING = "intent = { half_life_days = 30 }"


def test_nothing_that_is_shown_is_minus_nothing() -> None:
    acts = [act("Unsubscribed", trust=Trust.TRUSTED), *(act("Page Viewed", h) for h in range(4))]
    limited = Model.parse(
        MODEL.replace("points = -30\n", LIMITED_PENALTY).replace("intent = {}", FADING)
    )
    ledger = paid([*acts, act("Unsubscribed", 1, trust=Trust.TRUSTED)], limited)
    why = explain(JANE, ledger, limited, NOON + timedelta(days=1000))
    numbers = [
        *(part.points for part in why.scorecard.dimensions.values()),
        *(part.earned for part in why.scorecard.dimensions.values()),
        *(why.scorecard.score, *why.scorecard.scores.values()),
        *(number for r in why.reasons for number in (r.earned, r.points, r.points_now)),
        *(number for r in why.reasons for number in r.taken.values()),
    ]
    assert "-0.0" not in map(str, numbers)


def test_a_tenth_of_a_point_ten_times_is_one_point() -> None:
    tenth = Model.parse(MODEL.replace("points = 8\n", "points = 0.1\n"))
    ledger = paid([act("Page Viewed", n / 100) for n in range(10)], tenth)
    why = explain(JANE, ledger, tenth, NOON + timedelta(hours=2))
    assert why.scorecard.dimensions["engagement"].points == 0.998
    assert total(reason.points_now for reason in why.reasons) == Decimal("0.998")


def test_the_trusted_share_is_what_others_than_the_public_brought_of_what_counts_now() -> None:
    acts = [
        act("Page Viewed"),
        act("Fair Visited", trust=Trust.TRUSTED, message_id="t"),
        act("Unsubscribed", trust=Trust.TRUSTED),
    ]
    gift = act("Adjusted", trust=Trust.STAFF, properties={"points": 12.0, "dimension": "intent"})
    reasons = explain(JANE, paid([*acts, gift], SMALL), SMALL, NOON).reasons
    assert trusted_share(reasons) == round(112 / 120, 3)
    assert trusted_share([]) == 0
    assert trusted_share(explain(JANE, paid(acts[2:], SMALL), SMALL, NOON).reasons) == 0


STAGES = ("captured", "mql", "recycled", "disqualified", "captured")


def change(number: int, cycle: int = 1, **more: Any) -> Change:
    """Return the change of that number, ten hours after the one before it."""
    before, after = STAGES[number - 1 : number + 1]
    at = NOON + timedelta(hours=10 * number)
    return Change(JANE.id, number, cycle, before, after, "why", "model 7", at, **more)


def test_a_lead_as_of_an_instant_stood_where_its_changes_until_then_had_brought_it() -> None:
    changes = [
        change(4, 2),
        change(1),
        change(2, 2, seen_before={"page": 3}),
        change(3, 2, gate="student"),
    ]
    now = replace(JANE, stage="captured", cycle=2, changes=4, seen_before={"page": 3})
    stood = {}
    for hours in (9.9, 10, 29.9, 39.9, 40):
        at = NOON + timedelta(hours=hours)
        lead, _, made = as_of(now, [], changes, at)
        stood[hours] = (lead.stage, lead.cycle, lead.changes, lead.gate, lead.seen_before)
        assert [each.number for each in made] == list(range(1, lead.changes + 1))
        if made and hours < 40:
            assert lead.stage_since == made[-1].at
    assert stood == {
        9.9: ("captured", 1, 0, None, {}),
        10: ("mql", 1, 1, None, {}),
        29.9: ("recycled", 2, 2, None, {"page": 3}),
        39.9: ("disqualified", 2, 3, "student", {"page": 3}),
        40: ("captured", 2, 4, None, {"page": 3}),
    }


def test_a_lead_as_of_an_instant_has_what_had_arrived_whenever_it_happened() -> None:
    late = act(
        "Fair Visited", -500, received_at=NOON + timedelta(hours=5), traits={"country": "DE"}
    )
    ledger = paid([act("Page Viewed"), late], SMALL)
    before, entries, _ = as_of(JANE, ledger, [], NOON + timedelta(hours=4.9))
    assert [entry.name for entry in entries] == ["Page Viewed"]
    assert (before.interactions, before.seen, before.traits) == (1, {"page": 1}, {})
    after, entries, _ = as_of(JANE, ledger, [], NOON + timedelta(hours=5))
    assert (after.interactions, after.traits) == (2, {"country": "DE"})


# Any lead, under any model


def total(points: Iterable[float]) -> Decimal:
    """Return the exact sum of what is shown with three decimals."""
    return sum((Decimal(str(each)) for each in points), Decimal(0))


def adds_up(why: Explanation, model: Model) -> None:
    card = why.scorecard
    for name, part in card.dimensions.items():
        reasons = total(r.points_now for r in why.reasons if r.dimension == name)
        lines = total(line.points for line in why.lines if line.of == name)
        assert reasons + lines == Decimal(str(part.points))
    for name, score in model.all_scores.items():
        parts = total(card.dimensions[d].points for d in score.dimensions if d in card.dimensions)
        lines = total(line.points for line in why.lines if line.of == name)
        assert parts + lines == Decimal(str(card.scores[name]))
    assert card.score == card.scores[model.deciding]
    for reason in why.reasons:
        now = Decimal(str(reason.earned)) - total(reason.taken.values())
        assert round(now, 3) == Decimal(str(reason.points_now))
        assert reason.taken.keys() <= {"limit", "decay", "audience"}


def worth(entries: Sequence[Entry], model: Model, now: datetime) -> Scorecard:
    return scoring.scorecard(scoring.remember(LEAD, entries), model, now)


@EXAMPLES
@given(st.data())
def test_reasons_and_lines_add_up_to_the_score_at_any_instant(data: st.DataObject) -> None:
    model = data.draw(models())
    ledger = paid(data.draw(histories(model)), model)
    for instant in data.draw(st.lists(INSTANTS, min_size=1, max_size=3)):
        _, arrived, _ = as_of(LEAD, ledger, [], instant)
        adds_up(explain(LEAD, arrived, model, instant), model)
        adds_up(explain(LEAD, ledger, model, instant + timedelta(days=500)), model)


@EXAMPLES
@given(st.data())
def test_reasons_and_lines_add_up_under_a_model_that_paid_none_of_it(data: st.DataObject) -> None:
    paying, other = data.draw(models()), data.draw(models(number=2))
    history = data.draw(histories(paying))
    ledger = paid(history, paying)
    at = end(history) + timedelta(days=3)
    adds_up(explain(LEAD, ledger, other, at), other)
    adds_up(explain(LEAD, scoring.repay(ledger, other), other, at), other)


@EXAMPLES
@given(st.data())
def test_an_explanation_is_of_the_scorecard_that_is_decided_on(data: st.DataObject) -> None:
    model = data.draw(models())
    history = data.draw(histories(model))
    ledger = paid(history, model)
    why = explain(LEAD, ledger, model, end(history))
    assert why.scorecard == worth(ledger, model, end(history))
    assert 0 <= trusted_share(why.reasons) <= 1


@EXAMPLES
@given(st.data())
def test_where_no_limit_binds_only_the_set_of_interactions_counts(data: st.DataObject) -> None:
    model = data.draw(models(limits=data.draw(st.booleans())))
    history = data.draw(histories(model))
    ledger = paid(history, model)
    assume(all(payment.unlimited is None for entry in ledger for payment in entry.paid))
    shuffled = in_parts(data, history, model)
    assert sorted(shuffled, key=key) == sorted(ledger, key=key)
    assert scoring.remember(LEAD, shuffled) == scoring.remember(LEAD, ledger)
    for days in (0, 40, 400):
        now = end(history) + timedelta(days=days)
        assert worth(shuffled, model, now) == worth(ledger, model, now)
        mixed, plain = (explain(LEAD, entries, model, now) for entries in (shuffled, ledger))
        assert mixed.lines == plain.lines


def key(entry: Entry) -> tuple[str, str]:
    return entry.trust, entry.message_id


def in_parts(data: st.DataObject, history: list[Interaction], model: Model) -> list[Entry]:
    """Pay the history in any order and in any parts, as chunks of it are written to a table."""
    order = data.draw(st.permutations(history))
    cuts = data.draw(st.sets(st.integers(0, len(order)), max_size=3))
    ledger: list[Entry] = []
    used: dict[str, Decimal] = {}
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(order)], strict=True):
        tally = Tally(model, used)
        ledger += tally.cut_all([scoring.enter(act, model) for act in order[start:stop]])
        used = tally.used
    return ledger


@EXAMPLES
@given(st.data())
def test_whatever_the_order_a_limit_pays_all_that_it_has_and_no_more(data: st.DataObject) -> None:
    model = data.draw(models())
    history = data.draw(histories(model))
    wanted: dict[str, Decimal] = {}
    for payment in (p for act in history for p in scoring.pay(act, model) if p.allowance):
        limit = model.rule[payment.rule].limit
        assert limit
        assert payment.allowance
        amount = Decimal(1) if limit.times else abs(payment.points)
        wanted[payment.allowance] = wanted.get(payment.allowance, Decimal(0)) + amount

    used = dict.fromkeys(wanted, Decimal(0))
    for entry in in_parts(data, history, model):
        for payment in entry.paid:
            counter = Counter.parse(payment.counter)
            assert counter
            assert payment.units == counter.units(payment.points, entry.occurred_at)
            assert abs(payment.points) <= abs(payment.earned)
            assert payment.points * payment.earned >= 0
            if payment.allowance:
                limit = model.rule[payment.rule].limit
                assert limit
                used[payment.allowance] += payment.used
                paid_for = Decimal(1) if payment.points == payment.earned else Decimal(0)
                assert payment.used == (abs(payment.points) if limit.points else paid_for) or (
                    payment.earned == 0
                )
    for allowance, amount in wanted.items():
        limit = model.rule[allowance.partition("#")[0]].limit
        assert limit
        assert used[allowance] == min(limit.most, amount)


@EXAMPLES
@given(st.data())
def test_without_a_new_interaction_no_score_ever_rises(data: st.DataObject) -> None:
    model = data.draw(models())
    history = data.draw(histories(model))
    ledger = paid(history, model)
    later = st.integers(0, 1000 * 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))
    nights = [START.replace(year=2027, month=month, day=1, hour=0, minute=0) for month in (1, 2, 7)]
    instants = [end(history) + wait for wait in data.draw(st.lists(later, max_size=4))]
    instants += [
        night + tick for night in nights for tick in (-timedelta(milliseconds=1), timedelta(0))
    ]
    instants = [end(history), *(at for at in sorted(instants) if at > end(history))]
    never_rise([worth(ledger, model, at) for at in instants])


def never_rise(cards: Sequence[Scorecard]) -> None:
    for before, after in pairwise(cards):
        assert after.score <= before.score
        for name in before.scores:
            assert after.scores[name] <= before.scores[name]
        for name in before.dimensions:
            assert after.dimensions[name].points <= before.dimensions[name].points
        # What depends on points can only get worse; what a lead is does not change at all.
        assert (after.grade, after.gate) == (before.grade, before.gate)
        if before.matrix and after.matrix:
            assert after.matrix >= before.matrix


@EXAMPLES
@given(st.data())
def test_no_score_rises_by_itself_once_all_is_paid_by_another_model(data: st.DataObject) -> None:
    paying, other = data.draw(models()), data.draw(models(number=2))
    history = data.draw(histories(paying))
    ledger = scoring.repay(paid(history, paying), other)
    days = data.draw(st.lists(st.integers(0, 800), max_size=6).map(sorted))
    never_rise([worth(ledger, other, end(history) + timedelta(days=day)) for day in days])


@EXAMPLES
@given(st.data())
def test_caps_bars_fit_and_grades_touch_no_ledger(data: st.DataObject) -> None:
    model = data.draw(models())
    other = data.draw(readings(model))
    history = data.draw(histories(model))
    assert other.pays == model.pays
    ledger = paid(history, model)
    assert paid(history, other) == ledger
    assert [scoring.pay_again(entry, other) for entry in ledger] == ledger
    assert scoring.repay(ledger, other) == scoring.repay(ledger, model)
    read, again = (scoring.remember(LEAD, paid(history, each)) for each in (model, other))
    assert (read.units, read.seen, read.traits) == (again.units, again.seen, again.traits)


@EXAMPLES
@given(st.data())
def test_a_ledger_that_is_paid_again_by_its_own_model_is_as_it_was(data: st.DataObject) -> None:
    model = data.draw(models())
    ledger = paid(data.draw(histories(model)), model)
    assert scoring.repay(ledger, model) == ledger
    assert [scoring.pay_again(entry, model) for entry in ledger] == ledger
    assert Tally(model).cut_all(ledger) == ledger


@EXAMPLES
@given(st.data())
def test_a_lead_as_of_an_instant_is_one_that_nothing_has_happened_to_since(
    data: st.DataObject,
) -> None:
    model = data.draw(models())
    history = data.draw(histories(model))
    instant = data.draw(INSTANTS)
    then = paid([act for act in history if act.received_at <= instant], model)
    lead, arrived, _ = as_of(LEAD, paid(history, model), [], instant)
    assert arrived == then
    assert lead == scoring.remember(LEAD, then)
    assert scoring.scorecard(lead, model, instant) == worth(then, model, instant)
    assert explain(LEAD, arrived, model, instant) == explain(LEAD, then, model, instant)


def test_shares_are_rounded_so_that_their_sum_is_right() -> None:
    thirds = [Decimal(1) / 3] * 3
    assert explanation._shared(thirds, Decimal(1)) == [Decimal(p) for p in (".334", ".333", ".333")]
    mixed = [Decimal("0.0009"), Decimal("-0.0004"), Decimal("0.0005")]
    assert explanation._shared(mixed, Decimal("0.001")) == [Decimal(p) for p in (".001", "0", "0")]
