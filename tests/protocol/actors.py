"""What each actor of the protocol does, step by step, as the code does it.

An actor is what it was asked and what it has heard since; so it can be stopped between any two
steps, copied and compared. It ends with an outcome, or goes on as an actor that has heard nothing.
"""

from collections.abc import Generator, Mapping
from typing import Any, NamedTuple, TypeIs

from tests.protocol.table import (
    Action,
    Condition,
    Item,
    Key,
    Refused,
    Table,
    delete,
    put,
    put_new,
    update,
)

BAR = 2
ANONYMOUS = "A"
TRUE, FALSE = "true", "false"
_STANDING = {"captured": 0, "recycled": 1, "mql": 2}
_OF_A_TOMBSTONE = {"partings", "identities"}
_OF_A_STUB = {*_OF_A_TOMBSTONE, "revision", "changes", "merged_into"}


class Message(NamedTuple):
    """What a sender sends until it is acknowledged; `also` is another name that it gives its lead.

    Who sends it knows the lead by `home`. Each pays 1; of the limited ones the first of its home.
    """

    id: str
    home: str
    at: int = 1
    limited: bool = False
    consent: str | None = None
    trusted: bool = False
    also: str | None = None


class Told(NamedTuple):
    """A message to the world, under its id: lead and number."""

    lead: str
    number: int
    kind: str
    cycle: int = 1
    generation: int = 0


class Get(NamedTuple):
    """Reads one item."""

    key: Key

    def answer(self, table: Table) -> Item | None:
        return dict(table).get(self.key)


class Whole(NamedTuple):
    """Reads the lead that this one is part of now."""

    lead: str

    def answer(self, table: Table) -> tuple[str, Item | None]:
        return whole(table, self.lead)


class Find(NamedTuple):
    """Reads of a lead, and of all that became part of it, the items whose sort keys begin so."""

    lead: str
    prefix: str

    def answer(self, table: Table) -> frozenset[tuple[Key, Item]]:
        homes = names(table, self.lead)
        return frozenset(
            (key, item) for key, item in table if key[0] in homes and key[1].startswith(self.prefix)
        )


class Names(NamedTuple):
    """Reads the names of all that became part of a lead, itself first."""

    lead: str

    def answer(self, table: Table) -> tuple[str, ...]:
        return names(table, self.lead)


class Write(NamedTuple):
    """Does all actions or none; hears what refused."""

    actions: tuple[Action, ...]


class Publish(NamedTuple):
    """Tells the world."""

    told: Told


class Actor(NamedTuple):
    """Somebody at work: what it was asked, and what it has heard since."""

    program: str
    asked: tuple[Any, ...]
    heard: tuple[Any, ...] = ()


type Step = Get | Whole | Find | Names | Write | Publish
type Program = Generator[Step, Any, "Actor | str"]
type Burial = Generator[Step, Any, Refused | None]

DONE, COUNTED, DROPPED, BUSY = "done", "counted", "dropped", "busy"


def whole(table: Table, lead: str) -> tuple[str, Item | None]:
    items = dict(table)
    item = items.get((lead, "LEAD"))
    while item is not None and (into := dict(item).get("merged_into")):
        lead, item = into, items.get((into, "LEAD"))
    return lead, item


def names(table: Table, lead: str) -> tuple[str, ...]:
    found = [lead]
    for name in found:
        mine = (k[1] for k, _ in table if k[0] == name and k[1].startswith("IDENTITY#"))
        found += sorted(sk.removeprefix("IDENTITY#") for sk in mine)
    return tuple(found)


def numbered(kind: str, number: int) -> str:
    return f"{kind}#{number}"


class Programs:
    """All programs; the checks among their guards ask nothing where they are the removed one."""

    def __init__(self, removed: str | None = None) -> None:
        self._removed = removed

    def _checks(self, guard: str, holds: object) -> bool:
        return guard != self._removed and bool(holds)

    # Record and join: ledger, membership, joining

    def record(
        self,
        message: Message,
        lead: str,
        known: frozenset[tuple[str, int]],
        knows: frozenset[str] = frozenset(),
    ) -> Program:
        """Enter a message, with what earlier refusals told: `full`, `objected`, `beaten`."""
        home, partings = message.home, dict(known)
        objected = "objected" in knows
        tells = message.consent and not objected and "beaten" not in knows
        agrees = bool(tells) and message.consent == TRUE
        pays = 0 if objected or (message.limited and "full" in knows) else 1
        claim = (message.at, message.consent)
        entry = {
            "paid": pays,
            "at": message.at,
            "limited": message.limited,
            "tells": claim if message.consent and not objected else None,
        }
        not_there, not_over = "attribute_not_exists(a)", "attribute_not_exists(a) OR a <= v"
        conditions = [Condition("not merged", not_there, "merged_into")]
        if lead != home:
            as_known = partings.get(lead)
            asks = "a = v" if as_known else not_there
            conditions.append(Condition("nothing taken out", asks, "partings", as_known))
            conditions.append(Condition("lead has names", "attribute_exists(a)", "identities"))
        conditions.append(Condition("not erased", not_there, "erased_at"))
        conditions.append(
            Condition("of this generation", not_over, "generation_started_at", message.at)
        )
        if not agrees and not objected:
            has_not = "attribute_not_exists(a) OR a.value <> v"
            conditions.append(Condition("no objection", has_not, "consent", FALSE))
        if tells:
            weaker = "attribute_not_exists(a) OR a.claim < v OR (a.claim = v AND a.value <= v)"
            conditions.append(Condition("claim not beaten", weaker, "consent", claim))
        actions = [put_new("entry new", (home, f"INTERACTION#{message.id}"), entry)]
        if message.limited and pays:
            left = Condition("allowance left", not_over, "used", 0)
            actions.append(update((home, "LIMIT"), left, adds={"used": 1}))
        actions.append(
            update(
                (lead, "LEAD"),
                *conditions,
                adds={"revision": 1, "interactions": 1, "units": pays},
                defaults={"stage": "captured"},
                sets={"consent": claim} if tells else {},
            )
        )
        refused = yield Write(tuple(actions))
        if refused is None:
            return _joining(message, COUNTED)
        there, *limit, blocker = refused.blockers
        if there is not None:
            return _joining(message, COUNTED)
        if limit and limit[0] is not None:
            knows |= {"full"}
        if blocker is None:
            return Actor("record", (message, lead, known, knows))
        newer = dict(blocker)
        counted = newer.get("partings", 0)
        stranger = lead != home and ("identities" not in newer or counted != partings.get(lead, 0))
        if stranger or "merged_into" in newer:
            known = frozenset({**partings, lead: counted}.items())
            part_of, _ = yield Whole(home)
            return Actor("record", (message, part_of, known, knows))
        opts_in = (
            message.consent == TRUE
            and message.trusted
            and "erased_at" in newer
            and message.at > newer["erased_at"]
        )
        if self._checks("waits for a lead that leaves nothing", "leaves_nothing" in newer):
            return BUSY
        if opts_in and self._checks("waits for the erasure", "erasing" in newer):
            return BUSY
        if opts_in:
            yield Write(
                (
                    update(
                        (lead, "LEAD"),
                        Condition("erased before", "a < v", "erased_at", message.at),
                        Condition("erasure over", "attribute_not_exists(a)", "erasing"),
                        adds={"revision": 1},
                        sets={"generation_started_at": message.at},
                        removes=frozenset({"erased_at"}),
                    ),
                )
            )
            return Actor("record", (message, lead, known, knows))
        if "erased_at" in newer or message.at < newer.get("generation_started_at", 0):
            return _joining(message, DROPPED)
        said = newer.get("consent")
        if tells and said and claim <= said:
            knows, agrees = knows | {"beaten"}, False
        if said and said[1] == FALSE and not agrees:
            knows |= {"objected"}
        return Actor("record", (message, lead, known, knows))

    def join(self, message: Message, outcome: str) -> Program:
        """Join the other name that a message gave, unless it is part of a lead or was."""
        other = str(message.also)
        theirs, into = (yield Get((other, "LEAD"))), (yield Whole(message.home))
        lead, mine = into
        if mine is None or "erased_at" in dict(mine) or "erased_at" in dict(theirs or ()):
            return outcome
        if theirs is None:
            refused = yield Write(_noted(lead, other))
        elif {"merged_into", "unmerged_at"} & dict(theirs).keys():
            return outcome
        else:
            refused = yield Write(_merged(lead, mine, other, theirs))
        return Actor("join", (message, outcome)) if refused else outcome

    def merge(self, lead: str, other: str) -> Program:
        """Make two leads one, since people say that they are."""
        into, was = (yield Whole(lead)), (yield Whole(other))
        (lead, mine), (other, theirs) = into, was
        if lead == other or not (_is_one(mine) and _is_one(theirs)):
            return DONE
        refused = yield Write(_merged(lead, mine, other, theirs))
        return Actor("merge", (lead, other)) if refused else DONE

    def part(self, lead: str, other: str) -> Program:
        """Take a name out of the lead that it is part of."""
        mine, theirs = (yield Get((lead, "LEAD"))), (yield Get((other, "LEAD")))
        if not _is_one(mine) or theirs is None or "merged_into" not in dict(theirs):
            return DONE
        mine, theirs = dict(mine), dict(theirs)
        found = yield Find(lead, "I")
        if ((lead, f"IDENTITY#{other}")) not in dict(found):
            return DONE
        homes = yield Names(other)
        entries = [(key, dict(item)) for key, item in found if key[1].startswith("INTERACTION")]
        taken = [entry for key, entry in entries if key[0] in homes]
        kept = [entry for key, entry in entries if key[0] not in homes]
        gone, partings = sum(e["paid"] for e in taken), mine.get("partings", 0) + 1
        fewer = {"partings": 1, "identities": -len(homes), "interactions": -len(taken)}
        apart = {
            "stage": theirs.get("stage", "captured"),
            "unmerged_at": 1,
            "partings": partings,
            "identities": len(homes) - 1,
            **{n: mine[n] for n in ("generation_started_at",) if n in mine},
        }
        has = {"interactions": len(taken) - theirs.get("interactions", 0)}
        sides = (
            _sided(lead, mine, "rest as read", kept, gone, {}, fewer),
            _sided(other, theirs, "part as read", taken, theirs.get("units", 0) - gone, apart, has),
        )
        told = [
            item
            for side, was in ((lead, mine), (other, theirs))
            for item in _told(side, was, "unmerged", was.get("cycle", 1))
        ]
        refused = yield Write((*sides, delete((lead, f"IDENTITY#{other}")), *told))
        return Actor("part", (lead, other)) if refused else DONE

    # Promote and decide: promotion, store.commit

    def promote(self, lead: str) -> Program:
        """Move a lead to the stage that it has reached."""
        lead, item = yield Whole(lead)
        if not _is_one(item) or "stage" not in dict(item):
            return DONE
        was = dict(item)
        stage = reached(lead, was)
        if stage == was["stage"]:
            return DONE
        kind = "promoted" if stage == "mql" else "moved"
        refused = yield Write(_moved(lead, was, stage, kind, was.get("cycle", 1)))
        return Actor("promote", (lead,)) if refused else DONE

    def reject(self, lead: str, request: str) -> Program:
        """Send an MQL back, once for a request; that opens its next cycle."""
        lead, item = yield Whole(lead)
        if not _is_one(item) or dict(item).get("stage") != "mql":
            return DONE
        changes = yield Find(lead, "CHANGE#")
        if any(dict(change).get("request") == request for _, change in changes):
            return DONE
        was = dict(item)
        cycle = was.get("cycle", 1) + 1
        refused = yield Write(_moved(lead, was, "recycled", "rejected", cycle, request))
        return Actor("reject", (lead, request)) if refused else DONE

    # Relay: outbox, store.settle, store.withhold

    def relay(self, lead: str, number: int, _standing: str) -> Program:
        """Publish what one outbox item says, and settle it."""
        item = yield Get((lead, numbered("OUTBOX", number)))
        if item is None:
            return DONE
        outbox = dict(item)
        if outbox["kind"] == "erased":
            return Actor("go_on", (lead, number))
        _, now = yield Whole(lead)
        seen = dict(now or ())
        gone = now is None or "erased_at" in seen
        objected = outbox["needs_consent"] and seen.get("consent", (0, ""))[1] == FALSE
        why = ""
        if self._checks("withheld once erased", gone):
            why = "withheld: erased"
        elif self._checks("withheld once objected", objected):
            why = "withheld: consent"
        else:
            yield Publish(Told(lead, number, outbox["kind"], outbox["cycle"], outbox["generation"]))
        yield Write(
            (
                update(
                    (lead, numbered("CHANGE", number)),
                    Condition("change there", "attribute_exists(a)", "pk"),
                    sets={"published_as": why or number},
                ),
                delete((lead, numbered("OUTBOX", number))),
            )
        )
        return DONE

    # Erase: forgetting, erasing

    def erase(self, lead: str, at: int) -> Program:
        """Erase a lead since somebody asks for it."""
        refused = yield from self._bury(lead, at, leaves_nothing=False)
        return Actor("erase", (lead, at)) if refused else DONE

    def forget(self, lead: str, at: int) -> Program:
        """Erase a lead whose retention is over: nothing of it stays."""
        yield from self._bury(lead, at, leaves_nothing=True)
        return DONE

    def _bury(self, lead: str, at: int, *, leaves_nothing: bool) -> Burial:
        """Put a tombstone in a lead's place; tell whether it had moved on."""
        lead, item = yield Whole(lead)
        was = dict(item or ())
        again = "leaves_nothing" in was and not leaves_nothing
        if item is None or ("erased_at" in was and not again):
            return None
        number = was.get("changes", 0) + 1
        tombstone = {
            **{name: was[name] for name in _OF_A_TOMBSTONE & was.keys()},
            "revision": was["revision"] + 1,
            "changes": number,
            "erased_at": at,
            "erasing": number,
            **({"leaves_nothing": True} if leaves_nothing else {}),
        }
        as_read = Condition("tombstone for the lead as read", "a = v", "revision", was["revision"])
        new = {"kind": "erased", "needs_consent": False}
        message = put_new("erasure's message new", (lead, numbered("OUTBOX", number)), new)
        refused: Refused | None = yield Write((put((lead, "LEAD"), tombstone, as_read), message))
        return refused

    def go_on(self, lead: str, number: int) -> Program:
        """Take away what an erased lead left, tell that, and let go of the erasure."""
        mine = Condition("erasure goes on", "a = v", "erasing", number)
        still = update((lead, "LEAD"), mine, sets={"erasing": number})
        itself = (lead, numbered("OUTBOX", number))
        homes = yield Names(lead)
        for prefix in ("OUTBOX#", ""):
            found = yield Find(lead, prefix)
            beside = sorted(key for key, _ in found if not key[1].startswith(("LEAD", "IDENT")))
            gone = [delete(key) for key in beside if key != itself]
            if gone and (yield Write((still, *gone))):
                return DONE
        leaves_nothing = "leaves_nothing" in dict((yield Get((lead, "LEAD"))) or ())
        bared: list[Action] = []
        for name in reversed(homes[1:]):
            if item := (yield Get((name, "LEAD"))):
                bared += _dropped(name, item) if leaves_nothing else _bared(name, item)
        if bared and (yield Write((still, *bared))):
            return DONE
        yield Publish(Told(lead, number, "erased"))
        over = Condition("this erasure ends", "a = v", "erasing", number)
        key = (lead, "LEAD")
        end = (
            delete(key, over)
            if leaves_nothing
            else update(key, over, removes=frozenset({"erasing"}))
        )
        yield Write((end, delete(itself)))
        return DONE


def reached(lead: str, item: Mapping[str, Any]) -> str:
    """Return the stage where a lead should stand."""
    stage, units = str(item["stage"]), item.get("units", 0)
    may_be_called = lead != ANONYMOUS and item.get("consent", (0, ""))[1] != FALSE
    if stage == "mql" or (stage == "recycled" and item.get("interactions", 0) <= item["idle"]):
        return stage
    return "mql" if units >= BAR and may_be_called else "captured"


def _joining(message: Message, outcome: str) -> Actor | str:
    return Actor("join", (message, outcome)) if message.also else outcome


def _is_one(item: Item | None) -> TypeIs[Item]:
    return item is not None and not {"merged_into", "erased_at"} & dict(item).keys()


def _told(
    lead: str, was: Mapping[str, Any], kind: str, cycle: int, request: str | None = None
) -> tuple[Action, Action]:
    """Return a change and its message."""
    number = was.get("changes", 0) + 1
    said = {"kind": kind, "cycle": cycle, "generation": was.get("generation_started_at", 0)}
    needs_consent = kind in ("promoted", "moved")
    return (
        put_new("change new", (lead, numbered("CHANGE", number)), {**said, "request": request}),
        put_new(
            "message new",
            (lead, numbered("OUTBOX", number)),
            {**said, "needs_consent": needs_consent},
        ),
    )


def _moved(
    lead: str,
    was: Mapping[str, Any],
    stage: str,
    kind: str,
    cycle: int,
    request: str | None = None,
) -> tuple[Action, ...]:
    idle = {"idle": was.get("interactions", 0)} if stage == "recycled" else {}
    return (
        update(
            (lead, "LEAD"),
            Condition("decided on the lead as read", "a = v", "revision", was["revision"]),
            adds={"revision": 1, "changes": 1},
            sets={"stage": stage, "cycle": cycle, **idle},
        ),
        *_told(lead, was, kind, cycle, request),
    )


def _noted(lead: str, other: str) -> tuple[Action, ...]:
    return (
        put_new("name does nothing yet", (other, "LEAD"), {"revision": 1, "merged_into": lead}),
        update(
            (lead, "LEAD"),
            Condition("noted at a lead", "attribute_exists(a)", "stage"),
            Condition("noted at no other's name", "attribute_not_exists(a)", "merged_into"),
            adds={"revision": 1, "identities": 1},
        ),
        put_new("name new", (lead, f"IDENTITY#{other}"), {}),
    )


def _merged(lead: str, mine: Item, other: str, theirs: Item) -> tuple[Action, ...]:
    ours, gone = dict(mine), dict(theirs)
    further = max((ours, gone), key=lambda one: _STANDING.get(one.get("stage", ""), 0))
    stage = further.get("stage", "captured")
    total = ours.get("interactions", 0) + gone.get("interactions", 0)
    cycle = max(ours.get("cycle", 1), gone.get("cycle", 1))
    told: dict[str, Any] = {
        name: gone[name]
        for name in ("consent", "generation_started_at")
        if name in gone and (name not in ours or gone[name] > ours[name])
    }
    idle = {"idle": total} if stage == "recycled" != ours.get("stage") else {}
    return (
        update(
            (other, "LEAD"),
            Condition("merged as read", "a = v", "revision", gone["revision"]),
            adds={"revision": 1},
            sets={"merged_into": lead},
        ),
        update(
            (lead, "LEAD"),
            Condition("merged into the lead as read", "a = v", "revision", ours["revision"]),
            adds={
                "revision": 1,
                "changes": 1,
                "units": gone.get("units", 0),
                "interactions": gone.get("interactions", 0),
                "identities": gone.get("identities", 0) + 1,
                "partings": gone.get("partings", 0),
            },
            sets={"stage": stage, "cycle": cycle, **told, **idle},
        ),
        put_new("name new", (lead, f"IDENTITY#{other}"), {}),
        *_told(lead, ours, "merged", cycle),
    )


def _sided(
    lead: str,
    was: Mapping[str, Any],
    guard: str,
    entries: list[dict[str, Any]],
    less: int,
    sets: Mapping[str, Any],
    adds: Mapping[str, int],
) -> Action:
    """Let one side stand by its own entries alone."""
    told = max((e["tells"] for e in entries if e["tells"]), default=None)
    removes = {"merged_into"} | (set() if told else {"consent"})
    return update(
        (lead, "LEAD"),
        Condition(guard, "a = v", "revision", was["revision"]),
        adds={"revision": 1, "changes": 1, "units": -less, **adds},
        sets={**sets, **({"consent": told} if told else {})},
        removes=frozenset(removes),
    )


def _bared(name: str, item: Item) -> list[Action]:
    return [put((name, "LEAD"), {n: v for n, v in item if n in _OF_A_STUB})]


def _dropped(name: str, item: Item) -> list[Action]:
    into = dict(item).get("merged_into")
    if not into:
        return []
    part = Condition("dropped while a name", "a = v", "merged_into", into)
    return [delete((name, "LEAD"), part), delete((into, f"IDENTITY#{name}"))]
