"""Messages of other services become ours, each by the table that the model has for its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leadscoring import campaign, signatures, wire
from leadscoring.doors import Webhook
from leadscoring.interaction import Identity, Interaction, Trust
from leadscoring.keys import Keys
from leadscoring.model import Model
from leadscoring.request import BATCH_BYTES, Invalid, Request, read_json
from leadscoring.wire import fingerprint

type Message = dict[str, Any]

MESSAGE_ID_CHARACTERS = 128
TEXT_CHARACTERS = 256

_ZOOM_CHALLENGE = "endpoint.url_validation"


@dataclass(frozen=True, slots=True)
class Hook:
    """What came of a webhook: what its sender is answered, and an interaction, if it tells one."""

    answer: Mapping[str, Any]
    interaction: Interaction | None = None


def read(request: Request, keys: Keys, model: Model) -> Hook:
    """Return what a webhook asks for, once its signature has shown who sent it.

    It tells no interaction where the model does not map its event, or it names no e-mail address.

    Raises:
        Invalid: the source is unknown or has no secret, the signature is not good, or what was
            signed is no message.
    """
    source = request.path.get("source", "")
    webhook, secrets = model.webhooks.get(source), keys.webhooks.get(source)
    if webhook is None or not secrets:
        raise Invalid("unknown_source", "path", "there is no such source")
    proof = signatures.prove(request, webhook, secrets)
    document = read_json(request.raw_body, BATCH_BYTES)
    if (token := challenge_of(webhook, document)) is not None:
        return Hook(signatures.challenge_answer(token, proof.secret))
    answer = {"success": True}
    message = as_message(source, webhook, document, proof.message_id)
    if message is None:
        return Hook(answer)
    return Hook(answer, wire.read_message(message, request.arrival(Trust.TRUSTED), model))


def challenge_of(webhook: Webhook, document: Mapping[str, Any]) -> str | None:
    """Return the token by which Zoom asks whether we know its secret, None in all else.

    Raises:
        Invalid: it asks without a token.
    """
    if webhook.scheme != "zoom" or document.get("event") != _ZOOM_CHALLENGE:
        return None
    token = _at(document, "payload.plainToken")
    if not isinstance(token, str):
        raise Invalid("invalid", "payload.plainToken", "this must be a text")
    return token


def as_message(
    source: str, webhook: Webhook, document: Mapping[str, Any], signed_id: str = ""
) -> Message | None:
    """Return what a webhook tells as a `track` message of ours.

    None if the model does not map the event, or nobody's e-mail address stands in it. `signed_id`
    is the id that was signed beside the body, if the scheme has one.

    Raises:
        Invalid: a number in it is out of range.
    """
    content = fingerprint(document)
    body = _by_ref(document) if webhook.scheme == "typeform" else document
    event = webhook.events.get(str(_at(body, webhook.name)))
    email = _email(body, webhook)
    if event is None or email is None:
        return None
    message: Message = {
        "type": "track",
        "event": event,
        "messageId": _message_id(source, signed_id or _at(body, webhook.id) or content),
        "properties": _told(body, webhook.properties),
        "traits": {**_told(body, webhook.traits), "email": email},
        "timestamp": _at(body, webhook.time),
    }
    if came_by := campaign.in_fields(_table(_at(body, webhook.campaign))):
        message["context"] = {"campaign": came_by}
    return message


def _at(body: Any, path: str | None) -> Any:
    """Return what stands at a dotted path, None if nothing does."""
    found = body if path else None
    for step in path.split(".") if path else ():
        found = _table(found).get(step)
    return found


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _email(body: Mapping[str, Any], webhook: Webhook) -> str | None:
    for path in webhook.email:
        try:
            return Identity.of_email(str(_at(body, path))).email
        except ValueError:
            continue
    return None


def _message_id(source: str, theirs: object) -> str:
    """Return an id of ours for a message: theirs after the name of its source, if that fits."""
    named = f"{source}:{theirs}"
    return named if len(named) <= MESSAGE_ID_CHARACTERS else f"{source}:{fingerprint(theirs)}"


def _told(body: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    """Return the texts, numbers and truth values at these paths, long texts cut."""
    found = {name: _at(body, path) for name, path in paths.items()}
    return {
        name: value[:TEXT_CHARACTERS] if isinstance(value, str) else value
        for name, value in found.items()
        if isinstance(value, str | int | float)
    }


def _by_ref(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Typeform response with its answers by their questions' `ref`, and its e-mail.

    https://www.typeform.com/developers/webhooks/example-payload/
    """
    listed = _at(document, "form_response.answers")
    answers = [_table(answer) for answer in listed] if isinstance(listed, list) else []
    by_ref = {str(_at(answer, "field.ref")): _answered(answer) for answer in answers}
    emails = (answer.get("email") for answer in answers if answer.get("type") == "email")
    return {**document, "answers": by_ref, "email": next(emails, None)}


def _answered(answer: Mapping[str, Any]) -> Any:
    """Return what was answered; of choices their labels."""
    value = answer.get(str(answer.get("type")))
    if not isinstance(value, Mapping):
        return value
    labels = value.get("labels")
    chosen = [value.get("label"), *(labels if isinstance(labels, list) else ()), value.get("other")]
    return ", ".join(str(label) for label in chosen if label)
