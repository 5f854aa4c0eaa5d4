from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscoring.decay import Counter
from tests.unit.histories import EXAMPLES

INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))
POINTS = st.decimals(-1000, 1000, places=2)


def worth(points: int, earned: datetime, now: datetime, half_life: int | None = 30) -> Decimal:
    counter = Counter.earning("intent", earned, half_life_days=half_life)
    return counter.points(counter.units(Decimal(points), earned), now).quantize(Decimal("0.001"))


@pytest.mark.parametrize(
    ("days", "left"), [(0, "100.000"), (30, "50.000"), (60, "25.000"), (90, "12.500")]
)
def test_points_fade_to_half_in_one_half_life_across_new_year(days: int, left: str) -> None:
    earned = datetime(2026, 12, 10, 9, tzinfo=UTC)
    assert worth(100, earned, earned + timedelta(days=days)) == Decimal(left)


def test_points_without_half_life_never_fade() -> None:
    earned = datetime(2026, 1, 1, tzinfo=UTC)
    assert worth(100, earned, earned + timedelta(days=3650), half_life=None) == 100


def test_units_are_the_same_integer_on_every_machine() -> None:
    earned = datetime(2026, 11, 22, 20, 7, 45, 813_000, tzinfo=UTC)
    counter = Counter.earning("intent", earned, half_life_days=21)
    assert counter.name == "points:intent:21d:2026"
    assert counter.units(Decimal(60), earned) == 2811717739031


@EXAMPLES
@given(POINTS, INSTANTS)
def test_units_are_worth_the_points_at_the_instant_they_are_earned(
    points: Decimal, earned: datetime
) -> None:
    counter = Counter.earning("intent", earned, half_life_days=7)
    assert abs(counter.points(counter.units(points, earned), earned) - points) <= Decimal("1e-6")


@EXAMPLES
@given(st.lists(st.tuples(POINTS, INSTANTS), max_size=20), INSTANTS, st.randoms())
def test_the_sum_of_units_does_not_depend_on_their_order(
    earned: list[tuple[Decimal, datetime]], now: datetime, shuffle: object
) -> None:
    def total(payments: list[tuple[Decimal, datetime]]) -> dict[str, int]:
        sums: dict[str, int] = {}
        for points, at in payments:
            counter = Counter.earning("intent", at, half_life_days=30)
            sums[counter.name] = sums.get(counter.name, 0) + counter.units(points, at)
        return sums

    assert total(earned) == total(list(reversed(earned))) == total(sorted(earned))


def test_ten_years_of_daily_thousand_point_interactions_stay_within_38_digits() -> None:
    sums: dict[str, int] = {}
    for day in range(3653):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
        counter = Counter.earning("intent", at, half_life_days=7)
        sums[counter.name] = sums.get(counter.name, 0) + counter.units(Decimal(1000), at)
    assert max(len(str(units)) for units in sums.values()) <= 38


@pytest.mark.parametrize(
    "counter",
    [
        Counter("fit"),
        Counter("intent", 30, 2026),
        Counter("long-term", 365, 2031),
        Counter("intent", year=2026, month=3),
        Counter("intent", year=2026, month=12),
        Counter("intent", audience="dach"),
        Counter("intent", 7, 2026, audience="dach-large"),
        Counter("intent", year=2026, month=11, audience="dach"),
    ],
)
def test_a_counter_is_found_again_by_its_name(counter: Counter) -> None:
    assert Counter.parse(counter.name) == counter


@pytest.mark.parametrize("name", ["stage", "seen:form", "trait:points", "pk"])
def test_other_attributes_are_no_counters(name: str) -> None:
    assert Counter.parse(name) is None


@EXAMPLES
@given(POINTS, INSTANTS, st.integers(7, 3650), st.integers(0, 6))
def test_each_half_life_halves_what_is_left(
    points: Decimal, earned: datetime, half_life: int, times: int
) -> None:
    counter = Counter.earning("intent", earned, half_life_days=half_life)
    now = earned + timedelta(days=half_life) * times
    left = counter.points(counter.units(points, earned), now)
    assert abs(left - points / 2**times) <= Decimal("1e-6")


@EXAMPLES
@given(
    POINTS.filter(lambda points: points > 0),
    INSTANTS,
    st.lists(st.timedeltas(timedelta(0), timedelta(days=3650)), min_size=2).map(sorted),
)
def test_what_is_left_never_rises(
    points: Decimal, earned: datetime, waits: list[timedelta]
) -> None:
    counter = Counter.earning("intent", earned, half_life_days=30)
    units = counter.units(points, earned)
    left = [counter.points(units, earned + wait) for wait in waits]
    assert left == sorted(left, reverse=True)
    assert all(points >= 0 for points in left)


def test_points_of_the_last_and_of_the_first_instant_of_a_year_are_worth_the_same() -> None:
    new_year = datetime(2027, 1, 1, tzinfo=UTC)
    eve = new_year - timedelta(milliseconds=1)
    before, after = (Counter.earning("intent", at, half_life_days=7) for at in (eve, new_year))
    assert (before.name, after.name) == ("points:intent:7d:2026", "points:intent:7d:2027")
    for days in (0, 7, 300):
        now = new_year + timedelta(days=days)
        old = before.points(before.units(Decimal(1000), eve), now)
        new = after.points(after.units(Decimal(1000), new_year), now)
        assert abs(old - new) < Decimal("0.001")


def test_a_counter_is_of_the_year_and_the_month_in_utc() -> None:
    tokyo = datetime.fromisoformat("2027-01-01T08:59:59+09:00")
    assert Counter.earning("intent", tokyo, half_life_days=7).year == 2026
    monthly = Counter.earning("intent", tokyo, monthly=True, audience="dach")
    assert monthly.name == "points:intent@dach:2026-12"
    later = Counter.earning("intent", tokyo + timedelta(days=60), monthly=True)
    assert later.name == "points:intent:2027-03"


def test_units_of_a_counter_without_half_life_are_millionths_of_points() -> None:
    for counter in (Counter("intent"), Counter("intent", year=2026, month=3)):
        assert counter.units(Decimal("-12.345"), datetime(2026, 3, 2, tzinfo=UTC)) == -12_345_000


@pytest.mark.parametrize(
    ("months", "now", "expired"),
    [
        (1, "2026-12-31T23:59:59.999Z", False),
        (1, "2027-01-01T00:00:00Z", True),
        (1, "2027-01-01T08:59:59+09:00", False),
        (2, "2027-01-31T23:59:59.999Z", False),
        (2, "2027-02-01T00:00:00Z", True),
        (14, "2028-01-31T23:59:59.999Z", False),
        (14, "2028-02-01T00:00:00Z", True),
        (1, "2026-11-01T00:00:00Z", False),
        (None, "2126-01-01T00:00:00Z", False),
    ],
)
def test_points_of_november_expire_so_many_whole_months_later(
    months: int | None, now: str, *, expired: bool
) -> None:
    november = Counter("intent", year=2026, month=11)
    assert november.has_expired(months, datetime.fromisoformat(now)) is expired
    assert not Counter("intent").has_expired(months, datetime.fromisoformat(now))


def test_a_year_of_a_thousand_points_a_second_stays_within_38_digits() -> None:
    last = datetime(2028, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    most = Counter.earning("intent", last, half_life_days=7).units(Decimal(1000), last)
    assert len(str(most * 366 * 86_400)) <= 38
