"""What the spool keeps of a request, and that it is read from there as it was."""

import base64
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from leadscoring import spool
from leadscoring.fields import read_fields, without_files
from leadscoring.request import Invalid, Request
from leadscoring.spool import Spool
from tests.flow.posting import MULTIPART, multipart

# What SQS took in one message before August 2025, when it was raised to four times that.
SMALLEST_LIMIT = 262_144
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
ALLOWED = {"\t", "\n", "\r"}


class Queue:
    """Takes what an SQS client would send."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803 (SQS's names)
        assert QueueUrl == "https://sqs/spool"
        self.bodies.append(MessageBody)


def keep(request: Request) -> str:
    """Return the message that keeps this request."""
    queue: Any = Queue()
    Spool(queue, "https://sqs/spool").put(request)
    (body,) = queue.bodies
    return str(body)


def request_with(body: bytes = b"", **headers: str) -> Request:
    return Request(
        route="POST /f/{form}",
        path={"form": "demo"},
        query={},
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        received_at=datetime(2026, 3, 2, 12, tzinfo=UTC),
        request_id="JKJaXmPLvHcESHA=",
        agent="Mozilla/5.0",
        address="203.0.113.7",
        sent_body=base64.b64encode(body).decode(),
        is_base64=True,
    )


TEXTS = st.text(max_size=20)
TABLES = st.dictionaries(TEXTS, TEXTS, max_size=4)
REQUESTS = st.builds(
    Request,
    route=TEXTS,
    path=TABLES,
    query=TABLES,
    headers=st.dictionaries(st.text("abcdefghijklm-", min_size=1), TEXTS, max_size=4),
    received_at=st.integers(0, 4_102_444_800_000).map(
        lambda ms: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    ),
    request_id=TEXTS,
    agent=TEXTS,
    address=TEXTS,
    sent_body=TEXTS,
    is_base64=st.booleans(),
)


@given(REQUESTS)
def test_any_request_comes_out_of_the_spool_as_it_went_in(request: Request) -> None:
    body = keep(request)
    assert spool.kept(body) == request
    assert all(character in ALLOWED or " " <= character <= "~" for character in body)


def test_the_spool_keeps_no_credentials() -> None:
    body = keep(request_with(authorization="Basic c2VjcmV0", cookie="session=1", accept="*/*"))
    assert json.loads(body)["headers"] == {"accept": "*/*"}


PARTS = st.lists(
    st.tuples(
        st.text(min_size=1, max_size=12),
        st.one_of(st.text(max_size=40), st.binary(max_size=40)),
        st.one_of(st.none(), st.sampled_from(["cv.pdf", "", "größe.png", 'a"b.txt'])),
    ),
    max_size=8,
)


@given(parts=PARTS, zipped=st.booleans())
def test_a_form_without_its_files_reads_as_it_did_with_them(
    *, parts: list[tuple[str, str | bytes, str | None]], zipped: bool
) -> None:
    body = multipart(parts)
    request = request_with(body, content_type=MULTIPART)
    if zipped:
        request = request_with(gzip.compress(body), content_type=MULTIPART, content_encoding="gzip")
    try:
        fields = read_fields(request)
    except Invalid:
        return  # it is refused, and never spooled
    assert read_fields(without_files(request)) == fields


@given(st.binary(max_size=200))
def test_whatever_reads_as_a_form_reads_the_same_without_its_files(noise: bytes) -> None:
    heads = b'\r\nContent-Disposition: form-data; name="email"\r\n\r\n'
    body = b"--x" + heads + noise.replace(b"|", b"\r\n--x" + heads) + b"\r\n--x--"
    request = request_with(body, content_type='multipart/form-data; boundary="x"')
    try:
        fields = read_fields(request)
    except Invalid:
        return
    assert read_fields(without_files(request)) == fields


def test_the_largest_form_with_a_file_of_megabytes_fits_into_a_message() -> None:
    text = "\N{SNOWMAN}" * 10_000
    file = ("cv", b"%PDF" * 2_000_000, "cv.pdf")
    body = multipart([("email", "jane@example.com", None), file, ("message", text, None)])
    request = request_with(body, content_type=MULTIPART)

    message = keep(without_files(request))

    assert len(message) < SMALLEST_LIMIT
    assert read_fields(spool.kept(message)) == {"email": "jane@example.com", "message": text}


def test_the_largest_urlencoded_form_is_kept_as_it_came() -> None:
    body = b"email=jane%40example.com&message=" + b"%E2%98%83" * 3_000
    request = request_with(body, content_type="application/x-www-form-urlencoded")
    assert without_files(request) is request
    message = keep(request)
    assert len(message) < SMALLEST_LIMIT
    assert spool.kept(message).raw_body == body
