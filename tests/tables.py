"""Tables that tests are written as: a head, and rows of cells that are two spaces apart."""

import re

type Row = list[tuple[str, str]]


def rows(table: str) -> dict[str, Row]:
    """Return each row by its name: its cells in order, each with its column's name."""
    head, *lines = (re.split(r"\s{2,}", line.strip()) for line in table.strip().splitlines())
    return {name: list(zip(head, cells, strict=True)) for name, *cells in lines}
