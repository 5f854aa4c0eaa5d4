"""What follows from a pattern: said only where every subject proves it."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leadscoring.lint import entailment
from leadscoring.lint.entailment import contradiction, excludes, follows, values
from leadscoring.matching import check, matches


def at(*words: Any) -> dict[str, Any]:
    return {"a": list(words)}


def within(*numbers: Any) -> dict[str, Any]:
    return {"numeric": list(numbers)}


@pytest.mark.parametrize(
    ("pattern", "other"),
    [
        (at("x"), {}),
        (at("x"), at("x", "y")),
        (at("/a/b"), at({"prefix": "/a"})),
        (at({"prefix": "/a/b"}), at({"prefix": "/a"}, "z")),
        (at({"suffix": "b.pdf"}), at({"suffix": ".pdf"})),
        (at("CTO"), at({"equals-ignore-case": "cto"})),
        (at(within(">", 5, "<=", 10)), at(within(">=", 5))),
        (at(within("=", 5)), at(within(">=", 5, "<", 6))),
        (at(7), at(within(">", 5))),
        (at("x", {"prefix": "y"}, within(">", 1)), at({"exists": True})),
        (at({"exists": False}), at({"exists": False}, "x")),
        (at({"anything-but": ["x", {"prefix": "y"}]}), at({"anything-but": ["x", "yes"]})),
        (at({"prefix": "x"}, 5), at({"anything-but": ["y", {"prefix": "y"}]})),
        ({**at("x"), "b": ["y"]}, at("x")),
        ({"t": at("x")}, {"t": at({"prefix": "x"})}),
        ({"any": [at("x"), at("y")]}, at("x", "y")),
        ({"any": [at("x"), {"all": [at("y"), {"b": [1]}]}]}, {"any": [at("y"), at("x")]}),
        ({"not": at("x")}, {"not": {**at("x"), "b": [1]}}),
        ({"not": {"any": [at("x"), at("y")]}}, {"not": at("x")}),
        (at("x"), {"not": at("y")}),
        (at("x"), {"not": {"any": [at("y"), at({"exists": False})]}}),
    ],
    ids=str,
)
def test_a_narrower_pattern_matches_less(pattern: dict[str, Any], other: dict[str, Any]) -> None:
    check(pattern)
    check(other)
    assert follows(pattern, other)
    assert not follows(other, pattern)


@pytest.mark.parametrize(
    ("pattern", "other"),
    [
        (at({"equals-ignore-case": "CTO"}), at({"equals-ignore-case": "cto"})),
        ({"all": [at("x"), {"b": [1]}]}, {**at("x"), "b": [1]}),
        ({"not": {"not": at("x")}}, at("x")),
        ({"not": {"any": [at("x"), {"b": [1]}]}}, {"all": [{"not": at("x")}, {"not": {"b": [1]}}]}),
    ],
    ids=str,
)
def test_patterns_may_mean_the_same(pattern: dict[str, Any], other: dict[str, Any]) -> None:
    assert follows(pattern, other)
    assert follows(other, pattern)


@pytest.mark.parametrize(
    ("pattern", "for_lists_too"),
    [
        (at(within(">", 5, "<", 5)), True),
        (at(within(">=", 5, "<", 5), within("<", 1, "=", 1)), True),
        ({**at("x"), "all": [at({"exists": False})]}, True),
        ({**at("x"), "not": at({"prefix": "x"})}, True),
        ({"any": [{**at("x"), "not": at("x")}, at(within("<", 1, ">", 1))]}, True),
        ({**at("x"), "all": [at("y")]}, False),
        ({**at(within(">", 5)), "all": [at("text", {"suffix": "x"})]}, False),
        (
            {
                **at({"prefix": "x"}),
                "all": [at({"prefix": "y"}, {"anything-but": {"prefix": "x"}})],
            },
            False,
        ),
        ({**at({"equals-ignore-case": "a"}), "all": [at({"prefix": "B"}, {"suffix": "b"})]}, False),
        ({**at({"suffix": "b"}), "all": [at({"suffix": "c"})]}, False),
    ],
    ids=str,
)
def test_a_contradiction_matches_nothing(pattern: dict[str, Any], *, for_lists_too: bool) -> None:
    check(pattern)
    found = contradiction(pattern)
    assert found
    assert found.for_lists_too is for_lists_too


@pytest.mark.parametrize(
    "pattern",
    [
        {},
        at(within(">=", 5, "<=", 5)),
        {"any": [at(within(">", 5, "<", 5)), at("x")]},
        {**at({"prefix": "x"}), "all": [at({"suffix": "y"})]},
        {**at({"exists": True}), "not": at("x")},
        {**at("x"), "not": {**at("x"), "b": [1]}},
    ],
    ids=str,
)
def test_what_something_matches_is_no_contradiction(pattern: dict[str, Any]) -> None:
    check(pattern)
    assert contradiction(pattern) is None


def test_a_contradiction_is_placed() -> None:
    pattern = {"any": [{"all": [at("x"), {"t": at("y")}, {"t": at("z")}]}]}
    assert contradiction(pattern) == (("any", 0, "all", 2, "t", "a"), False)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (at("x"), ["x"]),
        (at("x", "y"), ["x", "y"]),
        ({"any": [at("x"), at("y", 5)]}, ["x", "y", 5]),
        ({**at({"prefix": "x"}), "all": [at("x")]}, ["x"]),
        ({"any": [at("x"), {"b": ["y"]}]}, None),
        (at("x", {"prefix": "y"}), None),
        ({}, None),
    ],
    ids=str,
)
def test_values_are_pinned_where_all_ways_pin_them(
    pattern: dict[str, Any], expected: list[Any] | None
) -> None:
    assert values(pattern, ("a",)) == (expected and set(expected))


def test_a_pattern_of_too_many_ways_is_not_looked_at() -> None:
    wide = {"all": [{"any": [at(f"{n}-{m}") for m in range(4)]} for n in range(8)]}
    assert not follows(wide, at({"prefix": ""}))
    assert contradiction(wide) is None
    assert values(wide, ("a",)) is None


# For any patterns and subjects

TEXTS = st.sampled_from(["", "a", "A", "ab", "ba", "b"])
NUMBERS = st.sampled_from([0, 1, 2, 1.5, True, False])
SCALARS = st.one_of(TEXTS, NUMBERS)
COMPARED = st.tuples(st.sampled_from(["<", "<=", "=", ">=", ">"]), st.sampled_from([0, 1, 1.5, 2]))
EXCLUDED = st.one_of(
    SCALARS, TEXTS.map(lambda text: {"prefix": text}), TEXTS.map(lambda text: {"suffix": text})
)
WORDS: st.SearchStrategy[Any] = st.one_of(
    SCALARS,
    TEXTS.map(lambda text: {"prefix": text}),
    TEXTS.map(lambda text: {"suffix": text}),
    TEXTS.map(lambda text: {"equals-ignore-case": text}),
    st.lists(EXCLUDED, min_size=1, max_size=2).map(lambda words: {"anything-but": words}),
    COMPARED.map(lambda one: {"numeric": [*one]}),
    st.tuples(COMPARED, COMPARED).map(lambda two: {"numeric": [*two[0], *two[1]]}),
    st.booleans().map(lambda there: {"exists": there}),
)
FIELDS = st.dictionaries(
    st.sampled_from("ab"), st.lists(WORDS, min_size=1, max_size=2), min_size=1, max_size=2
)
PATTERNS = st.recursive(
    FIELDS,
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=2).map(lambda several: {"any": several}),
        st.lists(parts, min_size=1, max_size=2).map(lambda several: {"all": several}),
        parts.map(lambda part: {"not": part}),
        st.tuples(FIELDS, parts).map(lambda two: {**two[0], "not": two[1]}),
    ),
    max_leaves=4,
)
SUBJECTS = st.fixed_dictionaries({}, optional={"a": SCALARS, "b": SCALARS})
LISTS = st.fixed_dictionaries({}, optional={name: st.lists(SCALARS, max_size=3) for name in "ab"})


@settings(max_examples=400, deadline=None)
@given(PATTERNS, PATTERNS, st.lists(SUBJECTS, min_size=8, max_size=8))
@example({"a": ["a"]}, {"a": [{"anything-but": ["b"]}]}, [{"a": "a"}])
def test_every_subject_agrees(pattern: Any, other: Any, subjects: list[Any]) -> None:
    implied, apart = follows(pattern, other), excludes(pattern, other)
    nothing, pinned = contradiction(pattern), values(pattern, ("a",))
    for subject in subjects:
        if matches(pattern, subject):
            assert nothing is None
            assert matches(other, subject) or not implied
            assert not (matches(other, subject) and apart)
            assert pinned is None or subject["a"] in pinned


@settings(max_examples=400, deadline=None)
@given(PATTERNS, st.lists(LISTS, min_size=8, max_size=8))
def test_no_list_matches_what_excludes_lists_too(pattern: Any, subjects: list[Any]) -> None:
    found = contradiction(pattern)
    if found and found.for_lists_too:
        assert not any(matches(pattern, subject) for subject in subjects)


def test_the_patterns_drawn_are_not_all_apart() -> None:
    """Otherwise the two above would prove nothing."""
    drawn: list[bool] = []

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(PATTERNS, PATTERNS)
    def draw(pattern: Any, other: Any) -> None:
        drawn.append(entailment.follows(pattern, other))

    draw()
    assert 5 < sum(drawn) < 150
