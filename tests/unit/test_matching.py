"""EventBridge's pattern words, as far as rules may use them."""

import re
from typing import Any

import pytest

from leadscoring.matching import check, matches


def path(*words: object) -> dict[str, Any]:
    return {"properties": {"path": list(words)}}


def at(value: object) -> dict[str, Any]:
    return {"properties": {"path": value}}


YES, NO = True, False
PRICES = path({"prefix": "/preise"}, {"prefix": "/pricing"})


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ({}, {}, True),
        ({}, at("/"), True),
        (path("/"), at("/"), True),
        (path("/"), at("/preise"), False),
        (path("/"), at(None), False),
        (path("/"), {}, False),
        (path("/"), {"properties": "/"}, False),
        (path("/"), {"properties": ["/"]}, False),
        (path("a", "b"), at("b"), True),
        (path("A"), at("a"), False),
        (path("a"), at(["c", "a"]), True),
        (path("a"), at(["c", ["a"]]), False),
        (path("a"), at([]), False),
        (path("a"), at({"a": "a"}), False),
        (PRICES, at("/preise/firmen"), True),
        (PRICES, at("/de/preise"), False),
        (PRICES, at(["/", "/pricing"]), True),
        (PRICES, at(5), False),
        (path({"prefix": ""}), at(""), True),
        (path({"prefix": ""}), at(None), False),
        (path(1), at(1), True),
        (path(1), at(1.0), True),
        (path(0.5), at(0.5), True),
        (path(1), at(YES), False),
        (path(0), at(NO), False),
        (path(YES), at(1), False),
        (path(YES), at(YES), True),
        (path(YES), at(NO), False),
        (path(NO), at(NO), True),
        (path(1), at("1"), False),
        ({**path("/"), "traits": {"country": ["DE"]}}, at("/"), False),
        (
            {**path("/"), "traits": {"country": ["DE"]}},
            at("/") | {"traits": {"country": "DE"}},
            True,
        ),
        ({"a": {"b": {"c": [1]}}}, {"a": {"b": {"c": 1, "d": 2}, "e": 3}}, True),
        ({"a": {"b": {"c": [1]}}}, {"a": {"b": 1}}, False),
    ],
)
def test_a_pattern_matches_where_each_field_has_one_of_its_words(
    pattern: dict[str, Any], subject: dict[str, Any], expected: Any
) -> None:
    assert matches(pattern, subject) is expected


@pytest.mark.parametrize(
    "pattern", [{}, path("/"), PRICES, path(1, 0.5, YES), {"a": {"b": {"c": ["x"]}}}]
)
def test_a_pattern_of_known_words_is_accepted(pattern: dict[str, Any]) -> None:
    check(pattern)


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ({"properties": "/"}, "properties: a field takes a list of values, as ['/']"),
        (at("/"), "properties.path: a field takes a list of values, as ['/']"),
        (path(), "properties.path: a field takes a list of values"),
        (path({"suffix": ".pdf"}), "properties.path: unknown word {'suffix': '.pdf'}"),
        (path({"prefix": 5}), "properties.path: unknown word {'prefix': 5}"),
        (path({"prefix": "/", "suffix": "/"}), "properties.path: unknown word"),
        (path({}), "properties.path: unknown word {}"),
        (path("/", ["/"]), "properties.path: unknown word ['/']"),
        (path(None), "properties.path: unknown word None"),
    ],
)
def test_a_pattern_that_is_wrong_says_where(pattern: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}"):
        check(pattern)
