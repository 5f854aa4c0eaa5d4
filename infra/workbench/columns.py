"""What the columns of a table mean: each row becomes a message."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from leadscoring.interaction import normalise_email
from leadscoring.request import Invalid

type Message = dict[str, Any]
type Place = tuple[str, ...]

# An e-mail in the context is the lead's, whatever the type: a group's traits are its company's.
_EMAIL: Place = ("context", "traits", "email")
_PLAIN = ("type", "event", "name", "userId", "anonymousId", "previousId", "timestamp", "messageId")
_TABLES = ("properties", "traits", "context")
_IDENTITIES: frozenset[Place] = frozenset(
    {_EMAIL, ("traits", "email"), ("properties", "email"), ("userId",), ("anonymousId",)}
)
_DEFAULT = {("type",): "track"}
_TYPED = ("properties", "traits")
# As JSON writes it, without exponents; what is longer is some system's id and no amount.
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?")


class WrongColumns(ValueError):
    """The columns make no messages; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What a table can't say itself.

    `renamed` is ours by the table's own name for a column, `given` what a row means that says
    nothing of it itself, and `texts` are columns whose numbers are none.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    texts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one table: where in a message each one's cells go, if anywhere."""

    places: tuple[Place | None, ...]
    given: Mapping[Place, str]
    texts: tuple[Place, ...]
    ignored: tuple[str, ...]

    @classmethod
    def of(cls, header: Sequence[str], wording: Wording) -> Self:
        """Return what this header means.

        Raises:
            WrongColumns: nobody is named in it, or something twice, or what is not there.
        """
        names = [name.strip() for name in header]
        for theirs in (*wording.renamed, *wording.texts):
            if theirs not in names:
                raise WrongColumns(f"there is no column {theirs!r} in it: {', '.join(names)}")
        for ours in (*wording.renamed.values(), *wording.given):
            if _place(ours) is None:
                raise WrongColumns(f"{ours!r} is none of ours: {_known()}")
        places = tuple(_place(wording.renamed.get(name, name)) for name in names)
        given = {place: text for name, text in wording.given.items() if (place := _place(name))}
        _check({*places, *given} - {None}, places)
        return cls(
            places=places,
            given=_DEFAULT | given,
            texts=tuple(p for n, p in zip(names, places, strict=True) if p and n in wording.texts),
            ignored=tuple(n for n, p in zip(names, places, strict=True) if p is None),
        )

    def message(self, row: Sequence[str]) -> Message:
        """Return the message that a row is; what is empty is not said.

        Raises:
            Invalid: it has too many cells, or its e-mail is none.
        """
        if len(row) > len(self.places):
            told = f"it has {len(row)} cells, the header only {len(self.places)}"
            raise Invalid("invalid", "line", told)
        cells = zip(self.places, (cell.strip() for cell in row), strict=False)
        said = {**self.given, **{place: cell for place, cell in cells if place and cell}}
        if _EMAIL in said:
            _check_email(said[_EMAIL])
        message: Message = {}
        for (*tables, last), text in said.items():
            table = message
            for name in tables:
                table = table.setdefault(name, {})
            table[last] = self._value((*tables, last), text)
        return message

    def _value(self, place: Place, text: str) -> str | int | float | bool:
        """Return what a cell says: in properties and traits, numbers and truth values too."""
        if place[0] not in _TYPED or place in self.texts:
            return text
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        if number := _NUMBER.fullmatch(text):
            return float(text) if number[2] else int(text)
        return text


def _place(name: str) -> Place | None:
    """Return where in a message a column of this name goes, or None if it is none of ours."""
    if name == "email":
        return _EMAIL
    if name in _PLAIN:
        return (name,)
    table, *path = name.split(".")
    return (table, *path) if table in _TABLES and path and all(path) else None


def _check(known: set[Any], places: Sequence[Place | None]) -> None:
    if not known & _IDENTITIES:
        raise WrongColumns(
            "no column names the lead: one has to be `email`, `userId` or `anonymousId`, or to be "
            "called so, as by `--map 'E-mail address=email'`"
        )
    for place in known:
        if places.count(place) > 1:
            raise WrongColumns(f"two columns are {_shown(place)}")
        for inner in _tables_around(place):
            if inner in known:
                raise WrongColumns(f"{_shown(inner)} can't be a value and hold {_shown(place)} too")


def _tables_around(place: Place) -> Iterator[Place]:
    return (place[:length] for length in range(1, len(place)))


def _shown(place: Place) -> str:
    return "email" if place == _EMAIL else ".".join(place)


def _known() -> str:
    return ", ".join((*_PLAIN, "email", *(f"{table}.…" for table in _TABLES)))


def _check_email(address: str) -> None:
    try:
        normalise_email(address)
    except ValueError as error:
        raise Invalid("invalid", "email", f"this is {error}") from None
