"""A company's own tests of its criteria: the shipped ones pass, and a wrong one says why."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from leadscoring.examples import failures, play
from leadscoring.model import Example, Model
from tests.conftest import SHIPPED_MODEL_FILE

SHIPPED = Model.load(SHIPPED_MODEL_FILE)
TEXT = """\
number = 7
name = "Small"
retention_days = 365
properties = []
traits = ["country", "jobTitle", "employees", "group.employees"]
grades = { A = 40, B = 20 }
matrix = { fit = { A = 40, B = 20 }, engagement = { 1 = 50, 2 = 20 } }
audiences.dach.country = ["DE"]

[dimensions]
engagement = { half_life_days = 30 }
intent = { cap = 80 }

[scores]
interest = { dimensions = ["engagement", "intent"], decides = true }
fitness = { dimensions = "fit" }

[[rules]]
name = "page"
on = "Page Viewed"
points = 4
dimension = "engagement"
limit = { points = 10, per = "day" }
[[rules]]
name = "download"
on = "Content Downloaded"
points = 15
dimension = "engagement"
limit = { times = 1, per = "ever", by = "title" }
[[rules]]
name = "demo"
on = "Demo Requested"
points = 60
dimension = "intent"
[[rules]]
name = "dach-demo"
on = "Demo Requested"
points = 5
dimension = "intent"
audience = "dach"
[[rules]]
name = "unsubscribed"
on = "Unsubscribed"
points = -30
dimension = "engagement"
trusted = true
[[rules]]
name = "fair"
on = "Fair Visited"
when.traits.country = ["DE"]
points = 7.5
dimension = "intent"
[[rules]]
name = "referred"
on = "Referred"
when.context.campaign.name = ["spring"]
points = 3
dimension = "intent"

[fit]
rules = [
  { name = "decides", when.jobTitle = [{ prefix = "Head" }], points = 30 },
  { name = "large", when.group.employees = [{ numeric = [">=", 50] }], points = 20 },
]
gates = [
  { name = "student", when.jobTitle = ["Student"] },
  { name = "free-mail", when.email.kind = ["free"] },
]

[[stages]]
name = "captured"
[[stages]]
name = "engaged"
enter.score = 20
exit.below.score = 10
[[stages]]
name = "mql"
enter.any = [{ score = 100 }, { seen.demo = 1 }]
enter_again.score = 100
exit.below.score = 30
[recycling]
cool_down_days = 14
"""
MODEL = Model.parse(TEXT)
DEMO: dict[str, Any] = {"name": "Demo Requested"}
PAGE: dict[str, Any] = {"name": "Page Viewed"}


def example(*acts: dict[str, Any], traits: dict[str, Any] | None = None, **expect: Any) -> Example:
    return Example.model_validate(
        {"name": "x", "interactions": acts, "traits": traits or {}, "expect": expect}
    )


def fails(*acts: dict[str, Any], traits: dict[str, Any] | None = None, **expect: Any) -> list[str]:
    return list(failures(example(*acts, traits=traits, **expect), MODEL))


def pays(*acts: dict[str, Any]) -> list[Decimal]:
    _, _, paid = play(example(*acts, score=0), MODEL)
    return paid


@pytest.mark.parametrize("shipped", SHIPPED.examples, ids=lambda each: each.name)
def test_an_example_of_the_company_comes_out_as_it_expects(shipped: Example) -> None:
    assert list(failures(shipped, SHIPPED)) == []


def test_the_company_has_examples() -> None:
    assert SHIPPED.examples


def test_what_comes_out_otherwise_is_said_in_plain_words() -> None:
    fitting = {"jobTitle": "Head of IT", "group.employees": 400}
    assert fails(
        {**DEMO, "points": 60},
        {**PAGE, "times": 3, "points": 12},
        {"name": "Seen On TV", "points": 1},
        traits=fitting,
        score=71,
        scores={"fitness": 51, "interest": 75},
        dimensions={"engagement": 11, "intent": 65, "fit": 50},
        grade="B",
        matrix="A1",
        gate="student",
        stage="engaged",
    ) == [
        "Demo Requested pays 65 points, not 60",
        "Page Viewed pays 10 points, not 12",
        "Seen On TV pays 0 points, not 1",
        "score is 70.0, not 71",
        "fitness is 50.0, not 51",
        "interest is 70.0, not 75",
        "engagement is 10.0, not 11",
        "intent is 60.0, not 65",
        "stage is mql, not engaged",
        "grade is A, not B",
        "matrix is A3, not A1",
        "gate is None, not student",
    ]


def test_only_what_is_expected_is_looked_at() -> None:
    assert fails(DEMO, stage="mql") == []
    assert fails(DEMO, grade="F") == []
    assert fails(DEMO, scores={"fitness": 0}) == []
    assert fails({**DEMO, "points": 60}, dimensions={"engagement": 0}) == [
        "Demo Requested pays 65 points, not 60"
    ]


def test_what_the_model_does_not_have_is_nothing() -> None:
    assert fails(DEMO, scores={"warmth": 1}, dimensions={"loyalty": 2}) == [
        "warmth is None, not 1",
        "loyalty is None, not 2",
    ]


def test_limits_hold_within_an_example_as_they_do_for_a_lead() -> None:
    title = {"name": "Content Downloaded", "properties": {"title": "E-invoicing"}}
    other = {"name": "Content Downloaded", "properties": {"title": "Purchasing"}}
    assert pays({**title, "days_before": 200}, title, other) == [15, 0, 15]
    assert pays({**PAGE, "days_before": 1, "times": 2}, {**PAGE, "times": 2}, PAGE) == [8, 8, 2]
    assert pays({**PAGE, "times": 100}) == [10]


def test_points_of_an_interaction_that_happens_several_times_are_those_of_all_times() -> None:
    assert fails({**PAGE, "times": 2, "points": 8}, score=8) == []
    assert fails({**PAGE, "times": 2, "points": 4}, score=8) == ["Page Viewed pays 8 points, not 4"]
    fair = {"name": "Fair Visited", "traits": {"country": "DE"}, "times": 2, "points": 7.5}
    assert fails(fair, score=15) == ["Fair Visited pays 15 points, not 7.5"]


def test_what_happened_earlier_is_played_first_wherever_it_stands() -> None:
    acts = [PAGE, {**PAGE, "days_before": 0.25}, {**PAGE, "days_before": 0.1}, PAGE]
    assert pays(*acts) == [2, 4, 4, 0]


def test_points_have_faded_as_of_the_end_of_the_example() -> None:
    act = {"name": "Content Downloaded", "days_before": 30, "points": 15}
    assert fails(act, dimensions={"engagement": 7.5}, score=7.5, stage="captured") == []


def test_traits_are_known_from_the_beginning() -> None:
    at_home = {"country": "DE"}
    demo = {**DEMO, "days_before": 360}
    assert fails(demo, traits=at_home, dimensions={"intent": 65}) == []
    assert fails(demo, dimensions={"intent": 60}) == []
    student = {"jobTitle": "Student"}
    assert fails(demo, traits=student, stage="disqualified", gate="student", grade="F") == []
    # Shut out from the beginning, the demo made nobody an MQL: no cycle has begun.
    lead, _, _ = play(example(demo, traits=student, score=0), MODEL)
    assert (lead.cycle, lead.changes) == (1, 1)


def test_traits_are_told_without_being_paid_for() -> None:
    greedy = Model.parse(
        TEXT + '[[rules]]\nname = "told"\non = "Identified"\npoints = 9\ndimension = "intent"\n'
    )
    told = example({"name": "Identified"}, traits={"country": "DE"}, score=9)
    assert list(failures(told, greedy)) == []


def test_a_companys_traits_are_written_as_patterns_are_or_as_they_are_called() -> None:
    for traits in ("{ group.employees = 400 }", '{ "group.employees" = 400 }'):
        written = Model.parse(
            f"{TEXT}[[examples]]\nname = 'large'\ntraits = {traits}\ninteractions = []\n"
            "expect.scores.fitness = 20\n"
        )
        assert list(failures(written.examples[0], written)) == []


def test_what_an_interaction_tells_counts_from_then_on_unless_a_server_had_told_otherwise() -> None:
    moved = {"name": "Identified", "days_before": 1, "traits": {"country": "DE"}}
    assert fails(DEMO, moved, dimensions={"intent": 65}) == []
    assert fails(DEMO, moved, traits={"country": "FR"}, dimensions={"intent": 60}) == []
    by_server = {**moved, "trusted": True}
    assert fails(DEMO, by_server, traits={"country": "FR"}, dimensions={"intent": 65}) == []


def test_conditions_may_ask_for_the_traits_and_the_context_of_the_message() -> None:
    fair, referred = {"name": "Fair Visited"}, {"name": "Referred"}
    spring = {"campaign": {"name": "spring"}}
    assert pays({**fair, "traits": {"country": "DE"}}, {**fair, "traits": {"country": "FR"}}) == [
        Decimal("7.5"),
        0,
    ]
    assert pays({**referred, "context": spring}, referred) == [3, 0]


def test_what_only_servers_may_send_must_be_trusted_in_an_example_too() -> None:
    gone = {"name": "Unsubscribed"}
    assert pays({**gone, "trusted": True}, gone) == [-30, 0]


def test_a_lead_is_judged_after_every_act_and_once_more_at_the_end() -> None:
    early = {**DEMO, "days_before": 100}
    lead, card, _ = play(example(early, score=60), MODEL)
    assert (lead.stage, lead.cycle, lead.changes) == ("mql", 1, 1)
    title = {"name": "Content Downloaded", "days_before": 150, "properties": {"title": "A"}}
    old = [title, {**title, "properties": {"title": "B"}}]
    lead, card, _ = play(example(*old, score=0), MODEL)
    assert card.score == 0.938
    # It was engaged then, and is no longer.
    assert (lead.stage, lead.changes) == ("captured", 2)


def test_an_mql_that_cooled_down_is_recycled_in_an_example_too() -> None:
    titles = [
        {"name": "Content Downloaded", "days_before": 90, "properties": {"title": title}}
        for title in range(7)
    ]
    lead, _, _ = play(example(*titles, score=0), MODEL)
    assert (lead.stage, lead.cycle, lead.changes) == ("recycled", 2, 3)
    back = {"name": "Content Downloaded", "properties": {"title": "New"}}
    assert fails(*titles, {**back, "days_before": 1}, stage="recycled") == []


@pytest.mark.parametrize(
    ("email", "stage", "gate"),
    [
        ("jane@company.example", "mql", None),
        ("Jane@GMX.de ", "disqualified", "free-mail"),
        ("", "engaged", None),
    ],
)
def test_an_example_may_say_whose_address_it_is_or_that_there_is_none(
    email: str, stage: str, gate: str | None
) -> None:
    lead, card, _ = play(example(DEMO, score=60).model_copy(update={"email": email}), MODEL)
    assert (lead.stage, card.gate) == (stage, gate)


def test_an_example_plays_at_its_instant_in_utc_unless_it_says_otherwise() -> None:
    def played(at: str) -> datetime:
        text = f"[[examples]]\nname = 'x'\nat = {at}\ninteractions = []\nexpect.score = 0\n"
        model = Model.parse(TEXT + text)
        _, card, _ = play(model.examples[0], model)
        return card.at

    noon = datetime(2026, 12, 31, 12, tzinfo=UTC)
    assert played("2026-12-31T12:00:00") == played("2026-12-31T13:00:00+01:00") == noon
    assert played("2026-12-31T12:00:00.0009Z") == noon


def test_windows_of_an_example_are_those_of_the_calendar() -> None:
    midnight = datetime(2026, 6, 15, tzinfo=UTC)
    acts = [{**PAGE, "times": 3, "days_before": days} for days in (0, "0.001", 1)]
    at = example(*acts, score=0).model_copy(update={"at": midnight})
    assert play(at, MODEL)[2] == [10, 0, 10]


def test_what_each_act_was_paid_stands_in_the_order_of_the_example() -> None:
    acts = [PAGE, {**DEMO, "days_before": 2}, {**PAGE, "days_before": 1, "times": 2}]
    assert pays(*acts) == [4, 65, 8]
