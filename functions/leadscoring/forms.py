"""Plain HTML forms become interactions."""

from datetime import UTC
from urllib.parse import parse_qsl

from leadscoring import campaign
from leadscoring.doors import Form
from leadscoring.interaction import Identity, Interaction, to_millisecond
from leadscoring.model import Model
from leadscoring.request import MESSAGE_BYTES, Arrival, Invalid
from leadscoring.wire import fingerprint, known_traits

_FIELDS = 100


def read_form(name: str, form: Form, body: bytes, arrival: Arrival, model: Model) -> Interaction:
    """Return the interaction of a urlencoded form; the same form sent twice a day is one.

    Raises:
        Invalid: it is too large, or has no e-mail to get in touch with.
    """
    fields = _read_fields(body)
    try:
        identity = Identity.of_email(fields.get("email", ""))
    except ValueError as error:
        raise Invalid("invalid", "email", f"the field email is {error}") from None
    content = fingerprint({"form": name, "email": identity.value, "fields": fields})
    came_by = campaign.in_fields(fields)
    day = arrival.received_at.astimezone(UTC).date().isoformat()
    return Interaction(
        message_id=f"form-{fingerprint([content, day])}",
        identity=identity,
        name=form.name,
        occurred_at=to_millisecond(arrival.received_at),
        received_at=to_millisecond(arrival.received_at),
        trust=arrival.trust,
        fingerprint=content,
        properties={**fields, "form": name},
        traits=known_traits(fields, model),
        context={"campaign": came_by} if came_by else {},
    )


def _read_fields(body: bytes) -> dict[str, str]:
    if len(body) > MESSAGE_BYTES:
        raise Invalid("too_large", "body", f"the form has more than {MESSAGE_BYTES} bytes")
    try:
        pairs = parse_qsl(body.decode(errors="replace"), max_num_fields=_FIELDS)
    except ValueError:
        raise Invalid("invalid", "body", f"a form has at most {_FIELDS} fields") from None
    return dict(pairs)
