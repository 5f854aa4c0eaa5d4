"""`mqlambda erase` and `restore-check`: forget a lead, and whom a restore has brought back."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter

from rich.console import RenderableType

from infra.workbench.rescoring import leads_of
from leadscoring.contract import LeadErased, from_sns
from leadscoring.forgetting import Forgetter, Receipt
from leadscoring.interaction import to_millisecond
from leadscoring.lead import Lead
from leadscoring.store import Store


@dataclass(slots=True)
class Outcome:
    """What a check came to: of so many erased ids, how many leads came back, and who is left."""

    erased: int = 0
    came_back: int = 0
    left: list[str] = field(default_factory=list)


def in_table(store: Store) -> Iterator[tuple[str, datetime]]:
    """Return the ids that a table knows to have been erased, and when that was."""
    for lead in leads_of(store.forgotten):
        if at := lead.last_erased_at:
            # While it is being erased, that stands at it alone.
            names = store.identities.of(lead.id) if lead.erasing else [lead.id]
            yield from ((name, at) for name in names)


def in_messages(lines: Iterable[str]) -> Iterator[tuple[str, datetime]]:
    """Return the same, as a subscriber was told it: a message in each line.

    Raises:
        ValueError: a line holds no message of ours.
    """
    for line in filter(str.strip, lines):
        message = from_sns(line)
        if isinstance(message, LeadErased):
            for lead_id in (message.data.lead, *message.data.merged_leads):
                yield lead_id, to_millisecond(message.time)


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
    # Of one that was erased more than once the latest time holds, in whatever order they were told.
    known = dict(sorted(erased, key=itemgetter(1)))
    outcome, back = Outcome(erased=len(known)), set[str]()
    for lead_id, at in known.items():
        progress()
        lead = restored.lead_now(lead_id)
        if lead is None or _is_gone(lead_id, lead, at, restored):
            continue
        if lead.id not in known:
            outcome.left.append(lead_id)
        else:
            back.add(lead.id)
            if not dry_run:
                _erase(lead, restored, forgetter, now)
    outcome.came_back = len(back)
    return outcome


def _is_gone(lead_id: str, whole: Lead, at: datetime, restored: Store) -> bool:
    """Tell whether nothing is left in a restored table of what an id was erased of."""
    if whole.erased_at:
        return whole.erasing is None
    own = restored.lead(lead_id)
    if own and own.last_erased_at and own.last_erased_at >= at:
        return True
    # Who was forgotten without a trace has come back: a table that knows of that is of after it.
    return any(entry.received_at > at for entry in restored.ledger.entries(whole.id))


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
