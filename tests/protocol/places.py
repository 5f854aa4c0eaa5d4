"""Where a condition stands: the model's transactions and the code's, told in the same words."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """One action of a transaction: the n-th that does this, beside whatever else is done."""

    transaction: tuple[str, ...]
    does: str
    nth: int


def places(actions: Sequence[str]) -> Iterator[Place]:
    """Return the place of each action; how often a transaction does the same is no matter."""
    transaction = tuple(dict.fromkeys(actions))
    for i, does in enumerate(actions):
        yield Place(transaction, does, actions[:i].count(does))


def told(verb: str, sort_key: str, *, asks: bool) -> str:
    """Return what an action does; what is deleted without asking may be anything."""
    return verb if verb == "Delete" and not asks else f"{verb} {sort_key.partition('#')[0]}"
