"""Nothing a stranger sends may cause a 5xx, and what is refused leaves no trace."""

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.gateway import LARGEST_REQUEST, Answer
from infra.local.stack import PUBLIC_KEY, LocalStack
from tests.flow.asking import everything, lead
from tests.flow.attack import Sent, good_requests, send, target
from tests.flow.posting import MULTIPART

JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
GOOD = {"writeKey": PUBLIC_KEY, "userId": "jane@example.com", "event": "Demo Requested"}
KEY = f'"writeKey":"{PUBLIC_KEY}","userId":"jane@example.com","event":"Demo Requested"'


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with target() as shared:
        yield shared


def survive(
    stack: LocalStack,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    method: str = "POST",
    query: str = "",
) -> Answer:
    """Send it; whatever the answer is, no function failed, and a refusal wrote nothing."""
    return send(stack, Sent(f"{method} {path}", path, body, headers or {}, query))


def hostile_json(inside: str) -> bytes:
    return f"{{{KEY},{inside}}}".encode()


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "blank": b" \n",
    "NUL": b"\0",
    "half": b'{"writeKey":',
    "byte order mark": b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "UTF-32": json.dumps(GOOD).encode("utf-32"),
    "deep lists": b"[" * 30_000,
    "deep objects": b'{"a":' * 6_000,
    "deep properties": hostile_json('"properties":' + '{"a":' * 5_000 + "1" + "}" * 5_000),
    "huge integer": hostile_json('"properties":{"minutes":' + "9" * 30_000 + "}"),
    "NaN": hostile_json('"properties":{"minutes":NaN}'),
    "Infinity": hostile_json('"properties":{"minutes":-Infinity}'),
    "1e999": hostile_json('"properties":{"minutes":1e999}'),
    "1e999 as a trait": hostile_json('"traits":{"employees":-1e999}'),
    "lone surrogate": hostile_json(r'"messageId":"\ud800"'),
    "raw control character": hostile_json('"messageId":"\x01"'),
    "comments": hostile_json('/* "messageId" */ "name":"x"'),
    "two documents": json.dumps(GOOD).encode() * 2,
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    **{f"top level {value}": value.encode() for value in ["null", "true", "5", '"x"', "[]", "{}"]},
}


def bomb(megabytes: int, *, wrapped: int = 1) -> bytes:
    """Return a gzip body that is many times larger than it looks, or holds such a one."""
    body = b'{"batch":[' + b" " * megabytes * 1_000_000 + b"]}"
    for _ in range(wrapped):
        body = gzip.compress(body)
    return body


ZIPPED = gzip.compress(json.dumps(GOOD).encode())
GZIPPED: dict[str, bytes] = {
    "not gzip": json.dumps(GOOD).encode(),
    "nothing": b"",
    "a head alone": ZIPPED[:10],
    "cut off": ZIPPED[:-9],
    "another check sum": ZIPPED[:-8] + b"\0" * 8,
    "zlib": zlib.compress(json.dumps(GOOD).encode()),
    "twice": gzip.compress(ZIPPED),
    "a bomb of 100 MB": bomb(100),
    "a bomb in a bomb": bomb(10, wrapped=2),
    "nothing inside": gzip.compress(b""),
}

PARTS: dict[str, tuple[str, bytes]] = {
    "no boundary": ("multipart/form-data", b"--x\r\n\r\n--x--"),
    "an empty boundary": ("multipart/form-data; boundary=", b"--\r\n\r\n----"),
    "an open quote": ('multipart/form-data; boundary="x', b"--x--"),
    "a boundary of a kilobyte": (f"multipart/form-data; boundary={'x' * 1_000}", b"--x--"),
    "another boundary": ("multipart/form-data; boundary=y", b"--x\r\n\r\n1\r\n--x--\r\n"),
    "no end": ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data"),
    "a part without a name": ("multipart/form-data; boundary=x", b"--x\r\n\r\n1\r\n--x--\r\n"),
    "a thousand parts": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="email"\r\n\r\na@b.de\r\n' * 400
        + b"--x--\r\n",
    ),
    "NUL in a name": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="\0"\r\n\r\n1\r\n--x--\r\n',
    ),
}

TYPES = [
    *("application/json", "text/plain", "application/x-www-form-urlencoded", "image/png", "", ";"),
    *(MULTIPART, "multipart/form-data"),
]


def test_each_public_route_is_attacked(stack: LocalStack) -> None:
    open_routes = {route.key for route in stack.template.routes if not route.iam}
    assert {sent.route for sent in good_requests(stack).values()} == open_routes


def test_the_good_requests_are_good(stack: LocalStack) -> None:
    answers = {name: send(stack, sent) for name, sent in good_requests(stack).items()}
    assert [name for name, answer in answers.items() if answer.status >= 400] == []
    assert [name for name, answer in answers.items() if b'"rejected": [{' in answer.body] == []


@pytest.mark.parametrize("content_type", TYPES)
def test_no_hostile_body_harms_any_route_whatever_it_says_to_be(
    stack: LocalStack, content_type: str
) -> None:
    parts = [body for _, body in PARTS.values()]
    for sent in good_requests(stack).values():
        typed = sent.changed(headers={**sent.headers, "content-type": content_type})
        zipped = typed.changed(headers={**typed.headers, "content-encoding": "gzip"})
        for body in (*BODIES.values(), *parts, *GZIPPED.values()):
            send(stack, typed.changed(body=body).signed())
        for body in (*GZIPPED.values(), ZIPPED):
            send(stack, zipped.changed(body=body).signed())


@pytest.mark.parametrize("name", PARTS)
def test_a_broken_multipart_form_is_refused(stack: LocalStack, name: str) -> None:
    content_type, body = PARTS[name]
    assert survive(stack, "/f/demo", body, {"content-type": content_type}).status == 400


def test_ten_megabytes_are_refused_by_the_gateway_and_what_it_lets_through_by_us(
    stack: LocalStack,
) -> None:
    for name, sent in good_requests(stack).items():
        for size in (LARGEST_REQUEST + 1, LARGEST_REQUEST) if sent.method == "POST" else ():
            body = b'{"a":"' + b"x" * (size - 8) + b'"}'
            status = send(stack, sent.changed(body=body).signed()).status
            # A multipart form may carry files: it is broken before it is too large.
            broken = size <= LARGEST_REQUEST and "in parts" in name
            assert status == (400 if broken else 413), name


@pytest.mark.parametrize("name", GZIPPED)
def test_a_gzip_body_that_is_none_is_refused(stack: LocalStack, name: str) -> None:
    for path in ("/v1/track", "/v1/batch"):
        answer = survive(stack, path, GZIPPED[name], {**JSON, "content-encoding": "gzip"})
        assert answer.status == (413 if "bomb of" in name else 400)


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/f/demo"])
def test_a_hostile_body_is_refused_and_leaves_no_trace(
    stack: LocalStack, path: str, name: str
) -> None:
    for headers in (FORM, {}) if path == "/f/demo" else (JSON, {"content-type": "text/plain"}, {}):
        assert survive(stack, path, BODIES[name], headers).status >= 400


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_question_is_answered(stack: LocalStack, name: str) -> None:
    for headers in (JSON, {}):
        survive(stack, "/leads/find", BODIES[name], headers)


@pytest.mark.parametrize("wrong", [b"\xfc", b"\xed\xa0\x80", b"\xc0\x80", b"\xff"])
def test_bytes_that_are_no_utf_8_are_replaced_by_the_gateway_or_refused_by_us(
    stack: LocalStack, wrong: bytes
) -> None:
    body = hostile_json('"messageId":"?"').replace(b"?", wrong)
    statuses = [survive(stack, "/v1/track", body, headers).status for headers in (JSON, {})]
    assert statuses == [200, 400]


ODD = {
    "a field twice": '"userId":"jane@example.com","userId":"jim@example.com"',
    "deep": '"properties":' + '{"a":' * 14 + "1" + "}" * 14,
    "huge integer": '"properties":{"minutes":' + "9" * 4_300 + "}",
    "huge numbers as traits": '"traits":{"employees":' + "9" * 4_300 + ',"company":1e308}',
    "long umlauts": '"properties":{"title":"' + "ü" * 15_000 + '"}',
    "long name": '"properties":{"' + "x" * 256 + '":1}',
    "e-mails that are none": '"properties":{"email":{"email":[]}},"traits":{"email":5}',
    "NUL": r'"messageId":"\u0000#INTERACTION#public#"',
    "emoji": '"messageId":"' + "😀" * 128 + '"',
    "a number as an id": '"messageId":-0.0',
    "names of ours": '"context":{"traits":null,"model_dump":1,"model_config":{},"__class__":"x"}',
    "names of JavaScript's": '"__proto__":{"isAdmin":true},"constructor":{"prototype":{}}',
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_but_allowed_is_recorded(stack: LocalStack, name: str) -> None:
    assert survive(stack, "/v1/track", hostile_json(ODD[name]), JSON).status == 200


def test_an_anonymous_number_is_an_id(stack: LocalStack) -> None:
    body = {"writeKey": PUBLIC_KEY, "anonymousId": 42, "event": 7}
    assert survive(stack, "/v1/track", json.dumps(body).encode(), JSON).status == 200
    assert lead(stack, anonymousId="42")["interactions"] == 1


TEXTS = ["messageId", "userId", "anonymousId", "event"]
TABLES = ["properties", "traits", "context", "context.traits"]
INSTANTS = ["timestamp", "originalTimestamp", "sentAt"]
WRONG: dict[str, list[Any]] = {
    **{text: [{}, [], ["x"], True] for text in TEXTS},
    **{table: ["", "x", 5, [], [{}], True] for table in TABLES},
    **{instant: ["", "soon", {}, [], True, "2026-02-30", 10**30, "1e400"] for instant in INSTANTS},
    "messageId": [{}, [], True, "x" * 129],
    "userId": [{}, [], True, "x" * 257],
    "event": [{}, [], True, "", "x" * 201, None],
}


def message_with(field: str, value: object) -> dict[str, Any]:
    outer, _, inner = field.partition(".")
    return GOOD | {"type": "track", outer: {inner: value} if inner else value}


@pytest.mark.parametrize("field", WRONG)
def test_a_field_of_the_wrong_type_is_named(stack: LocalStack, field: str) -> None:
    for value in WRONG[field]:
        message = message_with(field, value)
        alone = survive(stack, "/v1/track", json.dumps(message).encode(), JSON)
        batch = json.dumps({"writeKey": PUBLIC_KEY, "batch": [message]}).encode()
        inside = survive(stack, "/v1/batch", batch, JSON)

        assert (alone.status, alone.json()["field"]) == (400, field), value
        assert (inside.status, inside.json()["field"]) == (400, f"batch.0.{field}"), value


@pytest.mark.parametrize("field", ["batch", "sentAt"])
def test_a_batch_of_the_wrong_type_is_named(stack: LocalStack, field: str) -> None:
    values: list[Any] = ["x", True, {"a": [1]} if field == "batch" else [1]]
    for value in values:
        body = {"writeKey": PUBLIC_KEY, "batch": [], field: value}
        answer = survive(stack, "/v1/batch", json.dumps(body).encode(), JSON)
        assert (answer.status, answer.json()["field"]) == (400, field), value


@pytest.mark.parametrize(
    "authorization",
    ["Basic", "Basic ", "Basic !!!", "Basic ====", "Basic /w==", "Basic w7w=", "Bearer x", "ü", ""],
)
def test_a_broken_authorization_is_a_key_of_nobodys(stack: LocalStack, authorization: str) -> None:
    body = json.dumps({**GOOD, "writeKey": ""}).encode()
    answer = survive(stack, "/v1/track", body, {**JSON, "authorization": authorization})
    assert answer.status == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json; charset=utf-16"}, 200),
        ({"content-type": ";;;"}, 200),
        ({"content-type": "APPLICATION/JSON"}, 200),
        ({"content-type": "application/jsonp"}, 415),
        ({"content-type": "application/json, text/plain"}, 415),
        ({"content-type": "\0"}, 415),
        ({"content-type": "multipart/form-data"}, 415),
        ({"content-encoding": "br"}, 200),
        ({"content-encoding": "GZIP"}, 400),
        ({"content-encoding": "gzip, gzip"}, 200),
        ({"content-length": "-1", "x-forwarded-for": "x" * 5_000}, 200),
    ],
)
def test_a_weird_header_is_no_error_of_ours(
    stack: LocalStack, headers: dict[str, str], status: int
) -> None:
    assert survive(stack, "/v1/track", json.dumps(GOOD).encode(), headers).status == status


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "//",
        "/v1",
        "/v1/",
        "/v1//",
        "/v1/track/",
        "/V1/track",
        "/v1/TRACK",
        "/v1/%00",
        "/v1/%ff%fe",
        "/v1/%2e%2e%2ff%2fdemo",
        "/v1/__class__",
        "/f/",
        "/f/..%2f..%2fetc%2fpasswd",
        "/f/<script>alert(1)</script>",
        pytest.param("/f/" + "x" * 5_000, id="long"),
        "/leads/%00",
        "/leads/..",
        "/leads/a b/ledger",
        "/leads/é",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "HEAD", "OPTIONS"])
def test_a_path_that_leads_nowhere_is_not_found(stack: LocalStack, path: str, method: str) -> None:
    assert survive(stack, path, json.dumps(GOOD).encode(), JSON, method).status == 404


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["jane@example.com", "2026-03-02T12:00:00Z", "track", PUBLIC_KEY, ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["email", "traits", "path", "company"]) | st.text(max_size=9),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
FIELDS = [*TEXTS, *INSTANTS, "properties", "traits", "context", "type", "batch", "email"]
MESSAGES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6)
BATCHES = st.fixed_dictionaries({"batch": st.lists(MESSAGES | VALUES, max_size=3)})
POSTS = ["/v1/track", "/v1/identify", "/v1/page", "/v1/batch", "/f/demo", "/leads/find"]
TYPES = ["application/json", "text/plain", FORM["content-type"], "multipart/form-data", ""]


@given(
    path=st.sampled_from(POSTS),
    body=MESSAGES | BATCHES | VALUES,
    likely=st.sampled_from([{}, {"userId": "jane@example.com", "event": "x", "type": "page"}]),
)
@settings(max_examples=200, deadline=None)
def test_any_json_is_answered(
    stack: LocalStack, path: str, body: Any, likely: dict[str, Any]
) -> None:
    if isinstance(body, dict):
        body = {**likely, **body, "writeKey": PUBLIC_KEY}
    survive(stack, path, json.dumps(body).encode(), JSON)


@given(
    path=st.sampled_from(POSTS),
    body=st.binary(max_size=200) | st.binary(max_size=60).map(gzip.compress),
    content_type=st.sampled_from(TYPES),
    encoding=st.sampled_from(["", "gzip"]),
    authorization=st.text(max_size=20),
)
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_answered(
    stack: LocalStack, path: str, body: bytes, content_type: str, encoding: str, authorization: str
) -> None:
    headers = {"content-type": content_type, "authorization": f"Basic {authorization}"}
    if encoding:
        headers["content-encoding"] = encoding
    survive(stack, path, body, headers)


@given(fields=st.dictionaries(st.sampled_from(["email", "title", "x"]), st.binary(max_size=40)))
@settings(max_examples=100, deadline=None)
def test_any_form_is_answered(stack: LocalStack, fields: dict[str, bytes]) -> None:
    pairs = "&".join(f"{name}={quote_from_bytes(value)}" for name, value in fields.items())
    survive(stack, "/f/demo", pairs.encode(), FORM)


@given(query=st.text(max_size=60), name=st.sampled_from(["limit", "cursor", "stage", ""]))
@settings(max_examples=100, deadline=None)
def test_any_query_is_answered(stack: LocalStack, query: str, name: str) -> None:
    survive(stack, "/leads", method="GET", query=f"{name}={query}" if name else query)


@given(traits=st.dictionaries(st.sampled_from(["company", "employees", "phone"]), VALUES))
@settings(max_examples=30, deadline=None)
def test_no_trait_keeps_a_lead_from_being_promoted(
    stack: LocalStack, traits: dict[str, Any]
) -> None:
    email = f"lead{len(everything(stack))}@example.com"
    body = {**GOOD, "userId": email, "traits": traits}
    if survive(stack, "/v1/track", json.dumps(body).encode(), JSON).status == 200:
        stack.pump()
        assert email in [message["data"]["lead"]["email"] for message in stack.received]


def test_the_stream_digests_whatever_was_accepted(stack: LocalStack) -> None:
    stack.pump()
    assert [mapping.on_failure for mapping in stack.mappings] == [[], []]
    assert stack.pending() == 0
