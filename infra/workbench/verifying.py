"""`mqlambda verify`: do counters equal the ledger, and does the ledger say what the models pay?"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from rich.console import RenderableType

from leadscoring import scoring
from leadscoring.decay import Counter
from leadscoring.lead import Entry, Lead, Payment
from leadscoring.ledger import Outdated
from leadscoring.limits import Allowance
from leadscoring.model import Model
from leadscoring.store import Store

ITEMS_A_PAGE = 500

_TRIES = 10
_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing of one lead that is stored otherwise than it should be."""

    lead_id: str
    of: str
    stored: object
    expected: object

    def __str__(self) -> str:
        return f"lead {self.lead_id}: {self.of} is {self.stored}, not {self.expected}"


@dataclass(slots=True)
class Report:
    """What a verification found: differences of counters and of pay, each lead for itself.

    `unknown` counts the entries that were paid by models whose files were not given.
    """

    leads: int = 0
    entries: int = 0
    unknown: int = 0
    repaired: int = 0
    differences: list[Difference] = field(default_factory=list)


def verify(
    store: Store,
    models: Mapping[int, Model],
    now: datetime,
    *,
    repair: bool = False,
    progress: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Compare every lead with its ledger, and its ledger with what the models pay.

    `models` are by number; the highest one is in force, and pays what is repaired.
    """
    report = Report()
    cursor = None
    while True:
        page = store.leads(ITEMS_A_PAGE, cursor)
        for lead in page.items:
            found = verify_lead(store, lead.id, models, now, report)
            if found and repair:
                repair_lead(store, lead.id, models)
                found = verify_lead(store, lead.id, models, now)
                report.repaired += not found
            report.differences += found
            report.leads += 1
            progress(report)
        if (cursor := page.next) is None:
            return report


def verify_lead(
    store: Store,
    lead_id: str,
    models: Mapping[int, Model],
    now: datetime,
    report: Report | None = None,
) -> list[Difference]:
    """Return what of this lead is stored otherwise than it should be."""
    read = _read(store, lead_id)
    if read is None:
        return [Difference(lead_id, "lead", "written to all the time", "still for a moment")]
    lead, entries, allowances = read
    if report:
        report.entries += len(entries)
        report.unknown += sum(not e.is_carried and not _paid_by(e, models) for e in entries)
    return [
        *_counters(lead, entries),
        *_allowances(lead, entries, allowances, models, now),
        *_pay(lead, entries, models),
    ]


def repair_lead(store: Store, lead_id: str, models: Mapping[int, Model]) -> None:
    """Pay again what was paid otherwise than the model in force pays; then mend the counters."""
    model = models[max(models)]
    wrong = [
        entry
        for entry in store.ledger.entries(lead_id)
        if (paid_by := _paid_by(entry, models)) and list(_wrong_pay(entry, paid_by))
    ]
    store.ledger.pay_again(wrong, model)
    for _ in range(_TRIES):
        read = _read(store, lead_id)
        if read is None:
            continue
        lead, entries, _used = read
        try:
            store.ledger.repair(lead, scoring.remember(lead, entries))
        except Outdated:
            continue
        return


def _read(store: Store, lead_id: str) -> tuple[Lead, list[Entry], dict[str, Decimal]] | None:
    """Return a lead and all that belongs to it, of one and the same moment; None if none is."""
    for _ in range(_TRIES):
        before = store.lead(lead_id)
        entries, allowances = list(store.ledger.entries(lead_id)), store.ledger.allowances(lead_id)
        if before and before == store.lead(lead_id):
            return before, entries, allowances
    return None


def _counters(lead: Lead, entries: Iterable[Entry]) -> Iterator[Difference]:
    expected = scoring.remember(lead, entries)
    for kind, stored, right in (
        ("", lead.units, expected.units),
        ("seen:", lead.seen, expected.seen),
        ("trait:", lead.traits, expected.traits),
        ("touch:", _touches(lead), _touches(expected)),
        ("", {"interactions": lead.interactions}, {"interactions": expected.interactions}),
    ):
        nothing = None if kind in ("trait:", "touch:") else 0
        for name in sorted(stored.keys() | right.keys()):
            pair = stored.get(name, nothing), right.get(name, nothing)
            if pair[0] != pair[1]:
                yield Difference(lead.id, f"{kind}{name}", *pair)


def _touches(lead: Lead) -> dict[str, object]:
    return {"first": lead.first_touch, "last": lead.last_touch}


def _allowances(
    lead: Lead,
    entries: Iterable[Entry],
    stored: Mapping[str, Decimal],
    models: Mapping[int, Model],
    now: datetime,
) -> Iterator[Difference]:
    used = dict.fromkeys(stored, _NONE) | scoring.uses(entries)
    retention = timedelta(days=max(model.retention_days for model in models.values()))
    for allowance, amount in sorted(used.items()):
        forgotten = Allowance.parse(allowance).is_forgotten(now, retention)
        if amount != stored.get(allowance, _NONE) and not forgotten:
            yield Difference(lead.id, f"limit {allowance}", stored.get(allowance, _NONE), amount)


def _pay(lead: Lead, entries: Iterable[Entry], models: Mapping[int, Model]) -> Iterator[Difference]:
    for entry in entries:
        model = _paid_by(entry, models)
        for of, stored, expected in _wrong_pay(entry, model) if model else ():
            place = f"{of} of {entry.trust} message {entry.message_id}, model {entry.model}"
            yield Difference(lead.id, place, stored, expected)


def _paid_by(entry: Entry, models: Mapping[int, Model]) -> Model | None:
    """Return the model that paid the entry; or a later one that pays the same, as it was kept."""
    if entry.is_carried:
        return None
    if model := models.get(entry.model):
        return model
    later = (models[number] for number in sorted(models) if number > entry.model)
    return next((model for model in later if not list(_wrong_pay(entry, model))), None)


def _wrong_pay(entry: Entry, model: Model) -> Iterator[tuple[str, object, object]]:
    """Return where an entry's pay is not the model's: what it is of, as stored, as it should be."""
    stored = {payment.rule: payment for payment in entry.paid}
    expected = {payment.rule: payment for payment in scoring.pay(entry, model)}
    for rule in sorted(stored.keys() | expected.keys()):
        has, should = stored.get(rule), expected.get(rule)
        if has is None or should is None:
            yield f"pay by {rule}", has and str(has.points), should and str(should.points)
        else:
            yield from _differences(rule, has, should, entry)


def _differences(
    rule: str, has: Payment, should: Payment, entry: Entry
) -> Iterator[tuple[str, object, object]]:
    counter = Counter.parse(should.counter)
    for of, stored, expected in (
        ("points", has.earned, should.points),
        ("counter", has.counter, should.counter),
        ("allowance", has.allowance, should.allowance),
        ("units", has.units, counter.units(has.points, entry.occurred_at) if counter else 0),
    ):
        if stored != expected:
            yield f"{of} by {rule}", str(stored), str(expected)
    if not abs(has.points) <= abs(has.earned):
        yield f"points by {rule}", str(has.points), f"at most {has.earned}"


def shown(report: Report) -> RenderableType:
    """Return for people what a verification found."""
    lines = [str(difference) for difference in report.differences]
    checked = f"{report.leads:,} leads, {report.entries:,} ledger entries"
    if report.unknown:
        unknown = f"{report.unknown:,} entries were paid by models that are not here"
        lines.append(f"{unknown}: give their files by --model")
    if report.repaired:
        lines.append(f"{report.repaired:,} leads repaired")
    verdict = f"{len(report.differences):,} differences" if report.differences else "all is right"
    return "\n".join([*lines, f"{checked}: {verdict}"])
