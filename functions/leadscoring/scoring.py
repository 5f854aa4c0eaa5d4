"""What an interaction pays, and what a lead is worth at an instant."""

import json
from collections import Counter as Multiset
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from leadscoring import mailbox, matching
from leadscoring.criteria import ADJUSTMENT
from leadscoring.decay import Counter
from leadscoring.interaction import IdentityKind, Interaction, Trust, to_text
from leadscoring.lead import (
    Change,
    ChangeKind,
    DimensionScore,
    Entry,
    Lead,
    Payment,
    Scorecard,
)
from leadscoring.limits import Allowance, Tally, valued
from leadscoring.model import FIT, Model, Rule

_DISPLAYED = Decimal("0.001")

type Claims = Mapping[str, tuple[str, str]]
"""Of each attribute of a lead that is told, how far it is believed, and its value as JSON."""

TRAIT = "trait:"
FIRST_TOUCH, LAST_TOUCH = "touch:first", "touch:last"
ADDRESS = "address"

_TURNED_ROUND = str.maketrans("0123456789", "9876543210")


# What an interaction pays


def pay(act: Interaction | Entry, model: Model) -> tuple[Payment, ...]:
    """Return what each rule that the act matches pays for it, before any limit."""
    if act.is_withheld:
        return ()
    if act.trust is Trust.STAFF:
        given, dimension = Decimal(str(act.properties["points"])), act.properties["dimension"]
        known = dimension in model.dimensions
        return (_payment(act, ADJUSTMENT, given, dimension, model),) if known else ()
    return tuple(
        _payment(act, rule.name, points, rule.dimension, model, rule)
        for rule in model.rules
        if _applies(rule, act) and (points := _points(rule, act)) is not None
    )


def enter(interaction: Interaction, model: Model) -> Entry:
    """Return the ledger entry of the interaction, paid by this model before any limit.

    It is paid by what the entry keeps, so whoever pays it again finds the same.
    """
    entry = Entry(
        message_id=interaction.message_id,
        trust=interaction.trust,
        name=interaction.name,
        occurred_at=interaction.occurred_at,
        received_at=interaction.received_at,
        fingerprint=interaction.fingerprint,
        model=model.number,
        properties=interaction.properties
        if interaction.trust is Trust.STAFF
        else matching.pick(interaction.properties, model.kept["properties"]),
        traits={n: v for n, v in interaction.traits.items() if n in model.known_traits},
        context=matching.pick(interaction.context, model.kept["context"]),
        withheld_by=interaction.withheld_by,
        email=_address_of_user(interaction),
    )
    return replace(entry, paid=pay(entry, model))


def _address_of_user(act: Interaction) -> str | None:
    """Return the address that its user has now, if a server says that."""
    names_user = any(other.kind is IdentityKind.USER_ID for other in act.also)
    if act.trust is Trust.PUBLIC or act.identity is None or not names_user:
        return None
    return act.identity.email


def pay_again(entry: Entry, model: Model) -> Entry:
    """Return the entry as this model pays it, before any limit that it was not held to before.

    What it took from an allowance that the model still has is taken: it keeps that. What stands
    for others stays as it is.
    """
    if entry.is_carried:
        return entry
    settled = {payment.allowance: payment for payment in entry.paid if payment.allowance}
    payments = []
    for payment in pay(entry, model):
        if payment.allowance and (before := settled.get(payment.allowance)):
            counter = Counter.parse(payment.counter)
            units = counter.units(before.points, entry.occurred_at) if counter else 0
            payments.append(replace(before, counter=payment.counter, units=units))
        else:
            payments.append(payment)
    return replace(entry, model=model.number, paid=tuple(payments))


def pay_all_again(entries: Iterable[Entry], model: Model) -> list[Entry]:
    """Return the ledger in the order of its arrival, as a rescore by this model leaves it."""
    arrived = _by_arrival(entries)
    tallies = {
        home: Tally(model, uses(entry for entry in arrived if entry.home == home))
        for home in {entry.home for entry in arrived}
    }
    return [tallies[entry.home].cut(pay_again(entry, model)) for entry in arrived]


def repay(entries: Iterable[Entry], model: Model) -> list[Entry]:
    """Return the ledger in the order of its arrival, as this model would have paid it."""
    unpaid = [entry if entry.is_carried else replace(entry, paid=()) for entry in entries]
    return pay_all_again(unpaid, model)


def uses(entries: Iterable[Entry]) -> dict[str, Decimal]:
    """Return how much of each allowance the payments of these entries used."""
    used: dict[str, Decimal] = {}
    for payment in (payment for entry in entries for payment in entry.paid):
        if payment.allowance:
            used[payment.allowance] = used.get(payment.allowance, Decimal(0)) + payment.used
    return used


def _by_arrival(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry.received_at, entry.message_id))


def _applies(rule: Rule, act: Interaction | Entry) -> bool:
    if rule.names and act.name not in rule.names:
        return False
    if rule.trusted and act.trust is not Trust.TRUSTED:
        return False
    if rule.active_from and act.occurred_at < datetime.combine(rule.active_from, time.min, UTC):
        return False
    if rule.until and act.occurred_at >= datetime.combine(rule.until, time.min, UTC):
        return False
    subject = {
        "properties": act.properties,
        "traits": _tables(act.traits),
        "context": act.context,
    }
    return matching.matches(rule.pattern, subject)


def _points(rule: Rule, act: Interaction | Entry) -> Decimal | None:
    """Return the points that the rule pays, or None if the number it asks for is not there."""
    if rule.points_from is None:
        return rule.points
    value = valued(act.properties, rule.points_from.property)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    points = Decimal(str(value)) * rule.points_from.factor
    # Held to its bounds first: a stranger's number may have more digits than can be rounded.
    held = min(rule.points_from.max, max(rule.points_from.min, points))
    return held.quantize(_DISPLAYED)


def _payment(
    act: Interaction | Entry,
    name: str,
    points: Decimal,
    dimension: str,
    model: Model,
    rule: Rule | None = None,
) -> Payment:
    part = model.dimensions[dimension]
    # What our people took never expires: the score would rise by itself on that day.
    expires = part.expires_months is not None and points >= 0
    counter = Counter.earning(
        dimension,
        act.occurred_at,
        half_life_days=part.half_life_days,
        monthly=expires,
        audience=rule.audience if rule else None,
    )
    return Payment(
        rule=name,
        points=points,
        counter=counter.name,
        units=counter.units(points, act.occurred_at),
        allowance=str(Allowance.of(rule, rule.limit, act)) if rule and rule.limit else None,
    )


# What a ledger adds up to


def remember(lead: Lead, entries: Iterable[Entry]) -> Lead:
    """Return the lead as these entries alone make it: counters, rules seen, traits."""
    kept = list(entries)
    units, seen = Multiset[str](), Multiset[str]()
    for payment in (payment for entry in kept for payment in entry.paid):
        units[payment.counter] += payment.units
        seen[payment.rule] += payment.times
    told = claims(kept)
    return replace(
        lead,
        email=json.loads(told[ADDRESS][1]) if ADDRESS in told else lead.email,
        interactions=sum(entry.carries or 1 for entry in kept),
        units=units,
        seen=seen,
        traits={
            name.removeprefix(TRAIT): json.loads(value)
            for name, (_, value) in told.items()
            if name.startswith(TRAIT)
        },
        updated_at=acted_at(kept),
        first_touch=touch(FIRST_TOUCH, *told.get(FIRST_TOUCH, ())),
        last_touch=touch(LAST_TOUCH, *told.get(LAST_TOUCH, ())),
    )


def acted_at(entries: Iterable[Entry]) -> datetime | None:
    """Return when the lead last acted, as far as nobody doubts it."""
    return max((e.received_at for e in entries if not e.is_withheld), default=None)


def counters(lead: Lead) -> Multiset[str]:
    """Return all counters of the lead under their attributes' names."""
    seen = {f"seen:{rule}": times for rule, times in lead.seen.items()}
    return Multiset({"interactions": lead.interactions, **seen, **lead.units})


def claims(acts: Iterable[Interaction | Entry]) -> Claims:
    """Return for each trait the strongest claim: a server's before the public's, then the latest.

    "public" sorts before "trusted", so one comparison of texts decides both, in any order. The
    campaigns that brought the lead are claimed by time alone: by the latest, and by the earliest,
    whose digits are turned round so that it is the strongest.
    """
    strongest: dict[str, tuple[str, str]] = {}
    for act in acts:
        for name, claim, value in () if act.is_withheld else _told(act):
            ours = (claim, json.dumps(value, separators=(",", ":")))
            strongest[name] = max(ours, strongest.get(name, ours))
    return strongest


def _told(act: Interaction | Entry) -> Iterator[tuple[str, str, Any]]:
    """Return what the act says of its lead: the attribute, the claim to it, the value."""
    at = to_text(act.occurred_at)
    for name, value in act.traits.items():
        yield f"{TRAIT}{name}", f"{act.trust}#{at}", value
    if isinstance(act, Entry) and act.email:
        yield ADDRESS, f"{act.trust}#{at}", act.email
    if isinstance(act, Entry):
        for name, (claim, value) in act.told.items():
            yield name, claim, json.loads(value)
    if campaign := act.context.get("campaign"):
        yield FIRST_TOUCH, at.translate(_TURNED_ROUND), campaign
        yield LAST_TOUCH, at, campaign


def touch(which: str, claim: str = "", value: str = "") -> dict[str, str] | None:
    """Return the campaign that such a claim tells of, and when; None if nobody claims any."""
    if not claim:
        return None
    at = claim.translate(_TURNED_ROUND) if which == FIRST_TOUCH else claim
    return {**json.loads(value), "at": at}


def seen_before_cycle(
    entries: Iterable[Entry], changes: Iterable[Change]
) -> Mapping[str, int] | None:
    """Return how often each rule had been seen when the present cycle began.

    None where that stays as it is noted: in the first cycle, after a merge in a later one, and in
    one that is longer than retention.
    """
    opened = [change for change in changes if change.seen_before is not None]
    # Of a lead that was joined, each part began its cycle at another time: that can't be told.
    if not opened or opened[-1].kind is not ChangeKind.STAGE:
        return None
    opened_at, kept = opened[-1].at, list(entries)
    # Nor can it of those that only a sum is left of.
    if any(entry.is_carried and entry.received_at > opened_at for entry in kept):
        return None
    seen = Multiset[str]()
    for payment in (p for entry in kept if entry.received_at <= opened_at for p in entry.paid):
        seen[payment.rule] += payment.times
    return seen


def seen_before_without(
    lead: Lead,
    other: Lead,
    taken: Iterable[Entry],
    changes: Iterable[Change],
    merged_at: datetime,
) -> Mapping[str, int] | None:
    """Return how often rules had been seen before the cycle, without an identity's entries.

    `other` is that identity, as it became part of the lead at `merged_at`. None in the first cycle.
    """
    opened_at = max(
        (c.at for c in changes if c.kind is ChangeKind.STAGE and c.seen_before is not None),
        default=merged_at,
    )
    gone: Mapping[str, int] = other.seen_before
    if opened_at > merged_at:
        earlier = (entry for entry in taken if entry.received_at <= opened_at)
        gone = Multiset(payment.rule for entry in earlier for payment in entry.paid)
    rest = {rule: max(n - gone.get(rule, 0), 0) for rule, n in lead.seen_before.items()}
    return rest or None


# What a lead is worth


def scorecard(lead: Lead, model: Model, now: datetime) -> Scorecard:
    """Return the lead's score at `now`: each dimension from 0 to its cap, then their sums.

    What is shown is what is decided on: points are rounded to three decimals here, once.
    """
    earned = dict.fromkeys(model.dimensions, Decimal(0))
    who = subject(lead)
    for name, units in lead.units.items():
        counter = Counter.parse(name)
        if counter and counter.dimension in earned:
            earned[counter.dimension] += worth(counter, units, who, model, now)
    caps = {name: part.cap for name, part in model.dimensions.items()}
    if model.fit.rules:
        earned[FIT] = total(r.points for r in model.fit.rules if matching.matches(r.when, who))
        caps[FIT] = model.fit.cap
    earned = {name: points.quantize(_DISPLAYED) for name, points in earned.items()}
    points = {name: max(Decimal(0), _capped(earned[name], caps[name])) for name in earned}
    scores = {
        name: _capped(total(points[d] for d in score.dimensions if d in points), score.cap)
        for name, score in model.all_scores.items()
    }
    fit = points.get(FIT, Decimal(0))
    gate = next((g.name for g in model.fit.gates if matching.matches(g.when, who)), None)
    of = model.matrix.of if model.matrix else ""
    return Scorecard(
        score=float(scores[model.deciding]),
        dimensions={
            name: DimensionScore(float(earned[name]) + 0.0, float(points[name])) for name in earned
        },
        model=model.number,
        at=now,
        scores={name: float(score) for name, score in scores.items()},
        grade="F" if gate and model.grades else model.grade(fit),
        matrix=model.matrix.cell(fit, points.get(of, scores.get(of, Decimal(0))))
        if model.matrix
        else None,
        gate=gate,
    )


def worth(
    counter: Counter, units: int, who: Mapping[str, Any], model: Model, now: datetime
) -> Decimal:
    """Return what the units of a counter are worth at `now` to a lead who is known so."""
    if counter.has_expired(model.dimensions[counter.dimension].expires_months, now):
        return Decimal(0)
    if counter.audience and not belongs(counter.audience, who, model):
        return Decimal(0)
    return counter.points(units, now)


def belongs(audience: str, who: Mapping[str, Any], model: Model) -> bool:
    """Tell whether a lead who is known so belongs to an audience of the model."""
    pattern = model.audiences.get(audience)
    return pattern is not None and matching.matches(pattern, who)


def seen(lead: Lead, model: Model) -> Mapping[str, int]:
    """Return how often each rule was seen in this cycle; one for others' audiences counts not."""
    who = subject(lead)
    audiences = {rule.name: rule.audience for rule in model.rules if rule.audience}
    return {
        name: times - lead.seen_before.get(name, 0)
        for name, times in lead.seen.items()
        if name not in audiences or belongs(audiences[name], who, model)
    }


def subject(lead: Lead) -> Mapping[str, Any]:
    """Return what patterns on a lead look at: its traits, its groups', its mailbox."""
    known = _tables(lead.traits)
    if lead.email:
        domain = lead.email.rpartition("@")[2]
        known["email"] = _Mailbox(domain)
    return known


def _tables(traits: Mapping[str, Any]) -> dict[str, Any]:
    """Return the traits as patterns ask for them, `group.employees` in a table `group`.

    A trait `group` of an older model gives way to such a table.
    """
    known: dict[str, Any] = {}
    for name in sorted(traits):
        *tables, last = name.split(".")
        table = known
        for part in tables:
            if not isinstance(table.get(part), dict):
                table[part] = {}
            table = table[part]
        table[last] = traits[name]
    return known


class _Mailbox(Mapping[str, str]):
    """An address's domain, and its kind for who asks: the lists of domains are long."""

    def __init__(self, domain: str) -> None:
        self._domain = domain

    def __getitem__(self, name: str) -> str:
        match name:
            case "domain":
                return self._domain
            case "kind":
                return mailbox.kind(self._domain)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(("domain", "kind"))

    def __len__(self) -> int:
        return 2


def total(points: Iterable[Decimal]) -> Decimal:
    """Return the sum, exactly."""
    return sum(points, Decimal(0))


def _capped(points: Decimal, cap: Decimal | None) -> Decimal:
    return points if cap is None else min(points, cap)
