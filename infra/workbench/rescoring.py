"""`mqlambda rescore`: pay the ledger of every lead again, under another model.

A correction goes the same way: what it does to a lead, and how a lead is held meanwhile.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rich.console import RenderableType

from leadscoring import lifecycle, scoring
from leadscoring.lead import Change, Entry, Lead
from leadscoring.model import MQL, Model
from leadscoring.store import Store
from leadscoring.table import Page, Refused

# While a lead is paid again nobody decides on it; so long at most, should we not come back.
HELD = timedelta(minutes=5)
ITEMS_A_PAGE = 500


class Backward(Exception):
    """A newer model has paid, or is paying, this table: a rescore goes forward only."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What is done to one lead: entries paid otherwise, its score, where that moves it."""

    lead: Lead
    entries: int
    changed: int
    score_before: float
    score_after: float
    change: Change | None

    @property
    def promotes(self) -> bool:
        """Tell whether it makes the lead an MQL."""
        return self.change is not None and self.change.to_stage == MQL


@dataclass(slots=True)
class Outcome:
    """What it came to, so far."""

    leads: int = 0
    entries: int = 0
    changed_entries: int = 0
    changed_leads: int = 0
    promotions: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    stopped: bool = False

    def count(self, effect: Effect) -> None:
        """Add what was done to one lead."""
        self.leads += 1
        self.entries += effect.entries
        self.changed_entries += effect.changed
        self.changed_leads += effect.score_before != effect.score_after
        self.promotions += effect.promotes
        if effect.change:
            passage = f"{effect.change.from_stage} → {effect.change.to_stage}"
            self.stages[passage] = self.stages.get(passage, 0) + 1


def rescore(
    store: Store,
    model: Model,
    now: Callable[[], datetime],
    *,
    most_promotions: int,
    entries_per_second: float,
    progress: Callable[[Effect], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Pay every lead's ledger by this model, from where the last run of this model stopped.

    It stops before the lead that would be one promotion too many; the next run goes on with it.

    Raises:
        Backward: a newer model pays this table.
    """
    outcome = Outcome()
    number, cursor = store.rescore_place()
    _note(store, model, cursor if number == model.number else None)
    started = time.monotonic()
    for effect, reached in _effects(store, model, now, cursor if number == model.number else None):
        if effect is None:
            _note(store, model, reached)
            continue
        if effect.promotes and outcome.promotions >= most_promotions:
            outcome.stopped = True
            return outcome
        if effect.changed or effect.lead.rescoring_until:
            with held(store, effect.lead.id, model, now):
                while store.ledger.pay_again(list(store.ledger.entries(effect.lead.id)), model):
                    pass
        outcome.count(effect)
        progress(effect)
        sleep(max(outcome.entries / entries_per_second - (time.monotonic() - started), 0))
    return outcome


def preview(
    store: Store,
    model: Model,
    now: Callable[[], datetime],
    progress: Callable[[Effect], None] = lambda _: None,
) -> Outcome:
    """Return what a rescore of the whole table would come to; write nothing."""
    outcome = Outcome()
    for effect, _ in _effects(store, model, now, None):
        if effect:
            outcome.count(effect)
            progress(effect)
    return outcome


def effect_on(lead: Lead, entries: list[Entry], model: Model, now: datetime) -> Effect:
    """Return what this model's pay would do to a lead with this ledger; raise `Backward`."""
    return effect_of(lead, entries, scoring.pay_all_again(entries, model), model, now)


def effect_of(
    lead: Lead, entries: list[Entry], again: list[Entry], model: Model, now: datetime
) -> Effect:
    """Return what it does to a lead that its ledger is paid again like this.

    Raises:
        Backward: an entry was paid by a newer model.
    """
    if newer := max((entry.model for entry in entries if entry.model > model.number), default=0):
        raise Backward(f"model {newer} has paid entries of this table, and this is {model.number}")
    stood = {(entry.home, entry.trust, entry.message_id): entry for entry in entries}
    (before, moved_anyway), (after, moved) = (
        _judged(scoring.remember(lead, ledger), model, now) for ledger in (entries, again)
    )
    return Effect(
        lead=lead,
        entries=len(entries),
        changed=sum(
            replace(entry, model=old.model) != old
            for entry in again
            if (old := stood[entry.home, entry.trust, entry.message_id])
        ),
        score_before=before,
        score_after=after,
        # What moves it anyway, for other points, is no effect of this.
        change=moved if _stage(moved) != _stage(moved_anyway) else None,
    )


def _stage(change: Change | None) -> str | None:
    return change.to_stage if change else None


def _judged(lead: Lead, model: Model, now: datetime) -> tuple[float, Change | None]:
    card = scoring.scorecard(lead, model, now)
    return card.score, lifecycle.decide(lead, card, model)


def _effects(
    store: Store, model: Model, now: Callable[[], datetime], cursor: str | None
) -> Iterator[tuple[Effect | None, str | None]]:
    """Return the effect on each lead from this place on; after each page None, and its end."""
    while True:
        page = store.leads(ITEMS_A_PAGE, cursor)
        for lead in page.items:
            yield effect_on(lead, list(store.ledger.entries(lead.id)), model, now()), cursor
        cursor = page.next
        yield None, cursor
        if cursor is None:
            return


def leads_of(read: Callable[[int, str | None], Page[Lead]]) -> Iterator[Lead]:
    """Return all leads that are read page by page, through the whole table once."""
    cursor = None
    while True:
        page = read(ITEMS_A_PAGE, cursor)
        yield from page.items
        if (cursor := page.next) is None:
            return


@contextmanager
def held(store: Store, lead_id: str, model: Model, now: Callable[[], datetime]) -> Iterator[None]:
    """Hold the lead's stage while its ledger is paid again; then count its cycle anew."""
    store.begin_rescore(lead_id, now() + HELD)
    yield
    entries, changes = store.ledger.entries(lead_id), store.changes(lead_id)
    before = scoring.seen_before_cycle(entries, changes)
    counted = before and {rule: n for rule, n in before.items() if rule in model.counted_rules}
    store.end_rescore(lead_id, counted)


def _note(store: Store, model: Model, cursor: str | None) -> None:
    try:
        store.note_rescore_place(model.number, cursor)
    except Refused:
        raise Backward(f"a newer model than {model.number} is paying this table") from None


def shown(outcome: Outcome, done: str, *, dry_run: bool) -> RenderableType:
    """Return for people what it came to, or would come to, that entries are `done`."""
    would = "would be" if dry_run else "are"
    lines = [
        f"{outcome.leads:,} leads, {outcome.entries:,} ledger entries",
        f"{outcome.changed_entries:,} entries {would} {done}",
        f"{outcome.changed_leads:,} leads {would} worth something else now",
        *(f"{n:,} {would} moved: {passage}" for passage, n in sorted(outcome.stages.items())),
    ]
    if outcome.stopped:
        lines.append(
            "stopped before one promotion too many: look at the promoted leads, then run it again"
        )
    return "\n".join(lines)
