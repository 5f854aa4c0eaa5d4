"""What has to be true: in every state, of every transaction, and once the sweep has run."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tests.protocol.actors import FALSE, TRUE, Told, names, reached, whole
from tests.protocol.table import Action, Table

COUNTERS = "counters are the sum of the ledger"
KNOWN = "a lead is known by what its ledger tells"
NAMES = "a lead counts its names"
ALLOWANCE = "an allowance is used by what was paid, and never over"
OUTBOX = "a change is there exactly when its message or its publication is"
ONCE = "a lead is promoted once in a cycle"
PUBLISHED = "nothing is settled that was not published"
OBJECTION = "after an objection nothing is paid, promoted or told"
ERASED = "an erased lead is left alone, and comes back by a newer opt-in only"
NOTHING_LEFT = "of an erased lead nothing is left"
SILENT = "nothing is published of an erased lead"
LOST = "what is acknowledged is in the ledger"
MOVED = "who has reached a stage is moved there"
STUCK = "nobody is refused for ever"
SETTLED = "the sweep settles whatever waits"


def of_table(table: Table, told: frozenset[Told]) -> Iterator[str]:
    """Return what is wrong with one state."""
    items = {key: dict(item) for key, item in table}
    alive = {
        key[0]: lead
        for key, lead in items.items()
        if key[1] == "LEAD" and not {"merged_into", "erased_at"} & lead.keys()
    }
    parts = {lead: names(table, lead) for lead in alive}
    wholes = {key[0]: whole(table, key[0]) for key in items}
    for lead, item in alive.items():
        mine = [(k, i) for k, i in items.items() if k[0] in parts[lead]]
        entries = [(k[0], i) for k, i in mine if k[1].startswith("INTERACTION")]
        if item.get("units", 0) != sum(entry["paid"] for _, entry in entries):
            yield COUNTERS
        if item.get("consent") != max((e["tells"] for _, e in entries if e["tells"]), default=None):
            yield KNOWN
        if item.get("identities", 0) != len(parts[lead]) - 1:
            yield NAMES
        if any(entry["at"] < item.get("generation_started_at", 0) for _, entry in entries):
            yield ERASED
        limited = Counter(home for home, e in entries if e["limited"] and e["paid"])
        used = Counter({k[0]: i["used"] for k, i in mine if k[1] == "LIMIT"})
        if limited != used or any(n > 1 for n in used.values()):
            yield ALLOWANCE
    promoted: Counter[tuple[Any, ...]] = Counter()
    for (lead, sk), item in items.items():
        kind, _, number = sk.partition("#")
        now = wholes[lead][1]
        if now is None:
            yield LOST if kind == "INTERACTION" else NOTHING_LEFT
        elif "erased_at" not in dict(now) and kind in ("CHANGE", "OUTBOX"):
            change = items.get((lead, f"CHANGE#{number}"), {})
            if ((lead, f"OUTBOX#{number}") in items) == ("published_as" in change):
                yield OUTBOX
            if kind == "CHANGE" and item["kind"] == "promoted":
                promoted[lead, item["cycle"], item["generation"]] += 1
            if item.get("published_as") == int(number) and not any(
                (one.lead, one.number) == (lead, int(number)) for one in told
            ):
                yield PUBLISHED
    promotions = ((t.lead, t.cycle, t.generation) for t in told if t.kind == "promoted")
    if any(n > 1 for n in (*promoted.values(), *Counter(promotions).values())):
        yield ONCE


def of_write(before: Table, actions: tuple[Action, ...], after: Table) -> Iterator[str]:
    """Return what a transaction did that it must not do."""
    olds, news = dict(before), dict(after)
    for action in actions:
        old, new = dict(olds.get(action.key, ())), dict(news.get(action.key, ()))
        if "erased_at" in old and not _may_follow(old, new):
            yield ERASED
    leads = [dict(olds.get(a.key, ())) for a in actions if a.key[1] == "LEAD"]
    if any(lead.get("consent", (0, ""))[1] == FALSE for lead in leads):
        for action in actions:
            item = dict(action.sets)
            kind = action.key[1].partition("#")[0]
            agrees = (item.get("tells") or (0, ""))[1] == TRUE
            pays = kind == "INTERACTION" and item["paid"] and not agrees
            if pays or (kind == "CHANGE" and item.get("kind") == "promoted"):
                yield OBJECTION


def _may_follow(erased: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether an erased lead may be so: let go of, erased for good, or begun anew."""
    if "leaves_nothing" in erased and ("erasing" in new) <= ("erased_at" in new):
        return not new or new.keys() == erased.keys() or "leaves_nothing" not in new
    if "erased_at" in new:
        return all(new.get(name) == erased.get(name) for name in {*erased, *new} - {"erasing"})
    return "erasing" not in erased and new.get("generation_started_at", 0) > erased["erased_at"]


def of_end(
    table: Table, told: frozenset[Told], counted: frozenset[tuple[str, str]]
) -> Iterator[str]:
    """Return what is wrong once nobody is at work and the sweep has run."""
    yield from of_table(table, told)
    items = {key: dict(item) for key, item in table}
    if any(sk.startswith("OUTBOX#") for _, sk in items):
        yield SETTLED
    if not all((home, f"INTERACTION#{name}") in items for home, name in counted):
        yield LOST
    for (lead, sk), item in items.items():
        now = dict(whole(table, lead)[1] or ())
        if "erased_at" in now:
            left = {"stage", "units", "interactions", "consent", "erasing"} & item.keys()
            if left or not sk.startswith(("LEAD", "IDENTITY#")):
                yield NOTHING_LEFT
        elif (
            sk == "LEAD" and "stage" in now and reached(whole(table, lead)[0], now) != now["stage"]
        ):
            yield MOVED
