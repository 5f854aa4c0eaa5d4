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
    with pytest.raises(ModelError, match=r"propertys: a condition is on context, properties"):
        Model.parse(misspelt)


@pytest.mark.parametrize("empty", ["any = []", "all = []", "seen = {}"])
def test_a_condition_that_asks_for_nothing_is_a_mistake(empty: str) -> None:
    with pytest.raises(ModelError, match="at least 1 item"):
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
        ("number = 1", "number =", "Invalid value (at line 1, column 9)"),
        ("number = 1", "", "number: Field required"),
        ("number = 1", "number = 0", "number: Input should be greater than or equal to 1"),
        ("number = 1", "number = 1.5", "number: Input should be a valid integer"),
        ("number = 1", "number = 1\ncolour = 1", "colour: Extra inputs are not permitted"),
        ("= 365", "= 29", "retention_days: Input should be greater than or equal to 30"),
        ('["path"]', '"path"', "properties: Input should be a valid frozenset"),
        ("= 30\n", "= 6\n", "dimensions.intent.half_life_days: Input should be greater"),
        ("= 30\n", "= 3651\n", "dimensions.intent.half_life_days: Input should be less"),
        ("cap = 100", "cap = 0", "dimensions.intent.cap: Input should be greater than 0"),
        ("cap = 100", "cap = inf", "dimensions.intent.cap: Input should be a finite number"),
        ("cap = 100", "floor = 0", "dimensions.intent.floor: Extra inputs are not permitted"),
        ("[dimensions.intent]", "[dimensions.Intent]", "dimensions.Intent.[key]: String should"),
        ('"page"', '"Page"', "rules.0.name: String should match pattern"),
        ('"page"', f'"{"p" * 41}"', "rules.0.name: String should match pattern"),
        ('"Page Viewed"', "[]", "rules.0.on: Value should have at least 1 item"),
        ('"Page Viewed"', "5", "rules.0.on: Input should be a valid tuple"),
        ('["/"]', '"/"', "rules.0.when: Value error, properties.path: a field takes a list"),
        ('["/"]', "[{ wildcard = '.pdf' }]", "rules.0.when: Value error, properties.path: unknown"),
        ('["/"]', "[2026-03-02]", "rules.0.when: Value error, properties.path: unknown word"),
        ("points = 1", "points = 1000.5", "rules.0.points: Input should be less than or equal"),
        ("points = -30.5", "points = -1001", "rules.1.points: Input should be greater than or"),
        ("points = 1", "points = nan", "rules.0.points: Input should be a finite number"),
        ("points = 1", 'points = "many"', "rules.0.points: Input should be a valid decimal"),
        ("trusted = true", "", "rules.1: Value error, a rule with negative points must be trusted"),
        ("trusted = true", "trust = true", "rules.1.trust: Extra inputs are not permitted"),
        (
            'dimension = "intent"\n[[rules]]',
            'dimension = "fit"\n[[rules]]',
            "model: Value error, rule 'page' names no dimension: 'fit'",
        ),
        ('"gone"', '"page"', "model: Value error, two rules are called 'page'"),
        ('"captured"', '"mql"', "model: Value error, two stages are called 'mql'"),
        ('"mql"', '"won"', "model: Value error, stages run from one without `enter` to 'mql'"),
        (
            '"captured"',
            '"captured"\nenter.score = 1',
            "model: Value error, stages run from one without `enter` to 'mql'",
        ),
        ("enter.score = 50", "", "model: Value error, stage 'mql' says nothing under `enter`"),
        ("enter.score = 50", "enter = {}", "stages.1.enter: Value error, an empty condition"),
        ("enter.score = 50", "enter.score = 0", "stages.1.enter.score: Input should be greater"),
        ("enter.score = 50", "enter.seen.page = 0", "stages.1.enter.seen.page: Input should be"),
        (
            "enter.score = 50",
            "enter.any = [{ score = 5 }, {}]",
            "stages.1.enter.any.1: Value error, an empty condition",
        ),
        *(
            ("enter.score = 50", enter, "model: Value error, stage 'mql' counts no rule: 'demo'")
            for enter in [
                "enter.seen.demo = 1",
                "enter.any = [{ score = 5 }, { all = [{ seen.demo = 1 }] }]",
                "enter = { score = 5, not.seen.demo = 1 }",
            ]
        ),
        ("https://www.example.com/thanks", "javascript:alert(1)", "forms.contact.redirect: String"),
        ("[forms.contact]", '[forms.contact]\nname = ""', "forms.contact.name: String should"),
        ("[forms.contact]", '[forms."contact us"]', "forms.contact us.[key]: String should match"),
    ],
)
def test_a_mistake_is_named_with_its_place(right: str, wrong: str, complaint: str) -> None:
    assert MODEL.count(right) == 1
    with pytest.raises(ModelError, match=f"^{re.escape(complaint)}"):
        Model.parse(MODEL.replace(right, wrong))


def test_all_stages_gone_is_a_mistake() -> None:
    with pytest.raises(ModelError, match="stages run from one without `enter` to 'mql'"):
        Model.parse("stages = []\n" + MODEL[: MODEL.index("[[stages]]")])


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ModelError) as refused:
        Model.parse(MODEL.replace("= 365", "= 1").replace("cap = 100", "cap = 0"))
    places = [line.partition(":")[0] for line in str(refused.value).splitlines()]
    assert places == ["retention_days", "dimensions.intent.cap"]
