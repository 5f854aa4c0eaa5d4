"""What a run came to, held against the truth: what is in the table, and what a subscriber got."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from leadscoring.contract import LeadPromoted
from leadscoring.decay import Counter as Points
from leadscoring.interaction import Identity, IdentityKind
from leadscoring.keys import Keys
from leadscoring.lead import Lead
from leadscoring.store import Store
from tests.trust import truth
from tests.trust.crowd import END
from tests.trust.faults import Fault
from tests.trust.truth import Truth

KEYS = Keys(lead_ids=b"trust", public="", secrets=(), links={}, webhooks={}, captchas={})

_PROMOTED = LeadPromoted.model_fields["type"].default

type Said = dict[str, Any]
"""One message as a subscriber got it."""


@dataclass
class Verdict:
    """The figures of one run: interactions, leads, points, promotions, messages."""

    unique: int
    sent: int
    given_up: int
    seconds: float
    faults: Counter[Fault]
    peak_in_flight: int
    lost: int = 0
    doubled: int = 0
    leads_wrong: int = 0
    over: Decimal = Decimal(0)
    under: Decimal = Decimal(0)
    expected: int = 0
    promotions_lost: int = 0
    promotions_doubled: int = 0
    promotions_bogus: int = 0
    untold: int = 0
    raw_repeats: int = 0

    @property
    def is_good(self) -> bool:
        """Tell whether all was answered, nothing lost and nothing counted twice."""
        return not any(
            (
                self.given_up,
                self.lost,
                self.doubled,
                self.leads_wrong,
                self.over,
                self.under,
                self.promotions_lost,
                self.promotions_doubled,
                self.promotions_bogus,
                self.untold,
            )
        )


def judge(verdict: Verdict, true: Truth, store: Store, received: Sequence[Said]) -> None:
    """Fill in all figures that the truth, the table and the subscriber's messages decide."""
    told = {said["id"] for said in received}
    devices = defaultdict(list)
    for device, person in true.owners.items():
        devices[person].append(device)
    for name, lead in true.leads.items():
        _judge_lead(verdict, [name, *devices[name]], lead, store, told)
    _judge_promotions(verdict, true, received)


def _judge_lead(
    verdict: Verdict, names: Sequence[str], true: truth.Lead, store: Store, told: set[str]
) -> None:
    """Look at a lead, known by these names, as the table has it: counters, ledger, changes."""
    homes = {_lead_id(name): name for name in names}
    (lead_id, *_) = homes
    lead = store.lead_now(lead_id) or Lead(lead_id)
    entries = {
        (homes[entry.home], entry.trust, entry.message_id)
        for home in homes
        for entry in store.ledger.entries_at(home)
    }
    changes = [change for home in homes for change in store.changes(home)]
    numbers = [change.number for change in changes if change.lead_id == lead_id]
    first = lead.changes - len(numbers) + 1
    arrived = {int(entry.received_at.timestamp()) for entry in store.ledger.entries_at(lead_id)}
    points = [
        _points(counter, lead.units.get(counter, 0) - true.units[counter])
        for counter in true.units.keys() | lead.units.keys()
    ]
    over, under = (sum(max(sign * p, Decimal(0)) for p in points) for sign in (1, -1))
    counted = lead.interactions - len(true.entries)
    verdict.over += over
    verdict.under += under
    verdict.lost += max(len(true.entries - entries), -counted)
    verdict.doubled += max(counted, 0)
    verdict.untold += sum(f"{change.lead_id}:{change.number}" not in told for change in changes)
    verdict.leads_wrong += bool(
        over
        or under
        or counted
        or entries != true.entries
        or numbers != list(range(first, lead.changes + 1))
        or (entries and first - 1 not in arrived)
    )


def _judge_promotions(verdict: Verdict, true: Truth, received: Sequence[Said]) -> None:
    """Count what a subscriber makes of it who knows a message by its id."""
    ids = Counter(said["id"] for said in received)
    promotions = {said["id"]: said["subject"] for said in received if said["type"] == _PROMOTED}
    promoted = set(promotions.values())
    expected = {_lead_id(name) for name in true.promoted}
    undecided = {_lead_id(name) for name in true.undecided}
    verdict.expected = len(expected)
    verdict.promotions_lost = len(expected - promoted)
    verdict.promotions_doubled = len(promotions) - len(promoted)
    verdict.promotions_bogus = len(promoted - expected - undecided)
    verdict.raw_repeats = ids.total() - len(ids)


def _lead_id(name: str) -> str:
    kind = IdentityKind.EMAIL if "@" in name else IdentityKind.ANONYMOUS_ID
    return Identity(kind, name).lead_id(KEYS.lead_ids)


def _points(counter: str, units: int) -> Decimal:
    """Return what so many units of a counter are worth in the end."""
    parsed = Points.parse(counter)
    assert parsed is not None
    return parsed.points(units, END)
