"""What a model costs: write units per rule, and how much of a lead it can make.

How DynamoDB counts bytes: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
What it takes at most: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from leadscoring import campaign, scoring
from leadscoring.criteria import BEYOND_MQL
from leadscoring.decay import Counter
from leadscoring.interaction import LEAD_ID_LENGTH
from leadscoring.model import Model, Rule

KILOBYTE = 1024
ITEM_BYTES_MAX = 400 * KILOBYTE
# An expression has 4 KB and 300 operators. Whether a trait is known better takes eight of them;
# adding up what two leads have takes some twelve bytes for each counter.
TRAITS_MAX = 30
COUNTERS_MAX = 250


class _Size(NamedTuple):
    """How many bytes a value has at most, and how many it usually has: 0 if it is rarely there."""

    most: int
    usual: int


# A number has a byte for two digits, one more, and one if it is negative. A sum of units has 38
# digits at most, and 16 where a thousand points fade to half in a month.
_SUM = _Size(21, 9)
_COUNT = _Size(6, 3)
_EMAIL = _Size(254, 32)
_INSTANT = _Size(24, 24)
_DAY = _Size(4, 4)
_CLAIM = len("trusted#") + _INSTANT.most
# 256 characters as JSON text; those beyond Unicode's first plane are written as two escapes.
_TRAIT = 256 * 12 + 2
_MAP, _ELEMENT = 3, 1
# A campaign's five words as JSON; usually three words of half a dozen characters.
_CAMPAIGN = _Size(5 * (campaign.CHARACTERS * 12 + 14), 50)


@dataclass(frozen=True, slots=True)
class LeadItem:
    """How many bytes the item of a lead has that has done all there is to do.

    At most, with every value as long as it may be; and usually, but without its traits.
    """

    most: int
    usual: int


def write_units(rule: Rule) -> int:
    """Return what an interaction costs that this rule alone matches, each item up to 1 KB.

    Ledger entry, lead and, if there is one, limit: each is written once, in a transaction, which
    doubles it.
    """
    return 2 * (2 + (rule.limit is not None))


def lead_item(model: Model) -> LeadItem:
    """Return the size of a lead's item after a whole retention."""
    bare = [(len(name.encode()), size) for name, size in _attributes(model)]
    traits = sum(
        len(f"trait:{name}".encode()) + _map({"claim": _CLAIM, "value": _TRAIT})
        for name in model.known_traits
    )
    return LeadItem(
        most=sum(name + size.most for name, size in bare) + traits,
        usual=sum(name + size.usual for name, size in bare if size.usual),
    )


def counters(model: Model) -> int:
    """Return how many counters a lead can have after a whole retention."""
    return sum(1 for _ in _counters(model)) + len(model.rules)


def _attributes(model: Model) -> Iterator[tuple[str, _Size]]:
    """Return the name and the size of each attribute but the traits."""
    for name, text in (
        ("pk", f"LEAD#{'0' * LEAD_ID_LENGTH}"),
        ("sk", "LEAD"),
        ("stage", max((*BEYOND_MQL, *(stage.name for stage in model.stages)), key=len)),
        ("by_stage", max(BEYOND_MQL, key=len)),
    ):
        yield name, _Size(len(text), len(text))
    yield "gate", _Size(max((len(gate.name) for gate in model.fit.gates), default=0), 0)
    yield "email", _EMAIL
    yield from ((name, _INSTANT) for name in ("stage_since", "updated_at"))
    yield "due_at", _INSTANT
    yield "since", _DAY
    yield "due", _Size(1, 1)
    yield from ((name, _Size(_INSTANT.most, 0)) for name in ("rescoring_until", "merged_at"))
    yield from (
        (name, _Size(_INSTANT.most, 0)) for name in ("generation_started_at", "last_erased_at")
    )
    yield "merged_into", _Size(LEAD_ID_LENGTH, 0)
    yield "overdue_cycle", _Size(_COUNT.most, 0)
    yield from ((name, _COUNT) for name in ("cycle", "revision", "interactions"))
    yield "changes", _Size(_COUNT.most, _COUNT.most)
    yield from ((counter.name, _SUM) for counter in _counters(model))
    yield from ((f"seen:{rule.name}", _COUNT) for rule in model.rules)
    for name in (scoring.FIRST_TOUCH, scoring.LAST_TOUCH):
        most, usual = (_map({"claim": _INSTANT.most, "value": size}) for size in _CAMPAIGN)
        yield name, _Size(most, usual)
    if counted := model.counted_rules:
        most, usual = (_map(dict.fromkeys(counted, count)) for count in _COUNT)
        yield "seen_before", _Size(most, usual)


def _counters(model: Model) -> Iterator[Counter]:
    """Return one counter for each year, or month, of the retention, by dimension and audience."""
    years, months = -(-model.retention_days // 365) + 1, -(-model.retention_days // 30) + 1
    for name, dimension in model.dimensions.items():
        # Points given by hand have no audience.
        audiences = {rule.audience for rule in model.rules if rule.dimension == name} | {None}
        for audience in audiences:
            if dimension.half_life_days:
                for year in range(years):
                    yield Counter(name, dimension.half_life_days, 2000 + year, audience=audience)
            elif dimension.expires_months:
                for month in range(months):
                    yield Counter(name, None, 2000 + month // 12, month % 12 + 1, audience)
            if not dimension.half_life_days:
                # Where points expire, what was taken by hand does not.
                yield Counter(name, audience=audience)


def _map(sizes: dict[str, int]) -> int:
    return _MAP + sum(_ELEMENT + len(name.encode()) + size for name, size in sizes.items())
