"""What is noted beside a file while it is imported: how far that came, and which lines it lost."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from leadscoring.request import Invalid

_HEADER = ("line", "code", "field", "message")


class Unwritable(Exception):
    """A note can't be written; the text says where, and why."""


@dataclass(slots=True)
class Outcome:
    """What an import came to, so far. `line` is the last of the file's that it is done with.

    `promotions` are those of this run alone, and `stopped` says that they were enough.
    """

    records: int = 0
    line: int = 0
    interactions: int = 0
    duplicates: int = 0
    conflicting: int = 0
    withheld: int = 0
    rejected: int = 0
    promotions: int = 0
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Journal:
    """The notes of one import. Without a `state` it begins at the first line each time.

    What the report holds beyond the last note is cut off when the import goes on, so each line
    stands in it once.
    """

    report: Path
    state: Path | None
    key: str
    outcome: Outcome

    @classmethod
    def beside(cls, file: Path, key: str, *, dry_run: bool) -> Self:
        """Take up the notes of the import that has this key, or begin new ones.

        Raises:
            Unwritable: there is no writing beside the file.
        """
        report = file.with_name(f"{file.name}{'.dry-run' if dry_run else ''}.rejected.csv")
        state = None if dry_run else file.with_name(f"{file.name}.import.json")
        noted = _noted(state, report) if state else {}
        with _told(report):
            if noted.get("key") == key:
                with report.open("r+b") as rows:
                    rows.truncate(noted["report_bytes"])
                return cls(report, state, key, Outcome(**noted["outcome"]))
            with report.open("w", newline="", encoding="utf-8") as rows:
                csv.writer(rows).writerow(_HEADER)
        return cls(report, state, key, Outcome())

    def note(self, rejected: Iterable[tuple[int, Invalid]]) -> None:
        """Write down which lines were refused, and then what the import came to by now.

        Raises:
            Unwritable: the disk is full, or the like.
        """
        with _told(self.report):
            with self.report.open("a", newline="", encoding="utf-8") as rows:
                faults = ((line, *fault.as_dict().values()) for line, fault in rejected)
                csv.writer(rows).writerows(faults)
            if self.state:
                outcome = asdict(self.outcome) | {"promotions": 0, "stopped": False}
                size = self.report.stat().st_size
                noted = {"key": self.key, "report_bytes": size, "outcome": outcome}
                draft = self.state.with_name(f"{self.state.name}.new")
                draft.write_text(json.dumps(noted), encoding="utf-8")
                draft.replace(self.state)

    def close(self) -> None:
        """Forget the place, now that the file is done with; keep a report that says something."""
        if self.state:
            self.state.unlink(missing_ok=True)
        if not self.outcome.rejected:
            self.report.unlink(missing_ok=True)


def _noted(state: Path, report: Path) -> dict[str, Any]:
    """Return the notes as they were left, or nothing where they are not whole."""
    try:
        noted: dict[str, Any] = json.loads(state.read_text(encoding="utf-8"))
        return noted if report.stat().st_size >= noted["report_bytes"] else {}
    except (OSError, ValueError, KeyError):
        return {}


@contextmanager
def _told(report: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unwritable(f"no notes can be written as {report}: {error.strerror}") from error
