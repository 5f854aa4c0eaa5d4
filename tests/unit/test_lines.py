"""The lines of a TOML text: every complaint about a model points at one of them."""

import itertools
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscoring.lines import Lines
from tests.conftest import SHIPPED_MODEL_FILE

TEXT = r'''# [comment]
number = 1 # = 2
"a.b" = "[ # ]"
'c"d'.e = '\'
"\u00e9\"" = 1979-05-27 07:32:00 # a space before the time
on = [
  "first, ]", # ]
  [1,
    2], { x = 3, y.z = [
      4,
      { "]" = 5 }] }, 6,
  # none
  7
]
prose = """ \
  "", \""" [[no]]
no = 1""""

[dimensions.intent]
cap = 100
[ dimensions . "of engagement" ]  # header
[dimensions]
base.of = 1
base.on = 2
[[rules]]
name = "page"
when.properties.path = [{ prefix = "/" }]
[rules.more]
words = +1e-3
[[rules]] # second
name = "form"
[rules.'when']
properties = { path = ["/", "/form"], kind = [] }
[[rules.checks]]
0 = "zero"
[[rules.checks]]
[rules.checks.deep.below]
[[ stages ]]
enter = { any = [{ score = 100 }] }'''


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ((), "# [comment]"),
        (("number",), "number = 1 # = 2"),
        (("a.b",), '"a.b" = "[ # ]"'),
        (('c"d',), r"""'c"d'.e = '\'"""),
        (('c"d', "e"), r"""'c"d'.e = '\'"""),
        (('é"',), r'"\u00e9\"" = 1979-05-27 07:32:00 # a space before the time'),
        (("on",), "on = ["),
        (("on", 0), '  "first, ]", # ]'),
        (("on", 1), "  [1,"),
        (("on", 1, 0), "  [1,"),
        (("on", 1, 1), "    2], { x = 3, y.z = ["),
        (("on", 2), "    2], { x = 3, y.z = ["),
        (("on", 2, "x"), "    2], { x = 3, y.z = ["),
        (("on", 2, "y", "z"), "    2], { x = 3, y.z = ["),
        (("on", 2, "y", "z", 0), "      4,"),
        (("on", 2, "y", "z", 1, "]"), '      { "]" = 5 }] }, 6,'),
        (("on", 3), '      { "]" = 5 }] }, 6,'),
        (("on", 4), "  7"),
        (("prose",), 'prose = """ \\'),
        (("dimensions", "intent"), "[dimensions.intent]"),
        (("dimensions", "intent", "cap"), "cap = 100"),
        (("dimensions", "of engagement"), '[ dimensions . "of engagement" ]  # header'),
        (("dimensions",), "[dimensions]"),
        (("dimensions", "base"), "base.of = 1"),
        (("dimensions", "base", "on"), "base.on = 2"),
        (("rules",), "[[rules]]"),
        (("rules", 0), "[[rules]]"),
        (("rules", 0, "name"), 'name = "page"'),
        (("rules", 0, "when"), 'when.properties.path = [{ prefix = "/" }]'),
        (
            ("rules", 0, "when", "properties", "path", 0, "prefix"),
            'when.properties.path = [{ prefix = "/" }]',
        ),
        (("rules", 0, "more", "words"), "words = +1e-3"),
        (("rules", 1), "[[rules]] # second"),
        (("rules", 1, "name"), 'name = "form"'),
        (("rules", 1, "when"), "[rules.'when']"),
        (
            ("rules", 1, "when", "properties", "path", 1),
            'properties = { path = ["/", "/form"], kind = [] }',
        ),
        (("rules", 1, "checks", 0, "0"), '0 = "zero"'),
        (("rules", 1, "checks", 1, "deep"), "[rules.checks.deep.below]"),
        (("stages", 0), "[[ stages ]]"),
        (("stages", 0, "enter", "any", 0, "score"), "enter = { any = [{ score = 100 }] }"),
    ],
)
def test_a_key_stands_on_its_line(path: tuple[str | int, ...], written: str) -> None:
    assert TEXT.split("\n")[Lines.of(TEXT).line(*path) - 1] == written


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (("retention_days",), "# [comment]"),
        (("number", "constrained-int"), "number = 1 # = 2"),
        (("on", 9), "on = ["),
        (("on", "0"), "on = ["),
        (("on", 0, 0), '  "first, ]", # ]'),
        (("dimensions", "intent", "[key]"), "[dimensions.intent]"),
        (("dimensions", "fit", "intent"), "[dimensions]"),
        (("rules", 1, "points"), "[[rules]] # second"),
        (("rules", 1, "checks", 0, 0), "[[rules.checks]]"),
        (("rules", 2, "name"), "[[rules]]"),
    ],
)
def test_what_is_not_written_down_counts_as_where_it_belongs(
    path: tuple[str | int, ...], written: str
) -> None:
    assert TEXT.split("\n")[Lines.of(TEXT).line(*path) - 1] == written


@pytest.mark.parametrize(
    "value",
    [
        *["0", "-1_000.5e+3", "0xff", "+inf", "true"],
        *["1979-05-27", "07:32:00.5", "1979-05-27 07:32:00Z", "1979-05-27T07:32:00-07:00"],
        *['""', r'"\\"', r'"\""', '"]} # \'"', "''", r"'\'", "'\"]} #'"],
        *['""""""', '""""a"""""', r'"""\""""', '"""\n"\n\n""]} # """', '"""\\\n  """'],
        *["''''''", "''''a'''''", r"'''\'''", "'''\n'\n\n'']} # '''"],
        *["[]", "[\n]", "[[], {},\n[]]", "{}", "{ a = [\n] }"],
    ],
)
def test_whatever_a_value_looks_like_the_scan_goes_on_behind_it(value: str) -> None:
    behind = 2 + value.count("\n")
    text = f"a = {value}\nb = [{value},\n{{ c = {value}, d = [\n0]}}] # ]\ne = {value}"
    tomllib.loads(text)
    lines = Lines.of(text)
    assert lines.line("b") == behind
    assert lines.line("b", 1) == 2 * behind - 1
    assert lines.line("b", 1, "d", 0) == 3 * behind - 2
    assert lines.line("e") == 3 * behind - 1


def test_a_line_may_end_as_on_windows() -> None:
    lines = Lines.of('a = [\r\n1, # one\r\n2]\r\n\r\n[b]\r\nc = """\r\n"""\r\nd = 1\r\n')
    assert [lines.line("a", 1), lines.line("b"), lines.line("b", "d")] == [3, 5, 8]


def test_an_empty_text_has_one_line() -> None:
    assert Lines.of("").line("number") == 1


@pytest.mark.parametrize("text", ["a = [", "a = {", "a = [1,", "= 1", "a =", "[[", '"a'])
def test_what_is_not_toml_is_refused_and_never_read_forever(text: str) -> None:
    with pytest.raises(ValueError, match=r"not TOML|Invalid|Expected"):
        Lines.of(text)


def test_the_lines_of_the_shipped_model_are_right() -> None:
    text = SHIPPED_MODEL_FILE.read_text(encoding="utf-8")
    model, lines, written = tomllib.loads(text), Lines.of(text), text.split("\n")
    for part in ("rules", "stages"):
        for index, named in enumerate(model[part]):
            assert written[lines.line(part, index) - 1] == f"[[{part}]]"
            assert written[lines.line(part, index, "name") - 1] == f'name = "{named["name"]}"'
            for key in named:
                assert re.match(rf"{key}\b", written[lines.line(part, index, key) - 1])
    for part in ("dimensions", "forms"):
        for name, table in model[part].items():
            assert written[lines.line(part, name) - 1].startswith(f"[{part}.{name}]")
            for key in table:
                assert written[lines.line(part, name, key) - 1].startswith(f"{key} = ")


KEYS = st.sampled_from(["a", "b-c", "_", "0", '"d.e"', "'f g'", r'"h\"] #"', r'"\u00e9"', "''"])
# The renderer writes another number for each N; it stands on the line where the value begins.
LEAVES = st.sampled_from(
    [
        "N",
        "-N.5",
        r'"N # [ ] \" \\"',
        r"'N } \'",
        '"""N \\""" ]\n\n} = 1 # """""',
        "'''N [[a]]\n[a]\n\\''''",
        "1979-05-27 07:32:00.N",
        "07:32:00.N",
    ]
)
TREES = st.recursive(
    LEAVES,
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.dictionaries(KEYS, parts, max_size=3)
        | st.lists(st.dictionaries(KEYS, parts, max_size=2), min_size=1, max_size=3)
    ),
    max_leaves=12,
)
GAPS = st.sampled_from(["", " ", "\n", " # ], }\n", "\n\n\t"])
DOTS = st.sampled_from([".", " . "])


def _value(draw: st.DrawFn, tree: Any) -> str:
    if isinstance(tree, str):
        return tree
    if isinstance(tree, dict):
        return f"{{ {', '.join(_pairs(draw, tree))} }}"
    elements = [f"{draw(GAPS)}{_value(draw, part)}{draw(GAPS)}" for part in tree]
    ends = draw(st.sampled_from(["", ","])) if elements else ""
    return f"[{','.join(elements)}{ends}{draw(GAPS)}]"


def _pairs(draw: st.DrawFn, tree: dict[str, Any]) -> Iterator[str]:
    for key, part in tree.items():
        if part and isinstance(part, dict) and draw(st.booleans()):
            dot = draw(DOTS)
            yield from (f"{key}{dot}{pair}" for pair in _pairs(draw, part))
        else:
            yield f"{key} = {_value(draw, part)}"


def _section(draw: st.DrawFn, tree: dict[str, Any], header: str, marks: str) -> str:
    inside: dict[str, Any] = {}
    below = ""
    for key, part in tree.items():
        path = f"{header}{draw(DOTS)}{key}" if header else key
        if isinstance(part, dict) and draw(st.booleans()):
            below += _section(draw, part, path, "[]")
        elif part and isinstance(part, list) and isinstance(part[0], dict) and _all_tables(part):
            below += "".join(_section(draw, element, path, "[[]]") for element in part)
        else:
            inside[key] = part
    if marks == "[]" and below and not inside and draw(st.booleans()):
        return below
    half = len(marks) // 2
    first = f"{marks[:half]}{header}{marks[half:]} # [x]\n" if header else ""
    return first + "".join(f"{pair}{draw(GAPS)}\n" for pair in _pairs(draw, inside)) + below


def _all_tables(parts: list[Any]) -> bool:
    return all(isinstance(part, dict) for part in parts)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Return a TOML text in which each value has a number of its own."""
    tree = draw(st.dictionaries(KEYS, TREES, max_size=4))
    numbers = itertools.count(900_001)
    text = re.sub("N", lambda _: str(next(numbers)), _section(draw, tree, "", "[]"))
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(part, (*path, key))
    else:
        yield path, value


@given(documents())
def test_each_value_begins_on_the_line_of_its_key(text: str) -> None:
    lines, written = Lines.of(text), text.split("\n")
    for path, value in _leaves(tomllib.loads(text)):
        number = re.search(r"9\d{5}", str(value))
        assert number
        assert number[0] in written[lines.line(*path) - 1]
        assert lines.line(*path, "missing") == lines.line(*path)
