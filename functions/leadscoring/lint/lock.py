"""What each number of the model pays, written down: `model.lock`, beside the model."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from leadscoring.model import Model

COMMENT = """\
# What the rules of each model pay, by its number, as a digest: every ledger entry remembers the
# number of the model that paid it, so a number must never come to mean two things. Written by
# `uv run mqlambda lint --record`; commit it with the model.
"""
RECORD = "uv run mqlambda lint --record"


class LockError(ValueError):
    """The lock can't be read, or must not be written."""


def beside(model_file: Path) -> Path:
    """Return where the lock of a model file is."""
    return model_file.with_suffix(".lock")


def load(model_file: Path) -> dict[int, str]:
    """Return what is recorded beside a model file; raise `LockError` if it can't be read."""
    try:
        return read(beside(model_file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def read(text: str) -> dict[int, str]:
    """Return what was recorded, by number.

    Raises:
        LockError: this is no lock.
    """
    try:
        found = tomllib.loads(text)
        if not all(isinstance(digest, str) for digest in found.values()):
            raise LockError("model.lock: a line is a number, =, and a digest in quotes")
        return {int(number): digest for number, digest in found.items()}
    except ValueError as error:
        if isinstance(error, LockError):
            raise
        raise LockError(f"model.lock: {error}") from error


def written(recorded: Mapping[int, str]) -> str:
    """Return the lock's text."""
    lines = (f'{number} = "{digest}"\n' for number, digest in sorted(recorded.items()))
    return COMMENT + "".join(lines)


def refusal(model: Model, recorded: Mapping[int, str]) -> str | None:
    """Return why the model's number can't be recorded with what it pays, or None if it can."""
    number, newest = model.number, max(recorded, default=0)
    following = f"give the model the next number, {max(newest, number) + 1}"
    if number in recorded and recorded[number] != model.pays:
        return f"what the rules pay has changed since number {number} was recorded: {following}"
    if number not in recorded and number < newest:
        return f"numbers go forward only, and {newest} is recorded: {following}"
    return None
