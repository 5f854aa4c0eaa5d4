"""`mqlambda explain`: why a lead has its score, at any instant and under any model."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from leadscoring import explanation, scoring
from leadscoring.interaction import LEAD_ID_LENGTH, Identity, IdentityKind, to_text
from leadscoring.lead import Explanation, Lead, Reason
from leadscoring.model import Model
from leadscoring.store import Store


class UnknownLead(LookupError):
    """Nobody goes by this name."""


def find(store: Store, who: str, *, even_erased: bool = False) -> Lead:
    """Return the lead of this id, e-mail address, user id or anonymous id, whole.

    Raises:
        UnknownLead: there is none, or it is erased.
    """
    for lead_id in _ids(store, who):
        lead = store.lead_now(lead_id)
        if lead and lead.erased_at and not even_erased:
            raise UnknownLead(f"the lead {who} is erased")
        if lead:
            return lead
    raise UnknownLead(f"there is no lead {who}: give its id, e-mail, user id or anonymous id")


def explain(
    store: Store, lead: Lead, model: Model, now: datetime, *, at: datetime | None, anew: bool
) -> tuple[Lead, Explanation]:
    """Return the lead and its explanation now or at an instant.

    `anew` pays the ledger by this model from its beginning, as if there had been no other.
    """
    entries, changes = list(store.ledger.entries(lead.id, at)), store.changes(lead.id)
    if anew:
        entries = scoring.repay(entries, model)
    if at:
        lead, entries, changes = explanation.as_of(lead, entries, changes, at)
    return lead, explanation.explain(lead, entries, model, at or now)


def answer(lead: Lead, why: Explanation) -> dict[str, Any]:
    """Return the explanation for programs, in the words of the private API."""
    return {
        "id": lead.id,
        "email": lead.email,
        "stage": lead.stage,
        "cycle": lead.cycle,
        "scorecard": why.scorecard,
        "reasons": why.reasons,
        "lines": why.lines,
        "note": why.note,
        "withheld": why.withheld,
    }


def shown(lead: Lead, why: Explanation) -> RenderableType:
    """Return the explanation for people: a bill that adds up."""
    card = why.scorecard
    bill = Table(box=None, pad_edge=False)
    for heading in ("when", "what", "rule", "earned", "taken", "now"):
        right = heading in ("earned", "taken", "now")
        bill.add_column(heading, justify="right" if right else "left")
    for name, part in card.dimensions.items():
        for reason in (reason for reason in why.reasons if reason.dimension == name):
            when = to_text(reason.occurred_at)[:16].replace("T", " ")
            points = (f"{reason.earned:g}", _taken(reason), f"{reason.points_now:.3f}")
            bill.add_row(when, printable(reason.name), reason.rule, *points)
        for line in (line for line in why.lines if line.of == name):
            bill.add_row("", "", line.by, "", "", f"{line.points:.3f}", style="dim")
        bill.add_row("", "", name, "", "", f"{part.points:.3f}", style="bold", end_section=True)
    for name, score in card.scores.items():
        for line in (line for line in why.lines if line.of == name):
            bill.add_row("", "", line.by, "", "", f"{line.points:.3f}", style="dim")
        bill.add_row("", "", f"score {name}", "", "", f"{score:.3f}", style="bold green")
    return Group(_headline(lead, why), "", bill)


def _headline(lead: Lead, why: Explanation) -> str:
    card = why.scorecard
    parts = [
        f"score {card.score:.3f}",
        f"{lead.stage}, cycle {lead.cycle}",
        *(f"{kind} {value}" for kind, value in _kinds(why)),
    ]
    lines = [
        printable(lead.email or lead.id),
        " · ".join(parts),
        f"at {to_text(card.at)}, by model {card.model}",
    ]
    withheld = (
        f"{times:,} interactions withheld by {detector}: they pay nothing"
        for detector, times in sorted(why.withheld.items())
    )
    return "\n".join([*lines, *([why.note] if why.note else []), *withheld])


def printable(text: str) -> str:
    """Return the text without what would move a terminal's cursor: strangers sent it."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _kinds(why: Explanation) -> Iterator[tuple[str, str]]:
    card = why.scorecard
    for kind, value in (("grade", card.grade), ("matrix", card.matrix), ("gate", card.gate)):
        if value:
            yield kind, value


def _taken(reason: Reason) -> str:
    return ", ".join(f"{by} {points:.3f}" for by, points in reason.taken.items())


def _ids(store: Store, who: str) -> Iterator[str]:
    if len(who) == LEAD_ID_LENGTH:
        yield who
    key = store.keys().lead_ids
    for identity in (Identity.of_user_id(who), Identity(IdentityKind.ANONYMOUS_ID, who)):
        yield identity.lead_id(key)
