"""A link says what was signed, and nothing else: whatever a stranger makes of it leads nowhere."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from leadscoring import links, tokens
from leadscoring.interaction import Identity, IdentityKind, Interaction, Trust
from leadscoring.keys import Keys
from leadscoring.links import Click, Link
from leadscoring.model import Model
from leadscoring.request import Invalid, Request
from leadscoring.settings import MODEL_FILE
from leadscoring.tokens import Use

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MODEL = Model.load(MODEL_FILE)
KEYS = Keys(b"lead ids", "public").with_link_key(b"first", NOON).with_link_key(b"second", NOON)
LEAD = Identity.of_email("jane@example.com").lead_id(KEYS.lead_ids)
LINK = Link(
    "https://www.example.com/prices?for=jane#top",
    LEAD,
    "spring",
    sent_at=NOON,
    expires_at=NOON + timedelta(days=90),
)
LATER = NOON + timedelta(hours=2)
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=100)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
addresses = st.builds(
    "{}://{}/{}?q={}#{}".format,
    st.sampled_from(["http", "https", "HTTPS"]),
    st.sampled_from(["example.com", "bücher.example", "127.0.0.1:8000", "[::1]"]),
    words,
    words,
    words,
)


def follow(token: str, at: datetime = LATER, keys: Keys = KEYS) -> Click:
    request = Request("GET /c/{token}", {"token": token}, {}, {}, at, "r-1", "", "", "")
    return links.read(request, keys, MODEL)


def clicked(token: str, at: datetime = LATER) -> Interaction:
    return follow(token, at).interaction


def leads_nowhere(token: str, at: datetime = LATER, keys: Keys = KEYS) -> bool:
    with pytest.raises(Invalid) as raised:
        follow(token, at, keys)
    fault = raised.value
    return (fault.status, fault.as_dict()) == (
        404,
        {"code": "unknown_link", "field": "path", "message": "there is no such link"},
    )


TOKEN = links.sign(LINK, KEYS)


def test_a_click_is_the_leads_and_says_by_which_campaign_it_came() -> None:
    click = follow(links.sign(replace(LINK, source="newsletter"), KEYS))

    assert click.target == "https://www.example.com/prices?for=jane#top"
    said = click.interaction
    assert (said.name, said.trust, said.withheld_by) == ("Email Link Clicked", Trust.PUBLIC, None)
    assert said.identity == Identity(IdentityKind.LEAD_ID, LEAD)
    assert (said.occurred_at, said.received_at) == (LATER, LATER)
    assert said.properties == {"campaign": "spring", "url": "https://www.example.com/prices"}
    assert said.context == {
        "campaign": {"name": "spring", "medium": "email", "source": "newsletter"}
    }


@given(target=addresses, campaign=names, source=st.just("") | names)
def test_what_is_signed_is_what_is_read(target: str, campaign: str, source: str) -> None:
    assume(len(links.web_address(target)) <= links.TARGET_CHARACTERS)
    signed = links.sign(replace(LINK, target=target, campaign=campaign, source=source), KEYS)

    click = follow(signed)

    assert set(signed) <= set(BASE64URL)
    assert click.target == links.web_address(target) == links.web_address(click.target)
    assert click.target.isascii()
    assert click.target.isprintable()
    assert click.interaction.context["campaign"].get("source", "") == source
    assert click.interaction.properties["campaign"] == campaign


@given(st.data())
def test_a_token_with_any_character_changed_leads_nowhere(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(TOKEN) - 1))
    other = data.draw(st.sampled_from([c for c in BASE64URL if c != TOKEN[place]]))
    assert leads_nowhere(TOKEN[:place] + other + TOKEN[place + 1 :])


def test_no_two_texts_are_the_same_token() -> None:
    """The last character of base64 has bits that say nothing: they may not be free to choose."""
    for target in ("https://a.example/", "https://aa.example/", "https://aaa.example/"):
        token = links.sign(replace(LINK, target=target), KEYS)
        twins = [f"{token[:-1]}{last}" for last in BASE64URL if last != token[-1]]
        assert all(
            map(leads_nowhere, [*twins, f"{token}=", f"{token}==", f"{token[:9]}.{token[9:]}"])
        )


@given(st.binary(max_size=120) | st.text(max_size=120))
def test_nothing_that_was_not_signed_leads_anywhere(made_up: bytes | str) -> None:
    token = (
        made_up
        if isinstance(made_up, str)
        else base64.urlsafe_b64encode(made_up).decode().strip("=")
    )
    assert leads_nowhere(token)


@given(st.binary(min_size=1, max_size=60))
def test_what_another_key_signed_leads_nowhere_whatever_key_it_names(key: bytes) -> None:
    assume(key not in (b"first", b"second"))
    theirs = Keys(b"", "").with_link_key(key, NOON)
    under_our_name = replace(theirs, links={KEYS.newest_link: next(iter(theirs.links.values()))})
    evil = replace(LINK, target="https://evil.example/")

    assert leads_nowhere(links.sign(evil, theirs))
    assert leads_nowhere(links.sign(evil, under_our_name))


def test_a_token_that_is_too_long_is_not_even_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    longest = links.sign(
        replace(
            LINK,
            target="https://a.example/" + "a" * (links.TARGET_CHARACTERS - 18),
            campaign="\N{GRINNING FACE}" * links.NAME_CHARACTERS,
            source='"' * links.NAME_CHARACTERS,
        ),
        KEYS,
    )
    assert follow(longest)
    monkeypatch.setattr("base64.urlsafe_b64decode", lambda _text: pytest.fail("decoded"))
    assert leads_nowhere("A" * 100_000)


def test_a_link_lives_until_it_expires() -> None:
    last = LINK.expires_at - timedelta(milliseconds=1)
    assert follow(TOKEN, last).target == LINK.target
    assert leads_nowhere(TOKEN, LINK.expires_at)


def test_a_link_lives_as_long_as_its_key() -> None:
    first = links.sign(LINK, Keys(b"", "").with_link_key(b"first", NOON))
    assert follow(first).target == follow(TOKEN).target
    (old, _) = KEYS.links
    assert leads_nowhere(first, keys=KEYS.without(old))
    assert follow(TOKEN, keys=KEYS.without(old)).target == LINK.target


def test_one_link_counts_once_a_day_of_utc() -> None:
    midnight = datetime(2026, 3, 3, tzinfo=UTC)
    moments = (LATER, midnight - timedelta(milliseconds=1), midnight, midnight + timedelta(hours=9))
    first, same_day, next_day, later = (clicked(TOKEN, at).message_id for at in moments)
    assert first == same_day != next_day == later
    other = links.sign(replace(LINK, lead_id="0" * 32), KEYS)
    assert clicked(other).message_id != first


def test_a_click_within_a_minute_of_sending_is_withheld_and_takes_nobodys_place() -> None:
    early = clicked(TOKEN, NOON + timedelta(seconds=59))
    in_time = clicked(TOKEN, NOON + timedelta(seconds=60))
    before = clicked(TOKEN, NOON - timedelta(days=1))

    assert (early.withheld_by, before.withheld_by, in_time.withheld_by) == (
        "too-soon",
        "too-soon",
        None,
    )
    assert early.message_id != in_time.message_id
    assert follow(TOKEN, NOON).target == follow(TOKEN).target


def test_the_quiet_time_is_the_models() -> None:
    patient = MODEL.model_copy(
        update={"links": MODEL.links.model_copy(update={"quiet_seconds": 0})}
    )
    request = Request("GET /c/{token}", {"token": TOKEN}, {}, {}, NOON, "r-1", "", "", "")
    assert links.read(request, KEYS, patient).interaction.withheld_by is None


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("target", {"target": "javascript:alert(1)"}),
        ("target", {"target": "data:text/html,x"}),
        ("target", {"target": "//evil.example/"}),
        ("target", {"target": "www.example.com"}),
        ("target", {"target": ""}),
        ("target", {"target": "https://"}),
        ("target", {"target": "https://jane:secret@www.example.com/"}),
        ("target", {"target": "https://www.example.com/" + "a" * 2_000}),
        ("campaign", {"campaign": ""}),
        ("campaign", {"campaign": "a\r\nlocation: b"}),
        ("campaign", {"campaign": "a" * 101}),
        ("source", {"source": "\x00"}),
        ("sent_at", {"sent_at": datetime(1969, 1, 1, tzinfo=UTC)}),
        ("expires_at", {"expires_at": datetime(2200, 1, 1, tzinfo=UTC)}),
    ],
)
def test_what_is_no_link_is_not_signed(field: str, changes: dict[str, str]) -> None:
    with pytest.raises(Invalid) as raised:
        links.sign(replace(LINK, **changes), KEYS)  # type: ignore[arg-type]
    assert raised.value.field == field


def test_what_was_signed_for_another_use_leads_nowhere() -> None:
    said = tokens.said(Use.LINK, TOKEN, KEYS)
    assert said
    other = tokens.sign(Use.DECISION, said, KEYS)
    assert tokens.said(Use.DECISION, other, KEYS) == said
    assert leads_nowhere(other)
