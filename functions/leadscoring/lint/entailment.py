"""What follows from a pattern: can anything match it, and does all that does match another one?

An answer is yes only where it is sure. A value is taken for a single one: a list could hold two
that exclude each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from math import prod
from typing import Any, NamedTuple

from leadscoring.faults import Place
from leadscoring.lint import words
from leadscoring.matching import COMBINATIONS, Pattern, joined

type Path = tuple[str, ...]

_CASES_MAX = 256


class Contradiction(NamedTuple):
    """Why nothing can match: the condition at this place asks for what another excludes."""

    place: Place
    for_lists_too: bool


class TooMany(Exception):
    """There are more ways to match a pattern than anybody should look at."""


class _Field(NamedTuple):
    """A condition: the value at a path matches one of these words."""

    place: Place
    path: Path
    words: list[Any]


@dataclass(frozen=True, slots=True)
class _Case:
    """One way to match a pattern: all of these conditions, and none of those patterns."""

    fields: tuple[_Field, ...] = ()
    nots: tuple[tuple[Place, Pattern], ...] = ()

    def __add__(self, other: "_Case") -> "_Case":
        return _Case(self.fields + other.fields, self.nots + other.nots)


def contradiction(pattern: Pattern) -> Contradiction | None:
    """Return why nothing can match the pattern, or None if something might."""
    try:
        found = [_contradiction(case) for case in _cases(pattern)]
    except TooMany:
        return None
    return found[0] if all(found) else None


def follows(pattern: Pattern, other: Pattern) -> bool:
    """Tell whether all that matches the pattern matches the other."""
    try:
        return all(_meets(case, other) for case in _cases(pattern))
    except TooMany:
        return False


def excludes(pattern: Pattern, other: Pattern) -> bool:
    """Tell whether nothing can match both."""
    return contradiction({"all": [pattern, other]}) is not None


def values(pattern: Pattern, path: Path) -> set[Any] | None:
    """Return the only values that can stand at a path in what matches; None if they are open."""
    found: set[Any] = set()
    try:
        for case in _cases(pattern):
            fields = (field.words for field in case.fields if field.path == path)
            exact = next((asked for asked in fields if all(map(words.is_exact, asked))), None)
            if exact is None:
                return None
            found |= set(exact)
    except TooMany:
        return None
    return found


def _cases(pattern: Pattern, place: Place = ()) -> list[_Case]:
    """Return all ways to match the pattern, which stands at a place."""
    factors = []
    for field, expected in pattern.items():
        if field not in COMBINATIONS:
            factors.append([_Case(tuple(_fields(expected, (*place, field), (field,))))])
            continue
        inner = [((*place, *step), part) for step, part in joined(field, expected)]
        if field == "not":
            factors.append(_ways_out(*inner[0]))
        elif field == "any":
            factors.append([case for step, part in inner for case in _cases(part, step)])
        else:
            factors += [_cases(part, step) for step, part in inner]
    if prod(map(len, factors)) > _CASES_MAX:
        raise TooMany
    return [sum(cases, _Case()) for cases in product(*factors)]


def _ways_out(place: Place, pattern: Pattern) -> list[_Case]:
    """Return the ways not to match a pattern."""
    if set(pattern) == {"not"}:
        return _cases(pattern["not"], (*place, "not"))
    parts = pattern["any"] if set(pattern) == {"any"} else [pattern]
    return [_Case(nots=tuple((place, part) for part in parts))]


def _fields(expected: Any, place: Place, path: Path) -> Iterator[_Field]:
    if isinstance(expected, dict):
        for name, part in expected.items():
            yield from _fields(part, (*place, name), (*path, name))
    else:
        yield _Field(place, path, expected)


def _contradiction(case: _Case) -> Contradiction | None:
    for place, pattern in case.nots:
        if _meets(case, pattern):
            return Contradiction(place, for_lists_too="not" not in pattern)
    return _clash(case)


def _clash(case: _Case) -> Contradiction | None:
    """Return which condition nothing fulfils, alone or beside another one."""
    for field in case.fields:
        if all(map(words.is_empty, field.words)):
            return Contradiction(field.place, for_lists_too=True)
    for field, other in combinations(case.fields, 2):
        pairs = list(product(field.words, other.words))
        if field.path == other.path and all(words.disjoint(*pair) for pair in pairs):
            # What a list holds is there, whatever it is.
            absent = all({"exists": False} in pair for pair in pairs)
            return Contradiction(other.place, for_lists_too=absent)
    return None


def _meets(case: _Case, pattern: Pattern) -> bool:
    """Tell whether whatever is so matches the pattern."""
    return all(
        _combination_met(case, field, expected)
        if field in COMBINATIONS
        else all(_field_met(case, asked) for asked in _fields(expected, (), (field,)))
        for field, expected in pattern.items()
    )


def _combination_met(case: _Case, name: str, expected: Any) -> bool:
    if name == "not":
        return _shut_out(case, expected)
    met = (_meets(case, part) for part in expected)
    return any(met) if name == "any" else all(met)


def _field_met(case: _Case, asked: _Field) -> bool:
    return any(
        field.path == asked.path
        and all(any(words.follows(word, other) for other in asked.words) for word in field.words)
        for field in case.fields
    )


def _shut_out(case: _Case, pattern: Pattern) -> bool:
    """Tell whether nothing that is so matches the pattern."""
    return all(
        _clash(case + other)
        or any(_meets(other, unwanted) for _, unwanted in case.nots)
        or any(_meets(case, unwanted) for _, unwanted in other.nots)
        for other in _cases(pattern)
    )
