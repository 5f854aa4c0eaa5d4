"""The lint: each fault that a model can have is found, on its line and in plain words."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscoring.lint import Finding, lint, lint_file, lock
from leadscoring.lint.__main__ import main
from leadscoring.lint.lock import LockError
from leadscoring.model import Model, ModelError
from tests.conftest import SHIPPED_MODEL_FILE

HERE = Path(__file__).parent / "lint"
TESTS_MODEL_FILE = Path(__file__).parents[1] / "model.toml"
MODEL = (HERE / "right.toml").read_text(encoding="utf-8")
BLOCKS = (HERE / "faults.txt").read_text(encoding="utf-8").strip("\n").split("\n\n")
SEEDED = [block for block in BLOCKS if not block.startswith("#")]


def findings(text: str, recorded: dict[int, str] | None = None) -> list[Finding]:
    """Lint a model whose number is recorded, if nothing else is said."""
    if recorded is None:
        try:
            model = Model.parse(text)
            recorded = {model.number: model.pays}
        except ModelError:
            recorded = {}
    return lint(text, recorded)


def test_in_a_right_model_nothing_is_found() -> None:
    assert findings(MODEL) == []


def test_the_model_of_the_company_is_right_and_recorded() -> None:
    assert lint_file(SHIPPED_MODEL_FILE) == [], "run `uv run mqlambda lint`"


def test_of_the_tests_model_all_that_is_found_is_that_a_page_pays_twice() -> None:
    (found,) = findings(TESTS_MODEL_FILE.read_text(encoding="utf-8"))
    assert (found.severity, found.place) == ("warning", "rules.product-page.name")


@pytest.mark.parametrize("change", SEEDED, ids=lambda change: change.partition("!")[2][1:60])
def test_a_seeded_fault_is_found_on_its_line(change: str) -> None:
    text, expected = changed(MODEL, change)
    assert [str(finding) for finding in findings(text)] == expected
    assert "!" in change


def changed(text: str, change: str) -> tuple[str, list[str]]:
    """Return the text after a change, and what should be found in it, by line."""
    marked: list[str] = text.splitlines()
    for hunk in change.strip("\n").split("\n@@\n"):
        lines = hunk.splitlines()
        before = [line[2:] for line in lines if line[:2] in ("- ", "  ")]
        after = [line if line[0] == "!" else line[2:] for line in lines if line[0] != "-"]
        (start,) = (n for n in range(len(marked)) if marked[n : n + len(before)] == before)
        marked[start : start + len(before)] = after
    expected = []
    number = 0
    for line in marked:
        if line.startswith("! "):
            expected.append(f"{number}: {line.removeprefix('! ')}")
        else:
            number += 1
    return "".join(f"{line}\n" for line in marked if not line.startswith("! ")), expected


# The model's number


def test_what_a_number_pays_is_recorded_once() -> None:
    (found,) = lint(MODEL, {})
    assert str(found) == (
        "2: error: number: what number 3 pays is not recorded yet: uv run mqlambda lint --record"
    )
    assert lint(MODEL, {3: Model.parse(MODEL).pays}) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("points = 60", "points = 61"),
        ("half_life_days = 30", "half_life_days = 31"),
        ('on = "Unsubscribed"', 'on = ["Unsubscribed", "Left"]'),
        ("until = 2026-04-01", "until = 2026-04-02"),
        ("times = 5", "times = 4"),
    ],
)
def test_other_pay_needs_another_number(right: str, wrong: str) -> None:
    recorded = {2: "0" * 16, 3: Model.parse(MODEL).pays}
    (found,) = lint(MODEL.replace(right, wrong), recorded)
    assert str(found) == (
        "2: error: number: what the rules pay has changed since number 3 was recorded:"
        " give the model the next number, 4"
    )
    assert lint(MODEL, recorded) == []


@pytest.mark.parametrize(
    ("right", "other"),
    [("cap = 80", "cap = 90"), ("enter.score = 15", "enter.score = 16"), ("A = 30\n", "A = 29\n")],
)
def test_what_is_only_read_needs_none(right: str, other: str) -> None:
    assert lint(MODEL.replace(right, other), {3: Model.parse(MODEL).pays}) == []


def test_numbers_go_forward() -> None:
    (found,) = lint(MODEL, {7: "0" * 16})
    assert found.severity == "error"
    assert found.message == (
        "numbers go forward only, and 7 is recorded: give the model the next number, 8"
    )
    (found,) = lint(MODEL, {3: Model.parse(MODEL).pays, 7: "0" * 16})
    assert found.severity == "warning"
    assert found.message.startswith("this is an older model: 7 is recorded")


def test_the_lock_is_read_as_it_was_written() -> None:
    recorded = {10: "b" * 16, 9: "a" * 16}
    text = lock.written(recorded)
    assert lock.read(text) == recorded
    assert text.startswith("# What the rules of each model pay")
    assert text.endswith(f'9 = "{"a" * 16}"\n10 = "{"b" * 16}"\n')
    assert lock.read("") == {}


@pytest.mark.parametrize("text", ["<<<<<<< HEAD", "1 = 2", "one = 'a'", "[1]", "1 = 'a'\n1 = 'b'"])
def test_a_lock_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(LockError, match=r"^model\.lock: "):
        lock.read(text)


# Files


def test_sam_build_stops_at_an_error_and_not_at_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.toml"
    model.write_text(MODEL, encoding="utf-8")
    assert main(model) == 1
    assert capsys.readouterr().err.startswith(f"{model}:2: error: number: what number 3 pays is")

    (tmp_path / "model.lock").write_text(lock.written({3: Model.parse(MODEL).pays}))
    assert main(model) == 0
    assert capsys.readouterr().err == ""

    model.write_text(MODEL.replace("cap = 70", "cap = 500"), encoding="utf-8")
    assert main(model) == 0
    assert "warning: dimensions.loyalty.cap" in capsys.readouterr().err

    (tmp_path / "model.lock").write_text("<<<<<<< HEAD")
    assert main(model) == 1
    assert capsys.readouterr().err.startswith("model.lock: ")


def test_a_file_that_is_not_utf8_is_no_traceback(tmp_path: Path) -> None:
    model = tmp_path / "model.toml"
    model.write_bytes(b'number = 1\nname = "M\xfcller"\n')
    (found,) = lint_file(model)
    assert str(found) == "2: error: model: this is not UTF-8, as TOML has to be"


# Whatever is written


def test_a_name_that_is_none_does_not_break_the_line() -> None:
    found = findings(MODEL.replace('name = "demo"', 'name = "de\\nmo"'))
    assert [finding.place for finding in found] == ["rules.5.name"]


TEXTS = (MODEL, SHIPPED_MODEL_FILE.read_text(encoding="utf-8"))
TOKEN = re.compile(r'"[^"\n]*"|[\w.-]+|[^\w\s]')
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["drop the line", "repeat the line", "drop", "swap", "replace"]),
        st.integers(0, 10_000),
        st.integers(0, 10_000),
        st.sampled_from(
            ["0", "-5", "1e9", "nan", "inf", "true", '""', "[]", "{}", "[{}]", "2026-01-01"]
        ),
    ),
    min_size=1,
    max_size=4,
)


def edited(text: str, edits: list[tuple[str, int, int, str]]) -> str:
    for how, first, second, other in edits:
        if "line" in how:
            lines = text.splitlines(keepends=True)
            index = first % len(lines)
            lines[index : index + 1] = [lines[index]] * 2 if "repeat" in how else []
            text = "".join(lines)
            continue
        tokens = list(TOKEN.finditer(text))
        one, two = (tokens[number % len(tokens)] for number in (first, second))
        by = {"drop": "", "swap": two[0], "replace": other}[how]
        text = text[: one.start()] + by + text[one.end() :]
    return text


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TEXTS), EDITS)
def test_whatever_stands_in_the_file_there_are_findings_and_no_traceback(
    text: str, edits: list[tuple[str, int, int, str]]
) -> None:
    text = edited(text, edits)
    for finding in findings(text):
        assert 1 <= finding.line <= max(len(text.splitlines()), 1)
        assert finding.message
        assert "\n" not in str(finding)
