"""docs/model.md is true: each line of it is part of a model, and each proof is a test."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leadscoring.model import Model

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")

BASE = """
number = 1
name = "base"
retention_days = 365
properties = []
traits = ["employees", "jobTitle", "country", "group.employees"]
audiences.dach.country = ["DE", "AT", "CH"]
fit.rules = [{ name = "dach", when.country = ["DE"], points = 50 }]
grades = { A = 40, B = 20 }
matrix = { fit = { A = 40, B = 20 }, engagement = { 1 = 50, 2 = 20 } }
dimensions.engagement = { half_life_days = 30, cap = 80 }
scores.interest = { dimensions = ["engagement"] }
rules = [{ name = "demo", on = "Demo Requested", points = 60, dimension = "engagement" }]
forms.contact = {}
stages = [{ name = "captured" }, { name = "mql", enter.score = 100 }]
"""


def rows() -> Iterator[tuple[str, list[str]]]:
    """Return the rows of all tables, each with the heading above it."""
    heading = ""
    for line in PAGE.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith(("| ---", "| what |", "| command |")):
            yield heading, [cell.strip() for cell in line.strip("| ").split(" | ")]


def said(cell: str) -> dict[str, Any]:
    """Return what the TOML in a cell says."""
    return tomllib.loads("\n".join(re.findall(r"`([^`]+)`", cell)))


LINES = [(heading, row[0], row[1]) for heading, row in rows() if len(row) == 3]
IN_MODEL = [line for line in LINES if line[0] not in ("The commands",)]


@pytest.mark.parametrize(("heading", "what", "line"), IN_MODEL)
def test_each_line_of_the_page_is_part_of_a_model(heading: str, what: str, line: str) -> None:
    model, part = tomllib.loads(BASE), said(line)
    assert part, what
    if heading == "Rules":
        rule = {"name": "shown", "dimension": "engagement", "points": 5, "on": "Page Viewed"}
        rule |= part
        if "points_from" in part:
            del rule["points"]
        model["rules"].append(rule)
    elif heading == "Stages" and not part.keys() & {"recycling", "reply"}:
        model["stages"][-1] |= part
    else:
        model |= part
        if "dimensions" in part or "fit" in part:
            model["dimensions"] = tomllib.loads(BASE)["dimensions"] | part.get("dimensions", {})
    assert Model.model_validate(model)


@pytest.mark.parametrize(
    "proof", sorted({proof for _, row in rows() for proof in re.findall(r"tests/[^`]+", row[-1])})
)
def test_each_proof_on_the_page_is_a_test(proof: str) -> None:
    file, _, name = proof.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_row_says_what_line_and_proof() -> None:
    assert all(len(row) in (2, 3) and "tests/" in row[-1] for _, row in rows())
    assert len(IN_MODEL) > 30
