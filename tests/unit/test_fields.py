"""The fields of a form: what browsers post is read, and what nobody's browser posts is refused."""

import base64
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leadscoring.fields import read_fields
from leadscoring.request import Invalid, Request
from tests.flow.posting import BOUNDARY, MULTIPART, URLENCODED, multipart

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
VALUES = st.text(st.characters(codec="utf-8"), max_size=100).filter(lambda v: BOUNDARY not in v)


def read(body: bytes, content_type: str = MULTIPART) -> dict[str, str]:
    """Return the fields of a body as API Gateway hands it over."""
    return read_fields(
        Request(
            route="POST /f/{form}",
            path={"form": "contact"},
            query={},
            headers={"content-type": content_type},
            received_at=datetime(2026, 3, 2, tzinfo=UTC),
            request_id="r-1",
            agent="",
            address="",
            sent_body=base64.b64encode(body).decode(),
            is_base64=True,
        )
    )


@given(st.lists(st.tuples(NAMES, VALUES), max_size=20))
def test_a_form_says_the_same_as_multipart_and_urlencoded(pairs: list[tuple[str, str]]) -> None:
    as_parts = read(multipart((name, value, None) for name, value in pairs))
    assert as_parts == read(urlencode(pairs).encode(), URLENCODED)
    assert as_parts == {name: value for name, value in pairs if value}


def test_files_are_dropped_however_large() -> None:
    body = multipart(
        [
            ("email", "jane@example.com", None),
            ("cv", b"\xff\xd8" * 1_500_000, "cv.jpg"),
            ("photo", b"", ""),
            ("company", "M\xfcller", None),
        ]
    )
    assert read(body) == {"email": "jane@example.com", "company": "M\xfcller"}


def test_of_several_fields_with_one_name_the_last_that_is_filled_in_counts() -> None:
    pairs = [("agree", "0"), ("agree", "1"), ("agree", "")]
    assert read(urlencode(pairs).encode(), URLENCODED) == {"agree": "1"}
    assert read(multipart((*pair, None) for pair in pairs)) == {"agree": "1"}


GOOD = multipart([("email", "jane@example.com", None)])
NESTED = multipart([("inner", multipart([("email", "x", None)], "inner"), None)]).replace(
    b'name="inner"', b'name="inner"\r\nContent-Type: multipart/mixed; boundary=inner'
)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (GOOD, "multipart/form-data"),
        (GOOD, "multipart/form-data; boundary="),
        (GOOD, 'multipart/form-data; boundary=""'),
        (GOOD, "multipart/form-data; boundary=another"),
        (GOOD, "multipart/form-data; boundary=\N{PILE OF POO}"),
        (b"", MULTIPART),
        (b"email=jane@example.com", MULTIPART),
        (GOOD[:-8], MULTIPART),
        (GOOD.replace(b"\r\n", b"\n"), MULTIPART),
        (GOOD.replace(b"form-data", b"attachment"), MULTIPART),
        (GOOD.replace(b"Content-Disposition", b"X" * 100_000), MULTIPART),
        (GOOD.replace(b"Content-", b"X-A: 1\r\n" * 10_000 + b"Content-"), MULTIPART),
        (GOOD.replace(b"Content-Disposition", b"\xff\xfe"), MULTIPART),
        (GOOD.replace(b"Content-", b"Content-Length: 999999\r\nContent-"), MULTIPART),
        (multipart((f"field{n}", "x", None) for n in range(10_000)), MULTIPART),
        (multipart((f"file{n}", "x", "a.txt") for n in range(101)), MULTIPART),
        (NESTED, MULTIPART),
        (urlencode({f"field{n}": "x" for n in range(101)}).encode(), URLENCODED),
    ],
)
def test_a_body_that_no_browser_sends_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(body, content_type)
    assert (refused.value.code, refused.value.field) == ("invalid", "body")
    assert "100 fields" in refused.value.message


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (multipart([("message", "x" * 32_001, None)]), MULTIPART),
        (multipart((f"field{n}", "x" * 1_000, None) for n in range(33)), MULTIPART),
        (multipart((f"{n:x>1000}", "x", None) for n in range(33)), MULTIPART),
        (b"message=" + b"x" * 32_000, URLENCODED),
    ],
)
def test_a_form_has_at_most_32_kb_of_text(body: bytes, content_type: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(body, content_type)
    assert (refused.value.code, refused.value.field) == ("too_large", "body")


@pytest.mark.parametrize("content_type", ["", "text/html", "application/json", "multipart/mixed"])
def test_what_is_no_form_is_refused_as_such(content_type: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(GOOD, content_type)
    assert (refused.value.status, refused.value.field) == (415, "content-type")


@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    f"--{BOUNDARY}".encode(),
                    f"--{BOUNDARY}--".encode(),
                    b"\r\n",
                    b"\r\n\r\n",
                    b"\n",
                ),
                *(b"Content-Disposition: form-data", b'; name="a"', b"; filename=", b'"', b"\\"),
                *(b"Content-Type: multipart/mixed; boundary=a", b"Content-Length: 3", b":", b";"),
                *(b"\0", b"\xff", b"a", b"--"),
            ]
        ),
        max_size=40,
    ).map(b"".join),
    st.sampled_from([MULTIPART, URLENCODED]) | st.text().map(lambda t: f"multipart/form-data;{t}"),
)
@example(GOOD, MULTIPART + "; boundary=other")
def test_whatever_is_posted_gives_fields_or_a_refusal(body: bytes, content_type: str) -> None:
    try:
        fields = read(body, content_type)
    except Invalid:
        return
    assert all(isinstance(part, str) and part for pair in fields.items() for part in pair)
