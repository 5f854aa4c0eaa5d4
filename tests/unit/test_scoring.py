"""What an interaction pays, and what a lead is worth: each word of the model, in small models."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscoring import scoring
from leadscoring.decay import Counter
from leadscoring.interaction import Interaction, Trust
from leadscoring.lead import DimensionScore, Entry, Lead, Scorecard
from leadscoring.limits import Tally
from leadscoring.model import Model
from tests.unit.histories import EXAMPLES, LEAD, histories, models, paid

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JANE = Lead(id="0f" * 16, stage="captured", email="jane@company.example")
MODEL = """\
number = 7
name = "Small"
retention_days = 365
properties = ["kind"]
traits = ["company", "country", "employees", "jobTitle", "group.employees", "group.industry"]
forms = { contact = {}, newsletter = { name = "Newsletter Subscribed" } }
stages = [{ name = "captured" }, { name = "mql", enter.score = 100 }]
"""
DIMENSIONS = "dimensions = { engagement = {}, intent = {} }\n"
RULE = '[[rules]]\nname = "rule"\ndimension = "engagement"\n'
FIVE = f"{RULE}points = 5\n"
DACH = 'audiences.dach.country = ["DE", "AT", "CH"]\n'


def model(said: str, dimensions: str = DIMENSIONS) -> Model:
    return Model.parse(MODEL + dimensions + said)


def act(name: str = "Page Viewed", at: datetime = NOON, **more: Any) -> Interaction:
    plain = Interaction("m", None, name, at, at, Trust.PUBLIC, "f")
    return replace(plain, **more)


def given_by_hand(points: float, dimension: str = "engagement", at: datetime = NOON) -> Interaction:
    properties = {"points": points, "dimension": dimension, "reason": "met at the fair"}
    return act("Adjusted", at, trust=Trust.STAFF, properties=properties)


def pays(interaction: Interaction, paying: Model) -> list[Decimal]:
    return [payment.points for payment in scoring.pay(interaction, paying)]


def enter(paying: Model, *acts: Interaction) -> list[Entry]:
    return paid([replace(each, message_id=f"m-{n}") for n, each in enumerate(acts)], paying)


def worth(
    paying: Model,
    *acts: Interaction,
    now: datetime = NOON,
    lead: Lead = JANE,
    traits: Mapping[str, Any] | None = None,
) -> Scorecard:
    """Return what a lead is worth after these acts, with what else is known of it."""
    remembered = scoring.remember(lead, enter(paying, *acts))
    known = replace(remembered, traits={**remembered.traits, **(traits or {})})
    return scoring.scorecard(known, paying, now)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Which interactions a rule is for

PRICING = {"path": "/pricing/firms"}
YES, NO = [Decimal(5)], list[Decimal]()


@pytest.mark.parametrize(
    ("rule", "interaction", "expected"),
    [
        ('on = "Page Viewed"', act(), YES),
        ('on = "Page Viewed"', act("page viewed"), NO),
        ('on = "Page Viewed"', act("Page Viewed Twice"), NO),
        ('on = ["Webinar Attended", "Page Viewed"]', act(), YES),
        ('on = ["Webinar Attended", "Webinar Watched"]', act(), NO),
        ('page = "/pricing/firms"', act(properties=PRICING), YES),
        ('page = "/pricing"', act(properties=PRICING), NO),
        ('page = { prefix = "/pricing" }', act(properties=PRICING), YES),
        ('page = [{ prefix = "/preise" }, { suffix = "firms" }]', act(properties=PRICING), YES),
        ('page = { prefix = "/pricing" }', act(), NO),
        ('page = { prefix = "/pricing" }', act("Link Clicked", properties=PRICING), NO),
        (
            'on = "Link Clicked"\npage = { prefix = "/p" }',
            act("Link Clicked", properties=PRICING),
            YES,
        ),
        ('on = "Link Clicked"\npage = { prefix = "/p" }', act(properties=PRICING), NO),
        ('form = "contact"', act("Form Submitted", properties={"form": "contact"}), YES),
        ('form = "contact"', act("Called Otherwise", properties={"form": "contact"}), YES),
        ('form = "contact"', act("Form Submitted", properties={"form": "newsletter"}), NO),
        ('form = "contact"', act("Form Submitted"), NO),
        ('form = ["contact", "newsletter"]', act(properties={"form": "newsletter"}), YES),
        ('form = "contact"\non = "Sent"', act("Sent", properties={"form": "contact"}), YES),
        ('form = "contact"\non = "Sent"', act("Read", properties={"form": "contact"}), NO),
    ],
)
def test_a_rule_is_for_interactions_by_name_form_and_page(
    rule: str, interaction: Interaction, expected: list[Decimal]
) -> None:
    assert pays(interaction, model(FIVE + rule)) == expected


EBOOK, VACANCY = {"properties": {"kind": "e-book"}}, {"properties": {"kind": "vacancy"}}
SPRING = {"context": {"campaign": {"name": "spring"}}}
BERLIN = {"traits": {"country": "DE"}}
LARGE = {"traits": {"group.employees": 400}}


@pytest.mark.parametrize(
    ("when", "brought", "expected"),
    [
        ('when.properties.kind = ["e-book", "whitepaper"]', EBOOK, YES),
        ('when.properties.kind = ["e-book"]', VACANCY, NO),
        ('when.properties.kind = ["e-book"]', {}, NO),
        ('when.context.campaign.name = [{ prefix = "spr" }]', SPRING, YES),
        ('when.context.campaign.name = ["autumn"]', SPRING, NO),
        ('when.traits.country = ["DE"]', BERLIN, YES),
        ('when.traits.country = ["DE"]', {}, NO),
        ("when.traits.country = [{ exists = false }]", {}, YES),
        ('when.traits.group.employees = [{ numeric = [">=", 50] }]', LARGE, YES),
        ('when.traits.group.employees = [{ numeric = [">=", 500] }]', LARGE, NO),
        ('when = { properties.kind = ["e-book"], traits.country = ["DE"] }', EBOOK, NO),
        ('when = { properties.kind = ["e-book"], traits.country = ["DE"] }', EBOOK | BERLIN, YES),
        ('when.any = [{ properties.kind = ["x"] }, { traits.country = ["DE"] }]', BERLIN, YES),
        ('when.any = [{ properties.kind = ["x"] }, { traits.country = ["DE"] }]', EBOOK, NO),
        ('when.all = [{ properties.kind = ["e-book"] }, { traits.country = ["DE"] }]', EBOOK, NO),
        ('when.not.properties.kind = ["vacancy"]', EBOOK, YES),
        ('when.not.properties.kind = ["vacancy"]', {}, YES),
        ('when.not.properties.kind = ["vacancy"]', VACANCY, NO),
        ('when.all = [{ not.any = [{ properties.kind = ["vacancy"] }] }]', VACANCY, NO),
    ],
)
def test_a_rule_asks_for_properties_context_and_the_traits_of_the_message(
    when: str, brought: dict[str, Any], expected: list[Decimal]
) -> None:
    assert pays(act(**brought), model(f'{FIVE}on = "Page Viewed"\n{when}')) == expected


def test_a_page_is_asked_for_together_with_the_other_conditions() -> None:
    rule = f'{FIVE}page = {{ prefix = "/pricing" }}\nwhen.properties.kind = ["e-book"]'
    assert pays(act(properties=PRICING | {"kind": "e-book"}), model(rule)) == YES
    assert pays(act(properties=PRICING | {"kind": "vacancy"}), model(rule)) == NO
    assert pays(act(properties={"path": "/", "kind": "e-book"}), model(rule)) == NO


def test_several_rules_may_pay_for_one_interaction_in_the_order_of_the_model() -> None:
    second = FIVE.replace('"rule"', '"second"').replace("5", "-2")
    both = model(f'{FIVE}on = "Page Viewed"\n{second}on = "Page Viewed"\ntrusted = true')
    payments = scoring.pay(act(trust=Trust.TRUSTED), both)
    assert [payment.rule for payment in payments] == ["rule", "second"]
    assert [payment.points for payment in payments] == [5, -2]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-02-28 23:59:59.999", NO),
        ("2026-03-01 00:00", YES),
        ("2026-03-31 23:59:59.999", YES),
        ("2026-04-01 00:00", NO),
    ],
)
def test_a_rule_is_active_from_midnight_utc_until_midnight_utc(
    at: str, expected: list[Decimal]
) -> None:
    rule = f'{FIVE}on = "Page Viewed"\nfrom = 2026-03-01\nuntil = 2026-04-01'
    assert pays(act(at=utc(at)), model(rule)) == expected


def test_a_rule_is_active_for_what_happened_then_however_late_it_arrives() -> None:
    rule = model(f'{FIVE}on = "Page Viewed"\nfrom = 2026-03-02\nuntil = 2026-03-03')
    early, late = NOON - timedelta(days=1), NOON + timedelta(days=20)
    assert pays(act(received_at=late), rule) == YES
    assert pays(act(at=late), rule) == NO
    assert pays(act(at=early, received_at=NOON), rule) == NO


def test_only_a_server_may_send_what_a_trusted_rule_is_for() -> None:
    rule = model(f'{FIVE}on = "Page Viewed"\ntrusted = true')
    assert pays(act(), rule) == NO
    assert pays(act(trust=Trust.TRUSTED), rule) == YES


# How much it pays

MINUTES = f'{RULE}on = "Webinar Attended"\npoints_from = '
BOUNDED = '{ property = "minutes", factor = 0.5, min = 5, max = 30 }'


@pytest.mark.parametrize(
    ("minutes", "points"),
    [
        (20, "10"),
        (20.5, "10.25"),
        (0.1, "5"),
        (10, "5"),
        (9.999, "5"),
        (10.002, "5.001"),
        (60, "30"),
        (61, "30"),
        (0, "5"),
        (-60, "5"),
        (-0.0, "5"),
        (1e300, "30"),
        (-1e300, "5"),
        (10**400, "30"),
        (1e-300, "5"),
        (33.3333, "16.667"),
    ],
)
def test_points_from_a_property_are_its_value_times_a_factor_within_bounds(
    minutes: float, points: str
) -> None:
    webinar = act("Webinar Attended", properties={"minutes": minutes})
    assert pays(webinar, model(MINUTES + BOUNDED)) == [Decimal(points)]


@pytest.mark.parametrize("minutes", ["60", "", True, False, None, [60], {"minutes": 60}])
def test_what_is_no_number_pays_nothing_and_is_not_seen(minutes: Any) -> None:
    rule = model(MINUTES + BOUNDED)
    lead = scoring.remember(
        JANE, enter(rule, act("Webinar Attended", properties={"minutes": minutes}))
    )
    assert (lead.units, lead.seen, lead.interactions) == ({}, {}, 1)
    assert pays(act("Webinar Attended"), rule) == []


def test_points_from_a_property_can_take_points_away_where_only_servers_send_it() -> None:
    refund = model(
        f'{RULE}on = "Refunded"\ntrusted = true\n'
        'points_from = { property = "order.euros", factor = -0.1, min = -50, max = 0 }'
    )
    euros = [100, 0, 99999, -5]
    paid = [
        pays(act("Refunded", trust=Trust.TRUSTED, properties={"order": {"euros": each}}), refund)
        for each in euros
    ]
    assert paid == [[-10], [0], [-50], [0]]
    assert [str(points) for (points,) in paid] == ["-10.000", "0.000", "-50.000", "0.000"]


def test_points_from_a_property_are_its_value_where_no_factor_is_given() -> None:
    assert pays(
        act("Webinar Attended", properties={"minutes": 7.1234}),
        model(MINUTES + '{ property = "minutes", max = 30 }'),
    ) == [Decimal("7.123")]


def test_a_payment_says_from_which_counter_and_allowance_it_is() -> None:
    rule = model(
        f'{FIVE}on = "Page Viewed"\nlimit = {{ times = 3, per = "day" }}\naudience = "dach"\n',
        'audiences.dach.country = ["DE"]\ndimensions.engagement.half_life_days = 30\n',
    )
    (payment,) = scoring.pay(act(), rule)
    counter = Counter("engagement", 30, 2026, audience="dach")
    assert payment.counter == "points:engagement@dach:30d:2026" == counter.name
    assert payment.units == counter.units(Decimal(5), NOON)
    assert payment.allowance == f"rule#{rule.rules[0].version}#2026-03-02"
    assert not payment.is_settled


# What the ledger keeps


def test_the_ledger_keeps_what_the_model_names_and_what_its_rules_ask_for() -> None:
    rule = model(
        f'{RULE}on = "Webinar Attended"\npoints_from = {{ property = "m.minutes", max = 30 }}\n'
        'limit = { times = 1, per = "ever", by = "title" }\nwhen.context.page.path = ["/"]\n'
    )
    interaction = act(
        "Webinar Attended",
        properties={"kind": "w", "title": "T", "m": {"minutes": 7, "x": 1}, "secret": 1},
        traits={"country": "DE", "consent": True, "shoeSize": 43},
        context={"page": {"path": "/", "referrer": "x"}, "ip": "203.0.113.9"},
    )
    entry = scoring.enter(interaction, rule)
    assert entry.properties == {"kind": "w", "title": "T", "m": {"minutes": 7}}
    assert entry.traits == {"country": "DE", "consent": True}
    assert entry.context == {"page": {"path": "/"}}
    assert (entry.model, entry.fingerprint, entry.received_at) == (7, "f", NOON)
    assert [payment.points for payment in entry.paid] == [7]


def test_a_rule_never_pays_for_what_the_ledger_does_not_keep() -> None:
    rule = model(f'{FIVE}on = "Page Viewed"\nwhen.traits.shoeSize = [43]')
    entry = scoring.enter(act(traits={"shoeSize": 43}), rule)
    assert entry.paid == scoring.pay(entry, rule) == ()


@EXAMPLES
@given(st.data())
def test_an_entry_is_paid_what_its_interaction_is(data: st.DataObject) -> None:
    paying = data.draw(models())
    for interaction in data.draw(histories(paying)):
        entry = scoring.enter(interaction, paying)
        assert entry.paid == scoring.pay(interaction, paying) == scoring.pay(entry, paying)


# What a ledger adds up to

ONCE = f'{FIVE}on = "Page Viewed"\nlimit = {{ times = 1, per = "ever" }}\n'


def test_a_lead_remembers_counters_rules_seen_traits_and_when_it_last_acted() -> None:
    lead = scoring.remember(
        replace(JANE, units={"points:old": 5}, seen={"gone": 3}, traits={"company": "Old"}),
        enter(
            model(ONCE),
            act(traits={"country": "DE"}, received_at=NOON + timedelta(days=3)),
            act(at=NOON + timedelta(days=1)),
            act("Logged In"),
            given_by_hand(2.5, "intent"),
        ),
    )
    assert lead.units == {"points:engagement": 5_000_000, "points:intent": 2_500_000}
    assert lead.seen == {"rule": 2, "adjustment": 1}
    assert lead.traits == {"country": "DE"}
    assert lead.interactions == 4
    assert lead.updated_at == NOON + timedelta(days=3)


def test_a_lead_of_whom_nothing_is_left_is_worth_nothing() -> None:
    lead = scoring.remember(replace(JANE, interactions=3, updated_at=NOON), [])
    assert (lead.units, lead.seen, lead.traits, lead.interactions) == ({}, {}, {}, 0)
    assert lead.updated_at is None
    assert scoring.scorecard(lead, model(ONCE), NOON).score == 0


@EXAMPLES
@given(st.data())
def test_what_a_lead_remembers_is_a_function_of_the_set_of_entries(data: st.DataObject) -> None:
    paying = data.draw(models())
    ledger = paid(data.draw(histories(paying)), paying)
    shuffled = data.draw(st.permutations(ledger))
    assert scoring.remember(LEAD, shuffled) == scoring.remember(LEAD, ledger)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("claims", "country"),
    [
        ([(Trust.PUBLIC, 0, "DE"), (Trust.PUBLIC, 1, "AT")], "AT"),
        ([(Trust.TRUSTED, 0, "DE"), (Trust.PUBLIC, 9, "AT")], "DE"),
        ([(Trust.TRUSTED, 0, "DE"), (Trust.TRUSTED, 1, "AT"), (Trust.PUBLIC, 9, "CH")], "AT"),
        ([(Trust.PUBLIC, 0, "DE"), (Trust.PUBLIC, 0, "AT")], "DE"),
        ([(Trust.PUBLIC, 0, "DE"), (Trust.PUBLIC, 0.0000002, "AT")], "AT"),
    ],
)
def test_of_a_trait_the_strongest_claim_counts_in_any_order(
    claims: list[tuple[Trust, float, str]], country: str
) -> None:
    acts = [
        act("Identified", NOON + hours * HOUR * 1000, trust=trust, traits={"country": value})
        for trust, hours, value in claims
    ]
    for order in (acts, acts[::-1]):
        assert scoring.remember(JANE, enter(model(ONCE), *order)).traits == {"country": country}


def test_a_late_claim_is_as_old_as_what_it_tells() -> None:
    new = act("Identified", traits={"country": "DE"})
    old = act("Identified", NOON - HOUR, received_at=NOON + HOUR, traits={"country": "AT"})
    assert scoring.remember(JANE, enter(model(ONCE), new, old)).traits == {"country": "DE"}


def test_traits_are_told_one_by_one() -> None:
    first = act("Identified", traits={"country": "DE", "employees": 5})
    second = act("Identified", NOON + HOUR, traits={"employees": 50, "group.employees": 400})
    lead = scoring.remember(JANE, enter(model(ONCE), second, first))
    assert lead.traits == {"country": "DE", "employees": 50, "group.employees": 400}


# Dimensions


def dimension(clock: str, *acts: Interaction, now: datetime) -> float:
    paying = model(f'{RULE}points = 100\non = "Page Viewed"', f"dimensions.engagement = {clock}\n")
    return worth(paying, *acts, now=now).score


@pytest.mark.parametrize(
    ("days", "left"), [(0, 100), (30, 50), (60, 25), (90, 12.5), (1, 97.716), (600, 0)]
)
def test_points_fade_to_half_in_a_half_life_across_new_year(days: int, left: float) -> None:
    earned = utc("2026-12-10 09:00")
    now = earned + timedelta(days=days)
    assert dimension("{ half_life_days = 30 }", act(at=earned), now=now) == left


def test_what_arrives_twenty_days_late_has_faded_for_twenty_days() -> None:
    happened = utc("2026-12-20 09:00")
    late = act(at=happened, received_at=happened + timedelta(days=20))
    for days, left in ((30, 50), (60, 25), (20, 62.996)):
        now = happened + timedelta(days=days)
        assert dimension("{ half_life_days = 30 }", late, now=now) == left


def test_points_of_two_years_fade_together() -> None:
    acts = act(at=utc("2026-12-02 00:00")), act(at=utc("2027-01-01 00:00"))
    assert dimension("{ half_life_days = 30 }", *acts, now=utc("2027-01-01 00:00")) == 150
    assert dimension("{ half_life_days = 30 }", *acts, now=utc("2027-01-31 00:00")) == 75


def test_points_without_half_life_stay() -> None:
    assert dimension("{}", act(), now=NOON + timedelta(days=3650)) == 100


@pytest.mark.parametrize(
    ("months", "earned", "last", "gone"),
    [
        (6, "2026-03-01 00:00", "2026-09-30 23:59:59.999", "2026-10-01 00:00"),
        (6, "2026-03-31 23:59:59.999", "2026-09-30 23:59:59.999", "2026-10-01 00:00"),
        (1, "2026-11-30 12:00", "2026-12-31 23:59:59.999", "2027-01-01 00:00"),
        (1, "2026-12-31 23:59", "2027-01-31 23:59:59.999", "2027-02-01 00:00"),
        (12, "2027-12-05 12:00", "2028-12-31 23:59:59.999", "2029-01-01 00:00"),
        (3, "2026-11-01 00:00", "2027-02-28 23:59:59.999", "2027-03-01 00:00"),
    ],
)
def test_points_expire_when_so_many_whole_months_after_theirs_are_over(
    months: int, earned: str, last: str, gone: str
) -> None:
    clock = f"{{ expires_months = {months} }}"
    assert dimension(clock, act(at=utc(earned)), now=utc(last)) == 100
    assert dimension(clock, act(at=utc(earned)), now=utc(gone)) == 0


def test_each_month_of_earning_expires_for_itself() -> None:
    acts = [act(at=utc(f"2026-{month}-15 12:00")) for month in (10, 11, 12)]
    left = [
        dimension("{ expires_months = 2 }", *acts, now=utc(f"{month}-01 00:00"))
        for month in ("2026-12", "2027-01", "2027-02", "2027-03")
    ]
    assert left == [300, 200, 100, 0]


def test_a_dimension_counts_from_nothing_to_its_cap() -> None:
    paying = model(
        f'{FIVE}on = "Page Viewed"\n'
        '[[rules]]\nname = "gone"\non = "Unsubscribed"\npoints = -30\ntrusted = true\n'
        'dimension = "intent"\n',
        "dimensions = { engagement = { cap = 12.5 }, intent = { cap = 10 } }\n",
    )
    card = worth(paying, *[act()] * 3, act("Unsubscribed", trust=Trust.TRUSTED))
    assert card.dimensions == {
        "engagement": DimensionScore(earned=15, points=12.5),
        "intent": DimensionScore(earned=-30, points=0),
    }
    assert card.score == 12.5


def test_a_penalty_takes_from_its_own_dimension_alone() -> None:
    paying = model(
        f'{FIVE}on = "Page Viewed"\n'
        '[[rules]]\nname = "gone"\non = "Unsubscribed"\npoints = -3\ntrusted = true\n'
        'dimension = "engagement"\n'
    )
    gone = act("Unsubscribed", trust=Trust.TRUSTED)
    assert worth(paying, act(), gone).score == 2
    assert worth(paying, act(), gone, gone, given_by_hand(7, "intent")).score == 7


def test_what_old_models_paid_in_dimensions_of_theirs_does_not_count() -> None:
    lead = replace(JANE, units={"points:gone": 10**7, "points:intent": 10**6}, seen={"gone": 1})
    assert scoring.scorecard(lead, model(ONCE), NOON).score == 1


def test_points_that_an_older_model_let_fade_otherwise_go_on_fading_so() -> None:
    old = model(f'{FIVE}on = "Page Viewed"', "dimensions.engagement.half_life_days = 30\n")
    lead = scoring.remember(JANE, enter(old, act()))
    new = model(f'{FIVE}on = "Page Viewed"')
    assert scoring.scorecard(lead, new, NOON + timedelta(days=30)).score == 2.5


def test_a_score_is_rounded_to_the_three_decimals_that_are_shown() -> None:
    # 100 * 2**(-1/30) = 97.71599...
    now = NOON + timedelta(days=1)
    assert dimension("{ half_life_days = 30 }", act(), now=now) == 97.716


# Named scores

NAMED = f"""\
scores.platform = {{ dimensions = ["engagement", "fit"], cap = 8 }}
scores.services = {{ dimensions = "intent", decides = true }}
{FIVE}on = "Page Viewed"
[[rules]]
name = "demo"
on = "Demo Requested"
points = 20
dimension = "intent"
[[fit.rules]]
name = "dach"
when.country = ["DE"]
points = 2
"""


def test_of_several_scores_one_decides_and_each_has_its_cap() -> None:
    card = worth(model(NAMED), act(), act("Demo Requested"), traits={"country": "DE"})
    assert card.scores == {"platform": 7, "services": 20}
    assert card.score == 20
    more = worth(model(NAMED), act(), act(), act("Demo Requested"), traits={"country": "DE"})
    assert more.scores == {"platform": 8, "services": 20}
    assert more.dimensions["engagement"].points == 10


def test_a_single_score_decides_without_saying_so() -> None:
    one = model(
        f'scores.interest = {{ dimensions = ["engagement"], cap = 3 }}\n{FIVE}on = "Page Viewed"'
    )
    card = worth(one, act(), given_by_hand(50, "intent"))
    assert (card.scores, card.score) == ({"interest": 3}, 3)


def test_without_named_scores_the_score_is_the_sum_of_all_dimensions_and_fit() -> None:
    unnamed = model("\n".join(NAMED.splitlines()[2:]))
    card = worth(unnamed, act(), act("Demo Requested"), traits={"country": "DE"})
    assert (card.scores, card.score) == ({"score": 27}, 27)


# Fit, grades, matrix, gates

FIT = f"""\
grades = {{ A = 30, B = 20, D = 10 }}
matrix = {{ fit = {{ A = 30, B = 20 }}, engagement = {{ 1 = 50, 2 = 20 }} }}
{FIVE}on = "Page Viewed"
[fit]
cap = 30
[[fit.rules]]
name = "large"
when.any = [
  {{ employees = [{{ numeric = [">=", 50] }}] }},
  {{ group.employees = [{{ numeric = [">=", 50] }}] }},
]
points = 20
[[fit.rules]]
name = "dach"
when.country = ["DE", "AT", "CH"]
points = 10
[[fit.rules]]
name = "decides"
when.jobTitle = [{{ prefix = "Head" }}]
points = 15.5
[[fit.rules]]
name = "free-mail"
when.email.kind = ["free"]
points = -10.001
[[fit.gates]]
name = "student"
when.jobTitle = [{{ equals-ignore-case = "student" }}]
[[fit.gates]]
name = "competitor"
when.email.domain = ["rival.example"]
"""


@pytest.mark.parametrize(
    ("traits", "earned", "points", "grade"),
    [
        ({}, 0, 0, "F"),
        ({"country": "CH"}, 10, 10, "D"),
        ({"employees": 49}, 0, 0, "F"),
        ({"employees": 50}, 20, 20, "B"),
        ({"employees": "50"}, 0, 0, "F"),
        ({"group.employees": 400}, 20, 20, "B"),
        ({"employees": 50, "group.employees": 400}, 20, 20, "B"),
        ({"employees": 50, "country": "DE"}, 30, 30, "A"),
        ({"jobTitle": "Head of IT", "employees": 50, "country": "DE"}, 45.5, 30, "A"),
        ({"jobTitle": "Head of IT"}, 15.5, 15.5, "D"),
    ],
)
def test_fit_is_points_by_traits_up_to_its_cap_and_makes_the_grade(
    traits: dict[str, Any], earned: float, points: float, grade: str
) -> None:
    card = worth(model(FIT), traits=traits)
    assert card.dimensions["fit"] == DimensionScore(earned=earned, points=points)
    assert (card.grade, card.gate) == (grade, None)


def test_fit_never_counts_below_nothing_and_a_thousandth_below_a_bar_is_below_it() -> None:
    free = replace(JANE, email="jane@gmx.de")
    assert worth(model(FIT), lead=free).dimensions["fit"] == DimensionScore(-10.001, 0)
    card = worth(model(FIT), lead=free, traits={"country": "DE", "employees": 99})
    assert card.dimensions["fit"].points == 19.999
    assert (card.grade, card.matrix) == ("D", "C3")


@pytest.mark.parametrize(
    ("traits", "engagement", "cell"),
    [
        ({"employees": 50, "country": "DE"}, 50, "A1"),
        ({"employees": 50, "country": "DE"}, 49.999, "A2"),
        ({"employees": 50}, 20, "B2"),
        ({"employees": 50}, 19.999, "B3"),
        ({"country": "DE"}, 50, "C1"),
        ({}, 0, "C3"),
    ],
)
def test_the_matrix_says_where_fit_and_engagement_meet(
    traits: dict[str, Any], engagement: float, cell: str
) -> None:
    assert worth(model(FIT), given_by_hand(engagement), traits=traits).matrix == cell


def test_a_matrix_may_be_of_a_named_score() -> None:
    of_score = model(
        'scores.interest = { dimensions = ["engagement", "intent"], cap = 60 }\n'
        + FIT.replace("engagement = { 1", 'of = "interest", engagement = { 1')
    )
    gifts = [given_by_hand(30, "intent"), given_by_hand(20)]
    assert worth(of_score, *gifts).matrix == "C1"
    assert worth(of_score, gifts[0]).matrix == "C2"


def test_a_gate_shuts_out_and_makes_the_grade_f_whatever_fits() -> None:
    student = {"jobTitle": "STUDENT", "employees": 50, "country": "DE"}
    card = worth(model(FIT), act(), traits=student)
    assert (card.gate, card.grade, card.matrix) == ("student", "F", "A3")
    assert card.score == 35  # the score itself goes on
    rival = replace(JANE, email="spy@rival.example")
    assert worth(model(FIT), lead=rival).gate == "competitor"
    assert worth(model(FIT), lead=rival, traits=student).gate == "student"


def test_without_grades_matrix_and_fit_there_are_none() -> None:
    card = worth(model(ONCE), traits={"country": "DE"})
    assert (card.grade, card.matrix, card.gate) == (None, None, None)
    assert "fit" not in card.dimensions


def test_fit_follows_the_traits_at_once() -> None:
    said = [
        act("Identified", NOON + n * HOUR, traits={"country": c})
        for n, c in enumerate(["DE", "FR"])
    ]
    assert worth(model(FIT), said[0]).dimensions["fit"].points == 10
    assert worth(model(FIT), *said).dimensions["fit"].points == 0


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("jane@company.example", "company"),
        ("jane@gmx.de", "free"),
        ("jane@gmail.com", "free"),
        ("jane@mail.gmail.com", "free"),
        ("jane@notgmail.com", "company"),
        ("jane@gmail.com.company.example", "company"),
        ("jane@mailinator.com", "disposable"),
        ("jane@any.mailinator.com", "disposable"),
        ("jane@10minutemail.co.za", "disposable"),
        ("jane@co.uk", "company"),
    ],
)
def test_an_address_is_of_a_company_free_or_to_throw_away(address: str, kind: str) -> None:
    kinds = ("company", "free", "disposable")
    gates = "".join(f'[[fit.gates]]\nname = "{k}"\nwhen.email.kind = ["{k}"]\n' for k in kinds)
    card = worth(model(ONCE + gates), lead=replace(JANE, email=address))
    assert card.gate == kind


def test_a_domain_is_one_domain_and_by_suffix_all_below_it() -> None:
    by_suffix = '{ suffix = ".rival.example" }'
    below = model(FIT.replace('["rival.example"]', f'["rival.example", {by_suffix}]'))
    spy = replace(JANE, email="spy@mail.rival.example")
    assert worth(model(FIT), lead=spy).gate is None
    assert worth(below, lead=spy).gate == "competitor"


def test_nobody_knows_the_mailbox_of_who_has_no_address() -> None:
    anonymous = replace(JANE, email=None)
    without = model(f"{ONCE}[[fit.gates]]\nname = 'none'\nwhen.email.kind = [{{ exists = false }}]")
    assert worth(without, lead=anonymous).gate == "none"
    assert worth(without, lead=JANE).gate is None


def test_a_trait_of_an_older_model_stands_in_no_tables_way() -> None:
    for traits in (
        {"group": "Acme", "group.employees": 400},
        {"group.employees": 400, "group": "Acme"},
    ):
        assert worth(model(FIT), traits=traits).grade == "B"


# Audiences

PAGES = f'{DACH}{FIVE}on = "Page Viewed"\naudience = "dach"\n'


def identified(country: str, hours: float) -> Interaction:
    return act("Identified", NOON + hours * HOUR, traits={"country": country})


def test_points_for_an_audience_count_while_the_lead_belongs_to_it() -> None:
    pages = model(PAGES)
    came, left, back = identified("DE", 1), identified("FR", 2), identified("AT", 3)
    assert worth(pages, act()).score == 0
    assert worth(pages, act(), came).score == 5  # whatever came first
    assert worth(pages, act(), came, left).score == 0
    assert worth(pages, act(), came, left, act()).score == 0
    assert worth(pages, act(), came, left, act(), back).score == 10


def test_who_is_outside_an_audience_keeps_its_other_points_and_is_not_spared_their_fading() -> None:
    everybody = RULE.replace('"rule"', '"all"')
    fading = model(
        f'{PAGES}{everybody}on = "Page Viewed"\npoints = 2\n',
        "dimensions.engagement.half_life_days = 30\n",
    )
    later = NOON + timedelta(days=30)
    assert worth(fading, act(), now=later).score == 1
    assert worth(fading, act(), now=later, traits={"country": "CH"}).score == 3.5


def test_an_audience_that_the_model_no_longer_has_counts_for_nobody() -> None:
    lead = scoring.remember(JANE, enter(model(PAGES), act(traits={"country": "DE"})))
    assert scoring.scorecard(lead, model(PAGES), NOON).score == 5
    assert scoring.scorecard(lead, model(ONCE), NOON).score == 0


# What was seen


def test_what_was_seen_before_the_cycle_does_not_count_again() -> None:
    lead = scoring.remember(JANE, enter(model(ONCE), act(), act(), act()))
    assert scoring.seen(lead, model(ONCE)) == {"rule": 3}
    second = replace(lead, seen_before={"rule": 2, "gone": 5})
    assert scoring.seen(second, model(ONCE)) == {"rule": 1}


def test_what_is_for_an_audience_is_seen_of_those_who_belong_to_it() -> None:
    pages = model(PAGES)
    stranger = scoring.remember(JANE, enter(pages, act(), act()))
    assert scoring.seen(stranger, pages) == {}
    at_home = replace(stranger, traits={"country": "AT"}, seen_before={"rule": 1})
    assert scoring.seen(at_home, pages) == {"rule": 1}


# Our own people


def test_our_own_people_give_and_take_points_whatever_the_rules_say() -> None:
    paying = model(ONCE, "dimensions = { engagement = { half_life_days = 30 }, intent = {} }\n")
    (payment,) = scoring.pay(given_by_hand(-12.345), paying)
    assert (payment.rule, payment.points) == ("adjustment", Decimal("-12.345"))
    assert payment.counter == "points:engagement:30d:2026"
    assert payment.allowance is None
    card = worth(paying, given_by_hand(30), given_by_hand(-12.345), given_by_hand(4, "intent"))
    assert card.score == 21.655
    assert worth(paying, given_by_hand(30), now=NOON + timedelta(days=30)).score == 15


def test_an_adjustment_in_a_dimension_that_is_gone_pays_nothing_until_it_is_back() -> None:
    entry = scoring.enter(given_by_hand(30, "loyalty"), model(ONCE))
    assert entry.paid == ()
    assert entry.properties["reason"] == "met at the fair"
    loyal = model(ONCE, "dimensions = { engagement = {}, loyalty = {} }\n")
    assert [payment.points for payment in scoring.pay_again(entry, loyal).paid] == [30]


def test_what_our_people_took_never_comes_back_by_itself() -> None:
    took = given_by_hand(-20, at=utc("2026-02-10 12:00"))
    entries = enter(model(f'{FIVE}on = "Page Viewed"'), took, *[act()] * 6)
    expiring = model(f'{FIVE}on = "Page Viewed"', "dimensions.engagement.expires_months = 1\n")
    lead = scoring.remember(JANE, scoring.repay(entries, expiring))
    days = ("2026-03-31", "2026-04-30", "2026-05-01")
    assert [scoring.scorecard(lead, expiring, utc(day)).score for day in days] == [10, 10, 0]


# Paid again

WEEKLY = f'{FIVE}on = "Page Viewed"\nlimit = {{ points = 12, per = "ever" }}\n'


def test_a_ledger_is_paid_again_in_the_order_of_its_arrival() -> None:
    hours = (3, 1, 2)
    acts = [act(at=NOON - hour * HOUR, received_at=NOON + hour * HOUR) for hour in hours]
    entries = enter(model(f'{FIVE}on = "Page Viewed"'), *acts)
    again = scoring.repay(entries, model(WEEKLY.replace("7", "8")))
    assert [entry.message_id for entry in again] == ["m-1", "m-2", "m-0"]
    assert [entry.paid[0].points for entry in again] == [5, 5, 2]


def test_a_payment_keeps_what_it_took_from_an_allowance_that_the_model_still_has() -> None:
    entries = enter(model(WEEKLY), *[act()] * 4)
    assert [entry.paid[0].points for entry in entries] == [5, 5, 2, 0]
    first_gone = [scoring.pay_again(entry, model(WEEKLY)) for entry in entries[1:]]
    assert first_gone == entries[1:]
    fading = model(WEEKLY, "dimensions.engagement.half_life_days = 30\n")
    again = [scoring.pay_again(entry, fading) for entry in entries]
    for before, after in zip(entries, again, strict=True):
        (old,), (new,) = before.paid, after.paid
        assert (new.points, new.used, new.unlimited) == (old.points, old.used, old.unlimited)
        assert new.counter == "points:engagement:30d:2026"
        assert new.units == Counter("engagement", 30, 2026).units(new.points, NOON)


def test_an_edited_rule_pays_anew_before_its_new_limit() -> None:
    entries = enter(model(WEEKLY), *[act()] * 4)
    edited = model(WEEKLY.replace("points = 5", "points = 6"))
    again = [scoring.pay_again(entry, edited) for entry in entries]
    assert [entry.paid[0].points for entry in again] == [6] * 4
    assert not any(entry.paid[0].is_settled for entry in again)
    assert [entry.paid[0].points for entry in Tally(edited).cut_all(again)] == [6, 6, 0, 0]


def test_what_is_paid_again_bears_the_number_of_the_model_that_pays() -> None:
    (entry,) = enter(model(ONCE), act())
    newer = Model.parse((MODEL + DIMENSIONS + ONCE).replace("number = 7", "number = 8"))
    assert scoring.pay_again(entry, newer) == replace(entry, model=8)
    assert [again.model for again in scoring.repay([entry], newer)] == [8]


def test_a_rule_that_is_gone_pays_nothing_any_more() -> None:
    entries = enter(model(ONCE), act(), act("Demo Requested"))
    other = model(ONCE.replace('on = "Page Viewed"', 'on = "Demo Requested"'))
    again = [scoring.pay_again(entry, other) for entry in entries]
    assert [len(entry.paid) for entry in again] == [0, 1]


def test_a_scorecard_says_when_it_is_of_and_by_which_model() -> None:
    card = worth(model(ONCE), act(), now=NOON + HOUR)
    assert (card.at, card.model, card.score) == (NOON + HOUR, 7, 5)
