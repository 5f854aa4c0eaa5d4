"""How many points a lead can come to: by the caps alone, and by what the rules pay at most."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from leadscoring.lint import entailment
from leadscoring.model import FIT, Dimension, FitRule, Limit, Matrix, Model, Rule

UNBOUNDED = Decimal("Infinity")

# The shortest that a window can be, in days, and how many of them a calendar month touches at most.
_DAYS = {"hour": Decimal(1) / 24, "day": Decimal(1), "week": Decimal(7), "month": Decimal(28)}
_IN_A_MONTH = {"hour": 31 * 24, "day": 31, "week": 6, "month": 1}
# The public's acts count in the window of their arrival, so long after they happened.
_LATE_DAYS = 30
_COMPARED = 20


@dataclass(frozen=True, slots=True)
class Most:
    """The most points there can be: with points given by hand, and by rules alone."""

    by_caps: Decimal
    by_rules: Decimal


class Reach:
    """What leads can come to under a model: in each dimension, in fit, in each score."""

    def __init__(self, model: Model) -> None:
        self._model = model

    @cached_property
    def dimensions(self) -> Mapping[str, Most]:
        """The most of each dimension, and of fit, which nobody gives by hand."""
        fit = min(_cap(self._model.fit.cap), self.fit)
        found = {FIT: Most(fit, fit)}
        for name, dimension in self._model.dimensions.items():
            cap = _cap(dimension.cap)
            found[name] = Most(cap, min(cap, self.paid(name)))
        return found

    @cached_property
    def scores(self) -> Mapping[str, Most]:
        """The most of each score."""
        return {
            name: Most(
                min(_cap(score.cap), self._sum(score.dimensions, lambda most: most.by_caps)),
                min(_cap(score.cap), self._sum(score.dimensions, lambda most: most.by_rules)),
            )
            for name, score in self._model.all_scores.items()
        }

    @cached_property
    def fit(self) -> Decimal:
        """The most that fit rules can give one lead, before the cap of fit."""
        return most_fit(self._model.fit.rules)

    def of_matrix(self, matrix: Matrix) -> Most:
        """Return the most of what a matrix sets against fit."""
        return self.dimensions.get(matrix.of) or self.scores[matrix.of]

    def paid(self, dimension: str) -> Decimal:
        """Return the most that its rules can come to in a dimension, before its cap."""
        clock = self._model.dimensions[dimension]
        rules = (rule for rule in self._model.rules if rule.dimension == dimension)
        return sum((_most_of(rule, clock) for rule in rules), Decimal(0))

    def uncapped(self, score: str) -> Decimal:
        """Return the most that the dimensions of a score can come to, before its own cap."""
        dimensions = self._model.all_scores[score].dimensions
        return self._sum(dimensions, lambda most: most.by_rules)

    def _sum(self, dimensions: Iterable[str], part: Callable[[Most], Decimal]) -> Decimal:
        return sum((part(self.dimensions[name]) for name in dimensions), Decimal(0))


def most_fit(rules: Sequence[FitRule]) -> Decimal:
    """Return the most points that fit rules can give one lead: some exclude each other."""
    giving = [rule for rule in rules if rule.points > 0]
    if len(giving) > _COMPARED:
        return sum((rule.points for rule in giving), Decimal(0))
    return _most_together(giving)


def _most_together(rules: Sequence[FitRule]) -> Decimal:
    if not rules:
        return Decimal(0)
    first, *others = rules
    beside = [rule for rule in others if not entailment.excludes(first.when, rule.when)]
    with_it = first.points + _most_together(beside)
    return with_it if len(beside) == len(others) else max(with_it, _most_together(others))


def _most_of(rule: Rule, clock: Dimension) -> Decimal:
    """Return the most that a rule's payments can be worth together at any instant."""
    if rule.most <= 0:
        return Decimal(0)
    if rule.limit is None:
        return UNBOUNDED
    allowance = most_per_window(rule, rule.limit)
    if rule.limit.by:
        pinned = entailment.values(rule.pattern, ("properties", *rule.limit.by.split(".")))
        if pinned is None:
            return UNBOUNDED
        allowance *= len(pinned)
    return allowance * _windows(rule, rule.limit, clock)


def most_per_window(rule: Rule, limit: Limit) -> Decimal:
    """Return the most that an allowance of the rule pays in one window."""
    return limit.points if limit.points is not None else rule.most * (limit.times or 0)


def _windows(rule: Rule, limit: Limit, clock: Dimension) -> Decimal:
    """Return how many full windows' payments can be alive at once, older ones as far as they are.

    The present window and the one that has just ended count in full; of those before, each is a
    window older: 1 + 1 / (1 - 2**(-window / half-life)).
    """
    if limit.per == "ever":
        return Decimal(1)
    most = UNBOUNDED
    if rule.active_from and rule.until:
        days = (rule.until - rule.active_from).days + (0 if rule.trusted else _LATE_DAYS)
        most = min(most, Decimal(days) / _DAYS[limit.per] + 2)
    if clock.half_life_days:
        most = min(most, 1 + 1 / (1 - 2 ** (-_DAYS[limit.per] / clock.half_life_days)))
    if clock.expires_months is not None:
        most = min(most, Decimal(_IN_A_MONTH[limit.per] * (clock.expires_months + 1)))
    return most


def _cap(cap: Decimal | None) -> Decimal:
    return UNBOUNDED if cap is None else cap
