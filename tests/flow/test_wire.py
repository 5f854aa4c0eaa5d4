"""Segment's calls: every call and encoding, both doors, batches, repeats and refusals."""

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack, local_stack
from leadscoring.request import BATCH_BYTES, inflate
from tests.flow.acts import ACTS, counters, ledger_sums
from tests.flow.asking import everything, lead, ledger

JANE = "jane@example.com"
TRACK = {"type": "track", "event": "Webinar Attended"}
PAGE = {"type": "page", "name": "Prices"}

CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "track": (TRACK, "Webinar Attended"),
    "t": (TRACK, "Webinar Attended"),
    "identify": ({"traits": {"company": "ACME"}}, "Identified"),
    "i": ({"traits": {"company": "ACME"}}, "Identified"),
    "page": (PAGE, "Page Viewed"),
    "p": (PAGE, "Page Viewed"),
    "screen": (PAGE, "Page Viewed"),
    "s": (PAGE, "Page Viewed"),
    "group": ({"groupId": "acme"}, "Grouped"),
    "g": ({"groupId": "acme"}, "Grouped"),
    "alias": ({"previousId": "before"}, "Aliased"),
    "a": ({"previousId": "before"}, "Aliased"),
    "batch": ({"batch": [{"type": "identify"}]}, "Identified"),
    "b": ({"batch": [PAGE]}, "Page Viewed"),
}
ENCODINGS: dict[str, dict[str, str]] = {
    "json": {"content-type": "application/json"},
    "text": {"content-type": "text/plain;charset=UTF-8"},
    "untyped": {},
    "gzip": {"content-type": "application/json", "content-encoding": "gzip"},
}


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with local_stack() as shared:
        yield shared


def post(stack: LocalStack, call: str, **body: object) -> Any:
    answer = stack.request("POST", f"/v1/{call}", {"writeKey": PUBLIC_KEY, **body})
    assert answer.status == 200, answer.body
    return answer.json()


def basic(user: str) -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(f'{user}:'.encode()).decode()}"}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_understood_in_every_encoding(
    stack: LocalStack, call: str, encoding: str
) -> None:
    email = f"{call}.{encoding}@example.com"
    body, name = CALLS[call]
    messages = [{**message, "userId": email} for message in body.get("batch", [body])]
    sent = {"batch": messages} if "batch" in body else messages[0]
    raw = json.dumps({"writeKey": PUBLIC_KEY, **sent}).encode()

    answer = stack.request(
        "POST",
        f"/v1/{call}",
        gzip.compress(raw) if encoding == "gzip" else raw,
        ENCODINGS[encoding],
    )

    assert (answer.status, answer.json()["success"]) == (200, True)
    assert answer.json().get("rejected") == ([] if "batch" in body else None)
    assert [entry["name"] for entry in ledger(stack, email=email)] == [name]


@pytest.mark.parametrize(
    ("body", "headers", "trust"),
    [
        ({"writeKey": PUBLIC_KEY}, {}, "public"),
        ({"writeKey": SECRET_KEY}, {}, "trusted"),
        ({}, basic(PUBLIC_KEY), "public"),
        ({}, basic(SECRET_KEY), "trusted"),
        ({"writeKey": PUBLIC_KEY}, basic(SECRET_KEY), "trusted"),
    ],
)
def test_the_key_decides_in_which_part_of_the_ledger_a_message_stands(
    stack: LocalStack, body: dict[str, str], headers: dict[str, str], trust: str
) -> None:
    message_id = f"door-{len(everything(stack))}"
    message = {**body, **TRACK, "userId": JANE, "messageId": message_id}

    assert stack.request("POST", "/v1/track", message, headers).status == 200

    keys = [item["sk"]["S"] for item in stack.items("INTERACTION#")]
    assert [key for key in keys if message_id in key] == [f"INTERACTION#{trust}#{message_id}"]


@pytest.mark.parametrize("call", ["track", "page", "identify"])
def test_the_ledger_keeps_only_the_properties_that_the_model_names(
    stack: LocalStack, call: str
) -> None:
    email = f"properties.{call}@example.com"
    sent = {"path": "/preise", "minutes": 45, "kind": ["e-book"], "session": "3f9", "email": email}

    post(stack, call, event="Webinar Attended", properties=sent)

    (entry,) = ledger(stack, email=email)
    assert entry["properties"] == {"path": "/preise", "minutes": 45, "kind": ["e-book"]}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("x" * 257, "x" * 256),
        (250, 250),
        (-0.5, -0.5),
        (True, True),
        ("", None),
        (None, None),
        (2**53 + 1, None),
        (1e300, None),
        ([250], None),
        ({"from": 250}, None),
    ],
)
def test_a_trait_is_a_short_text_a_truth_or_a_number_that_every_reader_can_hold(
    stack: LocalStack, sent: object, kept: object
) -> None:
    email = f"trait{len(everything(stack))}@example.com"

    post(stack, "identify", userId=email, traits={"employees": sent, "shoeSize": 44})

    traits = lead(stack, email=email)["traits"]
    assert traits == ({} if kept is None else {"employees": kept})


def test_traits_are_read_from_the_context_too(stack: LocalStack) -> None:
    traits = {"company": "ACME", "country": "DE", "email": "context@example.com"}
    context = {"traits": traits, "ip": "192.0.2.1"}

    post(stack, "track", **TRACK, userId="u-1", context=context, traits={"country": "AT"})

    assert lead(stack, email="context@example.com")["traits"] == {
        "company": "ACME",
        "country": "AT",
    }


def test_a_batch_keeps_what_is_good_and_names_what_is_bad(stack: LocalStack) -> None:
    email = "batch@example.com"
    answer = post(
        stack,
        "batch",
        batch=[
            {**TRACK, "userId": email},
            {"type": "track", "userId": email},
            "a text",
            {"type": "alias", "userId": email},
            {**PAGE, "userId": email},
            {**PAGE, "messageId": "of-nobody"},
            {**PAGE, "userId": email, "properties": "/preise"},
            {**PAGE, "userId": email, "properties": {"title": "x" * 32_000}},
        ],
    )

    assert [(fault["index"], fault["code"], fault["field"]) for fault in answer["rejected"]] == [
        (1, "invalid", "event"),
        (2, "invalid", "type"),
        (3, "invalid", "previousId"),
        (5, "invalid", "userId"),
        (6, "invalid", "properties"),
        (7, "too_large", "message"),
    ]
    assert all(fault["message"] for fault in answer["rejected"])
    assert len(ledger(stack, email=email)) == 2


def test_a_batch_without_messages_is_no_mistake(stack: LocalStack) -> None:
    before = everything(stack)
    assert post(stack, "batch", batch=[]) == {"success": True, "rejected": []}
    assert everything(stack) == before


def test_a_message_that_stands_in_a_batch_twice_counts_once(stack: LocalStack) -> None:
    email = "twice@example.com"
    duplicates = stack.metrics["Duplicates"]
    message = {**TRACK, "userId": email, "messageId": "same"}

    post(stack, "batch", batch=[message, {**message, "messageId": "other"}, message])

    assert counters(stack, email)["interactions"] == 2
    assert stack.metrics["Duplicates"] == duplicates + 1


def test_a_batch_sent_again_with_one_message_more_records_only_that_one(stack: LocalStack) -> None:
    email = "again@example.com"
    batch = [{**TRACK, "userId": email, "messageId": f"m-{number}"} for number in range(3)]

    post(stack, "batch", batch=batch[:2])
    post(stack, "batch", batch=batch)

    assert counters(stack, email)["interactions"] == 3
    assert counters(stack, email) == ledger_sums(stack, email)


def test_a_batch_larger_than_a_transaction_is_recorded_whole(stack: LocalStack) -> None:
    email = "busy@example.com"
    batch = [{**ACTS["pricing"], "userId": email, "messageId": f"m-{i % 210}"} for i in range(230)]

    post(stack, "batch", batch=batch)

    assert counters(stack, email)["interactions"] == 210
    assert counters(stack, email) == ledger_sums(stack, email)


def test_a_batch_may_be_of_several_leads(stack: LocalStack) -> None:
    guests = [f"guest{number}@example.com" for number in range(3)]

    post(stack, "batch", batch=[{**TRACK, "userId": guest} for guest in [*guests, guests[0]]])

    assert [lead(stack, email=guest)["interactions"] for guest in guests] == [2, 1, 1]


def test_the_first_content_of_an_id_stays_and_the_answer_is_the_same(stack: LocalStack) -> None:
    email = "conflict@example.com"
    first = {**TRACK, "userId": email, "messageId": "m", "sentAt": "2026-03-02T12:00:00Z"}
    conflicting, duplicates = stack.metrics["Conflicting"], stack.metrics["Duplicates"]

    answers = [
        post(stack, "track", **first),
        post(stack, "track", **{**first, "sentAt": "2026-03-02T12:00:10Z"}),
        post(stack, "track", **{**first, "event": "Demo Requested"}),
    ]

    assert answers == [{"success": True}] * 3
    assert [entry["name"] for entry in ledger(stack, email=email)] == ["Webinar Attended"]
    assert counters(stack, email) == ledger_sums(stack, email)
    assert stack.metrics["Conflicting"] == conflicting + 1
    assert stack.metrics["Duplicates"] == duplicates + 2


def test_one_id_through_both_doors_counts_twice(stack: LocalStack) -> None:
    email = "both@example.com"
    for key in (PUBLIC_KEY, SECRET_KEY):
        post(stack, "track", writeKey=key, userId=email, messageId="m", **TRACK)

    assert [entry["trust"] for entry in ledger(stack, email=email)] == ["public", "trusted"]
    assert counters(stack, email)["seen:webinar-attended"] == 2


def call_of(**body: object) -> bytes:
    good = {"writeKey": PUBLIC_KEY, "userId": JANE, **TRACK}
    return json.dumps({**good, **body}).encode()


def zipped(plain: bytes) -> tuple[bytes, dict[str, str]]:
    return gzip.compress(plain), {"content-type": "application/json", "content-encoding": "gzip"}


GZIP_HEADERS = ENCODINGS["gzip"]
ERRORS: dict[str, tuple[str, bytes, dict[str, str], int, str, str]] = {
    "key of nobody's": (
        "/v1/track",
        call_of(writeKey="guessed"),
        {},
        401,
        "unknown_key",
        "writeKey",
    ),
    "key that is no text": (
        "/v1/track",
        call_of(writeKey=[PUBLIC_KEY]),
        {},
        401,
        "unknown_key",
        "writeKey",
    ),
    "no key": ("/v1/batch", b'{"batch": []}', {}, 401, "unknown_key", "writeKey"),
    "Basic user of nobody's": (
        "/v1/track",
        call_of(),
        basic("guessed"),
        401,
        "unknown_key",
        "writeKey",
    ),
    "unknown call": ("/v1/purchase", call_of(), {}, 404, "unknown_call", "path"),
    "unknown form": ("/f/raffle", b"email=jane@example.com", {}, 404, "unknown_form", "path"),
    "call as a form": (
        "/v1/track",
        call_of(),
        {"content-type": "application/x-www-form-urlencoded"},
        415,
        "unsupported_type",
        "content-type",
    ),
    "form as JSON": (
        "/f/demo",
        b"{}",
        {"content-type": "application/json"},
        415,
        "unsupported_type",
        "content-type",
    ),
    "large message": ("/v1/page", call_of(x="x" * 32_000), {}, 413, "too_large", "body"),
    "large batch": ("/v1/batch", call_of(x="x" * 500_000), {}, 413, "too_large", "body"),
    "many messages": ("/v1/b", call_of(batch=[1] * 1_001), {}, 413, "too_large", "batch"),
    "gzip bomb": ("/v1/batch", *zipped(bytes(50_000_000)), 413, "too_large", "body"),
    "no JSON": ("/v1/track", b"event=Demo+Requested", {}, 400, "invalid", "body"),
    "no object": ("/v1/track", b'["track"]', {}, 400, "invalid", "body"),
    "empty": ("/v1/track", b"", {}, 400, "invalid", "body"),
    "no gzip": ("/v1/track", call_of(), GZIP_HEADERS, 400, "invalid", "body"),
    "cut gzip": (
        "/v1/track",
        gzip.compress(call_of())[:-8],
        GZIP_HEADERS,
        400,
        "invalid",
        "body",
    ),
    "nobody": ("/v1/identify", call_of(userId=""), {}, 400, "invalid", "userId"),
    "no previous id": ("/v1/alias", call_of(), {}, 400, "invalid", "previousId"),
    "no event": ("/v1/track", call_of(event=None), {}, 400, "invalid", "event"),
    "no batch": ("/v1/batch", call_of(), {}, 400, "invalid", "batch"),
    "only bad messages": (
        "/v1/batch",
        call_of(batch=[{"type": "track", "userId": JANE}, 5]),
        {},
        400,
        "invalid",
        "batch.0.event",
    ),
}


def test_a_gzip_bomb_is_never_unpacked_whole() -> None:
    assert len(inflate(gzip.compress(bytes(50_000_000)))) == BATCH_BYTES + 1


@pytest.mark.parametrize("mistake", ERRORS)
def test_a_mistake_is_answered_by_code_field_and_message_and_changes_nothing(
    stack: LocalStack, mistake: str
) -> None:
    path, body, headers, status, code, field = ERRORS[mistake]
    if path.startswith("/f/"):
        form = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        headers = {**form, **headers}
    before, refused = everything(stack), stack.metrics["Refused"]

    answer = stack.request("POST", path, body, headers)

    told = answer.json()
    assert (answer.status, told["code"], told["field"]) == (status, code, field)
    assert set(told) == {"code", "field", "message"}
    assert told["message"]
    assert everything(stack) == before
    assert stack.metrics["Refused"] == refused + 1
