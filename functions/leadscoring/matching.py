"""Does a pattern match? The words are EventBridge's: exact values and `prefix`.

A pattern is a nested table whose leaves are lists: every field must match (and), by any word of
its list (or). A list in the subject matches when any of its elements does.
"""

from collections.abc import Mapping
from typing import Any

type Pattern = Mapping[str, Any]


def check(pattern: Pattern, path: str = "") -> None:
    """Accept a well-formed pattern.

    Raises:
        ValueError: it says where the pattern is wrong, and why.
    """
    for field, expected in pattern.items():
        here = f"{path}.{field}" if path else field
        if isinstance(expected, Mapping):
            check(expected, here)
        elif not isinstance(expected, list) or not expected:
            raise ValueError(f"{here}: a field takes a list of values, as [{expected!r}]")
        elif wrong := [word for word in expected if not _is_word(word)]:
            raise ValueError(f"{here}: unknown word {wrong[0]!r}; use a value or {{prefix = ...}}")


def matches(pattern: Pattern, subject: Mapping[str, Any]) -> bool:
    """Tell whether every field of the pattern matches the subject."""
    return all(_field_matches(expected, subject.get(field)) for field, expected in pattern.items())


def _field_matches(expected: Any, actual: Any) -> bool:
    if isinstance(expected, Mapping):
        return isinstance(actual, Mapping) and matches(expected, actual)
    candidates = actual if isinstance(actual, list) else [actual]
    return any(_word_matches(word, value) for word in expected for value in candidates)


def _word_matches(word: Any, value: Any) -> bool:
    if isinstance(word, Mapping):
        return isinstance(value, str) and value.startswith(word["prefix"])
    if isinstance(word, bool) or isinstance(value, bool):
        return word is value
    return bool(word == value)


def _is_word(word: Any) -> bool:
    if isinstance(word, Mapping):
        return list(word) == ["prefix"] and isinstance(word["prefix"], str)
    return isinstance(word, str | bool | int | float)
