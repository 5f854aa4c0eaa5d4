"""Plain HTML forms become interactions.

Fields whose names begin with `_` are ours: they steer what we do, and nobody keeps them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from leadscoring import campaign, captcha, confirmation
from leadscoring.doors import CONSENT_VERSION, OURS, Form
from leadscoring.fields import read_fields
from leadscoring.interaction import Identity, IdentityKind, Interaction, Trust, to_millisecond
from leadscoring.lead import CONSENT
from leadscoring.model import Model
from leadscoring.request import Arrival, Invalid, Request
from leadscoring.wire import ID_CHARACTERS, fingerprint, known_traits

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_REFUSED_TICKS = {"", "0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class Posted:
    """A form as a visitor posted it: the model's form, all its fields, and what the lead did."""

    form: Form
    fields: Mapping[str, str]
    interaction: Interaction
    target: str


def read(request: Request, model: Model) -> Interaction:
    """Return the interaction that a posted form is; the same form sent twice a day is one.

    Raises:
        Invalid: it is no form of the model, it is too much, or something is missing in it.
    """
    return receive(request, model).interaction


def receive(request: Request, model: Model) -> Posted:
    """Return a posted form with its interaction and where its visitor goes next.

    Raises:
        Invalid: as `read` says.
    """
    name, form = find(request, model)
    sent = read_fields(request)
    told = _told(form, sent)
    interaction = _interaction(name, form, sent, told, request.arrival(Trust.PUBLIC), model)
    return Posted(form, sent, interaction, form.target(sent.get("_redirect")) or f"/f/{name}")


def find(request: Request, model: Model) -> tuple[str, Form]:
    """Return the form that the path names; raise `Invalid` if the model has none."""
    name = request.path.get("form", "")
    form = model.forms.get(name)
    if form is None:
        raise Invalid("unknown_form", "path", "there is no such form")
    return name, form


def _told(form: Form, sent: Mapping[str, str]) -> dict[str, str]:
    """Return what the visitor says, under the model's names, without what steers us."""
    ours = {form.honeypot, *captcha.FIELDS}
    theirs = {n: v for n, v in sent.items() if not n.startswith(OURS) and n not in ours}
    renamed = {new: theirs[old] for old, new in form.fields.items() if old in theirs}
    return {n: v for n, v in theirs.items() if n not in form.fields} | renamed


def _interaction(
    name: str,
    form: Form,
    sent: Mapping[str, str],
    told: Mapping[str, str],
    arrival: Arrival,
    model: Model,
) -> Interaction:
    identity = _identity(form, told)
    withheld_by = _doubt(form, sent, arrival)
    # What is withheld is another message: it must not stand in the way of the person's own.
    doubt = {"withheld_by": withheld_by} if withheld_by else {}
    content = fingerprint({"form": name, "email": identity.value, "fields": told, **doubt})
    came_by = campaign.in_fields(told)
    day = arrival.received_at.astimezone(UTC).date().isoformat()
    properties, traits = _consent(form, told)
    plain = {n: v for n, v in told.items() if n not in (CONSENT, CONSENT_VERSION)}
    return Interaction(
        message_id=f"form-{fingerprint([content, day])}",
        identity=identity,
        name=form.name,
        occurred_at=to_millisecond(arrival.received_at),
        received_at=to_millisecond(arrival.received_at),
        trust=arrival.trust,
        fingerprint=content,
        properties={**plain, "form": name, **properties},
        traits={**known_traits(plain, model), **traits},
        context={"campaign": came_by} if came_by else {},
        withheld_by=withheld_by or confirmation.awaited(form),
        also=_anonymous(sent),
    )


def _anonymous(sent: Mapping[str, str]) -> tuple[Identity, ...]:
    """Return the anonymous id of the browser that posted the form, if its page told one."""
    name = sent.get("_anonymous_id", "")[:ID_CHARACTERS]
    return (Identity(IdentityKind.ANONYMOUS_ID, name),) if name else ()


def _identity(form: Form, told: Mapping[str, str]) -> Identity:
    """Return the lead's address; raise `Invalid` if a field is missing that must be filled in."""
    try:
        identity = Identity.of_email(told.get("email", ""))
    except ValueError as error:
        raise Invalid("invalid", "email", f"the field email is {error}") from None
    for field in form.required:
        if not told.get(field, "").strip():
            raise Invalid("invalid", field, f"the field {field} is missing")
    return identity


def _consent(form: Form, told: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a ticked consent adds to properties and traits."""
    asked = form.consent
    if asked is None:
        return {}, {}
    if told.get(asked.field, "").strip().lower() not in _REFUSED_TICKS:
        return {CONSENT_VERSION: asked.version}, {CONSENT: True}
    if asked.required:
        raise Invalid("invalid", asked.field, f"the field {asked.field} is not ticked")
    return {}, {}


def _doubt(form: Form, sent: Mapping[str, str], arrival: Arrival) -> str | None:
    """Return what says that no person filled in the form, if anything does."""
    if sent.get(form.honeypot):
        return "honeypot"
    opened = _instant(sent.get("_opened", ""))
    if opened and timedelta(0) <= arrival.received_at - opened < form.least_time:
        return "too-fast"
    return None


def _instant(text: str) -> datetime | None:
    """Return the instant that milliseconds since 1970 or ISO 8601 say, or None for nonsense."""
    try:
        if text.isdecimal():
            return _EPOCH + timedelta(milliseconds=int(text))
        stated = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return stated if stated.tzinfo else stated.replace(tzinfo=UTC)
