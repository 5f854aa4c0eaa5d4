"""What a model can say of a form: names, required fields, targets, traps for bots, consent."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.stack import LocalStack
from leadscoring.doors import Form
from leadscoring.settings import MODEL_FILE
from tests.flow.acts import lead_item
from tests.flow.asking import everything, lead, ledger
from tests.flow.own_model import stack_with
from tests.flow.posting import NOON, submit

THANKS = "https://www.example.com/thanks"
TARGETS = ("https://www.example.com/de/danke", "https://shop.example.com/?from=form&x=1")
FORMS = f"""
[forms.brochure]
redirect = "{THANKS}"
targets = {list(TARGETS)}
fields = {{ "your-email" = "email", firma = "company", kind = "title" }}
required = ["email", "company"]

[forms.trap]
honeypot = "website"
minimum_seconds = 3

[forms.signup]
consent = {{ field = "agree", version = "2026-05", text = "Write to me.", required = true }}

[forms.survey]
fields.einwilligung = "agree"
consent = {{ field = "agree", version = "2026-06", text = "Write to me." }}

[forms.double]
consent = {{ field = "agree", version = "2026-07", text = "Write to me." }}
confirm_by = "Subscription Confirmed"
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL_FILE.read_text(encoding="utf-8") + FORMS) as shared:
        yield shared


def entry_of(stack: LocalStack, email: str) -> Mapping[str, Any]:
    (entry,) = ledger(stack, email=email)
    return dict(entry)


def address(of: str) -> str:
    """Return an e-mail address that no other case uses."""
    return f"{of.encode().hex()[-60:]}@example.com"


def milliseconds(at: datetime) -> str:
    return str(int(at.timestamp() * 1000))


# Names and what must be filled in


def test_fields_are_known_by_the_names_that_the_model_gives_them(stack: LocalStack) -> None:
    mine = {"your-email": "mapped@example.com", "firma": "ACME", "kind": "Pumps"}
    assert submit(stack, "brochure", {**mine, "company": "not this one"}).status == 303
    assert lead(stack, email="mapped@example.com")["traits"] == {"company": "ACME"}
    entry = entry_of(stack, "mapped@example.com")
    assert entry["properties"] == {"form": "brochure", "title": "Pumps"}


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ({"your-email": "jane@example.com"}, "company"),
        ({"your-email": "jane@example.com", "firma": ""}, "company"),
        ({"your-email": "jane@example.com", "firma": " \t"}, "company"),
        ({"firma": "ACME"}, "email"),
        ({"firma": "ACME", "your-email": "jane"}, "email"),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_written(
    stack: LocalStack, fields: dict[str, str], missing: str
) -> None:
    before = everything(stack)

    answer = submit(stack, "brochure", fields, accept="application/json")
    page = submit(stack, "brochure", fields)

    assert (answer.status, answer.json()["code"], answer.json()["field"]) == (
        *(400, "invalid"),
        missing,
    )
    assert (page.status, page.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert f"The field {missing} is " in page.body.decode()
    assert "Go back" in page.body.decode()
    assert everything(stack) == before


def test_an_error_page_shows_nothing_that_was_sent(stack: LocalStack) -> None:
    page = submit(stack, "brochure", {"your-email": "<script>alert(1)</script>@x"})
    assert page.status == 400
    assert b"script" not in page.body


# Where the visitor goes next

HOSTILE = [
    "https://evil.example",
    "//evil.example",
    "https:evil.example",
    "https:///evil.example",
    "\\\\evil.example",
    "/\\evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    f"{THANKS}.evil.example",
    f"{TARGETS[0]}.evil.example",
    f"{TARGETS[0]}/../../x",
    f"{TARGETS[0]}?x",
    f"{TARGETS[0]}#x",
    f"{TARGETS[0]} ",
    f" {TARGETS[0]}",
    f"{TARGETS[0]}\r\nset-cookie: a=b",
    f"{TARGETS[0]}\0",
    TARGETS[0].upper(),
    TARGETS[0].removeprefix("https:"),
    TARGETS[0].replace("https", "http"),
    TARGETS[0].replace("https://", "https://www.example.com@evil.example/"),
    TARGETS[0].replace("www.", "www\N{IDEOGRAPHIC FULL STOP}"),
    TARGETS[0].replace("e", "\N{CYRILLIC SMALL LETTER IE}"),
    TARGETS[0][:-1],
    "\r\n",
    "",
]


@pytest.mark.parametrize("wanted", TARGETS)
def test_a_page_may_choose_among_the_targets_of_its_form(stack: LocalStack, wanted: str) -> None:
    fields = {"your-email": "target@example.com", "firma": "ACME", "_redirect": wanted}
    answer = submit(stack, "brochure", fields)
    assert (answer.status, answer.headers["location"]) == (303, wanted)


@pytest.mark.parametrize("wanted", HOSTILE)
def test_any_other_target_is_passed_over(stack: LocalStack, wanted: str) -> None:
    fields = {"your-email": "target@example.com", "firma": "ACME", "_redirect": wanted}
    answer = submit(stack, "brochure", fields)
    assert (answer.status, answer.headers["location"]) == (303, THANKS)


@given(st.text() | st.sampled_from(TARGETS).flatmap(lambda t: st.text().map(lambda x: t + x)))
def test_no_text_makes_a_form_lead_where_its_model_does_not(wanted: str) -> None:
    form = Form(redirect=THANKS, targets=TARGETS)
    assert form.target(wanted) in {THANKS, *TARGETS}
    assert form.target(wanted) == wanted or wanted not in TARGETS


def test_a_form_without_targets_has_its_own_page_alone(stack: LocalStack) -> None:
    fields = {"email": "target@example.com", "_redirect": "/f/newsletter"}
    assert submit(stack, "contact", fields).headers["location"] == "/f/contact"


# Traps for bots


def test_who_fills_in_the_honeypot_is_thanked_and_earns_nothing(stack: LocalStack) -> None:
    for form, trap in (("contact", "_gotcha"), ("trap", "website")):
        bot, jane = f"bot@{form}.example", f"jane@{form}.example"

        caught = submit(stack, form, {"email": bot, "title": "Buy", "company": "X", trap: "x"})
        free = submit(stack, form, {"email": jane, "title": "Buy", "company": "X"})

        assert (caught.status, caught.headers, caught.body) == (
            free.status,
            free.headers,
            free.body,
        )
        entry = entry_of(stack, bot)
        assert (entry["withheld_by"], entry["paid"]) == ("honeypot", [])
        assert entry["properties"] == {"form": form, "title": "Buy"}
        assert lead(stack, email=bot)["traits"] == {}
        assert len(entry_of(stack, jane)["paid"]) == 1


def test_a_renamed_honeypot_leaves_the_old_name_without_meaning(stack: LocalStack) -> None:
    submit(stack, "trap", {"email": "old-name@example.com", "_gotcha": "x"})
    assert len(entry_of(stack, "old-name@example.com")["paid"]) == 1


def test_a_bot_that_was_there_first_does_not_stand_in_the_way_of_the_person(
    stack: LocalStack,
) -> None:
    fields = {"email": "squatted@example.com"}
    submit(stack, "contact", {**fields, "_gotcha": "x"})
    submit(stack, "contact", fields)
    submit(stack, "contact", {**fields, "_gotcha": "y"})
    paid = [len(entry["paid"]) for entry in ledger(stack, **fields)]
    assert sorted(paid) == [0, 1]


@pytest.mark.parametrize(
    ("opened", "withheld_by"),
    [
        (milliseconds(NOON), "too-fast"),
        (milliseconds(NOON - timedelta(seconds=2.999)), "too-fast"),
        ("2026-03-02T11:59:58Z", "too-fast"),
        (
            (NOON - timedelta(seconds=1)).astimezone(timezone(timedelta(hours=5))).isoformat(),
            "too-fast",
        ),
        (milliseconds(NOON - timedelta(seconds=3)), None),
        ("2026-03-02T11:59:57Z", None),
        ("2026-03-01", None),
        # Nobody can tell by these.
        (milliseconds(NOON + timedelta(milliseconds=1)), None),
        ("2026-03-02T12:00:00+00:01", None),
        ("", None),
        ("just now", None),
        ("-1", None),
        ("9" * 30, None),
        ("9" * 5_000, None),
        ("9999-12-31T23:59:59-23:59", None),
        ("0001-01-01T00:00:00+23:59", None),
        ("NaN", None),
    ],
)
def test_who_is_faster_than_a_person_is_thanked_and_earns_nothing(
    stack: LocalStack, opened: str, withheld_by: str | None
) -> None:
    email = address(f"opened {opened}")

    answer = submit(stack, "trap", {"email": email, "_opened": opened})

    assert (answer.status, answer.headers["location"]) == (303, "/f/trap")
    entry = entry_of(stack, email)
    assert entry.get("withheld_by") == withheld_by
    assert len(entry["paid"]) == (0 if withheld_by else 1)


def test_a_form_without_a_minimum_takes_its_time_from_nobody(stack: LocalStack) -> None:
    submit(stack, "contact", {"email": "fast@example.com", "_opened": milliseconds(NOON)})
    assert len(entry_of(stack, "fast@example.com")["paid"]) == 1


def test_what_is_ours_is_never_kept_and_never_makes_two_of_one(stack: LocalStack) -> None:
    for n in range(3):
        ours = {
            "_opened": milliseconds(NOON - timedelta(minutes=n + 1)),
            "_anonymous_id": f"of-ours-{n}",
            "_redirect": f"/of-ours-{n}",
            "_title": f"of-ours-{n}",
            "cf-turnstile-response": f"of-ours-{n}",
            "h-captcha-response": f"of-ours-{n}",
            "g-recaptcha-response": f"of-ours-{n}",
        }
        assert submit(stack, "trap", {"email": "clicks@example.com", **ours}).status == 303
    assert entry_of(stack, "clicks@example.com")["properties"] == {"form": "trap"}
    assert "of-ours" not in str(everything(stack))


def test_the_answer_is_the_same_whoever_sends_it(stack: LocalStack) -> None:
    known = {"email": "known@example.com"}
    submit(stack, "trap", known)
    answers = [
        submit(stack, "trap", fields)
        for fields in (
            {"email": "stranger@example.com"},
            known,
            {**known, "title": "Something else"},
            {**known, "website": "x"},
            {"email": "stranger@bot.example", "website": "x"},
            {**known, "_opened": milliseconds(NOON)},
        )
    ]
    assert len({(a.status, str(a.headers), a.body) for a in answers}) == 1


# Consent


@pytest.mark.parametrize("ticked", ["on", "1", "true", "yes", "I agree", "2026-05"])
def test_a_ticked_consent_is_a_trait_and_its_version_is_in_the_ledger(
    stack: LocalStack, ticked: str
) -> None:
    email = address(f"ticked {ticked}")
    assert submit(stack, "signup", {"email": email, "agree": ticked}).status == 303
    assert entry_of(stack, email)["properties"]["consent_version"] == "2026-05"
    assert lead(stack, email=email)["traits"] == {"consent": True}


@pytest.mark.parametrize("unticked", [None, "", " ", "0", "false", "off", "no", "No", "FALSE"])
def test_a_consent_that_is_not_ticked_is_none(stack: LocalStack, unticked: str | None) -> None:
    email = address(f"not ticked {unticked}")
    fields = {"email": email} | ({} if unticked is None else {"einwilligung": unticked})
    claims = {"consent": "true", "consent_version": "2026-06"}

    answer = submit(stack, "survey", {**fields, **claims})

    assert answer.status == 303
    assert "consent_version" not in ledger(stack, email=email)[0]["properties"]
    assert lead(stack, email=email)["traits"] == {}


def test_a_consent_that_is_required_is_asked_for(stack: LocalStack) -> None:
    before = everything(stack)
    fields = {"email": "no@example.com", "agree": "off", "consent": "true"}
    answer = submit(stack, "signup", fields, accept="application/json")
    assert (answer.status, answer.json()["field"]) == (400, "agree")
    assert everything(stack) == before


def test_a_renamed_checkbox_is_a_consent_too(stack: LocalStack) -> None:
    submit(stack, "survey", {"email": "renamed@example.com", "einwilligung": "on"})
    assert lead(stack, email="renamed@example.com")["traits"] == {"consent": True}


def test_a_bot_consents_to_nothing(stack: LocalStack) -> None:
    submit(stack, "signup", {"email": "bot@consent.example", "agree": "on", "_gotcha": "x"})
    assert lead(stack, email="bot@consent.example")["traits"] == {}
    assert "trait:consent" not in lead_item(stack, "bot@consent.example")
