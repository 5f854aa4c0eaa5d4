"""What follows from a word of a pattern, for a single value: yes only where it is sure."""

from itertools import batched
from typing import Any, NamedTuple

from leadscoring.matching import word_matches


def follows(word: Any, other: Any) -> bool:
    """Tell whether each value that matches the word matches the other."""
    match _named(word), _named(other):
        case ("is", value), _:
            return word_matches(other, value)
        case _, ("is", _):
            return False
        case ("exists", there), ("exists", asked):
            return bool(there is asked)
        case _, ("exists", asked):
            return bool(asked)
        case ("exists", _), _:
            return False
        case ("anything-but", ours), ("anything-but", theirs):
            return all(
                any(follows(their, our) for our in _listed(ours)) for their in _listed(theirs)
            )
        case _, ("anything-but", unwanted):
            return all(disjoint(word, each) for each in _listed(unwanted))
        case ("prefix", text), ("prefix", start):
            return bool(text.startswith(start))
        case ("suffix", text), ("suffix", end):
            return bool(text.endswith(end))
        case ("equals-ignore-case", text), ("equals-ignore-case", asked):
            return bool(text.lower() == asked.lower())
        case ("numeric", bounds), ("numeric", asked):
            return _Range.of(bounds).lies_within(_Range.of(asked))
        case _:
            return False


def disjoint(word: Any, other: Any) -> bool:
    """Tell whether no value matches both words."""
    match _named(word), _named(other):
        case ("is", value), _:
            return not word_matches(other, value)
        case ("exists", there), _:
            return bool(there) is (other == {"exists": False})
        case _, ("anything-but", unwanted):
            return any(follows(word, each) for each in _listed(unwanted))
        case _, (("is" | "exists"), _):
            return disjoint(other, word)
        case ("anything-but", _), _:
            return disjoint(other, word)
        case ("numeric", bounds), ("numeric", others):
            return _Range.of([*bounds, *others]).is_empty
        case ("numeric", _), _:
            return True
        case _, ("numeric", _):
            return True
        case ("prefix", start), ("prefix", text):
            return not (text.startswith(start) or start.startswith(text))
        case ("suffix", end), ("suffix", text):
            return not (text.endswith(end) or end.endswith(text))
        case ("equals-ignore-case", text), ("equals-ignore-case", asked):
            return bool(text.lower() != asked.lower())
        case ("equals-ignore-case", text), ("prefix", start):
            return not text.lower().startswith(start.lower())
        case ("equals-ignore-case", text), ("suffix", end):
            return not text.lower().endswith(end.lower())
        case _, ("equals-ignore-case", _):
            return disjoint(other, word)
        case _:
            return False


def is_empty(word: Any) -> bool:
    """Tell whether no value matches the word."""
    name, argument = _named(word)
    return name == "numeric" and _Range.of(argument).is_empty


def is_exact(word: Any) -> bool:
    """Tell whether the word is the very value that it matches."""
    return _named(word)[0] == "is"


def _named(word: Any) -> tuple[str, Any]:
    return next(iter(word.items())) if isinstance(word, dict) else ("is", word)


def _listed(argument: Any) -> list[Any]:
    return argument if isinstance(argument, list) else [argument]


class _Range(NamedTuple):
    """Numbers between two bounds; each with what it takes to step inside, 0 where it counts."""

    low: tuple[float, int]
    high: tuple[float, int]

    @classmethod
    def of(cls, comparisons: list[Any]) -> "_Range":
        low, high = (float("-inf"), 0), (float("inf"), 0)
        for operator, bound in batched(comparisons, 2, strict=True):
            if operator in (">", ">=", "="):
                low = max(low, (bound, int(operator == ">")))
            if operator in ("<", "<=", "="):
                high = min(high, (bound, -int(operator == "<")))
        return cls(low, high)

    @property
    def is_empty(self) -> bool:
        return self.low > self.high

    def lies_within(self, other: "_Range") -> bool:
        return self.low >= other.low and self.high <= other.high
