"""The wire: Segment's messages become interactions.

What Segment calls what: https://segment.com/docs/connections/spec/
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from leadscoring import campaign
from leadscoring.interaction import Identity, IdentityKind, Interaction, to_millisecond
from leadscoring.lifecycle import BY_DEFAULT, Decision, DecisionKind
from leadscoring.model import PAGE_VIEWED, Model, Points
from leadscoring.request import (
    BATCH_MESSAGES,
    MESSAGE_BYTES,
    Arrival,
    Invalid,
    check_shape,
)

CALLS: Mapping[str, str] = {
    "track": "track",
    "t": "track",
    "identify": "identify",
    "i": "identify",
    "page": "page",
    "p": "page",
    "screen": "screen",
    "s": "screen",
    "group": "group",
    "g": "group",
    "alias": "alias",
    "a": "alias",
    "batch": "batch",
    "b": "batch",
}

_NAMES: Mapping[str, str] = {
    "page": PAGE_VIEWED,
    "screen": PAGE_VIEWED,
    "identify": "Identified",
    "group": "Grouped",
    "alias": "Aliased",
}
_KINDS = ("track", *_NAMES)
# What a client says anew when it sends a message again.
_OF_DELIVERY = ("sentAt", "writeKey", "_metadata")
ID_CHARACTERS = 256

_GROUP = "group."
# Only these say that their names are one person's: https://segment.com/docs/connections/spec/identify/
_JOINING = ("identify", "alias")
# Segment's browser SDK waits at least so long before it sends again what was not answered, and then
# under the name that the visitor has by now.
_SENT_AGAIN_AFTER = timedelta(seconds=1)
_TRAIT_CHARACTERS = 256
_TRAIT_NUMBER = 2**53


@dataclass(frozen=True, slots=True)
class Reading:
    """What a call held: its interactions, and by index what is wrong with the others."""

    interactions: list[Interaction]
    rejected: list[dict[str, Any]]


def _in_utc(instant: datetime) -> datetime:
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _or_none(value: object) -> object:
    return None if value == "" else value


type _Instant = Annotated[datetime, AfterValidator(_in_utc)]
type _Id = Annotated[
    Annotated[str, StringConstraints(max_length=ID_CHARACTERS)] | None, BeforeValidator(_or_none)
]
type _Table = dict[str, Any] | None
type Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True)]
type Author = Annotated[str, StringConstraints(max_length=200)] | None


class Context(BaseModel):
    """Where a call came from, as the client sees it."""

    model_config = ConfigDict(extra="allow")

    traits: _Table = None


class _Document(BaseModel):
    """What a sender wrote, in its own spelling; a fault names the field and never the value."""

    model_config = ConfigDict(
        alias_generator=to_camel, coerce_numbers_to_str=True, hide_input_in_errors=True
    )

    @classmethod
    def parse(cls, document: object) -> Self:
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            fault = error.errors(include_input=False, include_url=False)[0]
            field = ".".join(map(str, fault["loc"])) or "body"
            raise Invalid("invalid", field, fault["msg"]) from None


class Message(_Document):
    """One Segment call, as far as scoring reads it."""

    message_id: Annotated[
        Annotated[str, StringConstraints(max_length=128)] | None, BeforeValidator(_or_none)
    ] = None
    user_id: _Id = None
    anonymous_id: _Id = None
    previous_id: _Id = None
    event: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    name: Any = None
    properties: _Table = None
    traits: _Table = None
    context: Context | None = None
    timestamp: _Instant | None = None
    original_timestamp: _Instant | None = None
    sent_at: _Instant | None = None

    def identities(self, kind: str) -> list[Identity]:
        """Return the names that the message gives its lead, an e-mail before all others."""
        in_context = self.context.traits if self.context else None
        # The traits of a group are the company's: so is an e-mail among them.
        mine = None if kind == "group" else self.traits
        told = (_email((table or {}).get("email")) for table in (mine, in_context, self.properties))
        names = [
            next(filter(None, told), None),
            Identity.of_user_id(self.user_id) if self.user_id else None,
            *(
                Identity(IdentityKind.ANONYMOUS_ID, name) if name else None
                for name in (self.anonymous_id, self.previous_id if kind == "alias" else None)
            ),
        ]
        found = list(dict.fromkeys(name for name in names if name))
        if not found:
            message = "a message names its lead: userId, anonymousId or an e-mail"
            raise Invalid("invalid", "userId", message)
        return found

    def interaction_name(self, kind: str) -> str:
        """Return what the interaction is called in rules."""
        if kind == "track":
            if self.event is None:
                raise Invalid("invalid", "event", "a track message has an event")
            return self.event
        return _NAMES[kind]

    def told_properties(self, kind: str) -> dict[str, Any]:
        """Return its properties, and among them what the call has a field of its own for."""
        told = self.properties or {}
        if kind == "alias":
            if not self.previous_id:
                raise Invalid("invalid", "previousId", "an alias message has a previousId")
            return {**told, "previousId": self.previous_id}
        if kind in ("page", "screen") and isinstance(self.name, str):
            return {"name": self.name, **told}
        return told

    def told_traits(self, kind: str) -> dict[str, Any]:
        """Return what is said of the lead, and under `group.` of the company it belongs to."""
        in_context = (self.context.traits if self.context else None) or {}
        told = self.traits or {}
        if kind == "group":
            told = {f"{_GROUP}{name}": value for name, value in told.items()}
        return {**in_context, **told}

    def occurred_at(self, sent_at: datetime | None, arrival: Arrival, model: Model) -> datetime:
        """Return when it happened by our clock: receivedAt - (sentAt - originalTimestamp)."""
        stated = self.original_timestamp or self.timestamp
        sent = self.sent_at or sent_at
        if stated is None:
            return to_millisecond(arrival.received_at)
        try:
            corrected = arrival.received_at - (sent - stated) if sent else stated
            return arrival.clamp(corrected, model.retention_days)
        except OverflowError:  # a clock in the year 1 or 9999 tells nothing
            return to_millisecond(arrival.received_at)


class Adjustment(_Document):
    """Points given or taken by hand, and why."""

    points: Points
    dimension: str
    reason: Reason
    author: Author = None
    message_id: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None


class Ruling(_Document):
    """What somebody decided on a lead, and why."""

    decision: DecisionKind
    reason: Reason | None = None
    author: Author = None
    request_id: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None


class Merging(_Document):
    """Which other lead is the same person, by its id or its e-mail, and how somebody knows."""

    other: Annotated[str, StringConstraints(max_length=ID_CHARACTERS)] | None = None
    email: Annotated[str, StringConstraints(max_length=ID_CHARACTERS)] | None = None
    reason: Reason
    author: Author = None

    def other_id(self, key: bytes) -> str:
        """Return the id of the other lead; raise `Invalid` if none is named."""
        if self.other:
            return self.other
        if identity := _email(self.email):
            return identity.lead_id(key)
        raise Invalid("invalid", "other", "name the other lead by its id, or by its email")


class Unmerging(_Document):
    """Which identity is another person, and how somebody knows."""

    identity: Annotated[str, StringConstraints(min_length=1, max_length=ID_CHARACTERS)]
    reason: Reason
    author: Author = None


class Batch(_Document):
    """Calls that were sent together."""

    batch: list[Any]
    sent_at: _Instant | None = None


def read_call(kind: str, document: dict[str, Any], arrival: Arrival, model: Model) -> Reading:
    """Return the interactions of one call of Segment's; a batch keeps what is good in it.

    Raises:
        Invalid: nothing in it is good.
    """
    if kind != "batch":
        return Reading([_interaction(kind, document, arrival, model, "", None)], [])
    batch = _parse_batch(document)
    reading = Reading([], [])
    for index, message in enumerate(batch.batch):
        try:
            interaction = read_message(message, arrival, model, f":{index}", batch.sent_at)
        except Invalid as fault:
            reading.rejected.append({"index": index, **fault.as_dict()})
        else:
            reading.interactions.append(interaction)
    if batch.batch and not reading.interactions:
        first = reading.rejected[0]
        raise Invalid(first["code"], f"batch.0.{first['field']}", first["message"])
    return reading


def read_message(
    message: Any,
    arrival: Arrival,
    model: Model,
    suffix: str = "",
    sent_at: datetime | None = None,
) -> Interaction:
    """Return the interaction of one message that says itself of which kind it is.

    `suffix` tells it from the others of its request, `sent_at` is when they all were sent.

    Raises:
        Invalid: it is no such message, or too large.
    """
    kind = _kind(message)
    _check_size(message)
    return _interaction(kind, message, arrival, model, suffix, sent_at)


def client_settings(key: str, origin: str) -> dict[str, Any]:
    """Return what Segment's browser SDK asks its CDN for: where to send, and nothing to load.

    `origin` is where it asked. It measures itself unless it is told not to.
    """
    protocol, _, host = origin.partition("://")
    sending = {"apiKey": key, "apiHost": f"{host}/v1", "protocol": protocol}
    return {"integrations": {"Segment.io": sending}, "metrics": {"sampleRate": 0}}


def read_adjustment(
    document: dict[str, Any], principal: str, arrival: Arrival, model: Model
) -> Interaction:
    """Return the ledger's form of points that somebody gives or takes by hand.

    `principal` is who sent it, by AWS's own word; `author` may say who asked for it.

    Raises:
        Invalid: it names no dimension, no reason, or no points that could be entered.
    """
    given = Adjustment.parse(document)
    dimension = model.dimensions.get(given.dimension)
    if dimension is None:
        raise Invalid("invalid", "dimension", f"one of {', '.join(model.dimensions)}")
    if dimension.expires_months and given.points < 0:
        message = "where points expire none can be taken: the score would rise by itself one day"
        raise Invalid("invalid", "points", message)
    properties = {
        "points": float(given.points),
        "dimension": given.dimension,
        "author": given.author or principal,
        "principal": principal,
        "reason": given.reason,
    }
    at = to_millisecond(arrival.received_at)
    return Interaction(
        message_id=given.message_id or arrival.request_id,
        identity=None,
        name="Adjusted",
        occurred_at=at,
        received_at=at,
        trust=arrival.trust,
        fingerprint=fingerprint(properties),
        properties=properties,
    )


def read_decision(document: dict[str, Any], principal: str, request_id: str) -> Decision:
    """Return what somebody decided on a lead, by AWS's own word and, if they say so, for whom.

    Raises:
        Invalid: it is no decision, or one that needs a reason and has none.
    """
    given = Ruling.parse(document)
    if given.reason is None and given.decision not in BY_DEFAULT:
        raise Invalid("invalid", "reason", f"say why, to {given.decision} a lead")
    return Decision(
        kind=given.decision,
        why=given.reason or BY_DEFAULT[given.decision],
        who=said_by(principal, given.author),
        request_id=given.request_id or request_id,
    )


def said_by(principal: str, author: str | None) -> str:
    """Return who it was, by AWS's own word and, if they say so, for whom."""
    return f"{author} ({principal})" if author else principal


def _parse_batch(document: dict[str, Any]) -> Batch:
    batch = Batch.parse(document)
    if len(batch.batch) > BATCH_MESSAGES:
        raise Invalid("too_large", "batch", f"a batch has at most {BATCH_MESSAGES} messages")
    return batch


def _kind(message: object) -> str:
    kind = message.get("type") if isinstance(message, Mapping) else None
    if kind not in _KINDS:
        raise Invalid("invalid", "type", f"a message is one of {', '.join(_KINDS)}")
    return str(kind)


def _check_size(message: object) -> None:
    """Hold a message in a batch to the size of one that comes alone: an item has its limits."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MESSAGE_BYTES:
        raise Invalid("too_large", "message", f"a message has at most {MESSAGE_BYTES} bytes")


def _interaction(
    kind: str,
    document: dict[str, Any],
    arrival: Arrival,
    model: Model,
    suffix: str,
    sent_at: datetime | None,
) -> Interaction:
    check_shape(document)
    message = Message.parse(document)
    content = fingerprint(
        {name: value for name, value in document.items() if name not in _OF_DELIVERY}
    )
    stated = message.original_timestamp or message.timestamp
    generated = content if stated else f"{arrival.request_id}{suffix}"
    context = message.context.model_dump(exclude={"campaign"}) if message.context else {}
    properties = message.told_properties(kind)
    came_by = campaign.of(document.get("context") or {}, properties)
    identity, *also = message.identities(kind)
    occurred_at = message.occurred_at(sent_at, arrival, model)
    joins = kind in _JOINING
    may_be_again = not joins and arrival.received_at - occurred_at >= _SENT_AGAIN_AFTER
    return Interaction(
        message_id=message.message_id or generated,
        identity=identity,
        name=message.interaction_name(kind),
        occurred_at=occurred_at,
        received_at=to_millisecond(arrival.received_at),
        trust=arrival.trust,
        fingerprint=content,
        properties=properties,
        traits=known_traits(message.told_traits(kind), model),
        context={**context, "campaign": came_by} if came_by else context,
        also=tuple(also) if joins else (),
        earlier=_anonymous(also) if may_be_again else None,
    )


def _anonymous(names: Iterable[Identity]) -> Identity | None:
    return next((name for name in names if name.kind is IdentityKind.ANONYMOUS_ID), None)


def _email(value: object) -> Identity | None:
    try:
        return Identity.of_email(value) if isinstance(value, str) else None
    except ValueError:
        return None


def known_traits(table: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """Return the traits that the model names, long texts cut: a lead item stays small."""
    known = ((name, table[name]) for name in sorted(model.known_traits) if name in table)
    return {
        name: value[:_TRAIT_CHARACTERS] if isinstance(value, str) else value
        for name, value in known
        if _is_trait(value)
    }


def _is_trait(value: object) -> bool:
    """Tell whether it is a text, a truth value, or a number that every reader of JSON can hold."""
    if isinstance(value, str):
        return value != ""
    return isinstance(value, int | float) and abs(value) <= _TRAIT_NUMBER


def fingerprint(content: object) -> str:
    """Return 32 hex digits of the content, by which a repeat with other content is told.

    Raises:
        Invalid: a number in it is out of range.
    """
    try:
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError:  # 1e999 is JSON, but no number that anybody could give back
        raise Invalid("invalid", "body", "a number is out of range") from None
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]
