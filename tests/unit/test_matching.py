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
        (path({"wildcard": "*.pdf"}), "properties.path: unknown word {'wildcard': '*.pdf'}"),
        (path({"suffix": 5}), "properties.path: unknown word {'suffix': 5}"),
        (path({"exists": "yes"}), "properties.path: unknown word {'exists': 'yes'}"),
        (path({"numeric": [">"]}), "properties.path: unknown word {'numeric': ['>']}"),
        (path({"numeric": [[], 1]}), "properties.path: unknown word {'numeric': [[], 1]}"),
        (path({"numeric": ["~", 1]}), "properties.path: unknown word {'numeric': ['~', 1]}"),
        (path({"numeric": [">", YES]}), "properties.path: unknown word {'numeric': ['>', True]}"),
        (path({"anything-but": []}), "properties.path: unknown word {'anything-but': []}"),
        (
            path({"anything-but": {"exists": True}}),
            "properties.path: unknown word {'anything-but': {'exists': True}}",
        ),
        ({"any": {}}, "any: it takes a list of patterns"),
        ({"all": []}, "all: it takes a list of patterns"),
        ({"not": []}, "not: it takes a pattern"),
        ({"any": [{"not": path()}]}, "any.0.not.properties.path: a field takes a list of values"),
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


@pytest.mark.parametrize(
    ("word", "matching", "other"),
    [
        ({"suffix": ".pdf"}, ["/preise.pdf", ["a", "b.pdf"]], ["/pdf", 5, None, []]),
        ({"equals-ignore-case": "Preise"}, ["preise", "PREISE"], ["preis", 5, None]),
        ({"anything-but": "intern"}, ["web", 5, "Intern", ["intern", "web"]], ["intern", []]),
        ({"anything-but": ["a", 1]}, ["b", 2, YES], ["a", 1]),
        ({"anything-but": {"prefix": "/jobs"}}, ["/", 5], ["/jobs/1"]),
        ({"anything-but": [{"suffix": ".png"}, "x"]}, ["a.pdf"], ["a.png", "x"]),
        ({"numeric": [">=", 200]}, [200, 200.5], [199, "200", YES, None]),
        ({"numeric": [">", 0, "<", 10]}, [1, 9.9, [50, 5]], [0, 10, -1]),
        ({"numeric": ["=", 5]}, [5, 5.0], [6]),
        ({"exists": True}, ["", 0, None, NO, ["a"]], [[]]),
        ({"exists": False}, [[]], ["", 0, None]),
    ],
    ids=str,
)
def test_a_word_matches_what_eventbridge_says_it_does(
    word: dict[str, Any], matching: list[Any], other: list[Any]
) -> None:
    assert [value for value in matching if not matches(path(word), at(value))] == []
    assert [value for value in other if matches(path(word), at(value))] == []


def test_only_exists_false_matches_what_is_not_there() -> None:
    words = [{"prefix": ""}, {"suffix": ""}, {"anything-but": "a"}, {"exists": True}]
    subjects: list[dict[str, Any]] = [{}, {"properties": {}}, {"properties": "text"}]
    for nothing in subjects:
        assert not any(matches(path(word), nothing) for word in words)
        assert matches(path({"exists": False}), nothing)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"any": [path("/a"), path("/b")]}, ["/a", "/b"]),
        ({"all": [path({"prefix": "/"}), path({"suffix": "b"})]}, ["/b"]),
        ({"not": path("/a")}, ["/b", "/c"]),
        ({"any": [path("/a"), {"not": path({"prefix": "/"})}]}, ["/a"]),
        ({"not": {"any": [path("/a"), {"all": [path("/b")]}]}}, ["/c"]),
        ({**path({"prefix": "/"}), "not": path("/c")}, ["/a", "/b"]),
    ],
    ids=str,
)
def test_patterns_are_combined_by_any_all_and_not(
    pattern: dict[str, Any], expected: list[str]
) -> None:
    check(pattern)
    assert [page for page in ("/a", "/b", "/c") if matches(pattern, at(page))] == expected


def test_a_property_may_be_called_as_a_combination_is() -> None:
    pattern = {"properties": {"any": ["a"], "not": ["b"]}}
    check(pattern)
    assert matches(pattern, {"properties": {"any": "a", "not": "b"}})
    assert not matches(pattern, {"properties": {"any": "a", "not": "c"}})
