"""On which line of a TOML text does each key stand? `tomllib` reads the values and forgets."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

# What may stand between two tokens. TOML is stricter in places, but the text is known to be valid.
_GAP = r"(?: [ \t\r\n]+ | \#[^\n]* )*"
_KEY = r""" [A-Za-z0-9_-]+ | "(?: \\. | [^"\\] )*" | '[^']*' """
# The last alternative is a number, true, false, or a date, perhaps with a space before the time.
# A text between triple quotes may itself end in a quote or two: the last three close it.
_SCALAR = r"""
    \"{3} (?: \\. | [^\\] )*? \"{3} (?!\") | '{3} .*? '{3} (?!')
    | "(?: \\. | [^"\\] )*" | '[^']*' | [^,\]}\#\n]+
"""


@dataclass
class Lines:
    """Where a table, an array or a value of a TOML text stands, and where all its parts do."""

    first: int
    parts: dict[str | int, "Lines"] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the lines of this text, which `tomllib` has accepted."""
        scanner, root = _Scanner(text), cls(1)
        table: Lines = root
        while scanner.at < len(text):
            line = scanner.line
            if scanner.passes("[["):
                *outer, name = scanner.keys()
                tables = _below(root, outer, line).parts.setdefault(name, Lines(line))
                table = tables.parts[len(tables.parts)] = Lines(line)
                scanner.passes("]]")
            elif scanner.passes("["):
                table = _below(root, scanner.keys(), line)
                # Until now it may have stood where an earlier [table.below] implied it.
                table.first = line
                scanner.passes("]")
            else:
                scanner.pair(table)
        return root

    def line(self, *path: str | int) -> int:
        """Return the line, from 1, of the deepest part of the path that is written down."""
        part = self
        for step in path:
            if step not in part.parts:
                break
            part = part.parts[step]
        return part.first


def _below(table: Lines, keys: Iterable[str], line: int) -> Lines:
    """Return what the keys lead to; what wasn't there yet now stands on this line."""
    for key in keys:
        part = table.parts.setdefault(key, Lines(line))
        # Keys below an array of tables go into its last table so far.
        table = part.parts.get(len(part.parts) - 1, part)
    return table


class _Scanner:
    """A walk through the text that always stands in front of a token, on its line."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.line = text, 0, 1
        self.take("")

    def take(self, token: str) -> str:
        """Return the token that comes next and step behind it; return "" if another one comes."""
        found = re.compile(f"(?xs)({token}){_GAP}").match(self.text, self.at)
        if not found:
            return ""
        self.at = found.end()
        self.line += found[0].count("\n")
        return found[1]

    def passes(self, mark: str) -> bool:
        return bool(self.take(re.escape(mark)))

    def keys(self) -> list[str]:
        keys: list[str] = []
        while not keys or self.passes("."):
            # `tomllib` knows quotes and escapes.
            keys += tomllib.loads(f"{self.take(_KEY)} = 0")
        return keys

    def pair(self, table: Lines) -> None:
        line = self.line
        part = _below(table, self.keys(), line)
        self.passes("=")
        self.value(part)

    def value(self, part: Lines) -> None:
        if self.passes("["):
            while not self.passes("]"):
                element = part.parts[len(part.parts)] = Lines(self.line)
                self.value(element)
                self.passes(",")
        elif self.passes("{"):
            while not self.passes("}"):
                self.pair(part)
                self.passes(",")
        elif not self.take(_SCALAR):
            raise ValueError(f"line {self.line}: not TOML")
