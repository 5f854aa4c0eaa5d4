"""What stands in the table's items: words of the domain in, words out. Only the store uses it."""

import dataclasses
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from leadscoring.criteria import BEYOND_MQL, MQL
from leadscoring.decay import Counter
from leadscoring.interaction import Trust, from_text, to_text
from leadscoring.keys import Keys, LinkKey, SecretKey
from leadscoring.lead import CONSENT, Change, ChangeKind, Entry, Lead, Payment
from leadscoring.scoring import ADDRESS, FIRST_TOUCH, LAST_TOUCH, TRAIT, Claims, touch

type Item = dict[str, Any]

SHARDS = 8

_CONSENT = f"{TRAIT}{CONSENT}"
# In a ledger item's key where others have a door: no message can have such a key.
_CARRIED = "carried"
# Of what was paid, what stands there only where it says something else.
_SAYS_NOTHING = {"used": 0, "times": 1}
_COUNTS = {"units", "times"}
_OF_A_TOMBSTONE = {"pk", "sk", "partings", "identities"}
_OF_A_STUB = {*_OF_A_TOMBSTONE, "revision", "changes", "merged_into"}


def numbered(kind: str, number: int) -> str:
    """Return the sort key of a lead's `number`-th change, or of its place in the outbox."""
    return f"{kind}#{number:06d}"


def lead_key(lead_id: str) -> tuple[str, str]:
    """Return the key of a lead's item."""
    return f"LEAD#{lead_id}", "LEAD"


def entry_key(lead_id: str, entry: Entry) -> tuple[str, str]:
    """Return the key of an entry's ledger item."""
    place = (_CARRIED, entry.trust) if entry.is_carried else (entry.trust, entry.message_id)
    return interaction_key(lead_id, *place)


def interaction_key(lead_id: str, *place: str) -> tuple[str, str]:
    """Return the key of the ledger item of what came through a door under a message id."""
    return f"LEAD#{lead_id}", "#".join(("INTERACTION", *place))


def limit_key(lead_id: str, allowance: str) -> tuple[str, str]:
    """Return the key of the item that counts how much of an allowance is used."""
    return f"LEAD#{lead_id}", f"LIMIT#{allowance}"


def entry_item(lead_id: str, entry: Entry) -> Item:
    """Return the ledger item of an entry."""
    pk, sk = entry_key(lead_id, entry)
    brought = {"traits": entry.traits, "context": entry.context}
    return {
        "pk": pk,
        "sk": sk,
        "name": entry.name,
        "occurred_at": to_text(entry.occurred_at),
        "received_at": to_text(entry.received_at),
        "fingerprint": entry.fingerprint,
        "model": entry.model,
        **standing(entry),
        "properties": json.dumps(entry.properties),
        **{name: json.dumps(table) for name, table in brought.items() if table},
        **({"email": entry.email} if entry.email else {}),
        **({"carries": entry.carries, "told": told(entry.told)} if entry.is_carried else {}),
    }


def standing(entry: Entry) -> Item:
    """Return what a correction may change of an entry: what it was paid, and who doubts it."""
    return {
        "paid": paid(entry),
        **({"withheld_by": entry.withheld_by} if entry.withheld_by else {}),
        **({"overruled": True} if entry.overruled else {}),
    }


def paid(entry: Entry) -> list[Item]:
    """Return what stands in the ledger of what was paid; what says nothing is left out."""
    return [
        {
            name: value
            for name, value in dataclasses.asdict(payment).items()
            if value is not None and value != _SAYS_NOTHING.get(name)
        }
        for payment in entry.paid
    ]


def entry(item: Item) -> Entry:
    """Return the entry that a ledger item holds."""
    _, trust, message_id = item["sk"].split("#", 2)
    if trust == _CARRIED:
        trust, message_id = message_id, ""
    return Entry(
        message_id=message_id,
        trust=Trust(trust),
        name=item["name"],
        occurred_at=from_text(item["occurred_at"]),
        received_at=from_text(item["received_at"]),
        fingerprint=item["fingerprint"],
        model=int(item["model"]),
        paid=tuple(map(_payment, item["paid"])),
        properties=json.loads(item["properties"]),
        traits=json.loads(item.get("traits", "{}")),
        context=json.loads(item.get("context", "{}")),
        withheld_by=item.get("withheld_by"),
        overruled=item.get("overruled", False),
        home=item["pk"].removeprefix("LEAD#"),
        email=item.get("email"),
        carries=int(item.get("carries", 0)),
        told=_claims(item.get("told", {})),
    )


def _payment(paid: Item) -> Payment:
    return Payment(**{**paid, **_whole({name: paid[name] for name in _COUNTS & paid.keys()})})


def change_item(change: Change) -> Item:
    """Return the ledger item of a change that is not published yet."""
    return {
        "pk": f"LEAD#{change.lead_id}",
        "sk": numbered("CHANGE", change.number),
        "cycle": change.cycle,
        "from": change.from_stage,
        "to": change.to_stage,
        "why": change.why,
        "who": change.who,
        "at": to_text(change.at),
        **({"gate": change.gate} if change.gate else {}),
        **({"seen_before": change.seen_before} if change.seen_before is not None else {}),
        **({"kind": change.kind.value} if change.kind is not ChangeKind.STAGE else {}),
        **({"request_id": change.request_id} if change.request_id else {}),
        **({"other": change.other} if change.other else {}),
    }


def claims(item: Item) -> Claims:
    """Return what a lead item holds of what is told of the lead."""
    named = (name for name in item if name == ADDRESS or name.startswith((TRAIT, "touch:")))
    return _claims({name: item[name] for name in named})


def _claims(told: Item) -> Claims:
    return {name: (claim["claim"], claim["value"]) for name, claim in told.items()}


def told(claims: Claims) -> Item:
    """Return the attributes by which a lead item holds what is told of the lead."""
    return {name: {"claim": claim, "value": value} for name, (claim, value) in claims.items()}


def has_objected(item: Item) -> bool:
    """Tell whether the lead withdrew consent."""
    return bool(item.get(_CONSENT, {}).get("value") == "false")


def is_too_late(entry: Entry, item: Item) -> bool:
    """Tell whether the lead is erased, or the entry is of before it began anew."""
    return "erased_at" in item or to_text(entry.occurred_at) < item.get("generation_started_at", "")


def after(change: Change) -> tuple[Item, list[str]]:
    """Return which attributes of the lead a change sets, and which it removes."""
    if change.kind is ChangeKind.REPLY_OVERDUE:
        return {"overdue_cycle": change.cycle}, []
    sets: Item = {"cycle": change.cycle}
    if change.seen_before is not None:
        sets["seen_before"] = change.seen_before
    if change.kind is not ChangeKind.STAGE and change.from_stage == change.to_stage:
        return sets, []
    sets["stage"] = change.to_stage
    since = to_text(change.at)
    if listed := listing(change.to_stage):
        sets |= {**listed, "stage_since": since, **({"gate": change.gate} if change.gate else {})}
    return sets, [name for name in ("by_stage", "stage_since", "gate") if name not in sets]


def listing(stage: str) -> Item:
    """Return the attribute by which a lead is listed at its stage, from `mql` on."""
    return {"by_stage": stage} if stage == MQL or stage in BEYOND_MQL else {}


def timer(lead_id: str, due_at: datetime) -> Item:
    """Return the attributes that list a lead under the instant at which its timer rings."""
    return {"due": _shard(lead_id), "due_at": to_text(due_at)}


def outbox_item(change: Change, message: str, *, needs_consent: bool = False) -> Item:
    """Return the item of a message that is still to be published, consent withdrawn or not."""
    return {
        **pending_item(change.lead_id, change.number, change.at, message),
        **({"needs_consent": True} if needs_consent else {}),
    }


def pending_item(lead_id: str, number: int, at: datetime, message: str) -> Item:
    """Return the item of a message that waits for being published since then."""
    return {
        "pk": f"LEAD#{lead_id}",
        "sk": numbered("OUTBOX", number),
        "message": message,
        "pending": _shard(lead_id),
        "pending_since": to_text(at),
    }


def tombstone(item: Item, at: datetime, *, leaves_nothing: bool) -> Item:
    """Return what stands for a lead while it is erased, and ever after unless it leaves nothing.

    It goes on counting revisions and changes: whoever saw the lead before is refused.
    """
    number = item.get("changes", 0) + 1
    return {
        **{name: item[name] for name in _OF_A_TOMBSTONE & item.keys()},
        "revision": item["revision"] + 1,
        "changes": number,
        "erased_at": to_text(at),
        "last_erased_at": to_text(at),
        "erasing": number,
        **({"leaves_nothing": True} if leaves_nothing else {}),
    }


def stub(item: Item, erased_at: str) -> Item:
    """Return what stays of an erased lead's other name: of which lead, and since when."""
    kept = {name: item[name] for name in _OF_A_STUB & item.keys()}
    return {**kept, "last_erased_at": erased_at}


def _shard(lead_id: str) -> str:
    """Return under which part of a sparse index the lead is listed."""
    return str(zlib.crc32(lead_id.encode()) % SHARDS)


def change(item: Item) -> Change:
    """Return the change that a ledger item holds."""
    return Change(
        lead_id=item["pk"].removeprefix("LEAD#"),
        number=int(item["sk"].removeprefix("CHANGE#")),
        cycle=int(item["cycle"]),
        from_stage=item["from"],
        to_stage=item["to"],
        why=item["why"],
        who=item["who"],
        at=from_text(item["at"]),
        published_at=_instant(item.get("published_at")),
        published_as=item.get("published_as"),
        gate=item.get("gate"),
        seen_before=_whole(item["seen_before"]) if "seen_before" in item else None,
        kind=ChangeKind(item.get("kind", ChangeKind.STAGE)),
        request_id=item.get("request_id"),
        other=item.get("other"),
    )


def lead(item: Item) -> Lead:
    """Return the lead that an item shows, even one that has nothing but its keys."""
    return Lead(
        id=item["pk"].removeprefix("LEAD#"),
        stage=item.get("stage"),
        cycle=int(item.get("cycle", 1)),
        revision=int(item.get("revision", 0)),
        changes=int(item.get("changes", 0)),
        interactions=int(item.get("interactions", 0)),
        email=json.loads(item[ADDRESS]["value"]) if ADDRESS in item else item.get("email"),
        updated_at=_instant(item.get("updated_at")),
        units={name: int(value) for name, value in item.items() if Counter.parse(name)},
        seen={name: int(value) for name, value in _under("seen:", item)},
        traits={name: json.loads(trait["value"]) for name, trait in _under(TRAIT, item)},
        stage_since=_instant(item.get("stage_since")),
        seen_before=_whole(item.get("seen_before", {})),
        gate=item.get("gate"),
        rescoring_until=_instant(item.get("rescoring_until")),
        first_touch=touch(FIRST_TOUCH, **item.get(FIRST_TOUCH, {})),
        last_touch=touch(LAST_TOUCH, **item.get(LAST_TOUCH, {})),
        due_at=_instant(item.get("due_at")),
        overdue_cycle=int(item["overdue_cycle"]) if "overdue_cycle" in item else None,
        merged_into=item.get("merged_into"),
        erased_at=_instant(item.get("erased_at")),
        unmerged_at=_instant(item.get("unmerged_at")),
        identities=int(item.get("identities", 0)),
        partings=int(item.get("partings", 0)),
        since=_end_of(item["since"]) if "since" in item else None,
        erasing=int(item["erasing"]) if "erasing" in item else None,
        leaves_nothing=item.get("leaves_nothing", False),
        generation_started_at=_instant(item.get("generation_started_at")),
        last_erased_at=_instant(item.get("last_erased_at")),
    )


def keys(item: Item) -> Keys:
    """Return the stack's keys.

    Secret keys stand under `secret:<digest>`, with the instant when they were made and, after a
    space, their name if they have one; link keys under `link:<id>`, with their instant; under
    `webhook:<source>` a list of secrets, under `captcha:<provider>` one.
    """
    secrets = [_secret_key(digest, *told.split(" ", 1)) for digest, told in _under("secret:", item)]
    links = sorted(_under("link:", item), key=lambda link: link[1]["made_at"])
    return Keys(
        lead_ids=bytes.fromhex(item["lead_ids"]),
        public=item["public"],
        secrets=tuple(sorted(secrets, key=lambda key: key.made_at)),
        links={
            name: LinkKey(bytes.fromhex(link["key"]), from_text(link["made_at"]))
            for name, link in links
        },
        webhooks={name: tuple(secrets) for name, secrets in _under("webhook:", item)},
        captchas=dict(_under("captcha:", item)),
        revision=int(item.get("revision", 0)),
    )


def _secret_key(digest: str, made_at: str, name: str = "") -> SecretKey:
    return SecretKey(digest, from_text(made_at), name)


def keys_item(keys: Keys) -> Item:
    """Return what stands in the table of all keys that can be changed."""
    links = {
        name: {"key": link.key.hex(), "made_at": to_text(link.made_at)}
        for name, link in keys.links.items()
    }
    return {
        **{f"secret:{k.digest}": f"{to_text(k.made_at)} {k.name}".strip() for k in keys.secrets},
        **{f"link:{name}": link for name, link in links.items()},
        **{f"webhook:{name}": list(secrets) for name, secrets in keys.webhooks.items()},
        **{f"captcha:{name}": secret for name, secret in keys.captchas.items()},
    }


def _whole(numbers: Item) -> dict[str, int]:
    return {name: int(value) for name, value in numbers.items()}


def _under(prefix: str, item: Item) -> Iterator[tuple[str, Any]]:
    return (
        (name.removeprefix(prefix), value)
        for name, value in item.items()
        if name.startswith(prefix)
    )


def day(instant: datetime) -> int:
    """Return the number of the day, in UTC: a third of the bytes of an instant."""
    return instant.astimezone(UTC).toordinal()


def _end_of(day: Any) -> datetime:
    return datetime.fromordinal(int(day) + 1).replace(tzinfo=UTC)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else from_text(text)


def updated(item: Item, sums: Mapping[str, int], sets: Item, gone: Sequence[str]) -> Item:
    """Return the item as an update leaves it that adds, sets and removes so."""
    kept = {name: value for name, value in item.items() if name not in gone}
    added = {name: item.get(name, 0) + number for name, number in sums.items()}
    return {**kept, **added, **sets}


def unbeaten(claims: Claims, item: Item) -> Claims:
    """Return the claims that are stronger than what the lead item holds."""
    held = {name: item.get(name, {"claim": "", "value": ""}) for name in claims}
    return {
        name: ours
        for name, ours in claims.items()
        if ours > (held[name]["claim"], held[name]["value"])
    }
