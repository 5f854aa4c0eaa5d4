"""How large an expression is, and what DynamoDB takes; moto and ministack mind no size.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_OPERATOR = re.compile(r"<>|[<>]=?|=|\b(?:AND|OR|NOT|BETWEEN|IN)\b|\w+(?=\()")


class Size(NamedTuple):
    """The size of an expression: its bytes, and its operators and functions."""

    length: int
    operators: int


LARGEST = Size(4 * 1024, 300)


def sizes(asked: Mapping[str, Any]) -> Iterator[Size]:
    """Return the size of each expression in a request, those of its transaction too."""
    for action in asked.get("TransactItems", ()):
        for inside in action.values():
            yield from sizes(inside)
    for name, said in asked.items():
        if name.endswith("Expression"):
            yield Size(len(said.encode()), len(_OPERATOR.findall(said)))


def too_large(asked: Mapping[str, Any]) -> Iterator[str]:
    """Return what of a request DynamoDB would refuse for its size."""
    for size in sizes(asked):
        if size.length > LARGEST.length or size.operators > LARGEST.operators:
            yield f"an expression of {size.length:,} bytes, {size.operators} operators"
