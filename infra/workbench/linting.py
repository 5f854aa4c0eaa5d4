"""`mqlambda lint`: what is wrong with a model file, and what the model costs."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from leadscoring.lint import Finding, costs, lint_file, lock
from leadscoring.model import Model, ModelError

_STYLES = {"error": "red", "warning": "yellow"}


@dataclass(frozen=True, slots=True)
class Report:
    """What the lint has to say of a file; the model is there if the file is one."""

    path: Path
    findings: Sequence[Finding]
    model: Model | None

    @property
    def has_errors(self) -> bool:
        """Tell whether the model is certainly wrong."""
        return any(finding.severity == "error" for finding in self.findings)


def report(path: Path) -> Report:
    """Lint a model file by the lock beside it.

    Raises:
        LockError: the lock can't be read.
    """
    return Report(path, lint_file(path), _model(path))


def record(path: Path) -> None:
    """Note in the lock what the model's number pays, if it may; if not, the report says why.

    Raises:
        LockError: the lock can't be read.
    """
    model, recorded = _model(path), lock.load(path)
    if model and not lock.refusal(model, recorded):
        text = lock.written({**recorded, model.number: model.pays})
        lock.beside(path).write_text(text, encoding="utf-8")


def findings(found: Report) -> RenderableType:
    """Return what was found, for people and for their editors: a line each."""
    return Group(
        *(
            Text.assemble(
                f"{_near(found.path)}:{finding.line}: ",
                (finding.severity, _STYLES[finding.severity]),
                f": {finding.place}: {finding.message}",
            )
            for finding in found.findings
        )
    )


def prices(model: Model) -> RenderableType:
    """Return what the model costs, for people."""
    rules = Table("rule", "dimension", "points", "write units", box=None, pad_edge=False)
    for column in rules.columns[2:]:
        column.justify = "right"
    for rule in model.rules:
        points = f"{rule.most}" if rule.least == rule.most else f"{rule.least} to {rule.most}"
        rules.add_row(rule.name, rule.dimension, points, str(costs.write_units(rule)))
    size = costs.lead_item(model)
    return Group(
        rules,
        "",
        "Write units: what an interaction costs that this rule alone matches.",
        f"A lead's item can come to {size.most:,} bytes ({size.usual:,} without traits); DynamoDB"
        f" takes {costs.ITEM_BYTES_MAX:,}.",
    )


def answer(found: Report) -> dict[str, Any]:
    """Return the report for programs."""
    said: dict[str, Any] = {
        "file": str(found.path),
        "findings": [dataclasses.asdict(finding) for finding in found.findings],
    }
    if found.model:
        units = {rule.name: costs.write_units(rule) for rule in found.model.rules}
        size = costs.lead_item(found.model)
        said |= {"write_units": units, "lead_item_bytes": dataclasses.asdict(size)}
    return said


def _model(path: Path) -> Model | None:
    """Return the model, or None where the file is none: the findings say why."""
    try:
        return Model.load(path)
    except (ModelError, UnicodeDecodeError):
        return None


def _near(path: Path) -> Path:
    """Return the path as people would write it here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
