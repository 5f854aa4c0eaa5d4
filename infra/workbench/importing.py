"""`mqlambda import`: what leads did before, from a file into the ledger."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import batched, islice

from rich.console import RenderableType

from infra.workbench.columns import Message
from infra.workbench.history import History, Record
from infra.workbench.journal import Journal, Outcome
from leadscoring import lifecycle, scoring, wire
from leadscoring.bots import Detectors
from leadscoring.contract import Sender
from leadscoring.interaction import Interaction, Trust, to_millisecond
from leadscoring.lead import Entry, Lead
from leadscoring.ledger import Recorded
from leadscoring.limits import Tally
from leadscoring.model import MQL, Model
from leadscoring.recorder import Recorder, by_lead
from leadscoring.request import Arrival, Invalid
from leadscoring.store import Store

# So many records are looked at together: what one lead did in them is one transaction.
WINDOW = 2_000

# What somebody did has its time; what is known of them may be known just now.
_TIMELESS = ("identify", "group", "alias")


class Enough(Exception):
    """One lead more would be one promotion too many."""


class Entering:
    """Enters what leads did into one table, and brakes before too many of them are promoted."""

    def __init__(self, store: Store, model: Model, sender: Sender, most_promotions: int) -> None:
        self._store = store
        self._model = model
        self._keys = store.keys()
        self._recorder = Recorder(store, model, sender)
        self._most_promotions = most_promotions
        self.promotions = 0

    def enter(self, interactions: Iterable[Interaction], now: datetime) -> Recorded:
        """Enter them lead by lead, each lead's in one go.

        Raises:
            Enough: those of one lead, and what comes after them, are not entered.
            Busy: some may not be entered yet; repeat the whole call.
        """
        done = Recorded()
        judged = Detectors(self._model).judge(interactions)
        for lead_id, mine in by_lead(judged, self._keys).items():
            promotes = self._promotes(lead_id, mine, now)
            if promotes and self.promotions >= self._most_promotions:
                raise Enough
            done += self._recorder.record(mine, self._keys)
            self.promotions += promotes
        return done

    def _promotes(self, lead_id: str, mine: Sequence[Interaction], now: datetime) -> bool:
        """Tell whether these make an MQL of the lead: `promote` will find the same."""
        email = next((act.identity.email for act in mine if act.identity), None)
        known = self._store.lead(lead_id)
        if email is None or (known and known.stage == MQL):
            return False
        lead = known or Lead(lead_id, stage=self._model.first_stage, email=email)
        before = list(self._store.ledger.entries(lead_id)) if known else []
        there = {(entry.trust, entry.message_id) for entry in before}
        entered = {(act.trust, act.message_id): scoring.enter(act, self._model) for act in mine}
        new = [entry for key, entry in entered.items() if key not in there]
        after = [*before, *Tally(self._model, scoring.uses(before)).cut_all(new)]
        # What is an MQL anyway was promoted, or is about to be, by what it did before.
        was, will_be = (is_promoted(lead, acts, self._model, now) for acts in (before, after))
        return will_be and not was


def is_promoted(lead: Lead, entries: Sequence[Entry], model: Model, now: datetime) -> bool:
    """Tell whether a lead that did all this, and no more, becomes an MQL now."""
    remembered = scoring.remember(lead, entries)
    card = scoring.scorecard(remembered, model, now)
    change = lifecycle.decide(remembered, card, model)
    return change is not None and change.to_stage == MQL


def import_history(
    history: History,
    entering: Entering | None,
    model: Model,
    now: Callable[[], datetime],
    journal: Journal,
    progress: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Enter the file's messages into the ledger, from where the journal says that it stopped.

    What can't be entered is noted there, and no reason to stop. With nothing to enter them into,
    they are only read.

    Raises:
        Busy: the table takes no more for now; the next run goes on.
    """
    outcome = journal.outcome
    for window in batched(islice(history.records(), outcome.records, None), WINDOW, strict=False):
        at = now()
        acts, rejected = _read_all(window, at, model)
        if entering:
            try:
                done = entering.enter(acts, at)
            except Enough:
                outcome.stopped = True
                return outcome
            finally:
                outcome.promotions = entering.promotions
        else:
            done = Recorded(stored=len(acts))
        outcome.records += len(window)
        outcome.line = window[-1].line
        outcome.interactions += done.stored
        outcome.duplicates += done.duplicates
        outcome.conflicting += done.conflicting
        outcome.withheld += done.withheld
        outcome.rejected += len(rejected)
        journal.note(rejected)
        progress(outcome)
    journal.close()
    return outcome


def read_record(record: Record, now: datetime, model: Model) -> Interaction:
    """Return what one record says, as a server's word that arrives now.

    Without an id of its own it gets one by its content: read again, it is the same interaction.

    Raises:
        Invalid: it is no message, or does not say when it was, or not when it can have been.
    """
    if isinstance(record.message, Invalid):
        raise record.message
    message = _in_its_own_time(record.message)
    arrival = Arrival(now, wire.fingerprint(message), Trust.TRUSTED)
    act = wire.read_message(message, arrival, model)
    if not {"timestamp", "originalTimestamp"} & message.keys():
        if message["type"] not in _TIMELESS:
            raise Invalid("invalid", "timestamp", "it does not say when it happened")
        return act
    # The wire moves what lies outside the time that can be told to its nearer end.
    earliest = now - timedelta(days=model.retention_days)
    if act.occurred_at in (to_millisecond(earliest), to_millisecond(now)):
        told = f"not within the {model.retention_days} days that the model keeps, up to now"
        raise Invalid("invalid", "timestamp", told)
    return act


def _read_all(
    window: Sequence[Record], now: datetime, model: Model
) -> tuple[list[Interaction], list[tuple[int, Invalid]]]:
    acts: list[Interaction] = []
    rejected: list[tuple[int, Invalid]] = []
    for record in window:
        try:
            acts.append(read_record(record, now, model))
        except Invalid as fault:
            rejected.append((record.line, fault))
    return acts, rejected


def _in_its_own_time(message: Message) -> Message:
    """Return the message without what told of the clock of a sender who is long gone.

    An archive's `timestamp` is corrected already; `sentAt` would now move it to the present.
    """
    told = {name: value for name, value in message.items() if value is not None}
    told.pop("sentAt", None)
    if "timestamp" in told:
        told.pop("originalTimestamp", None)
    return told


def foreword(history: History, journal: Journal, most_promotions: int) -> RenderableType:
    """Return for people what is about to be done, and what that brings with it."""
    form = "JSON lines" if history.table is None else "a table"
    lines = [f"{history.path}: {form} of {history.lines:,} lines, {history.encoding}"]
    if history.table and history.table.columns.ignored:
        lines.append(f"columns that mean nothing to us: {', '.join(history.table.columns.ignored)}")
    if journal.state:
        lines.append(
            "Whom this makes an MQL is published, and so is every other change of stage: whoever "
            "subscribes hears of history. How many leads these are is not known beforehand: it "
            f"stops before more than {most_promotions:,} promotions (`--most-promotions`)."
        )
        if journal.outcome.records:
            lines.append(f"going on after line {journal.outcome.line:,}")
        lines.append(f"should it end early, run it again: {journal.state} notes how far it came")
    return "\n".join(lines)


def shown(outcome: Outcome, journal: Journal) -> RenderableType:
    """Return for people what an import came to, or would come to."""
    lines = [f"{outcome.records:,} records read"]
    if journal.state is None:
        lines.append(f"{outcome.interactions:,} could be entered; nothing was written")
    else:
        lines.append(f"{outcome.interactions:,} interactions entered")
        if outcome.withheld:
            lines.append(f"{outcome.withheld:,} of them are doubted, and pay nothing")
        lines.append(f"{outcome.duplicates:,} were there before")
        if outcome.conflicting:
            lines.append(f"{outcome.conflicting:,} of them say something else than what is there")
        lines.append(f"{outcome.promotions:,} leads become MQLs by this run")
    if outcome.rejected:
        lines.append(f"{outcome.rejected:,} rejected: {journal.report} says which, and why")
    if outcome.stopped:
        lines.append(
            f"stopped after line {outcome.line:,}, before one promotion too many: look at the "
            "promoted leads, then run it again"
        )
    return "\n".join(lines)
