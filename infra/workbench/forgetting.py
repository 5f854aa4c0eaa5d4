"""`mqlambda erase` and `restore-check`: forget a lead, and whom a restore has brought back."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import RenderableType

from leadscoring.contract import LeadErased, from_sns
from leadscoring.forgetting import Forgetter, Receipt
from leadscoring.lead import Lead
from leadscoring.store import Store

ITEMS_A_PAGE = 500


@dataclass(slots=True)
class Outcome:
    """What a check came to: of so many erased ids, how many leads came back, and who is left."""

    erased: int = 0
    came_back: int = 0
    left: list[str] = field(default_factory=list)


def in_table(store: Store) -> Iterator[tuple[str, datetime]]:
    """Return the ids that a table knows to be erased, and until when what they did is gone."""
    cursor = None
    while True:
        page = store.forgotten(ITEMS_A_PAGE, cursor)
        for lead in page.items:
            until = lead.erased_at or lead.generation_started_at
            if until:
                yield lead.id, until
                for part in store.identities.parts(lead.id):
                    # What became part of it after it began anew never was erased.
                    if part.merged_at <= until:
                        yield part.id, until
        if (cursor := page.next) is None:
            return


def in_messages(lines: Iterable[str]) -> Iterator[tuple[str, datetime]]:
    """Return the same, as a subscriber was told it: a message in each line.

    Raises:
        ValueError: a line holds no message of ours.
    """
    for line in filter(str.strip, lines):
        message = from_sns(line)
        if isinstance(message, LeadErased):
            for lead_id in (message.data.lead, *message.data.merged_leads):
                yield lead_id, message.time


def restore_check(
    erased: Iterable[tuple[str, datetime]],
    restored: Store,
    forgetter: Forgetter,
    now: datetime,
    *,
    dry_run: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> Outcome:
    """Erase from a restored table whom it has brought back; `forgetter` is of that table.

    Nobody is told again. Who is part of a lead that was not erased is left, for people to unmerge.
    """
    known = dict(erased)
    outcome, back = Outcome(erased=len(known)), set[str]()
    for lead_id, until in known.items():
        progress()
        lead = restored.lead_now(lead_id)
        if lead is None or _is_gone(lead, until):
            continue
        if lead.id not in known:
            outcome.left.append(lead_id)
        else:
            back.add(lead.id)
            if not dry_run:
                _erase(lead, restored, forgetter, now)
    outcome.came_back = len(back)
    return outcome


def _is_gone(lead: Lead, until: datetime) -> bool:
    began = lead.generation_started_at
    finished = lead.erased_at is not None and lead.erasing is None
    return finished or (began is not None and began >= until)


def _erase(lead: Lead, restored: Store, forgetter: Forgetter, now: datetime) -> None:
    forgetter.erase(lead.id, now)
    while (tombstone := restored.lead(lead.id)) and tombstone.erasing:
        if restored.erasing.go_on(lead.id, tombstone.erasing):
            restored.erasing.end(lead.id, tombstone.erasing)


def shown(receipt: Receipt) -> RenderableType:
    """Return for people what came of an erasure."""
    state = "is erased" if receipt.finished else "is being erased: ask again in a minute"
    lines = [f"lead {receipt.lead} {state}", "what remains:"]
    for place, remainder in receipt.remains.items():
        days = {None: "", 1: ", for a day"}.get(remainder.days, f", for {remainder.days} days")
        lines.append(f"  {place.replace('_', ' ')}: {remainder.holds}{days}")
    return "\n".join(lines)


def outcome_shown(outcome: Outcome, *, dry_run: bool) -> RenderableType:
    """Return for people what a check came to."""
    did = "would be erased" if dry_run else "erased"
    lines = [f"{outcome.erased:,} erased ids, {outcome.came_back:,} came back and {did} again"]
    if outcome.left:
        lines += ["part of a lead that was not erased; unmerge them, then run this again:"]
        lines += [f"  {lead_id}" for lead_id in outcome.left]
    return "\n".join(lines)
