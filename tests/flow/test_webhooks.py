"""Webhooks: what other services tell of a lead, believed by their signature and counted once."""

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.local.engine import clock_at
from infra.local.gateway import Answer
from infra.local.stack import LocalStack
from leadscoring import settings
from tests.flow import signing
from tests.flow.acts import counters, ledger_sums
from tests.flow.asking import everything, lead, ledger
from tests.flow.own_model import stack_with
from tests.flow.test_busy_table import cancelled, disturb

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JANE = "jane.doe@company.example"
SAMPLES = Path(__file__).parents[2] / "events" / "hooks"

MODEL = (
    settings.MODEL_FILE.read_text(encoding="utf-8")
    + """
[[rules]]
name = "bought"
on = "Order Completed"
points = 60
dimension = "intent"
trusted = true

[webhooks.typeform]
scheme = "typeform"
traits = { company = "answers.company", jobTitle = "answers.role", employees = "answers.people" }

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
email = ["data.object.receipt_email", "data.object.customer_details.email"]
events = { "checkout.session.completed" = "Order Completed" }
properties = { kind = "data.object.mode" }
"""
)

NEW, OLD, REVOKED = (
    f"whsec_{hashlib.sha256(word).hexdigest()[:32]}" for word in (b"new", b"old", b"revoked")
)
SAMPLE = {
    "standard": "standard.contact.subscribed.json",
    "stripe": "stripe.checkout.session.completed.json",
    "typeform": "typeform.form_response.json",
    "zoom": "zoom.webinar.registration_created.json",
}
SCHEMES = sorted(SAMPLE)


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL) as fresh:
        for source in SCHEMES:
            give_secrets(fresh, source, [OLD, NEW])
        yield fresh


def give_secrets(stack: LocalStack, source: str, secrets: Sequence[str]) -> None:
    """Let a source sign with these secrets and no others."""
    stack.dynamodb.update_item(
        TableName=stack.table_name,
        Key={"pk": {"S": "KEYS"}, "sk": {"S": "KEYS"}},
        UpdateExpression="SET #source = :secrets",
        ExpressionAttributeNames={"#source": f"webhook:{source}"},
        ExpressionAttributeValues={":secrets": {"L": [{"S": secret} for secret in secrets]}},
    )


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


def changed(name: str, **parts: Any) -> bytes:
    """Return a sample with some of its parts changed."""
    return json.dumps(json.loads(sample(name)) | parts).encode()


def post(
    stack: LocalStack, source: str, body: bytes, headers: signing.Headers, at: datetime = NOON
) -> Answer:
    with clock_at(at):
        headers = {"content-type": "application/json", **headers}
        return stack.request("POST", f"/hooks/{source}", body, headers)


def deliver(
    stack: LocalStack, source: str, body: bytes, secret: str = NEW, at: datetime = NOON
) -> Answer:
    """Deliver a webhook as its service does: signed now."""
    return post(stack, source, body, signing.SIGN[source](secret, body, at), at)


@pytest.mark.parametrize(
    ("source", "file", "name", "points", "properties", "traits"),
    [
        (
            "typeform",
            SAMPLE["typeform"],
            "Form Submitted",
            40,
            {"form": "kQ7bV2xN", "title": "Purchasing check"},
            {"company": "Müller & Söhne", "jobTitle": "Head of Procurement", "employees": 250},
        ),
        (
            "zoom",
            SAMPLE["zoom"],
            "Webinar Registered",
            10,
            {"title": "E-invoicing in 2026"},
            {
                "firstName": "Jane",
                "lastName": "Doe",
                "company": "Müller & Söhne",
                "jobTitle": "Head of Procurement",
                "industry": "Manufacturing",
                "country": "DE",
            },
        ),
        (
            "zoom",
            "zoom.webinar.participant_joined.json",
            "Webinar Attended",
            25,
            {"title": "E-invoicing in 2026"},
            {},
        ),
        (
            "standard",
            SAMPLE["standard"],
            "Newsletter Subscribed",
            10,
            {"title": "Monthly letter"},
            {"company": "Müller & Söhne"},
        ),
        ("stripe", SAMPLE["stripe"], "Order Completed", 60, {"kind": "subscription"}, {}),
    ],
)
def test_what_each_source_tells_earns_its_points(
    stack: LocalStack,
    source: str,
    file: str,
    name: str,
    points: float,
    properties: dict[str, Any],
    traits: dict[str, Any],
) -> None:
    answer = deliver(stack, source, sample(file))

    assert (answer.status, answer.json()) == (200, {"success": True})
    (entry,) = ledger(stack, email=JANE)
    assert (entry["name"], entry["trust"]) == (name, "trusted")
    assert entry["message_id"].startswith(f"{source}:")
    assert entry["occurred_at"].startswith("2026-03-02T11:59:48")
    assert entry["properties"] == properties
    with clock_at(NOON):
        jane = lead(stack, email=JANE)
    assert jane["scorecard"]["score"] == pytest.approx(points, abs=0.001)
    assert jane["traits"] == traits


def test_the_hidden_fields_of_a_typeform_tell_the_campaign(stack: LocalStack) -> None:
    deliver(stack, "typeform", sample(SAMPLE["typeform"]))
    touch = lead(stack, email=JANE)["first_touch"]
    assert (touch["source"], touch["name"]) == ("linkedin", "spring")


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_zoom_is_shown_that_we_know_the_secret_it_signed_with(
    stack: LocalStack, secret: str
) -> None:
    before = everything(stack)

    answer = deliver(stack, "zoom", sample("zoom.endpoint.url_validation.json"), secret)

    token = "qgg8vlvZRS6UYooatFL8Aw"
    digest = hmac.new(secret.encode(), token.encode(), "sha256").hexdigest()
    assert answer.json() == {"plainToken": token, "encryptedToken": digest}
    assert everything(stack) == before


@pytest.mark.parametrize("source", SCHEMES)
def test_a_webhook_that_comes_again_counts_once(stack: LocalStack, source: str) -> None:
    body = sample(SAMPLE[source])
    headers = signing.SIGN[source](NEW, body, NOON)

    assert post(stack, source, body, headers).status == 200
    assert post(stack, source, body, headers, NOON + timedelta(minutes=4)).status == 200
    assert deliver(stack, source, body, OLD, NOON + timedelta(hours=6)).status == 200

    assert counters(stack, JANE)["interactions"] == 1
    assert counters(stack, JANE) == ledger_sums(stack, JANE)


def test_a_standard_webhook_is_known_by_the_id_it_signs(stack: LocalStack) -> None:
    body = sample(SAMPLE["standard"])
    for message_id in ("msg_1", "msg_2", "msg_1"):
        headers = signing.standard(NEW, body, NOON, message_id)
        assert post(stack, "standard", body, headers).status == 200
    ids = {entry["message_id"] for entry in ledger(stack, email=JANE)}
    assert ids == {"standard:msg_1", "standard:msg_2"}


def test_an_id_that_nobody_signed_makes_no_new_message(stack: LocalStack) -> None:
    body = sample(SAMPLE["typeform"])
    for message_id in ("one", "another"):
        headers = {**signing.typeform(NEW, body, NOON), "webhook-id": message_id}
        assert post(stack, "typeform", body, headers).status == 200
    assert counters(stack, JANE)["interactions"] == 1


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("typeform", changed(SAMPLE["typeform"], event_type="form_response_partial")),
        ("typeform", changed(SAMPLE["typeform"], form_response={"form_id": "f", "answers": []})),
        ("zoom", changed(SAMPLE["zoom"], event="webinar.ended")),
        ("zoom", changed(SAMPLE["zoom"], payload={})),
        ("standard", changed(SAMPLE["standard"], type="contact.deleted")),
        ("standard", changed(SAMPLE["standard"], data={"email": "n/a"})),
        ("stripe", changed(SAMPLE["stripe"], type=None)),
    ],
)
def test_what_the_model_does_not_map_or_names_nobody_is_acknowledged_and_dropped(
    stack: LocalStack, source: str, body: bytes
) -> None:
    before = everything(stack)

    answer = deliver(stack, source, body)

    assert (answer.status, answer.json()) == (200, {"success": True})
    assert everything(stack) == before
    assert stack.metrics["PassedOver"] == 1


@pytest.mark.parametrize(
    ("source", "body", "status", "field"),
    [
        ("standard", b"", 400, "body"),
        ("standard", b"not json", 400, "body"),
        ("standard", b"[]", 400, "body"),
        ("standard", b'{"type": NaN}', 400, "body"),
        ("standard", b'{"number": 1e999}', 400, "body"),
        ("standard", b'{"number": ' + b"9" * 5_000 + b"}", 400, "body"),
        ("standard", changed(SAMPLE["standard"], timestamp="yesterday"), 400, "timestamp"),
        ("zoom", b'{"event": "endpoint.url_validation"}', 400, "payload.plainToken"),
        ("standard", b'{"data": "' + b"x" * 500_000 + b'"}', 413, "body"),
    ],
)
def test_what_is_signed_but_malformed_or_too_large_is_refused(
    stack: LocalStack, source: str, body: bytes, status: int, field: str
) -> None:
    before = everything(stack)

    answer = deliver(stack, source, body)

    assert (answer.status, answer.json()["field"]) == (status, field)
    assert everything(stack) == before


def test_a_form_of_many_questions_is_not_too_much(stack: LocalStack) -> None:
    form = json.loads(sample(SAMPLE["typeform"]))["form_response"]
    form["definition"]["fields"] *= 200
    form["answers"] *= 50
    body = changed(SAMPLE["typeform"], form_response=form)
    assert 100_000 < len(body) < 500_000

    assert deliver(stack, "typeform", body).status == 200
    assert counters(stack, JANE)["interactions"] == 1


@pytest.mark.parametrize("source", ["nobody", "typefrom", "%00", "ü"])
def test_a_source_that_the_model_does_not_have_is_not_found(stack: LocalStack, source: str) -> None:
    answer = post(stack, source, b"{}", {})
    assert (answer.status, answer.json()["code"]) == (404, "unknown_source")


@pytest.mark.parametrize("secrets", [[], [""]])
def test_without_a_secret_nobody_can_sign(stack: LocalStack, secrets: list[str]) -> None:
    give_secrets(stack, "zoom", secrets)
    answer = deliver(stack, "zoom", sample(SAMPLE["zoom"]), secret="")
    assert answer.status == (401 if secrets else 404)
    assert stack.items("INTERACTION#") == []


@pytest.mark.parametrize("source", SCHEMES)
def test_a_secret_is_good_from_its_first_minute_to_its_last(stack: LocalStack, source: str) -> None:
    body = sample(SAMPLE[source])

    def status(secret: str, minute: int) -> int:
        return deliver(stack, source, body, secret, NOON + timedelta(minutes=minute)).status

    give_secrets(stack, source, [OLD])
    assert (status(OLD, 0), status(NEW, 0)) == (200, 401)
    give_secrets(stack, source, [OLD, NEW])
    assert (status(OLD, 2), status(NEW, 2)) == (200, 200)
    give_secrets(stack, source, [NEW])
    assert (status(OLD, 4), status(NEW, 4)) == (401, 200)


def test_a_busy_table_asks_the_sender_to_come_again_and_loses_nothing(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = stack.functions["collect"].module.store._table
    write = table._dynamodb.transact_write_items
    monkeypatch.setattr(table, "_budget_seconds", 0.2)
    disturb(stack, lambda _: cancelled("None", "TransactionConflict"))

    answer = deliver(stack, "typeform", sample(SAMPLE["typeform"]))

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert stack.items("INTERACTION#") == []
    table._dynamodb.transact_write_items = write
    assert deliver(stack, "typeform", sample(SAMPLE["typeform"])).status == 200
    assert counters(stack, JANE)["interactions"] == 1


# The matrix: how a request is signed, and for which schemes it passes. Typeform signs no time:
# there an old message is as good as a new one, and a repeat is known by its id.

FIVE_MINUTES = timedelta(minutes=5)
A_SECOND = timedelta(seconds=1)
UNTIMED = {"typeform"}


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalStack]:
    with stack_with(MODEL) as fresh:
        for source in SCHEMES:
            give_secrets(fresh, source, [OLD, NEW])
        yield fresh


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("signed", "passes"),
    [
        ("good", {*SCHEMES}),
        ("old secret, still active", {*SCHEMES}),
        ("five minutes old", {*SCHEMES}),
        ("five minutes ahead", {*SCHEMES}),
        ("too old", UNTIMED),
        ("too new", UNTIMED),
        ("wrong secret", set()),
        ("revoked secret", set()),
        ("tampered body", set()),
        ("tampered time", UNTIMED),
        ("time that is no number", UNTIMED),
        ("time of 5000 digits", UNTIMED),
        ("cut signature", set()),
        ("signature in capitals", set()),
        ("other version", set()),
        ("no header", set()),
        ("empty header", set()),
        ("garbage header", set()),
        ("non-ASCII header", set()),
    ],
)
def test_exactly_what_is_signed_well_and_in_time_passes(
    shared: LocalStack, scheme: str, signed: str, passes: set[str]
) -> None:
    before = everything(shared)
    body, headers = request_signed(signed, scheme)

    answer = post(shared, scheme, body, headers)

    if scheme in passes:
        assert answer.status == 200
    else:
        assert (answer.status, answer.json()["code"]) == (401, "bad_signature")
        assert everything(shared) == before


def request_signed(how: str, scheme: str) -> tuple[bytes, signing.Headers]:
    """Return a body and its headers, signed as one row of the matrix says."""
    body, sign = sample(SAMPLE[scheme]), signing.SIGN[scheme]
    header, good = signing.SIGNATURE[scheme], sign(NEW, body, NOON)

    def with_signature(text: str) -> signing.Headers:
        return {**good, header: text}

    def with_time(text: str) -> signing.Headers:
        timed = signing.TIME.get(scheme)
        seconds = str(int(NOON.timestamp()))
        return {**good, timed: good[timed].replace(seconds, text)} if timed else good

    signature = good[header].split(",v0")[0]
    match how:
        case "good":
            return body, good
        case "old secret, still active":
            return body, sign(OLD, body, NOON)
        case "five minutes old":
            return body, sign(NEW, body, NOON - FIVE_MINUTES)
        case "five minutes ahead":
            return body, sign(NEW, body, NOON + FIVE_MINUTES)
        case "too old":
            return body, sign(NEW, body, NOON - FIVE_MINUTES - A_SECOND)
        case "too new":
            return body, sign(NEW, body, NOON + FIVE_MINUTES + A_SECOND)
        case "wrong secret":
            return body, sign("whsec_c29tZWJvZHkgZWxzZSdzIHNlY3JldA==", body, NOON)
        case "revoked secret":
            return body, sign(REVOKED, body, NOON)
        case "tampered body":
            return body.replace(b"company.example", b"rival.example"), good
        case "tampered time":
            return body, with_time(str(int(NOON.timestamp()) + 1))
        case "time that is no number":
            return body, with_time("noon")
        case "time of 5000 digits":
            return body, with_time("1" * 5_000)
        case "cut signature":
            return body, with_signature(signature[:-2])
        case "signature in capitals":
            return body, with_signature(signature[:-20] + signature[-20:].upper() + "=")
        case "other version":
            other = {"v1,": "v1a,", "v1=": "v0=", "v0=": "v1=", "sha256=": "sha1="}
            old = next(version for version in other if f",{version}" in f",{signature}")
            return body, with_signature(signature.replace(old, other[old]))
        case "no header":
            return body, {}
        case "empty header":
            return body, with_signature("")
        case "garbage header":
            return body, with_signature("v1, t=,v1=,v0= sha256==;=,")
        case _:
            return body, with_signature(signature + "ü\N{SNOWMAN}")
