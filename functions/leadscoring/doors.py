"""What a model says of the ways in: forms, e-mail links, webhooks, and what is doubted."""

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from leadscoring import faults
from leadscoring.criteria import Part, listed
from leadscoring.interaction import Identity

OURS = "_"
CONSENT_VERSION = "consent_version"


def _theirs(name: str) -> str:
    if name.startswith(OURS):
        raise ValueError(f"names that begin with {OURS!r} are ours")
    return name


def _domain(name: str) -> str:
    """Return a mail domain in the form that identities have."""
    try:
        _, _, domain = Identity.of_email(f"somebody@{name}").value.rpartition("@")
    except ValueError:
        raise ValueError("a domain stands behind the @ of an address, as acme.example") from None
    return domain


def _network(addresses: str) -> str:
    try:
        return str(ip_network(addresses))
    except ValueError:
        message = "addresses are one, or a range of them, as 203.0.113.0/24"
        raise ValueError(message) from None


type Address = Annotated[str, Field(pattern=faults.ADDRESS)]
type FieldName = Annotated[str, Field(min_length=1, max_length=100)]
type TheirField = Annotated[FieldName, AfterValidator(_theirs)]
type BodyPath = Annotated[str, Field(min_length=1, max_length=200)]
type BodyPaths = Annotated[tuple[BodyPath, ...], BeforeValidator(listed)]


class Consent(Part):
    """A checkbox by which a visitor consents to a text, and which version of it that is."""

    field: TheirField
    version: Annotated[str, Field(min_length=1, max_length=100)]
    text: Annotated[str, Field(min_length=1)]
    required: bool = False


class Captcha(Part):
    """Who is asked whether a person filled in a form, and what if nobody answers."""

    provider: Literal["turnstile", "hcaptcha"]
    when_unreachable: Literal["refuse", "accept"] = "refuse"


class Form(Part):
    """A plain HTML form: what its interaction is called and where the visitor goes next.

    `fields` gives the page's names for fields other names, and `honeypot` is one of the page's;
    all else speaks of fields by the names that they are given.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)] = "Form Submitted"
    redirect: Address | None = None
    targets: Annotated[tuple[Address, ...], BeforeValidator(listed)] = ()
    fields: dict[TheirField, TheirField] = Field(default_factory=dict)
    required: Annotated[tuple[TheirField, ...], BeforeValidator(listed)] = ()
    honeypot: FieldName = "_gotcha"
    minimum_seconds: Annotated[int, Field(ge=1, le=60)] | None = None
    consent: Consent | None = None
    captcha: Captcha | None = None
    confirm_by: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _honeypot_is_for_nobody(self) -> Self:
        consent = (self.consent.field,) if self.consent else ()
        if self.honeypot in {"email", *self.fields, *self.required, *consent}:
            raise ValueError(f"people fill in {self.honeypot!r}: it can't be the honeypot")
        return self

    @property
    def least_time(self) -> timedelta:
        """How long a person takes to fill it in, at least."""
        return timedelta(seconds=self.minimum_seconds or 0)

    def target(self, wanted: str | None) -> str | None:
        """Return where the visitor goes next: where the page wants, if the model lists that."""
        return wanted if wanted in self.targets else self.redirect


class Links(Part):
    """Signed links in e-mails: a click within so many seconds of sending is a mail scanner's."""

    quiet_seconds: Annotated[int, Field(ge=0, le=3600)] = 60


class Bots(Part):
    """More interactions of one lead than `most` within so many seconds are no person's."""

    most: Annotated[int, Field(ge=1, le=1000)] = 40
    seconds: Annotated[int, Field(ge=1, le=3600)] = 10


class Staff(Part):
    """Our own people: by the domains of their e-mail, by the addresses that they sit at."""

    domains: tuple[Annotated[str, AfterValidator(_domain)], ...] = ()
    addresses: tuple[Annotated[str, AfterValidator(_network)], ...] = ()

    @cached_property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The addresses, ready to be compared with."""
        return tuple(ip_network(addresses) for addresses in self.addresses)


class Public(Part):
    """What anybody may send: so many interactions of one lead a day are kept."""

    most_per_day: Annotated[int, Field(ge=1, le=100_000)] = 500


class Webhook(Part):
    """A source of signed messages: how it signs them, and where in their bodies things stand.

    Places are dotted paths. What a scheme says by itself needs no saying, and is added to.
    """

    scheme: Literal["standard", "stripe", "typeform", "zoom"]
    header: Annotated[str, StringConstraints(to_lower=True, min_length=1)] = "stripe-signature"
    id: BodyPath | None = None
    time: BodyPath | None = None
    name: BodyPath = "type"
    email: BodyPaths = ()
    campaign: BodyPath | None = None
    events: dict[str, Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default_factory=dict
    )
    properties: dict[str, BodyPath] = Field(default_factory=dict)
    traits: dict[str, BodyPath] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _with_what_the_scheme_says(cls, said: Any) -> Any:
        if not isinstance(said, dict):
            return said
        by_itself = _SCHEMES.get(str(said.get("scheme")), {})
        return {key: _added(by_itself.get(key), said.get(key)) for key in {**by_itself, **said}}

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.email:
            raise ValueError("a webhook says where the e-mail address stands: `email`")
        if not self.events:
            raise ValueError("a webhook says which events are which of our interactions: `events`")
        if self.scheme != "stripe" and "header" in self.model_fields_set:
            raise ValueError("only the scheme 'stripe' is asked for its `header`")
        return self


# A registration knows more of a person than somebody who joins. Zoom says of nobody how long.
_SCHEMES: Mapping[str, Mapping[str, Any]] = {
    "standard": {"time": "timestamp"},
    "stripe": {"id": "id", "time": "created"},
    "typeform": {
        "id": "event_id",
        "time": "form_response.submitted_at",
        "name": "event_type",
        "email": ["email", "form_response.hidden.email"],
        "campaign": "form_response.hidden",
        "events": {"form_response": "Form Submitted"},
        "properties": {
            "form": "form_response.form_id",
            "title": "form_response.definition.title",
        },
    },
    "zoom": {
        "time": "event_ts",
        "name": "event",
        "email": ["payload.object.registrant.email", "payload.object.participant.email"],
        "events": {
            "webinar.registration_created": "Webinar Registered",
            "webinar.participant_joined": "Webinar Attended",
        },
        "properties": {"title": "payload.object.topic"},
        "traits": {
            "firstName": "payload.object.registrant.first_name",
            "lastName": "payload.object.registrant.last_name",
            "company": "payload.object.registrant.org",
            "jobTitle": "payload.object.registrant.job_title",
            "phone": "payload.object.registrant.phone",
            "industry": "payload.object.registrant.industry",
            "country": "payload.object.registrant.country",
        },
    },
}


def _added(by_itself: Any, said: Any) -> Any:
    """Return what the model says; a table beside what the scheme says by itself."""
    if isinstance(by_itself, Mapping) and isinstance(said, Mapping | None):
        return {**by_itself, **(said or {})}
    return by_itself if said is None else said
