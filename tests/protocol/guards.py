"""The guards of the protocol: what each is in the code, and what breaks without it."""

from typing import NamedTuple

from tests.protocol import properties


class Guard(NamedTuple):
    """One condition or check: where the code asks it, of which item, and in which words.

    Without it the scope `shows` that it `breaks` a property. Where that is None it is a second
    lock: nothing is found without it as long as all others hold.
    """

    name: str
    asked_by: str
    of: str
    words: str
    shows: str
    breaks: str | None


_MERGED = "attribute_not_exists(merged_into)"
_NEW = "attribute_not_exists(pk)"
_READ = "revision = :v"

GUARDS = tuple(
    Guard(*guard)
    for guard in (
        ("entry new", "ledger", "INTERACTION", _NEW, "one allowance", properties.COUNTERS),
        (
            "allowance left",
            "ledger",
            "LIMIT",
            "attribute_not_exists(used) OR used <= :v",
            "one allowance",
            properties.ALLOWANCE,
        ),
        (
            "no objection",
            "ledger",
            "LEAD",
            "attribute_not_exists(trait:consent) OR trait:consent.value <> :v",
            "consent given and withdrawn",
            properties.OBJECTION,
        ),
        (
            "claim not beaten",
            "ledger",
            "LEAD",
            "trait:consent.claim < :v OR (trait:consent.claim = :v AND trait:consent.value <= :v)",
            "consent given and withdrawn",
            properties.KNOWN,
        ),
        ("not merged", "membership", "LEAD", _MERGED, "a join", properties.COUNTERS),
        (
            "nothing taken out",
            "membership",
            "LEAD",
            "attribute_not_exists(partings)",
            "taken apart",
            properties.COUNTERS,
        ),
        (
            "lead has names",
            "membership",
            "LEAD",
            "attribute_exists(identities)",
            "retention is over",
            properties.COUNTERS,
        ),
        (
            "not erased",
            "ledger",
            "LEAD",
            "attribute_not_exists(erased_at)",
            "an erasure",
            properties.ERASED,
        ),
        (
            "of this generation",
            "ledger",
            "LEAD",
            "attribute_not_exists(generation_started_at) OR generation_started_at <= :v",
            "a new generation",
            properties.ERASED,
        ),
        (
            "waits for a lead that leaves nothing",
            "ledger",
            "check",
            '"leaves_nothing" in newer',
            "retention is over",
            properties.LOST,
        ),
        (
            "waits for the erasure",
            "ledger",
            "check",
            'opt_in and "erasing" in newer',
            "erased twice",
            None,
        ),
        (
            "erased before",
            "ledger",
            "LEAD",
            "erased_at < :v",
            "erased after an opt-in",
            properties.ERASED,
        ),
        (
            "erasure over",
            "ledger",
            "LEAD",
            "attribute_not_exists(erasing)",
            "erased twice",
            properties.ERASED,
        ),
        (
            "decided on the lead as read",
            "store",
            "LEAD",
            _READ,
            "a promotion and an objection",
            properties.OBJECTION,
        ),
        ("change new", "store", "CHANGE", _NEW, "a second cycle", None),
        ("message new", "store", "OUTBOX", _NEW, "a second cycle", None),
        (
            "withheld once objected",
            "outbox",
            "check",
            "pending.needs_consent and lead.has_objected",
            "a promotion and an objection",
            properties.OBJECTION,
        ),
        (
            "withheld once erased",
            "outbox",
            "check",
            "lead is None or lead.erased_at",
            "an erasure and a join",
            properties.SILENT,
        ),
        (
            "change there",
            "store",
            "CHANGE",
            "attribute_exists(pk)",
            "an erasure",
            properties.NOTHING_LEFT,
        ),
        ("merged as read", "identities", "LEAD", _READ, "three names", properties.COUNTERS),
        (
            "merged into the lead as read",
            "identities",
            "LEAD",
            _READ,
            "an erasure and a join",
            properties.ERASED,
        ),
        ("name new", "identities", "IDENTITY", _NEW, "three names", None),
        ("name does nothing yet", "identities", "LEAD", _NEW, "a join", properties.COUNTERS),
        (
            "noted at a lead",
            "identities",
            "LEAD",
            "attribute_exists(stage)",
            "an erasure and a join",
            properties.ERASED,
        ),
        (
            "noted at no other's name",
            "identities",
            "LEAD",
            _MERGED,
            "three names",
            properties.NAMES,
        ),
        ("rest as read", "identities", "LEAD", _READ, "taken apart", properties.COUNTERS),
        ("part as read", "identities", "LEAD", _READ, "three names", None),
        (
            "tombstone for the lead as read",
            "erasing",
            "LEAD",
            _READ,
            "an erasure and a join",
            properties.ERASED,
        ),
        ("erasure's message new", "erasing", "OUTBOX", _NEW, "an erasure", None),
        (
            "erasure goes on",
            "erasing",
            "LEAD",
            "erasing = :v",
            "an erasure and a join",
            properties.NOTHING_LEFT,
        ),
        (
            "this erasure ends",
            "erasing",
            "LEAD",
            "erasing = :v",
            "retention is over",
            properties.LOST,
        ),
        (
            "dropped while a name",
            "erasing",
            "LEAD",
            "merged_into = :v",
            "retention is over",
            properties.LOST,
        ),
    )
)
