"""What is wrong with a model file: each fault in plain words, with its place."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeAliasType, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

type Place = tuple[str | int, ...]
"""The keys, and the numbers of elements, that lead to a part of the file."""

NAME = r"^[a-z][a-z0-9-]{0,39}$"
CELL = r"^[ABC][123]$"
ADDRESS = r"^https?://"

_SAID_OF_PATTERNS = {
    NAME: "a name has small letters, digits and hyphens, a letter first, and 40 of them at most",
    CELL: "must be a cell of the matrix, from A1 to C3",
    ADDRESS: "must be an address that begins with https:// or http://",
}
_SAID = {
    "missing": "this is missing",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "decimal_max_places": "must have at most {decimal_places} decimals",
    "finite_number": "must be a finite number",
    "decimal_type": "must be a number",
    "decimal_parsing": "must be a number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
    "frozen_set_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "literal_error": "must be {expected}",
    **dict.fromkeys(
        ("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"),
        "must be a date, as 2026-03-01",
    ),
    **dict.fromkeys(
        ("datetime_type", "datetime_parsing", "datetime_from_date_parsing"),
        "must be an instant, as 2026-03-01T12:00:00Z",
    ),
}


class Fault(NamedTuple):
    """One thing that is wrong, at its place."""

    place: Place
    message: str


class ModelError(ValueError):
    """A model, or a part of it, is wrong: `faults` names each place, and what is wrong there.

    What a part of the model raises has places within that part.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        lines = (f"{'.'.join(map(str, f.place)) or 'model'}: {f.message}" for f in self.faults)
        super().__init__("\n".join(lines))


def refuse(faults: Iterable[Fault]) -> None:
    """Raise `ModelError` if there are any faults."""
    if found := list(faults):
        raise ModelError(found)


def found_by_pydantic(error: ValidationError, part: type[BaseModel]) -> Iterator[Fault]:
    """Return all that pydantic and our own checks found wrong with a part of the model."""
    for fault in error.errors(include_url=False, include_input=False):
        place = tuple(step for step in fault["loc"] if step != "[key]")
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, ModelError):
            yield from (Fault(place + inner.place, inner.message) for inner in cause.faults)
        else:
            yield Fault(place, _plainly(fault, place, part))


def instead_of(word: str, known: Iterable[str]) -> str:
    """Return what may have been meant by a word that is not known, as the end of a sentence."""
    names = sorted(known)
    if close := difflib.get_close_matches(word, names, 1):
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names)}" if names else "; the model has none"


def _plainly(fault: Mapping[str, Any], place: Place, part: type[BaseModel]) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        return f"there is no such key{instead_of(str(place[-1]), _keys(part, place[:-1]))}"
    if kind == "string_pattern_mismatch":
        return _SAID_OF_PATTERNS[context["pattern"]]
    if kind in _SAID:
        return _SAID[kind].format_map(context)
    said: str = fault["msg"]
    return said.removeprefix("Value error, ")


def _keys(part: type[BaseModel], place: Place) -> list[str]:
    """Return the keys that a table at this place may have."""
    found: Any = part
    for step in place:
        found = _below(found, step)
    fields = found.model_fields.items() if hasattr(found, "model_fields") else ()
    return [field.alias or name for name, field in fields]


def _below(found: Any, step: str | int) -> Any:
    """Return the type of what stands in a table or a list of this type."""
    if hasattr(found, "model_fields"):
        fields = {field.alias or name: field for name, field in found.model_fields.items()}
        return _bare(fields[str(step)].annotation)
    # The values of a dict, the elements of a tuple.
    return _bare(get_args(found)[get_origin(found) is dict])


def _bare(annotation: Any) -> Any:
    """Return the type without its aliases, its conditions, and the None that it may be."""
    if isinstance(annotation, TypeAliasType):
        return _bare(annotation.__value__)
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return _bare(get_args(annotation)[0])
    return annotation
