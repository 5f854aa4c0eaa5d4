"""Says in sentences what led to a state."""

from collections.abc import Iterator

from tests.protocol.actors import Actor, Message, Publish, Write
from tests.protocol.search import Event
from tests.protocol.table import Refused


def sentences(trace: tuple[Event, ...]) -> Iterator[str]:
    """Return one sentence for each event."""
    for event in trace:
        who = _name(event.actor) if event.actor else ""
        match event.what:
            case "begins":
                yield f"{who} begins"
            case "again":
                yield f"{who} begins, since its message comes again"
            case "killed":
                yield f"{who} is killed"
            case "delayed":
                yield f"{who} hears nothing of its transaction, which is on its way: {_said(event)}"
            case "late":
                yield f"a transaction arrives late: {_said(event)}"
            case "sweep":
                yield "nobody is at work, and the sweep runs"
            case _:
                yield f"{who} {_said(event)}"


def _name(actor: Actor) -> str:
    said = (a.id if isinstance(a, Message) else a for a in actor.asked)
    return f"{actor.program}({', '.join(str(a) for a in said if isinstance(a, str | int) and a)})"


def _said(event: Event) -> str:
    match event.step:
        case Write(actions):
            done = ", ".join(f"{a.verb} {' '.join(a.key)}" for a in actions)
            return f"is refused: {done}" if isinstance(event.answer, Refused) else f"writes: {done}"
        case Publish(told):
            return f"publishes {told.kind} of {told.lead}, number {told.number}"
        case step:
            return f"reads {' '.join(map(str, step or ()))}"
