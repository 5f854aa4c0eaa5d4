"""Breadth first through all states of a scope: the shortest way to whatever is wrong."""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.protocol import properties
from tests.protocol.actors import (
    BUSY,
    COUNTED,
    DROPPED,
    FALSE,
    Actor,
    Message,
    Programs,
    Publish,
    Step,
    Told,
    Write,
    names,
    whole,
)
from tests.protocol.table import Action, Refused, Table, transact

# Entered is what is not acknowledged yet; forgotten what was erased since then.
_UNSENT, _ENTERED, _FORGOTTEN = "unsent", "entered", "forgotten"
_CLAIMED = {_ENTERED, COUNTED}
_LESS = {_ENTERED: _UNSENT, COUNTED: _FORGOTTEN}
_TO_SEND = {_UNSENT, _ENTERED}
_SWEEPS = 20


class Scope(NamedTuple):
    """A small world: what may happen in it, and how often.

    Each message is sent until it is acknowledged, each of the `starts` may begin so often or never.
    Of the faults there are so many at most: a kill, an answer that is late, a message again.
    """

    name: str
    messages: tuple[Message, ...]
    starts: tuple[tuple[Actor, int], ...] = ()
    relays: int = 0
    faults: int = 0
    at_once: int = 2
    already: tuple[Message, ...] = ()


class State(NamedTuple):
    """Everything at one instant; what is large stands under its number."""

    table: int
    told: frozenset[Told]
    status: tuple[str, ...]
    actors: tuple[int, ...]
    late: tuple[int, ...]
    starts: tuple[int, ...]
    relays: int
    faults: int


class Event(NamedTuple):
    """What happened between two states: who, and what came of it."""

    what: str
    actor: Actor | None = None
    step: Step | None = None
    answer: Any = None


class Found(NamedTuple):
    """How far a search came, and what it found wrong: the property and the way there."""

    scope: str
    states: int
    transitions: int
    depth: int
    ends: int
    broken: str | None = None
    trace: tuple[Event, ...] = ()


class _Numbers[T]:
    """Gives each value a number of its own."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._known: dict[T, int] = {}

    def of(self, value: T) -> int:
        number = self._known.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class Search:
    """The search through one scope, with at most one guard removed."""

    def __init__(self, scope: Scope, removed: str | None = None) -> None:
        self._scope = scope
        self._removed = removed
        self._programs = Programs(removed)
        self._tables = _Numbers[Table]()
        self._actors = _Numbers[Actor]()
        self._writes = _Numbers[tuple[Action, ...]]()
        self._next: dict[int, Step | str] = {}
        self._goes_on: dict[int, int] = {}
        self._waiting: dict[int, list[Actor]] = {}
        self._written: dict[tuple[int, int], tuple[int, Refused | None, str | None]] = {}
        self._sound: set[Any] = set()

    def run(self) -> Found:
        """Visit every state, or stop at the first that is wrong."""
        scope = self._scope
        first = State(
            self._tables.of(frozenset()),
            frozenset(),
            (_UNSENT,) * len(scope.messages),
            (),
            (),
            tuple(times for _, times in scope.starts),
            scope.relays,
            scope.faults,
        )
        for message in scope.already:
            first = self._alone(first, _record(message))
        came: dict[State, tuple[State, Event] | None] = {first: None}
        depths, queue = {first: 0}, deque([first])
        transitions = ends = 0
        while queue:
            state = queue.popleft()
            for event, after, wrong in self._following(state):
                transitions += 1
                ends += event is _SWEEP
                stuck = properties.STUCK if event.what == "does" and after == state else None
                broken = wrong or stuck or (None if after in came else self._wrong(after))
                if broken:
                    trace = (*_way(came, state), event)
                    return Found(
                        scope.name, len(came), transitions, len(trace), ends, broken, trace
                    )
                if after not in came:
                    came[after], depths[after] = (state, event), depths[state] + 1
                    queue.append(after)
        return Found(scope.name, len(came), transitions, max(depths.values()), ends)

    @property
    def writes(self) -> list[tuple[Action, ...]]:
        """Return every transaction that somebody has tried."""
        return self._writes.values

    def _following(self, state: State) -> Iterator[tuple[Event, State, str | None]]:
        """Return all that may happen next, and what of it is wrong."""
        if not state.actors:
            yield _SWEEP, state, self._wrong_at_the_end(state)
        if len(state.actors) < self._scope.at_once:
            yield from self._begun(state)
        for number in sorted({*state.actors}):
            yield self._stepped(state, number)
            if state.faults:
                yield from self._disturbed(state, number)
        for write in sorted({*state.late}):
            left = _without(state.late, write)
            after, _, wrong = self._write(state._replace(late=left), write)
            yield Event("late", None, Write(self._writes.values[write])), after, wrong

    def _begun(self, state: State) -> Iterator[tuple[Event, State, None]]:
        busy = {self._actors.values[number].asked[0] for number in state.actors}
        for message, status in zip(self._scope.messages, state.status, strict=True):
            again = status not in _TO_SEND or message in busy
            if not again or state.faults:
                after = self._after(state._replace(faults=state.faults - again), _record(message))
                yield Event("again" if again else "begins", _record(message)), after, None
        for place, (actor, _) in enumerate(self._scope.starts):
            if state.starts[place]:
                left = (*state.starts[:place], state.starts[place] - 1, *state.starts[place + 1 :])
                yield Event("begins", actor), self._after(state._replace(starts=left), actor), None
        if state.relays:
            for relay in self._relays(state.table):
                after = self._after(state._replace(relays=state.relays - 1), relay)
                yield Event("begins", relay), after, None

    def _disturbed(self, state: State, number: int) -> Iterator[tuple[Event, State, None]]:
        """Kill the actor, or let its transaction be on its way while it thinks that it failed."""
        actor, fewer = self._actors.values[number], state._replace(faults=state.faults - 1)
        yield Event("killed", actor), fewer._replace(actors=_without(state.actors, number)), None
        step = self._next[number]
        if isinstance(step, Write):
            late = tuple(sorted((*state.late, self._writes.of(step.actions))))
            yield Event("delayed", actor, step), fewer._replace(late=late), None

    def _stepped(self, state: State, number: int) -> tuple[Event, State, str | None]:
        """Let the actor take its next step, and hear what comes of it."""
        actor, step = self._actors.values[number], self._next[number]
        assert not isinstance(step, str)
        rest = state._replace(actors=_without(state.actors, number))
        answer: Any = None
        wrong: str | None = None
        if isinstance(step, Write):
            rest, answer, wrong = self._write(rest, self._writes.of(step.actions))
        elif isinstance(step, Publish):
            wrong = self._wrongly_told(state, actor, step.told)
            rest = rest._replace(told=rest.told | {step.told})
        else:
            answer = step.answer(self._tables.values[state.table])
        heard = actor._replace(heard=(*actor.heard, answer))
        return Event("does", actor, step, answer), self._after(rest, heard), wrong

    def _after(self, state: State, actor: Actor) -> State:
        """Let the actor go on, or its sender hear what came of the message."""
        number = self._continued(actor)
        step = self._next[number]
        if actor.program in ("record", "join"):
            goes_on = self._actors.values[number]
            if isinstance(step, str):
                state = self._told(state, actor.asked[0], actor.program, step, ends=True)
            elif (actor.program, goes_on.program) == ("record", "join"):
                state = self._told(state, actor.asked[0], "record", goes_on.asked[1], ends=False)
        if isinstance(step, str):
            return state
        return state._replace(actors=tuple(sorted((*state.actors, number))))

    def _told(
        self, state: State, message: Message, program: str, outcome: str, *, ends: bool
    ) -> State:
        """Note what the sender of a message may rely on from now on."""
        if message not in self._scope.messages or outcome == BUSY:
            return state
        place = self._scope.messages.index(message)
        was = state.status[place]
        if program == "join":
            status = {_ENTERED: COUNTED, _UNSENT: _FORGOTTEN}.get(was, was)
        else:
            lead = dict(whole(self._tables.values[state.table], message.home)[1] or ())
            erased = "erased_at" in lead
            rightly = "generation_started_at" in lead or (erased and "leaves_nothing" not in lead)
            if outcome == DROPPED:
                claim = DROPPED if rightly else COUNTED
            elif erased:
                claim = _FORGOTTEN if ends else _UNSENT
            else:
                claim = COUNTED if ends else _ENTERED
            status = claim if (claim in _CLAIMED and was != COUNTED) or was == _UNSENT else was
        return state._replace(status=(*state.status[:place], status, *state.status[place + 1 :]))

    def _write(self, state: State, write: int) -> tuple[State, Refused | None, str | None]:
        """Do a transaction, and let be forgotten what was acknowledged of whom it erases."""
        before, actions = self._tables.values[state.table], self._writes.values[write]
        known = self._written.get((state.table, write))
        if known is None:
            after = transact(before, actions, self._removed)
            if isinstance(after, Refused):
                known = state.table, after, None
            else:
                wrong = next(properties.of_write(before, actions, after), None)
                known = self._tables.of(after), None, wrong
            self._written[state.table, write] = known
        table, refused, wrong = known
        erased = {
            name
            for action in actions
            if refused is None and "erased_at" in dict(action.sets)
            for name in names(before, action.key[0])
        }
        status = tuple(
            _LESS.get(was, was) if message.home in erased else was
            for message, was in zip(self._scope.messages, state.status, strict=True)
        )
        return state._replace(table=table, status=status), refused, wrong

    def _continued(self, actor: Actor) -> int:
        """Return the actor, or the one that it goes on as, before its next step."""
        number = self._actors.of(actor)
        if number in self._goes_on:
            return self._goes_on[number]
        program = getattr(self._programs, actor.program)(*actor.asked)
        try:
            step = next(program)
            for answer in actor.heard:
                step = program.send(answer)
        except StopIteration as stopped:
            if isinstance(stopped.value, Actor):
                self._goes_on[number] = self._continued(stopped.value)
                return self._goes_on[number]
            step = stopped.value
        self._next[number] = step
        self._goes_on[number] = number
        return number

    def _relays(self, table: int) -> list[Actor]:
        """Return who may look after each outbox item, and what was so when it began."""
        if table not in self._waiting:
            at = self._tables.values[table]
            found = sorted(key for key, _ in at if key[1].startswith("OUTBOX#"))
            self._waiting[table] = [
                Actor("relay", (lead, int(sk.removeprefix("OUTBOX#")), _standing(at, lead)))
                for lead, sk in found
            ]
        return self._waiting[table]

    def _wrongly_told(self, state: State, actor: Actor, told: Told) -> str | None:
        if actor.program != "relay":
            return None
        began = actor.asked[2]
        if began == "erased":
            return properties.SILENT
        now = _standing(self._tables.values[state.table], told.lead)
        rises = told.kind in ("promoted", "moved")
        return properties.OBJECTION if rises and began == now == "objected" else None

    def _wrong(self, state: State) -> str | None:
        key = state.table, state.told
        if key not in self._sound:
            found = properties.of_table(self._tables.values[state.table], state.told)
            if wrong := next(found, None):
                return wrong
            self._sound.add(key)
        return None

    def _wrong_at_the_end(self, state: State) -> str | None:
        """Let the sweep run alone, and look."""
        counted = frozenset(
            (message.home, message.id)
            for message, status in zip(self._scope.messages, state.status, strict=True)
            if status in _CLAIMED
        )
        key = state.table, state.told, counted
        if key not in self._sound:
            swept = self._swept(state)
            table = self._tables.values[swept.table]
            if wrong := next(properties.of_end(table, swept.told, counted), None):
                return wrong
            self._sound.add(key)
        return None

    def _swept(self, state: State) -> State:
        for _ in range(_SWEEPS):
            before = state
            for relay in self._relays(state.table):
                state = self._alone(state, relay)
            for key, _ in sorted(self._tables.values[state.table], key=lambda at: at[0]):
                if key[1] == "LEAD":
                    state = self._alone(state, Actor("promote", (key[0],)))
            if state == before:
                break
        return state

    def _alone(self, state: State, actor: Actor) -> State:
        """Let one actor come to its end while nothing else happens."""
        state = self._after(state._replace(actors=()), actor)
        while state.actors:
            _, state, _ = self._stepped(state, state.actors[0])
        return state


_SWEEP = Event("sweep")


def _record(message: Message) -> Actor:
    return Actor("record", (message, message.home, frozenset()))


def _standing(table: Table, lead: str) -> str:
    """Return why nothing that needs a lead's leave may be told of it, if something does."""
    now = dict(whole(table, lead)[1] or {"erased_at": 0}.items())
    if "erased_at" in now:
        return "erased"
    return "objected" if now.get("consent", (0, ""))[1] == FALSE else ""


def _without(numbers: tuple[int, ...], number: int) -> tuple[int, ...]:
    place = numbers.index(number)
    return numbers[:place] + numbers[place + 1 :]


def _way(came: dict[State, tuple[State, Event] | None], state: State) -> list[Event]:
    events: list[Event] = []
    while before := came[state]:
        state, event = before
        events.insert(0, event)
    return events
