"""What is wrong with a model file, or probably not meant: on which line, in plain words."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leadscoring.faults import Place
from leadscoring.lead import CONSENT
from leadscoring.lines import Lines
from leadscoring.lint import costs, examples, lock, overlaps, rules, stages, whole
from leadscoring.lint.reach import Reach
from leadscoring.lint.remarks import Remark, Severity, error, warning
from leadscoring.model import Model, ModelError

_NUMBER: Place = ("number",)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the lint found: on which line, how bad, of what, in plain words."""

    line: int
    severity: Severity
    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.line}: {self.severity}: {self.place}: {self.message}"


def lint(text: str, recorded: Mapping[int, str]) -> list[Finding]:
    """Return what is wrong with this model or probably not meant, by line.

    `recorded` is what each number pays, as `lock.read` returns it.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        return [_not_toml(text, fault)]
    try:
        remarks = list(_remarks(Model.parse(text), recorded))
    except ModelError as wrong:
        remarks = [error(*fault) for fault in wrong.faults]
    lines = Lines.of(text)
    found = {
        Finding(lines.line(*place), severity, _named(place, document), message)
        for severity, place, message in remarks
    }
    return sorted(found, key=lambda finding: (finding.line, finding.place, finding.message))


def lint_file(path: Path) -> list[Finding]:
    """Return what is wrong with the model in a file, by the lock that lies beside it.

    Raises:
        LockError: the lock can't be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as fault:
        line = fault.object.count(b"\n", 0, fault.start) + 1
        return [Finding(line, "error", "model", "this is not UTF-8, as TOML has to be")]
    return lint(text, lock.load(path))


def _remarks(model: Model, recorded: Mapping[int, str]) -> Iterator[Remark]:
    reach = Reach(model)
    yield from _number_amiss(model, recorded)
    yield from rules.remarks(model)
    yield from overlaps.remarks(model)
    yield from whole.remarks(model, reach)
    yield from stages.remarks(model, reach)
    yield from examples.remarks(model)
    yield from _too_much(model)
    yield from _costly(model)


def _number_amiss(model: Model, recorded: Mapping[int, str]) -> Iterator[Remark]:
    number, newest = model.number, max(recorded, default=0)
    if refused := lock.refusal(model, recorded):
        yield error(_NUMBER, refused)
    elif number not in recorded:
        yield error(_NUMBER, f"what number {number} pays is not recorded yet: {lock.RECORD}")
    elif number < newest:
        message = f"this is an older model: {newest} is recorded, and a rescore goes forward only"
        yield warning(_NUMBER, message)


def _too_much(model: Model) -> Iterator[Remark]:
    traits, counters = len(model.known_traits), costs.counters(model)
    if traits > costs.TRAITS_MAX:
        message = f"a lead would keep {traits}, {CONSENT} among them: {costs.TRAITS_MAX} at most"
        yield error(("traits",), message)
    if counters > costs.COUNTERS_MAX:
        message = (
            f"a lead could have {counters:,} counters, {costs.COUNTERS_MAX} at most: use fewer"
            " audiences, dimensions that expire, or days of retention"
        )
        yield error(("dimensions",), message)


def _costly(model: Model) -> Iterator[Remark]:
    size = costs.lead_item(model)
    if size.usual > costs.KILOBYTE:
        message = (
            f"a lead can come to {size.usual:,} bytes without its traits: each kilobyte begun"
            " adds 2 write units to every interaction"
        )
        yield warning(("rules",), message)


def _not_toml(text: str, fault: tomllib.TOMLDecodeError) -> Finding:
    at = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", str(fault))
    line = int(at[1]) if at and at[1] else max(len(text.splitlines()), 1)
    return Finding(line, "error", "model", f"this is not TOML: {fault}")


def _named(place: Place, document: Any) -> str:
    """Return the place for people: elements of lists by their names where they have one."""
    said = []
    part = document
    for step in place:
        part = _below(part, step)
        if part is None and isinstance(step, int):
            continue  # A single one was written without a list around it.
        name = part.get("name") if isinstance(part, dict) and isinstance(step, int) else None
        said.append(name if isinstance(name, str) and name.isprintable() else str(step))
    return ".".join(said) or "model"


def _below(part: Any, step: str | int) -> Any:
    if isinstance(part, dict):
        return part.get(step)
    if isinstance(part, list) and isinstance(step, int) and step < len(part):
        return part[step]
    return None
