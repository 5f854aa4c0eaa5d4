"""The words of the way in: addresses, ids and instants."""

import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leadscoring.interaction import (
    Identity,
    IdentityKind,
    from_text,
    normalise_email,
    to_millisecond,
    to_text,
)

LETTERS = st.text(st.characters(categories=["L", "Mn", "Nd"]), min_size=1, max_size=12)
DOMAINS = st.sampled_from(["Example", "MÜLLER", "ΣΑΣ", "straße", "例え"]) | LETTERS
ADDRESSES = st.builds("{}@{}.Example".format, LETTERS, DOMAINS)
ZONES = st.integers(-23, 23).map(lambda hours: timezone(timedelta(hours=hours)))
INSTANTS = st.datetimes(
    datetime(1, 1, 5),
    datetime(9999, 12, 27),
    timezones=ZONES,
)


@pytest.mark.parametrize(
    ("address", "normal"),
    [
        (" Jane.Doe+news@Example.COM\n", "jane.doe+news@example.com"),
        ("jörg@müller.example", "jörg@xn--mller-kva.example"),
        ("JO\u0308RG@MU\u0308LLER.example", "jörg@xn--mller-kva.example"),
        ("max@straße.example", "max@xn--strae-oqa.example"),
        ("max@例え。テスト", "max@xn--r8jz45g.xn--zckzah"),
        ("straße@example.com", "straße@example.com"),
        ("\u01f0@example.com", "\u01f0@example.com"),
        ("J\u030c@example.com", "\u01f0@example.com"),
        (f"{'x' * 242}@example.com", f"{'x' * 242}@example.com"),
    ],
)
def test_an_address_has_one_normal_form(address: str, normal: str) -> None:
    assert normalise_email(address) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "jane",
        "jane@example",
        "jane@.com",
        "jane@example.com.",
        "jane@exam ple.com",
        "jane\u00a0doe@example.com",
        "jane\n@example.com",
        "jane@doe@example.com",
        "jane@example.com>",
        "jane@\u2603\ufe0f\u200d.example",
        "jane@xn--\u00fc.example",
        f"{'x' * 243}@example.com",
        f"{'ü' * 122}@example.com",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not an e-mail address$"):
        normalise_email(text)


def normal_or_none(address: str) -> str | None:
    try:
        return normalise_email(address)
    except ValueError:
        return None


@given(ADDRESSES)
@example("J\u030c@example.com")
@example("\u0130@example.com")
def test_a_normal_form_is_its_own_normal_form(address: str) -> None:
    normal = normal_or_none(address)
    assert normal is None or normalise_email(normal) == normal


@given(ADDRESSES)
@example("J\u030c@example.com")
def test_composed_and_decomposed_spellings_have_the_same_normal_form(address: str) -> None:
    nfc, nfd = (unicodedata.normalize(form, address) for form in ("NFC", "NFD"))
    assert normal_or_none(nfc) == normal_or_none(nfd)


def test_a_lead_id_tells_neither_address_nor_key_and_knows_the_kind_of_name() -> None:
    names = [
        Identity.of_email("Jane@Example.com"),
        Identity.of_email("joe@example.com"),
        *(Identity(k, "4711") for k in IdentityKind if k is not IdentityKind.LEAD_ID),
    ]
    ids = {name.lead_id(key) for name in names for key in (b"key", b"other key")}

    assert len(ids) == 2 * len(names)
    assert all(len(lead_id) == 32 and int(lead_id, 16) for lead_id in ids)
    assert Identity.of_email("jane@example.com").lead_id(b"key") in ids


@pytest.mark.parametrize(
    ("user_id", "identity"),
    [
        ("4711", Identity(IdentityKind.USER_ID, "4711")),
        ("Jane@", Identity(IdentityKind.USER_ID, "Jane@")),
        ("Jane@Example.com", Identity(IdentityKind.EMAIL, "jane@example.com")),
    ],
)
def test_a_user_id_that_is_an_address_names_that_address(user_id: str, identity: Identity) -> None:
    assert Identity.of_user_id(user_id) == identity


@given(INSTANTS)
def test_an_instant_comes_back_from_text_to_the_millisecond(instant: datetime) -> None:
    text = to_text(instant)
    assert len(text) == 24
    assert from_text(text) == to_millisecond(instant)
    assert timedelta(0) <= instant - from_text(text) < timedelta(milliseconds=1)
    assert from_text(text).utcoffset() == timedelta(0)


@given(INSTANTS, st.timedeltas(timedelta(hours=-12), timedelta(hours=12)), ZONES)
def test_texts_of_instants_sort_by_time(
    one: datetime, apart: timedelta, elsewhere: timezone
) -> None:
    other = (one + apart).astimezone(elsewhere)
    assert (to_text(one) < to_text(other)) == (to_millisecond(one) < to_millisecond(other))


def test_an_instant_of_another_zone_is_written_in_utc() -> None:
    berlin = timezone(timedelta(hours=2))
    assert to_text(datetime(2026, 7, 1, 1, 30, tzinfo=berlin)) == "2026-06-30T23:30:00.000Z"
    assert to_text(datetime(26, 1, 1, tzinfo=UTC)) == "0026-01-01T00:00:00.000Z"
