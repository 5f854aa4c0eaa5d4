"""Signatures of webhooks, by what others have published; mappings, and nothing that raises."""

import base64
import hmac
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscoring import signatures, webhooks
from leadscoring.doors import Webhook
from leadscoring.faults import ModelError
from leadscoring.keys import Keys
from leadscoring.model import Model
from leadscoring.request import Invalid, Request
from tests.flow import signing
from tests.unit.histories import EXAMPLES

SAMPLES = Path(__file__).parents[2] / "events" / "hooks"
THEN = datetime.fromtimestamp(1614265330, UTC)
MAPPED = {"email": "data.email", "events": {"contact.subscribed": "Newsletter Subscribed"}}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEYS = Keys(lead_ids=b"k", public="p", webhooks=dict.fromkeys(signing.SIGN, (SECRET,)))

MODEL = """
number = 1
name = "webhooks"
retention_days = 365
properties = []
traits = ["company"]
rules = [{ name = "demo", on = "Demo Requested", points = 60, dimension = "intent" }]
dimensions.intent = {}
stages = [{ name = "captured" }, { name = "mql", enter.score = 100 }]
"""


def webhook(scheme: str, **said: Any) -> Webhook:
    mapped = MAPPED if scheme in ("standard", "stripe") else {}
    return Webhook.model_validate({"scheme": scheme, **mapped, **said})


def request(
    headers: Mapping[str, str], body: bytes, source: str = "", at: datetime = THEN
) -> Request:
    return Request(
        route="POST /hooks/{source}",
        path={"source": source},
        query={},
        headers=headers,
        received_at=at,
        request_id="r-1",
        agent="",
        address="",
        sent_body=body.decode(),
    )


def proves(scheme: str, headers: Mapping[str, str], body: bytes, *secrets: str) -> bool:
    try:
        signatures.prove(request(headers, body), webhook(scheme), secrets)
    except Invalid as fault:
        if fault.code != "bad_signature":
            raise
        return False
    return True


# The vectors: of Standard Webhooks' own libraries; of the package stripe 16.1.0; those of Typeform
# and Zoom by `openssl dgst -sha256 -hmac`, since they publish none.
VECTORS = [
    (
        "standard",
        SECRET,
        b'{"test": 2432232314}',
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
    ),
    (
        "stripe",
        "whsec_local",
        b'{"id": "evt_1", "type": "customer.created"}',
        {
            "stripe-signature": "t=1614265330,"
            "v1=dbaf062c9c2e59b46d55403c96554651eada30d1a3dd9fcbca1c6d6e8374cad1"
        },
    ),
    (
        "typeform",
        "typeform-secret",
        b'{"event_id":"e1"}',
        {"typeform-signature": "sha256=6eIkCXY4j+yVEVu1WBIrgnFMz3dyqqKYFUgijeM8Z7M="},
    ),
    (
        "zoom",
        "zoom-secret",
        b'{"event":"webinar.started"}',
        {
            "x-zm-request-timestamp": "1614265330",
            "x-zm-signature": "v0=032e5f4531fb6b2954bc7257ef87a6a5be76334f3835ab850610b95dc7c20866",
        },
    ),
]


@pytest.mark.parametrize(("scheme", "secret", "body", "headers"), VECTORS)
def test_what_others_have_signed_is_proven(
    scheme: str, secret: str, body: bytes, headers: dict[str, str]
) -> None:
    assert proves(scheme, headers, body, secret)
    assert proves(scheme, headers, body, "whsec_b3RoZXI=", secret)
    assert not proves(scheme, headers, body, "whsec_b3RoZXI=")
    assert not proves(scheme, headers, body + b" ", secret)
    assert not proves(scheme, headers, body)


def test_zoom_is_answered_as_others_answer_it() -> None:
    # The token of Zoom's documentation, with a secret and its digest from Elastic's tests.
    assert signatures.challenge_answer("qgg8vlvZRS6UYooatFL8Aw", "secretValueTest") == {
        "plainToken": "qgg8vlvZRS6UYooatFL8Aw",
        "encryptedToken": "70c1f2e2e6ca2d39297490d1f9142c7d701415ea8e6151f6562a08fa657a40ff",
    }


@pytest.mark.parametrize(
    ("scheme", "header", "separator"),
    [("standard", "webhook-signature", " "), ("stripe", "stripe-signature", ",")],
)
def test_one_good_signature_among_several_is_enough(
    scheme: str, header: str, separator: str
) -> None:
    body = b"{}"
    good = signing.SIGN[scheme](SECRET, body, THEN)
    other = signing.SIGN[scheme]("whsec_b3RoZXI=", body, THEN)[header]
    joined = separator.join(["v1a,c29tZQ==", "v2=", other, good[header]])
    assert proves(scheme, {**good, header: joined}, body, SECRET)
    assert not proves(scheme, {**good, header: other}, body, SECRET)


def test_a_secret_of_standard_webhooks_may_lack_its_prefix_and_its_padding() -> None:
    body, secret = b"{}", "whsec_c2VjcmV0LXNlY3JldA=="
    headers = signing.standard(secret, body, THEN)
    for spelt in (secret, secret.rstrip("="), secret.removeprefix("whsec_")):
        assert proves("standard", headers, body, spelt)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!", "whsec_ü", "whsec_A"])
def test_a_secret_that_is_none_signs_nothing(secret: str) -> None:
    seal = b".1614265330.{}"
    forged = base64.b64encode(hmac.digest(b"", seal, "sha256"))
    headers = {"webhook-timestamp": "1614265330", "webhook-signature": f"v1,{forged.decode()}"}
    assert not proves("standard", headers, b"{}", secret)
    if not secret:
        for scheme in ("stripe", "typeform", "zoom"):
            assert not proves(scheme, signing.SIGN[scheme]("", b"{}", THEN), b"{}", secret)


def test_a_scheme_like_stripes_has_the_header_that_the_model_names() -> None:
    signed = signing.stripe(SECRET, b"{}", THEN)["stripe-signature"]
    source = webhook("stripe", header="X-Shop-Signature")
    sent = request({"x-shop-signature": signed}, b"{}")
    assert signatures.prove(sent, source, [SECRET]).secret == SECRET


def test_what_a_scheme_says_by_itself_is_added_to() -> None:
    source = webhook(
        "typeform",
        email="answers.mail",
        events={"form_response_partial": "Form Begun"},
        properties={"title": "form_response.hidden.title"},
    )
    assert source.email == ("answers.mail",)
    assert source.events == {
        "form_response": "Form Submitted",
        "form_response_partial": "Form Begun",
    }
    assert source.properties == {
        "form": "form_response.form_id",
        "title": "form_response.hidden.title",
    }
    assert source.id == "event_id"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('scheme = "standard"\nevents = { a = "B" }', "`email`"),
        ('scheme = "standard"\nemail = "data.email"', "`events`"),
        ('scheme = "zoom"\nheader = "x"', "`header`"),
        ('scheme = "zum"', "'zoom'"),
        ('scheme = ["zoom"]', "'zoom'"),
        ('scheme = "zoom"\nevents = ["webinar.ended"]', "a table"),
        ('scheme = "zoom"\nsecret = "s"', "no such key"),
    ],
)
def test_a_webhook_that_says_too_little_is_refused_in_words(said: str, message: str) -> None:
    with pytest.raises(ModelError, match=r"webhooks\.crm.*" + message):
        Model.parse(f"{MODEL}\n[webhooks.crm]\n{said}")
    with pytest.raises(ModelError, match="a table"):
        Model.parse(f"{MODEL}\n[webhooks]\ncrm = 1")


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ({"type": "text", "text": "Berlin"}, "Berlin"),
        ({"type": "number", "number": 250}, 250),
        ({"type": "boolean", "boolean": False}, False),
        ({"type": "date", "date": "2026-03-02"}, "2026-03-02"),
        ({"type": "phone_number", "phone_number": "+49 30 1"}, "+49 30 1"),
        ({"type": "url", "url": "https://company.example"}, "https://company.example"),
        ({"type": "choice", "choice": {"id": "1", "label": "Sales"}}, "Sales"),
        ({"type": "choice", "choice": {"other": "Kitchen"}}, "Kitchen"),
        ({"type": "choices", "choices": {"labels": ["A", "B"], "other": "C"}}, "A, B, C"),
        ({"type": "choices", "choices": {"labels": 5}}, ""),
        ({"type": "text", "text": "x" * 1_000}, "x" * 256),
        ({"type": "payment"}, None),
        ({"type": "matrix", "matrix": [["a"]]}, None),
        ({}, None),
    ],
)
def test_an_answer_to_a_typeform_is_found_by_its_questions_ref(
    answer: dict[str, Any], value: object
) -> None:
    document = {
        "event_id": "e-1",
        "event_type": "form_response",
        "form_response": {
            "hidden": {"email": "jane@company.example"},
            "answers": [None, {**answer, "field": {"ref": "asked"}}],
        },
    }
    source = webhook("typeform", traits={"company": "answers.asked"})
    message = webhooks.as_message("typeform", source, document)
    assert message is not None
    assert message["traits"].get("company") == value
    assert message["traits"]["email"] == "jane@company.example"


@pytest.mark.parametrize("answers", [5, "no", {"type": "email"}, [5, "no", {"field": {"ref": []}}]])
def test_answers_of_another_shape_are_passed_over(answers: object) -> None:
    document = {
        "event_type": "form_response",
        "form_response": {"hidden": {"email": "jane@company.example"}, "answers": answers},
    }
    message = webhooks.as_message("typeform", webhook("typeform"), document)
    assert message is not None
    assert message["traits"] == {"email": "jane@company.example"}


def test_an_answer_with_an_address_comes_before_a_hidden_one() -> None:
    document = {
        "event_type": "form_response",
        "form_response": {
            "hidden": {"email": "hidden@company.example"},
            "answers": [{"type": "email", "email": "Typed@Company.example"}],
        },
    }
    message = webhooks.as_message("typeform", webhook("typeform"), document)
    assert message is not None
    assert message["traits"]["email"] == "typed@company.example"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("evt_1", "crm:evt_1"),
        (42, "crm:42"),
        ("x" * 124, "crm:" + "x" * 124),
    ],
)
def test_a_message_id_stands_after_its_source(theirs: object, ours: str) -> None:
    assert message_id(theirs) == ours


def test_without_an_id_that_fits_the_content_makes_one() -> None:
    long, none = message_id("x" * 125), message_id(None)
    assert len(long) == len(none) == len("crm:") + 32
    assert long == message_id("x" * 125) != message_id("x" * 126)
    assert none == message_id("") != message_id(None, list="other")


def message_id(theirs: object, **data: str) -> str:
    source = webhook("standard", id="id")
    body = {
        "type": "contact.subscribed",
        "id": theirs,
        "data": {"email": "jane@company.example", **data},
    }
    message = webhooks.as_message("crm", source, {k: v for k, v in body.items() if v})
    assert message is not None
    return str(message["messageId"])


# Whatever anybody sends is read or refused: nothing raises.

BODIES = {file.name: file.read_bytes() for file in sorted(SAMPLES.glob("*.json"))}
MODEL_OF_ALL = Model.parse(
    MODEL
    + """
[webhooks.typeform]
scheme = "typeform"
traits = { company = "answers.company" }
[webhooks.zoom]
scheme = "zoom"
[webhooks.standard]
scheme = "standard"
email = "data.email"
events = { "contact.subscribed" = "Newsletter Subscribed" }
properties = { title = "data.list" }
traits = { company = "data.company" }
[webhooks.stripe]
scheme = "stripe"
email = "data.object.customer_details.email"
events = { "checkout.session.completed" = "Order Completed" }
properties = { kind = "data.object.mode" }
"""
)
HEADERS = st.dictionaries(
    st.sampled_from([*signing.SIGNATURE.values(), *signing.TIME.values(), "webhook-id"]),
    st.one_of(
        st.text(max_size=40),
        st.sampled_from(
            ["v1,\ud800", "v1,=", "t=,v1=", "t=9e9,v1=ff", "sha256=", "v0=", "1614265330"]
        ),
    ),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**30, -(10**400), 1e300, float("inf")]),
    st.floats(),
    st.text(max_size=300),
    st.sampled_from(["endpoint.url_validation", "0001-01-01T00:00:00+14:00", "\ud800", "x" * 999]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda parts: st.one_of(
        st.lists(parts, max_size=4), st.dictionaries(st.text(max_size=9), parts, max_size=4)
    ),
    max_leaves=12,
)


@given(st.sampled_from(sorted(signing.SIGN)), HEADERS, st.text(max_size=200))
@EXAMPLES
def test_who_does_not_know_the_secret_is_refused(
    source: str, headers: dict[str, str], body: str
) -> None:
    with pytest.raises(Invalid) as refused:
        webhooks.read(request(headers, body.encode(), source), KEYS, MODEL_OF_ALL)
    assert refused.value.code in ("bad_signature", "invalid")


@given(st.data())
@EXAMPLES
def test_whatever_stands_in_a_signed_message_is_read_or_refused(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(BODIES)))
    source, document = name.partition(".")[0], json.loads(BODIES[name])
    for _ in range(data.draw(st.integers(1, 3))):
        table, key = data.draw(st.sampled_from(list(places(document))))
        table[key] = data.draw(ANYTHING)
    body = json.dumps(document).encode()
    headers = signing.SIGN[source](SECRET, body, THEN)

    try:
        hook = webhooks.read(request(headers, body, source), KEYS, MODEL_OF_ALL)
    except Invalid:
        return

    if told := hook.interaction:
        assert told.identity
        assert told.identity.email
        assert told.message_id.startswith(f"{source}:")
        assert len(told.message_id) <= 128
        assert all(len(str(value)) <= 401 for value in {**told.properties, **told.traits}.values())


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Return every place in a document: the table or list, and the key in it."""
    keys: Any = range(len(document)) if isinstance(document, list) else list(document)
    for key in keys:
        yield document, key
        if isinstance(document[key], dict | list):
            yield from places(document[key])
