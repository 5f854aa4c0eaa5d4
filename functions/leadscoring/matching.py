"""Does a pattern match? The words are EventBridge's, and mean what they mean there.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html

A pattern is a nested table whose leaves are lists: every field must match (and), by any word of
its list (or). A list in the subject matches when any of its elements does. Around whole patterns
stand `any` and `all`, each with a list of patterns, and `not` with one.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import batched
from operator import eq, ge, gt, le, lt
from typing import Any, NamedTuple

from leadscoring.faults import Fault, Place, refuse

type Pattern = Mapping[str, Any]

_MISSING = object()
COMBINATIONS = ("any", "all", "not")
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lt,
    "<=": le,
    "=": eq,
    ">=": ge,
    ">": gt,
}


def check(pattern: Pattern) -> None:
    """Accept a well-formed pattern.

    Raises:
        ModelError: it says where the pattern is wrong, and why.
    """
    refuse(_faults(pattern, ()))


def matches(pattern: Pattern, subject: Mapping[str, Any]) -> bool:
    """Tell whether every field of the pattern matches the subject."""
    return all(
        _combination_matches(field, expected, subject)
        if field in COMBINATIONS
        else _field_matches(expected, subject.get(field, _MISSING))
        for field, expected in pattern.items()
    )


def word_matches(word: Any, value: Any) -> bool:
    """Tell whether a word of a pattern matches a single value."""
    if not _is_table(word):
        return _equal(word, value)
    ((name, argument),) = word.items()
    return _WORDS[name].matches(argument, value)


def paths(pattern: Pattern) -> set[tuple[str, ...]]:
    """Return the paths to all values that a well-formed pattern asks for, in all its parts."""
    return {path for _, path in placed(pattern)}


def placed(pattern: Pattern) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Return the places in a well-formed pattern that ask for a value, and the value's path."""
    for field, expected in pattern.items():
        if field not in COMBINATIONS:
            yield from (((field, *path), (field, *path)) for path in _paths_below(expected))
            continue
        for within, part in joined(field, expected):
            yield from (((*within, *place), path) for place, path in placed(part))


def at(pattern: Pattern, place: Place) -> Any:
    """Return what stands at a place in a pattern."""
    found: Any = pattern
    for step in place:
        found = found[step]
    return found


def joined(combination: str, expected: Any) -> Iterator[tuple[Place, Any]]:
    """Return the patterns that a combination joins, and their places."""
    if combination == "not":
        yield (combination,), expected
    else:
        yield from (((combination, index), part) for index, part in enumerate(expected))


def pick(subject: Mapping[str, Any], paths: Collection[tuple[str, ...]]) -> dict[str, Any]:
    """Return what stands in the subject at these paths, and nothing else of it."""
    picked: dict[str, Any] = {}
    for name, value in subject.items():
        below = [path[1:] for path in paths if path[0] == name]
        if () in below:
            picked[name] = value
        elif below and _is_table(value) and (part := pick(value, below)):
            picked[name] = part
    return picked


def _paths_below(expected: Any) -> set[tuple[str, ...]]:
    if not _is_table(expected):
        return {()}
    return {(field, *path) for field, part in expected.items() for path in _paths_below(part)}


def _faults(pattern: Any, place: Place) -> Iterator[Fault]:
    for field, expected in pattern.items():
        if field not in COMBINATIONS:
            yield from _field_faults(expected, (*place, field))
            continue
        parts = [expected] if field == "not" else expected
        if not isinstance(parts, list) or not parts or not all(map(_is_table, parts)):
            yield Fault((*place, field), f"it takes {_taken_by(field)}")
            continue
        for within, part in joined(field, expected):
            yield from _faults(part, (*place, *within))


def _field_faults(expected: Any, place: Place) -> Iterator[Fault]:
    if _is_table(expected):
        for field, part in expected.items():
            yield from _field_faults(part, (*place, field))
    elif not isinstance(expected, list) or not expected:
        yield Fault(place, f"a field takes a list of values, as [{expected!r}]")
    elif wrong := [word for word in expected if not _is_word(word)]:
        known = ", ".join(_WORDS)
        yield Fault(place, f"unknown word {wrong[0]!r}; use a value or one of {known}")


def _combination_matches(name: str, expected: Any, subject: Mapping[str, Any]) -> bool:
    if name == "not":
        return not matches(expected, subject)
    results = (matches(part, subject) for part in expected)
    return any(results) if name == "any" else all(results)


def _field_matches(expected: Any, actual: Any) -> bool:
    if _is_table(expected):
        table = actual if _is_table(actual) else {}
        return all(
            _field_matches(part, table.get(field, _MISSING)) for field, part in expected.items()
        )
    candidates = (actual or [_MISSING]) if isinstance(actual, list) else [actual]
    return any(word_matches(word, value) for word in expected for value in candidates)


def _equal(word: Any, value: Any) -> bool:
    """Compare as JSON does: true is not 1."""
    if isinstance(word, bool) or isinstance(value, bool):
        return word is value
    return bool(word == value)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_text(argument: Any) -> bool:
    return isinstance(argument, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_scalar(word: Any) -> bool:
    return isinstance(word, str | bool | int | float)


def _is_word(word: Any) -> bool:
    if not _is_table(word):
        return _is_scalar(word)
    if len(word) != 1:
        return False
    ((name, argument),) = word.items()
    return name in _WORDS and _WORDS[name].takes(argument)


def _taken_by(combination: str) -> str:
    return "a pattern" if combination == "not" else "a list of patterns"


class _Word(NamedTuple):
    """One word: which argument it takes, and which values it then matches."""

    takes: Callable[[Any], bool]
    matches: Callable[[Any, Any], bool]


def _is_other(excluded: Any, value: Any) -> bool:
    """Tell whether the value is there, and none of those excluded."""
    words = excluded if isinstance(excluded, list) else [excluded]
    return value is not _MISSING and not any(word_matches(word, value) for word in words)


def _can_be_excluded(excluded: Any) -> bool:
    words = excluded if isinstance(excluded, list) else [excluded]
    return bool(words) and all(
        _is_scalar(word) or (_is_word(word) and set(word) <= {"prefix", "suffix"}) for word in words
    )


def _is_range(argument: Any) -> bool:
    return (
        isinstance(argument, list)
        and len(argument) in (2, 4)
        and all(_is_text(word) and word in _COMPARISONS for word in argument[::2])
        and all(map(_is_number, argument[1::2]))
    )


def _is_within(bounds: Any, value: Any) -> bool:
    return _is_number(value) and all(
        _COMPARISONS[operator](value, bound) for operator, bound in batched(bounds, 2, strict=True)
    )


_WORDS: Mapping[str, _Word] = {
    "prefix": _Word(_is_text, lambda text, value: _is_text(value) and value.startswith(text)),
    "suffix": _Word(_is_text, lambda text, value: _is_text(value) and value.endswith(text)),
    "equals-ignore-case": _Word(
        _is_text, lambda text, value: _is_text(value) and value.lower() == text.lower()
    ),
    "anything-but": _Word(_can_be_excluded, _is_other),
    "numeric": _Word(_is_range, _is_within),
    "exists": _Word(
        lambda argument: isinstance(argument, bool),
        lambda wanted, value: (value is not _MISSING) is wanted,
    ),
}
