"""`mqlambda lint` as people, editors and programs meet it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from infra.workbench.cli import app
from leadscoring.lint import lock

RIGHT = Path(__file__).parents[1] / "unit" / "lint" / "right.toml"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A right model whose number is not recorded yet, where somebody works."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.toml"
    path.write_bytes(RIGHT.read_bytes())
    return path


def mqlambda(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["lint", "model.toml", *arguments])


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def test_a_number_is_recorded_once_and_then_stands(file: Path) -> None:
    before = mqlambda()
    assert before.exit_code == 1
    assert before.stdout.startswith(
        "model.toml:2: error: number: what number 3 pays is not recorded"
    )

    recorded = mqlambda("--record")
    assert recorded.exit_code == 0
    assert "error" not in recorded.stdout
    noted = file.with_suffix(".lock").read_bytes()
    assert list(lock.read(noted.decode())) == [3]
    assert mqlambda().exit_code == 0

    edit(file, "points = 60", "points = 61")
    refused = mqlambda("--record")
    assert refused.exit_code == 1
    assert refused.stdout.startswith("model.toml:2: error: number: what the rules pay has changed")
    assert file.with_suffix(".lock").read_bytes() == noted

    edit(file, "number = 3", "number = 4")
    assert mqlambda("--record").exit_code == 0
    assert list(lock.load(file)) == [3, 4]


def test_people_see_what_each_rule_costs(file: Path) -> None:
    shown = mqlambda("--record").stdout
    rows = [line.split() for line in shown.splitlines()]
    assert ["rule", "dimension", "points", "write", "units"] in rows
    assert ["page", "engagement", "1", "6"] in rows
    assert ["fair", "intent", "5", "to", "30", "6"] in rows
    assert ["left", "engagement", "-30", "4"] in rows
    assert "A lead's item can come to" in shown


def test_a_warning_stops_nobody_and_keeps_its_line(file: Path) -> None:
    edit(file, 'besides = "page"\n', "")
    found = mqlambda("--record")
    assert found.exit_code == 0
    (line,) = (line for line in found.stdout.splitlines() if "warning" in line)
    # However narrow the terminal: editors and terminals jump to such places.
    assert line.startswith("model.toml:29: warning: rules.product-page.name: whatever it pays for")
    assert line.endswith('say `besides = "page"`')


def test_programs_get_json(file: Path) -> None:
    answer = json.loads(mqlambda("--json").stdout)
    (finding,) = answer["findings"]
    assert finding["line"] == 2
    assert (finding["severity"], finding["place"]) == ("error", "number")
    assert answer["write_units"]["page"] == 6
    assert answer["lead_item_bytes"]["usual"] < 1024 < answer["lead_item_bytes"]["most"]


@pytest.mark.parametrize("content", [b"number =", b"number = 1", b"\xff"])
def test_a_file_that_is_no_model_has_findings_and_no_costs(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    found = mqlambda("--record")
    assert found.exit_code == 1
    assert found.stdout.startswith("model.toml:1: error: ")
    assert "write units" not in found.stdout
    assert not file.with_suffix(".lock").exists()


@pytest.mark.parametrize("option", ["--record", "--json"])
def test_a_lock_that_can_not_be_read_is_said_in_one_line(file: Path, option: str) -> None:
    file.with_suffix(".lock").write_text("<<<<<<< HEAD\n")
    found = mqlambda(option)
    assert (found.exit_code, found.stdout) == (2, "")
    (line,) = found.stderr.splitlines()
    assert line.startswith("model.lock: ")


def test_without_a_file_the_model_of_the_functions_is_meant() -> None:
    found = CliRunner().invoke(app, ["lint", "--json"])
    assert json.loads(found.stdout)["file"].endswith("model.toml")
