"""A table with DynamoDB's transactions, as far as the protocol uses them. Nothing in it changes."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.protocol.places import told

type Key = tuple[str, str]
type Item = frozenset[tuple[str, Any]]
type Table = frozenset[tuple[Key, Item]]

# What stands in place of an attribute that is not there.
_MISSING = None

# How the code asks, `a` for an attribute and `v` for a value, and when that holds.
ASKED: Mapping[str, Callable[[Any, Any], bool]] = {
    "attribute_exists(a)": lambda a, _: a is not _MISSING,
    "attribute_not_exists(a)": lambda a, _: a is _MISSING,
    "a = v": lambda a, v: a == v,
    "a < v": lambda a, v: a is not _MISSING and a < v,
    "attribute_not_exists(a) OR a <= v": lambda a, v: a is _MISSING or a <= v,
    # A claim is worth its rank first, its value second.
    "attribute_not_exists(a) OR a.value <> v": lambda a, v: a is _MISSING or a[1] != v,
    "attribute_not_exists(a) OR a.claim < v OR (a.claim = v AND a.value <= v)": (
        lambda a, v: a is _MISSING or a <= v
    ),
}


class Condition(NamedTuple):
    """One part of an action's condition, and the guard that it is."""

    guard: str
    asks: str
    attribute: str
    value: Any = None

    def holds(self, item: Mapping[str, Any]) -> bool:
        """Tell whether it holds for an item; for one that is not there, nothing exists."""
        return ASKED[self.asks](item.get(self.attribute), self.value)


class Action(NamedTuple):
    """What a transaction does to one item, and on which conditions."""

    verb: str
    key: Key
    conditions: tuple[Condition, ...] = ()
    adds: Item = frozenset()
    defaults: Item = frozenset()
    sets: Item = frozenset()
    removes: frozenset[str] = frozenset()

    @property
    def told(self) -> str:
        """Return what it does, an update by the first clause of its expression."""
        clause = "ADD" if self.adds else "SET" if self.sets else "REMOVE"
        verb = clause if self.verb == "Update" else self.verb
        return told(verb, self.key[1], asks=bool(self.conditions))

    def after(self, item: Mapping[str, Any]) -> Item | None:
        """Return the item as it is afterwards, None where it is no more."""
        match self.verb:
            case "Delete":
                return None
            case "Put":
                return self.sets
        changed = {"pk": self.key[0], **dict(self.defaults), **item}
        for name, number in self.adds:
            changed[name] = changed.get(name, 0) + number
        changed.update(self.sets)
        return frozenset(pair for pair in changed.items() if pair[0] not in self.removes)


class Refused(NamedTuple):
    """For each action the item that refused it, an empty one if it is not there, None if none."""

    blockers: tuple[Item | None, ...]


def put(key: Key, item: Mapping[str, Any], *conditions: Condition) -> Action:
    """Put the item in place of the one that is there."""
    whole = frozenset({"pk": key[0], **item}.items())
    return Action("Put", key, conditions, sets=whole)


def put_new(guard: str, key: Key, item: Mapping[str, Any]) -> Action:
    """Put the item, on condition that its key is not there yet."""
    return put(key, item, Condition(guard, "attribute_not_exists(a)", "pk"))


def delete(key: Key, *conditions: Condition) -> Action:
    """Delete the item if it is there."""
    return Action("Delete", key, conditions)


def update(
    key: Key,
    *conditions: Condition,
    adds: Mapping[str, int] | None = None,
    defaults: Mapping[str, Any] | None = None,
    sets: Mapping[str, Any] | None = None,
    removes: frozenset[str] = frozenset(),
) -> Action:
    """Change the item, and make it where it is not there."""
    added = frozenset((name, n) for name, n in (adds or {}).items() if n)
    given, wanted = frozenset((defaults or {}).items()), frozenset((sets or {}).items())
    return Action("Update", key, conditions, added, given, wanted, removes)


def transact(table: Table, actions: tuple[Action, ...], removed: str | None) -> Table | Refused:
    """Do all actions or none. The removed guard asks nothing."""
    items = dict(table)
    befores = [dict(items.get(action.key, ())) for action in actions]
    blockers = tuple(
        None
        if all(c.guard == removed or c.holds(before) for c in action.conditions)
        else frozenset(before.items())
        for action, before in zip(actions, befores, strict=True)
    )
    if any(blocker is not None for blocker in blockers):
        return Refused(blockers)
    for action, before in zip(actions, befores, strict=True):
        after = action.after(before)
        if after is None:
            items.pop(action.key, None)
        else:
            items[action.key] = after
    return frozenset(items.items())
