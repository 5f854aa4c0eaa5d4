"""The model file: whatever is wrong with it is said with its place."""

import re
from decimal import Decimal

import pytest

from leadscoring import matching
from leadscoring.model import Model, ModelError
from tests.conftest import SHIPPED_MODEL_FILE

MODEL = """\
number = 1
name = "Small"
retention_days = 365
properties = ["path"]
traits = ["company"]
[dimensions.intent]
half_life_days = 30
cap = 100
[[rules]]
name = "page"
on = "Page Viewed"
when.properties.path = ["/"]
points = 1
dimension = "intent"
[[rules]]
name = "gone"
on = ["Unsubscribed", "Left"]
points = -30.5
dimension = "intent"
trusted = true
[[stages]]
name = "captured"
[[stages]]
name = "mql"
enter.score = 50
[forms.contact]
redirect = "https://www.example.com/thanks"
"""


def test_the_model_of_the_company_is_right() -> None:
    assert Model.load(SHIPPED_MODEL_FILE).stages[-1].name == "mql"


def test_a_condition_on_nothing_that_an_interaction_has_is_a_mistake() -> None:
    misspelt = MODEL.replace("when.properties", "when.propertys")
    with pytest.raises(
        ModelError, match=r"^rules\.0\.when\.propertys\.path: a condition is on context, p"
    ):
        Model.parse(misspelt)


@pytest.mark.parametrize("empty", ["any = []", "all = []", "seen = {}"])
def test_a_condition_that_asks_for_nothing_is_a_mistake(empty: str) -> None:
    with pytest.raises(ModelError, match=r"stages\.1\.enter\.(any|all|seen): must not be empty"):
        Model.parse(MODEL.replace("enter.score = 50", f"enter.{empty}"))


def test_a_model_says_what_its_file_says() -> None:
    model = Model.parse(MODEL)
    page, gone = model.rules
    assert page.on == ("Page Viewed",)
    assert gone.on == ("Unsubscribed", "Left")
    assert (page.points, gone.points) == (Decimal(1), Decimal("-30.5"))
    assert (page.trusted, gone.trusted) == (False, True)
    assert model.dimensions["intent"].cap == 100
    assert model.forms["contact"].name == "Form Submitted"


def test_points_are_exactly_what_is_written() -> None:
    model = Model.parse(MODEL.replace("points = 1\n", "points = 0.1\n"))
    assert model.rules[0].points == Decimal("0.1")


def test_a_fraction_may_stand_in_a_pattern() -> None:
    model = Model.parse(MODEL.replace('["/"]', "[0.1]"))
    assert matching.matches(model.rules[0].when, {"properties": {"path": 0.1}})


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("number = 1", "number =", "model: Invalid value (at line 1, column 9)"),
        ("number = 1", "", "number: this is missing"),
        ("number = 1", "number = 0", "number: must be at least 1"),
        ("number = 1", "number = 1.5", "number: must be a whole number"),
        (
            "number = 1",
            "number = 1\ncolour = 1",
            "colour: there is no such key; known: audiences, bots, dim",
        ),
        ("= 365", "= 29", "retention_days: must be at least 30"),
        ('["path"]', '"path"', "properties: must be a list"),
        ("= 30\n", "= 6\n", "dimensions.intent.half_life_days: must be at least 7"),
        ("= 30\n", "= 3651\n", "dimensions.intent.half_life_days: must be at most 3650"),
        ("cap = 100", "cap = 0", "dimensions.intent.cap: must be more than 0"),
        ("cap = 100", "cap = inf", "dimensions.intent.cap: must be a finite number"),
        (
            "cap = 100",
            "floor = 0",
            "dimensions.intent.floor: there is no such key; known: cap, expires_months, half_life",
        ),
        (
            "half_life_days",
            "half-life",
            "dimensions.intent.half-life: there is no such key; did you mean 'half_life_days'?",
        ),
        (
            "[dimensions.intent]",
            "[dimensions.Intent]",
            "dimensions.Intent: a name has small letters",
        ),
        ('"page"', '"Page"', "rules.0.name: a name has small letters, digits"),
        ('"page"', f'"{"p" * 41}"', "rules.0.name: a name has small letters, digits"),
        ('"Page Viewed"', "[]", "rules.0.on: must not be empty"),
        ('"Page Viewed"', "5", "rules.0.on: must be a list"),
        ('["/"]', '"/"', "rules.0.when.properties.path: a field takes a list"),
        ('["/"]', "[{ wildcard = '.pdf' }]", "rules.0.when.properties.path: unknown word"),
        ('["/"]', "[2026-03-02]", "rules.0.when.properties.path: unknown word"),
        ("points = 1", "points = 1000.5", "rules.0.points: must be at most 1000"),
        ("points = -30.5", "points = -1001", "rules.1.points: must be at least -1000"),
        ("points = 1", "points = nan", "rules.0.points: must be a finite number"),
        ("points = 1", 'points = "many"', "rules.0.points: must be a number"),
        ("trusted = true", "", "rules.1.points: a rule with negative points must be trusted"),
        (
            "trusted = true",
            "trust = true",
            "rules.1.trust: there is no such key; did you mean 'trusted'?",
        ),
        (
            'dimension = "intent"\n[[rules]]',
            'dimension = "fit"\n[[rules]]',
            "rules.0.dimension: there is no dimension 'fit'; known: intent",
        ),
        ('"gone"', '"page"', "rules.1.name: two rules are called 'page'"),
        ('"captured"', '"mql"', "stages.1.name: two stages are called 'mql'"),
        ('"mql"', '"won"', "stages.1.name: the last stage must be 'mql'"),
        (
            '"captured"',
            '"captured"\nenter.score = 1',
            "stages.0.enter: the first stage has no `enter`",
        ),
        ("enter.score = 50", "", "stages.1: stage 'mql' says nothing under `enter`"),
        ("enter.score = 50", "enter = {}", "stages.1.enter: an empty condition"),
        ("enter.score = 50", "enter.score = 0", "stages.1.enter.score: must be more than 0"),
        ("enter.score = 50", "enter.seen.page = 0", "stages.1.enter.seen.page: must be at least 1"),
        (
            "enter.score = 50",
            "enter.any = [{ score = 5 }, {}]",
            "stages.1.enter.any.1: an empty condition",
        ),
        *(
            ("enter.score = 50", enter, f"stages.1.enter.{place}: there is no rule 'demo'; known: ")
            for enter, place in [
                ("enter.seen.demo = 1", "seen.demo"),
                (
                    "enter.any = [{ score = 5 }, { all = [{ seen.demo = 1 }] }]",
                    "any.1.all.0.seen.demo",
                ),
                ("enter = { score = 5, not.seen.demo = 1 }", "not.seen.demo"),
            ]
        ),
        (
            "https://www.example.com/thanks",
            "javascript:alert(1)",
            "forms.contact.redirect: must be an address",
        ),
        ("[forms.contact]", '[forms.contact]\nname = ""', "forms.contact.name: must not be empty"),
        ("[forms.contact]", '[forms."contact us"]', "forms.contact us: a name has small letters"),
    ],
)
def test_a_mistake_is_named_with_its_place(right: str, wrong: str, complaint: str) -> None:
    assert MODEL.count(right) == 1
    with pytest.raises(ModelError, match=f"^{re.escape(complaint)}"):
        Model.parse(MODEL.replace(right, wrong))


def test_a_score_called_like_a_dimension_is_a_mistake() -> None:
    with pytest.raises(ModelError, match=r"scores\.intent: 'intent' is a dimension"):
        Model.parse(
            MODEL.replace("[dimensions", 'scores.intent.dimensions = ["intent"]\n[dimensions')
        )


def test_no_rule_is_called_as_points_by_hand_are() -> None:
    with pytest.raises(ModelError, match="'adjustment' is what points given by hand are called"):
        Model.parse(MODEL.replace('"page"', '"adjustment"'))


def test_the_limits_of_all_rules_fit_into_one_transaction() -> None:
    limited = 'on = "Read"\npoints = 1\ndimension = "intent"\nlimit = { times = 1, per = "day" }\n'
    rules = "".join(f'[[rules]]\nname = "read-{n}"\n{limited}' for n in range(99))
    with pytest.raises(ModelError, match="at most 98 rules may have a limit"):
        Model.parse(MODEL.replace("[[stages]]", f"{rules}[[stages]]", 1))


@pytest.mark.parametrize("stage", ["sql", "customer", "recycled", "disqualified"])
def test_a_stage_beyond_mql_is_none_of_the_models(stage: str) -> None:
    with pytest.raises(ModelError, match=f"'{stage}' lies beyond 'mql'"):
        Model.parse(MODEL.replace('"captured"', f'"{stage}"'))


def test_all_stages_gone_is_a_mistake() -> None:
    with pytest.raises(ModelError, match="stages: the last stage must be 'mql'"):
        Model.parse("stages = []\n" + MODEL[: MODEL.index("[[stages]]")])


@pytest.mark.parametrize(
    ("mistakes", "places"),
    [
        ({"= 365": "= 1", "cap = 100": "cap = 0"}, ["retention_days", "dimensions.intent.cap"]),
        (
            {'"gone"': '"page"', "enter.score": "enter.seen.demo", "trusted = true": "until = 1"},
            ["rules.1.until"],
        ),
        (
            {
                '"gone"': '"page"',
                "enter.score": "enter.seen.demo",
                "[dimensions.int": "[dimensions.x",
            },
            ["rules.1.name", "rules.0.dimension", "rules.1.dimension", "stages.1.enter.seen.demo"],
        ),
        (
            {'["/"]': '"/"', "when.": "when.properties.kind = 1\nwhen."},
            ["rules.0.when.properties.kind", "rules.0.when.properties.path"],
        ),
    ],
)
def test_every_mistake_is_named_at_once(mistakes: dict[str, str], places: list[str]) -> None:
    """Those between parts are looked for once each part is right for itself."""
    text = MODEL
    for right, wrong in mistakes.items():
        text = text.replace(right, wrong)
    with pytest.raises(ModelError) as refused:
        Model.parse(text)
    assert [line.partition(":")[0] for line in str(refused.value).splitlines()] == places
