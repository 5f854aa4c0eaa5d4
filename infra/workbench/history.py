"""Reads a history from a file, JSON lines or CSV, as the messages it might have come in as."""

import codecs
import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

from infra.workbench.columns import Columns, Message, Wording, WrongColumns
from leadscoring.request import MESSAGE_BYTES, Invalid, read_json

_CHUNK_BYTES = 1 << 20
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = ",;\t"


class Unreadable(Exception):
    """The file is no history, or not with these options; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a file: the line it begins on, and what it says, or why it says nothing."""

    line: int
    message: Message | Invalid


@dataclass(frozen=True, slots=True)
class Table:
    """How the rows of a CSV file are cut, and what its columns mean."""

    delimiter: str
    columns: Columns


@dataclass(frozen=True, slots=True)
class History:
    """A file of messages that has been read through once: it is text, and known by its digest.

    Without a `table` it is JSON lines.
    """

    path: Path
    encoding: str
    digest: str
    lines: int
    table: Table | None

    @classmethod
    def of(cls, path: Path, wording: Wording, encoding: str | None = None) -> Self:
        """Look through the file; it is UTF-8 unless `encoding`, or its byte order mark, says so.

        Raises:
            Unreadable: it is not text of that encoding, not of this form, or empty.
        """
        encoding = _marked(path) or encoding or "utf-8"
        digest, lines = _look_through(path, encoding)
        with path.open(encoding=encoding, newline="") as file:
            begins = file.read(_CHUNK_BYTES).lstrip()[:1]
            file.seek(0)
            match begins:
                case "":
                    raise Unreadable(f"{path} is empty")
                case "[":
                    told = "give one message a line, as `jq -c '.[]'` writes them"
                    raise Unreadable(f"{path} is a JSON array: {told}")
                case "{" if wording != Wording():
                    raise Unreadable(f"{path} is JSON lines: only a table's columns have names")
                case "{":
                    table = None
                case _:
                    table = _table(file, wording)
        return cls(path, encoding, digest, lines, table)

    def key(self, into: str) -> str:
        """Return what tells one import from another: the file, its reading, the table."""
        what = f"{self.digest} {self.encoding} {self.table} {into}"
        return hashlib.sha256(what.encode()).hexdigest()

    def records(self) -> Iterator[Record]:
        """Return what the file says, record by record: it is never in memory as a whole."""
        with self.path.open(encoding=self.encoding, newline="") as file:
            yield from _messages(file, self.table) if self.table else _json_lines(file)


def _marked(path: Path) -> str | None:
    """Return the encoding that a byte order mark tells of, if there is one."""
    with path.open("rb") as file:
        head = file.read(4)
    return next((name for mark, name in _BYTE_ORDER_MARKS if head.startswith(mark)), None)


def _look_through(path: Path, encoding: str) -> tuple[str, int]:
    """Return the file's SHA-256 and how many lines it has: all of it can be read."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError:
        raise Unreadable(f"there is no encoding {encoding!r}") from None
    digest, lines, chunk = hashlib.sha256(), 0, b"begin"
    with path.open("rb") as file:
        while chunk:
            chunk = file.read(_CHUNK_BYTES)
            digest.update(chunk)
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                line = lines + error.object[: error.start].count(b"\n") + 1
                told = "If it is something else, say so, as by `--encoding cp1252`"
                raise Unreadable(f"{path} is not {encoding} in line {line}. {told}") from None
            if "\0" in text:
                told = "If it is UTF-16, say so, as by `--encoding utf-16-le`"
                raise Unreadable(f"{path} holds NUL characters, as no text does. {told}")
            lines += text.count("\n")
    return digest.hexdigest(), lines


def _json_lines(file: TextIO) -> Iterator[Record]:
    for number, line in enumerate(file, start=1):
        if not line.isspace():
            try:
                yield Record(number, read_json(line.strip().encode(), MESSAGE_BYTES))
            except Invalid as fault:
                yield Record(number, fault)


def _table(file: TextIO, wording: Wording) -> Table:
    """Return how this file's table is to be read, by its header."""
    first = file.readline()
    file.seek(0)
    delimiter = max(_DELIMITERS, key=first.count)
    _, header = next(_rows(file, delimiter))
    if isinstance(header, Invalid):
        raise Unreadable(f"the first line has to name the columns, and it is {header.message}")
    try:
        return Table(delimiter, Columns.of(header, wording))
    except WrongColumns as error:
        raise Unreadable(str(error)) from None


def _messages(file: TextIO, table: Table) -> Iterator[Record]:
    rows = _rows(file, table.delimiter)
    next(rows)
    for line, row in rows:
        if row == []:
            continue
        try:
            yield Record(line, row if isinstance(row, Invalid) else table.columns.message(row))
        except Invalid as fault:
            yield Record(line, fault)


def _rows(file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str] | Invalid]]:
    """Return each row with the line it begins on; what is not as CSV has it is passed over."""
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lost = f", lost up to line {reader.line_num}" if reader.line_num > line else ""
            told = f"not CSV ({error}){lost}: look at its quotation marks"
            yield line, Invalid("invalid", "line", told)
