"""What a message says to a person: a subject, and a text to read in a mail or a chat."""

from collections.abc import Iterator

from leadscoring.contract import (
    LeadErased,
    LeadMerged,
    LeadPromoted,
    LeadReplyOverdue,
    LeadStageChanged,
    Message,
    PromotedData,
    PublishedLead,
    StageData,
)
from leadscoring.interaction import to_text


def subject(message: Message) -> str:
    """Return a line that says what happened, in ASCII and without a word of who it is."""
    match message:
        case LeadPromoted(data=data):
            return f"New MQL: {_worth(data)}"
        case LeadReplyOverdue(data=data):
            return f"Still no reply to an MQL: {_worth(data)}"
        case LeadStageChanged(data=data):
            return f"A lead is now {data.stage}: {_worth(data)}"
        case LeadMerged():
            return "Two leads are one"
        case LeadErased():
            return "A lead was erased"


def text(message: Message) -> str:
    """Return all that a person needs: who, where the lead stands and why, how to decide."""
    return "\n".join(_printable(line) for line in (f"{subject(message)}", "", *_lines(message)))


def _lines(message: Message) -> Iterator[str]:
    data = message.data
    match message:
        case LeadErased():
            yield f"Forget the lead {message.subject} too, wherever you keep anything of it."
        case LeadMerged(data=data):
            yield from _who(data.lead)
            yield f"The lead {data.merged_lead} is part of this one now, which is {data.stage}."
        case _ if isinstance(data, StageData):
            yield from _who(data.lead)
            yield f"Stage: {data.stage}, before {data.previous_stage} ({data.why})"
            yield from _because(data)
            if isinstance(data, PromotedData) and data.decide:
                yield ""
                yield f"Accept: {data.decide.accept}"
                yield f"Reject: {data.decide.reject}"
    yield ""
    yield f"{message.id}, {to_text(message.time)}"


def _worth(data: StageData) -> str:
    return f"score {data.score:g}" + (f", grade {data.grade}" if data.grade else "")


def _who(lead: PublishedLead) -> Iterator[str]:
    yield f"Lead: {lead.email or lead.id}"
    for name, value in lead.traits.items():
        yield f"{name}: {value}"


def _because(data: StageData) -> Iterator[str]:
    if data.reasons:
        yield ""
        yield "Because of:"
    for reason in data.reasons:
        yield f"{reason.points_now:+g}  {reason.name} ({to_text(reason.occurred_at)[:10]})"


def _printable(line: str) -> str:
    """Return the line without what would break it or move a cursor: strangers wrote parts of it."""
    return "".join(character if character.isprintable() else " " for character in line)
