"""What is left of interactions past retention: what they add up to, and nothing that they were."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from leadscoring import scoring
from leadscoring.lead import Entry, Payment
from leadscoring.limits import Allowance

# The name of what it stands for, where reasons and the ledger show one.
CARRIED = "Carried"


def carried(entries: Iterable[Entry], now: datetime, retention: timedelta) -> list[Entry]:
    """Return for each door of one identity an entry that stands for all of these.

    It adds the same to every counter, uses the same of every allowance that is not forgotten, and
    tells the same of the lead.
    """
    by_door: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_door[entry.trust].append(entry)
    return [_sum(mine, now, retention) for mine in by_door.values()]


def _sum(entries: list[Entry], now: datetime, retention: timedelta) -> Entry:
    payments: dict[tuple[str, str, str | None], list[Payment]] = defaultdict(list)
    for payment in (payment for entry in entries for payment in entry.paid):
        allowance = payment.allowance
        if allowance and Allowance.parse(allowance).is_forgotten(now, retention):
            allowance = None
        payments[payment.rule, payment.counter, allowance].append(payment)
    last = max(entries, key=lambda entry: entry.received_at)
    return Entry(
        message_id="",
        trust=last.trust,
        name=CARRIED,
        occurred_at=max(entry.occurred_at for entry in entries),
        received_at=last.received_at,
        fingerprint="",
        model=max(entry.model for entry in entries),
        paid=tuple(_together(*key, paid) for key, paid in sorted(payments.items(), key=str)),
        home=last.home,
        carries=sum(entry.carries or 1 for entry in entries),
        told=scoring.claims(entries),
    )


def _together(rule: str, counter: str, allowance: str | None, paid: list[Payment]) -> Payment:
    points, earned = (
        sum(sums, Decimal(0)) for sums in ((p.points for p in paid), (p.earned for p in paid))
    )
    return Payment(
        rule=rule,
        points=points,
        counter=counter,
        units=sum(payment.units for payment in paid),
        allowance=allowance,
        used=sum((p.used for p in paid), Decimal(0)) if allowance else Decimal(0),
        unlimited=earned if earned != points else None,
        times=sum(payment.times for payment in paid),
    )
