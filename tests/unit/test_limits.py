"""Limits: whose allowance an act asks for, when that ends, and what is paid while it lasts."""

from collections.abc import Iterable
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
from leadscoring.lead import Entry, Payment
from leadscoring.limits import Allowance, Tally, valued
from leadscoring.model import Limit, Model
from tests.unit.histories import EXAMPLES

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MODEL = """\
number = 7
name = "Small"
retention_days = 365
properties = []
traits = []
dimensions.engagement.half_life_days = 30
stages = [{ name = "captured" }, { name = "mql", enter.score = 100 }]
[[rules]]
name = "download"
on = "Content Downloaded"
points = 15
dimension = "engagement"
"""


def model(limit: str, more: str = "") -> Model:
    return Model.parse(f"{MODEL}limit = {limit}\n{more}")


def act(at: datetime = NOON, trust: Trust = Trust.PUBLIC, **properties: Any) -> Interaction:
    return Interaction("m", None, "Content Downloaded", at, at, trust, "f", properties)


def allowance(per: str, at: datetime, by: str | None = None, **properties: Any) -> Allowance:
    rule = model("{ times = 1, per = 'day' }").rules[0]
    limit = Limit.model_validate({"times": 1, "per": per, "by": by})
    return Allowance.of(rule, limit, act(at, **properties))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Windows


@pytest.mark.parametrize(
    ("per", "at", "window", "ends_at"),
    [
        ("hour", "2026-03-02 12:00", "2026-03-02T12", "2026-03-02 13:00"),
        ("hour", "2026-03-02 12:59:59.999", "2026-03-02T12", "2026-03-02 13:00"),
        ("hour", "2026-12-31 23:30", "2026-12-31T23", "2027-01-01 00:00"),
        ("hour", "2028-02-28 23:00", "2028-02-28T23", "2028-02-29 00:00"),
        ("day", "2026-03-02 00:00", "2026-03-02", "2026-03-03 00:00"),
        ("day", "2026-03-02 23:59:59.999", "2026-03-02", "2026-03-03 00:00"),
        ("day", "2026-12-31 12:00", "2026-12-31", "2027-01-01 00:00"),
        ("day", "2027-02-28 12:00", "2027-02-28", "2027-03-01 00:00"),
        ("week", "2026-03-02 00:00", "2026-W10", "2026-03-09 00:00"),  # a Monday
        ("week", "2026-03-08 23:59:59.999", "2026-W10", "2026-03-09 00:00"),
        ("week", "2026-12-28 12:00", "2026-W53", "2027-01-04 00:00"),
        ("week", "2027-01-01 12:00", "2026-W53", "2027-01-04 00:00"),
        ("week", "2027-01-03 23:59", "2026-W53", "2027-01-04 00:00"),
        ("week", "2027-01-04 00:00", "2027-W01", "2027-01-11 00:00"),
        ("week", "2024-12-30 12:00", "2025-W01", "2025-01-06 00:00"),
        ("month", "2026-03-31 23:59", "2026-03", "2026-04-01 00:00"),
        ("month", "2026-11-30 12:00", "2026-11", "2026-12-01 00:00"),
        ("month", "2026-12-01 00:00", "2026-12", "2027-01-01 00:00"),
        ("month", "2026-12-31 23:59:59.999", "2026-12", "2027-01-01 00:00"),
        ("month", "2027-01-01 00:00", "2027-01", "2027-02-01 00:00"),
        ("month", "2028-02-29 12:00", "2028-02", "2028-03-01 00:00"),
    ],
)
def test_a_window_is_a_calendar_one_of_utc(per: str, at: str, window: str, ends_at: str) -> None:
    found = allowance(per, utc(at))
    assert (found.window, found.ends_at) == (window, utc(ends_at))


def test_ever_never_ends() -> None:
    assert allowance("ever", NOON).window == "ever"
    assert allowance("ever", NOON).ends_at is None


def test_a_window_is_of_utc_wherever_the_clock_stood() -> None:
    tokyo = datetime.fromisoformat("2027-01-01T08:59:00+09:00")
    windows = [allowance(per, tokyo).window for per in ("hour", "day", "week", "month")]
    assert windows == ["2026-12-31T23", "2026-12-31", "2026-W53", "2026-12"]


PERS = st.sampled_from(("hour", "day", "week", "month"))
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
LENGTHS = {
    "hour": (timedelta(hours=1), timedelta(hours=1)),
    "day": (timedelta(days=1), timedelta(days=1)),
    "week": (timedelta(days=7), timedelta(days=7)),
    "month": (timedelta(days=28), timedelta(days=31)),
}


@EXAMPLES
@given(PERS, INSTANTS)
def test_a_window_lasts_until_the_next_one_begins(per: str, at: datetime) -> None:
    found = allowance(per, at)
    assert found.ends_at
    assert at < found.ends_at <= at + LENGTHS[per][1]
    last, following = found.ends_at - timedelta(microseconds=1), allowance(per, found.ends_at)
    assert allowance(per, last) == found
    assert following.window > found.window
    assert following.ends_at
    shortest, longest = LENGTHS[per]
    assert shortest <= following.ends_at - found.ends_at <= longest


def test_what_the_public_sends_counts_when_it_arrives_and_what_a_server_sends_when_it_was() -> None:
    rule = model("{ times = 1, per = 'day' }").rules[0]
    assert rule.limit
    arrived = NOON + timedelta(days=20)
    windows = {
        trust: Allowance.of(rule, rule.limit, replace(act(trust=trust), received_at=arrived)).window
        for trust in (Trust.PUBLIC, Trust.TRUSTED)
    }
    assert windows == {Trust.PUBLIC: "2026-03-22", Trust.TRUSTED: "2026-03-02"}


# By a property


def test_each_value_of_a_property_has_an_allowance_of_its_own() -> None:
    values = [
        "A",
        "a",
        "",
        "1",
        1,
        2,
        True,
        False,
        "true",
        1.5,
        [1],
        [1, 2],
        {"a": 1},
        "null",
        None,
    ]
    names = [str(allowance("ever", NOON, "title", title=value)) for value in values]
    assert len(set(names)) == len(values)


def test_what_has_no_such_property_shares_one_allowance() -> None:
    without = [
        allowance("ever", NOON, "title"),
        allowance("ever", NOON, "title", title=None),
        allowance("ever", NOON, "title.of.it", title="a text"),
        allowance("ever", NOON, "title.of.it", title={"of": ["it"]}),
    ]
    assert len(set(without)) == 1
    assert without[0] != allowance("ever", NOON)


def test_a_property_may_stand_in_a_table() -> None:
    fair = {"source": {"name": "fair", "year": 2026}}
    mail = {"source": {"name": "mail", "year": 2026}}
    again = {"source": {"year": 2027, "name": "fair"}}
    first, other, same = (
        allowance("ever", NOON, "source.name", **properties) for properties in (fair, mail, again)
    )
    assert first == same != other


def test_a_table_is_the_same_in_any_order() -> None:
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    assert allowance("ever", NOON, "t", t=one) == allowance("ever", NOON, "t", t=other)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("title", "A"),
        ("source.name", "fair"),
        ("source", {"name": "fair"}),
        ("source.year", None),
        ("title.name", None),
        ("none.at.all", None),
    ],
)
def test_a_value_is_found_at_a_dotted_path(path: str, value: Any) -> None:
    assert valued({"title": "A", "source": {"name": "fair"}}, path) == value


# The name of an allowance


RULES = st.sampled_from(("download", "e-book-2", "x"))
HEX = st.text("0123456789abcdef", min_size=1, max_size=12)


@EXAMPLES
@given(RULES, HEX, st.sampled_from([*LENGTHS, "ever"]), INSTANTS, st.none() | st.text(max_size=20))
def test_an_allowance_is_found_again_by_its_name(
    rule: str, version: str, per: str, at: datetime, title: str | None
) -> None:
    drawn = allowance(per, at, None if title is None else "title", title=title)
    found = replace(drawn, rule=rule, version=version)
    assert Allowance.parse(str(found)) == found
    assert str(Allowance.parse(str(found))) == str(found)


def test_the_name_of_an_allowance_says_rule_version_window_and_value() -> None:
    found = allowance("day", NOON, "title", title="E-invoicing")
    rule = model("{ times = 1, per = 'day' }").rules[0]
    assert str(found) == f"download#{rule.version}#2026-03-02#{found.by}"
    assert str(replace(found, by="")) == f"download#{rule.version}#2026-03-02"


def version(toml: str) -> str:
    return Model.parse(toml).rules[0].version


def test_an_edited_rule_counts_its_limits_anew_and_a_renamed_one_under_its_new_name() -> None:
    limited = MODEL + 'limit = { times = 1, per = "day" }\n'
    edits = {
        "points": limited.replace("points = 15", "points = 16"),
        "limit": limited.replace("times = 1", "times = 2"),
        "window": limited.replace('"day"', '"week"'),
        "by": limited.replace('"day"', '"day", by = "title"'),
        "condition": f'{limited}when.properties.kind = ["e-book"]\n',
        "trust": f"{limited}trusted = true\n",
    }
    versions = {name: version(edited) for name, edited in edits.items()}
    assert len({version(limited), *versions.values()}) == len(edits) + 1
    unchanged = limited.replace("number = 7", "number = 8").replace("= 30\n", "= 60\n")
    assert version(unchanged) == version(limited)
    assert version(limited.replace('"download"', '"other"')) == version(limited)
    two = f'{limited}when.properties.kind = ["e-book"]\nwhen.properties.title = ["A"]\n'
    other_order = f'{limited}when.properties = {{ title = ["A"], kind = ["e-book"] }}\n'
    assert version(two) == version(other_order)


# What is paid


def entries(acts: Iterable[Interaction], paying: Model) -> list[Entry]:
    numbered = [replace(each, message_id=f"m-{n}") for n, each in enumerate(acts)]
    return Tally(paying).cut_all([scoring.enter(each, paying) for each in numbered])


def pays(acts: Iterable[Interaction], paying: Model) -> list[Decimal]:
    return [payment.points for entry in entries(acts, paying) for payment in entry.paid]


def test_so_often_a_day_and_the_next_day_again() -> None:
    hours = [act(NOON + timedelta(hours=n)) for n in (0, 1, 2, 11.99, 12, 13, 14)]
    assert pays(hours, model("{ times = 2, per = 'day' }")) == [15, 15, 0, 0, 15, 15, 0]


def test_so_many_points_a_week_and_the_last_payment_in_part() -> None:
    payments = [
        entry.paid[0] for entry in entries([act()] * 4, model("{ points = 32.5, per = 'week' }"))
    ]
    assert [payment.points for payment in payments] == [15, 15, Decimal("2.5"), 0]
    assert [payment.used for payment in payments] == [15, 15, Decimal("2.5"), 0]
    assert [payment.unlimited for payment in payments] == [None, None, 15, 15]
    assert [payment.earned for payment in payments] == [15] * 4
    assert [payment.is_settled for payment in payments] == [True] * 4


def test_a_payment_in_part_adds_the_units_of_what_it_pays() -> None:
    at = utc("2026-12-31 23:59")
    _, entry = entries([act(at), act(at)], model("{ points = 17, per = 'ever' }"))
    (payment,) = entry.paid
    counter = Counter.parse(payment.counter)
    assert counter
    assert counter.name == "points:engagement:30d:2026"
    assert payment.units == counter.units(Decimal(2), at)
    assert counter.points(payment.units, at) == pytest.approx(2)


def test_a_limit_of_times_pays_all_or_nothing() -> None:
    payments = [e.paid[0] for e in entries([act()] * 2, model("{ times = 1, per = 'ever' }"))]
    assert [payment.points for payment in payments] == [15, 0]
    assert [payment.used for payment in payments] == [1, 0]
    assert [payment.unlimited for payment in payments] == [None, 15]
    assert payments[1].units == 0
    assert payments[1].is_settled


def test_a_limit_of_points_holds_back_what_is_taken_away_too() -> None:
    penalty = Model.parse(
        MODEL.replace("points = 15", "points = -15\ntrusted = true")
        + 'limit = { points = 20, per = "day" }\n'
    )
    paid = entries([act(trust=Trust.TRUSTED)] * 3, penalty)
    payments = [entry.paid[0] for entry in paid]
    assert [payment.points for payment in payments] == [-15, -5, 0]
    assert [payment.used for payment in payments] == [15, 5, 0]
    assert [payment.earned for payment in payments] == [-15] * 3
    assert payments[1].units < 0
    assert str(payments[2].points) == "0"  # and not -0, which no table keeps


def test_each_value_of_a_property_is_paid_for_itself() -> None:
    titles: list[Any] = ["A", "B", "A", None, None, 1, "1", 1]
    acts = [act(title=title) for title in titles]
    once_each = model("{ times = 1, per = 'ever', by = 'title' }")
    assert pays(acts, once_each) == [15, 15, 0, 15, 0, 15, 15, 0]


def test_what_several_rules_pay_comes_from_allowances_of_their_own() -> None:
    second = '[[rules]]\nname = "second"\non = "Content Downloaded"\npoints = 3\n'
    both = model(
        "{ times = 1, per = 'day' }",
        f"{second}dimension = 'engagement'\nlimit = {{ times = 2, per = 'day' }}\n",
    )
    assert pays([act()] * 3, both) == [15, 3, 0, 3, 0, 0]


def test_public_and_trusted_acts_share_an_allowance_where_their_windows_meet() -> None:
    late = replace(act(NOON - timedelta(days=3)), received_at=NOON)
    server = act(NOON, Trust.TRUSTED)
    imported = replace(server, occurred_at=NOON - timedelta(days=3))
    assert pays([late, server, imported], model("{ times = 1, per = 'day' }")) == [15, 0, 15]


def test_a_tally_goes_on_from_what_is_used_already_and_says_what_it_took() -> None:
    paying = model("{ points = 40, per = 'ever' }")
    entry = scoring.enter(act(), paying)
    name = str(entry.paid[0].allowance)
    before = {name: Decimal(20), "another": Decimal(1)}
    tally = Tally(paying, before)
    first, second = tally.cut_all([entry, entry])
    assert [first.paid[0].points, second.paid[0].points] == [15, 5]
    assert tally.taken == {name: 20}
    assert tally.used == {name: 40, "another": 1}
    assert before == {name: 20, "another": 1}


def test_an_allowance_that_was_overdrawn_pays_nothing_more() -> None:
    paying = model("{ points = 10, per = 'ever' }")
    entry = scoring.enter(act(), paying)
    tally = Tally(paying, {str(entry.paid[0].allowance): Decimal(25)})
    assert tally.cut(entry).paid[0].points == 0
    assert tally.taken == {}


def test_what_is_settled_already_stays_as_it_is() -> None:
    paying = model("{ times = 1, per = 'ever' }")
    first, second = entries([act()] * 2, paying)
    tally = Tally(paying)
    assert tally.cut_all([second, first, second]) == [second, first, second]
    assert tally.taken == {}
    assert tally.cut(scoring.enter(act(), paying)).paid[0].points == 15


def test_what_has_no_limit_is_paid_in_full() -> None:
    paying = Model.parse(MODEL)
    entry = scoring.enter(act(), paying)
    assert entry.paid[0].allowance is None
    assert Tally(paying).cut_all([entry] * 3) == [entry] * 3


def test_a_payment_under_a_rule_that_lost_its_limit_is_paid_in_full() -> None:
    limited = scoring.enter(act(), model("{ times = 1, per = 'ever' }"))
    assert Tally(Model.parse(MODEL)).cut_all([limited] * 2) == [limited] * 2


AMOUNTS = st.lists(st.integers(0, 30_000).map(lambda n: Decimal(n).scaleb(-3)), max_size=8)
MOSTS = st.integers(1, 60_000).map(lambda n: Decimal(n).scaleb(-3))
INSTANT = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))


@EXAMPLES
@given(AMOUNTS, MOSTS, st.sampled_from((1, -1)), INSTANT)
def test_shares_of_an_allowance_are_the_first_points_up_to_it(
    amounts: list[Decimal], most: Decimal, sign: int, at: datetime
) -> None:
    paying = model(f"{{ points = {most}, per = 'ever' }}\ntrusted = true")
    counter = Counter.earning("engagement", at, half_life_days=30)
    wanted = [
        Payment("download", sign * n, counter.name, counter.units(sign * n, at), "d#1#ever")
        for n in amounts
    ]
    entry = replace(scoring.enter(act(at), paying), paid=tuple(wanted))
    paid = Tally(paying).cut(entry).paid
    left = most
    for before, after in zip(wanted, paid, strict=True):
        share = min(abs(before.points), left)
        left -= share
        assert (after.points, after.used, after.earned) == (sign * share, share, before.points)
        assert after.units == counter.units(after.points, at)
