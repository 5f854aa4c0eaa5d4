"""The words of the lint: what it has to say about a place in the model."""

from decimal import Decimal
from typing import Literal, NamedTuple

from leadscoring.faults import Place

type Severity = Literal["error", "warning"]


class Remark(NamedTuple):
    """Something to say about a place: an error is certainly wrong, a warning probably not meant."""

    severity: Severity
    place: Place
    message: str


def error(place: Place, message: str) -> Remark:
    """Return the remark that something is certainly wrong."""
    return Remark("error", place, message)


def warning(place: Place, message: str) -> Remark:
    """Return the remark that something is probably not meant."""
    return Remark("warning", place, message)


def shown(points: Decimal) -> str:
    """Return points as people write them, to one decimal at most."""
    return f"{round(points, 1).normalize():f}"
