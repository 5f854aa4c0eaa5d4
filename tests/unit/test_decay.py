from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscoring.decay import Counter

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


@given(POINTS, INSTANTS)
def test_units_are_worth_the_points_at_the_instant_they_are_earned(
    points: Decimal, earned: datetime
) -> None:
    counter = Counter.earning("intent", earned, half_life_days=7)
    assert abs(counter.points(counter.units(points, earned), earned) - points) <= Decimal("1e-6")


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
    "counter", [Counter("fit"), Counter("intent", 30, 2026), Counter("long-term", 365, 2031)]
)
def test_a_counter_is_found_again_by_its_name(counter: Counter) -> None:
    assert Counter.parse(counter.name) == counter


@pytest.mark.parametrize("name", ["stage", "seen:form", "trait:points", "pk"])
def test_other_attributes_are_no_counters(name: str) -> None:
    assert Counter.parse(name) is None
