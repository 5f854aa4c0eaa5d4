"""Forward decay: points that fade by plain addition.

Instead of shrinking old points every night, newer points are worth exponentially more, and the
reader divides by the present. Formula: Cormode, Shkapenyuk, Srivastava, Xu: Forward Decay: A
Practical Time Decay Model for Streaming Systems, ICDE 2009, with the landmark L at the start of
the interaction's year:

    units         = round(points * 2**((t - L) / H) * 10**6)
    points at now = units * 2**(-(now - L) / H) / 10**6

Units are integers, so any order of addition gives the same sum; they are computed in decimal
arithmetic, because floats differ in the last bit between processors.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Self

_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_UNITS_PER_POINT = Decimal(10**6)
_MICROSECOND = timedelta(microseconds=1)
_PREFIX = "points:"


@dataclass(frozen=True, slots=True)
class Counter:
    """One atomic counter of a lead: a dimension's units with one half-life and one landmark.

    A counter without half-life never fades. It stands for all years, or for one month of earning
    where points expire. A counter of an audience counts while the lead belongs to that audience.
    """

    dimension: str
    half_life_days: int | None = None
    year: int | None = None
    month: int | None = None
    audience: str | None = None

    @classmethod
    def earning(
        cls,
        dimension: str,
        at: datetime,
        *,
        half_life_days: int | None = None,
        monthly: bool = False,
        audience: str | None = None,
    ) -> Self:
        """Return the counter that points earned at this instant belong to."""
        utc = at.astimezone(UTC)
        year = utc.year if half_life_days or monthly else None
        return cls(dimension, half_life_days, year, utc.month if monthly else None, audience)

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Return the counter with this attribute name, or None if it names something else."""
        if not name.startswith(_PREFIX):
            return None
        whose, *clock = name.removeprefix(_PREFIX).split(":")
        dimension, _, audience = whose.partition("@")
        match clock:
            case [half_life, year]:
                fading = int(half_life.removesuffix("d"))
                return cls(dimension, fading, int(year), audience=audience or None)
            case [month_of_year]:
                year, _, month = month_of_year.partition("-")
                return cls(dimension, None, int(year), int(month), audience or None)
            case _:
                return cls(dimension, audience=audience or None)

    @property
    def name(self) -> str:
        """The attribute's name in the lead item, such as `points:intent:30d:2026`."""
        whose = f"{self.dimension}@{self.audience}" if self.audience else self.dimension
        if self.half_life_days is not None:
            return f"{_PREFIX}{whose}:{self.half_life_days}d:{self.year}"
        if self.year is not None:
            return f"{_PREFIX}{whose}:{self.year}-{self.month:02d}"
        return f"{_PREFIX}{whose}"

    def has_expired(self, months: int | None, now: datetime) -> bool:
        """Tell whether so many whole months have passed since its month of earning ended."""
        if months is None or self.year is None or self.month is None:
            return False
        utc = now.astimezone(UTC)
        return (utc.year - self.year) * 12 + utc.month - self.month > months

    def units(self, points: Decimal, at: datetime) -> int:
        """Return what `points` earned at `at` add to this counter."""
        grown = _CONTEXT.multiply(points, self._growth(at))
        return int(_CONTEXT.multiply(grown, _UNITS_PER_POINT).to_integral_value(ROUND_HALF_EVEN))

    def points(self, units: int, now: datetime) -> Decimal:
        """Return what `units` of this counter are worth at `now`, in points."""
        faded = _CONTEXT.divide(Decimal(units), self._growth(now))
        return _CONTEXT.divide(faded, _UNITS_PER_POINT)

    def _growth(self, at: datetime) -> Decimal:
        if self.half_life_days is None or self.year is None:
            return Decimal(1)
        return _growth(self.half_life_days, self.year, at)


@lru_cache(maxsize=256)
def _growth(half_life_days: int, year: int, at: datetime) -> Decimal:
    """Return 2**((at - L) / H); whoever reads many leads at one instant asks it again and again."""
    elapsed = (at - datetime(year, 1, 1, tzinfo=UTC)) // _MICROSECOND
    half_life = timedelta(days=half_life_days) // _MICROSECOND
    return _CONTEXT.power(Decimal(2), _CONTEXT.divide(Decimal(elapsed), Decimal(half_life)))
