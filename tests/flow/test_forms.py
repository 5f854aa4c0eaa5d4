"""Plain HTML forms, posted without any JavaScript."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from infra.local.stack import LocalStack, local_stack
from leadscoring.doors import Form
from tests.flow.asking import everything, lead, ledger
from tests.flow.posting import (
    BOUNDARY,
    MULTIPART,
    NOON,
    URLENCODED,
    Parts,
    multipart,
    post,
    submit,
)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with local_stack() as shared:
        yield shared


@pytest.mark.parametrize(
    ("form", "event"),
    [
        ("contact", "Form Submitted"),
        ("newsletter", "Newsletter Subscribed"),
        ("demo", "Demo Requested"),
    ],
)
def test_a_form_is_recorded_under_its_name_and_leads_to_its_own_page(
    stack: LocalStack, form: str, event: str
) -> None:
    email = f"{form}@example.com"

    answer = submit(stack, form, {"email": email})
    page = stack.request("GET", answer.headers["location"])

    assert (answer.status, answer.headers["location"]) == (303, f"/f/{form}")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f"We have received your form {form}." in page.body.decode()
    (entry,) = ledger(stack, email=email)
    assert (entry["name"], entry["trust"]) == (event, "public")


def test_a_script_that_accepts_json_gets_json(stack: LocalStack) -> None:
    answer = submit(stack, "demo", {"email": "fetch@example.com"}, accept="application/json")
    assert (answer.status, answer.json()) == (200, {"success": True})


def test_a_form_with_a_redirect_goes_there(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = stack.functions["collect"].module
    forms = {"demo": Form(redirect="https://www.example.com/thanks")}
    monkeypatch.setattr(collect, "model", collect.model.model_copy(update={"forms": forms}))

    answer = submit(stack, "demo", {"email": "redirected@example.com"})

    assert (answer.status, answer.headers["location"]) == (303, "https://www.example.com/thanks")


def test_a_form_without_an_entry_in_the_model_has_no_page(stack: LocalStack) -> None:
    for answer in (stack.request("GET", "/f/raffle"), submit(stack, "raffle", {})):
        assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert b"There is no such form." in answer.body


def test_a_double_click_counts_once_and_the_next_day_counts_again(stack: LocalStack) -> None:
    fields = {"email": "hasty@example.com", "title": "Questions"}

    clicks = [submit(stack, "contact", fields, NOON + timedelta(hours=h)) for h in (0, 0, 11)]
    assert {answer.status for answer in clicks} == {303}
    assert lead(stack, email="hasty@example.com")["interactions"] == 1

    submit(stack, "contact", fields, NOON + timedelta(hours=12))
    submit(stack, "contact", {**fields, "title": "More questions"})
    submit(stack, "newsletter", fields)
    assert lead(stack, email="hasty@example.com")["interactions"] == 4


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"e-mail": "jane@example.com"},
        *(
            {"email": text}
            for text in [
                "",
                " ",
                "jane",
                "jane@",
                "@example.com",
                "jane@localhost",
                "jane@example..com",
                "jane doe@example.com",
                "jane@@example.com",
                "jane@exa_mple.com",
                "jane\0@example.com",
                f"{'x' * 250}@example.com",
                f"jane@{'ü' * 3_000}.example",
            ]
        ),
    ],
)
def test_a_form_without_an_address_to_write_to_is_refused(
    stack: LocalStack, fields: dict[str, str]
) -> None:
    before = everything(stack)

    answer = submit(stack, "contact", fields, accept="application/json")

    assert (answer.status, answer.json()["field"]) == (400, "email")
    assert everything(stack) == before


def test_fields_become_the_traits_and_properties_that_the_model_names(stack: LocalStack) -> None:
    submit(
        stack,
        "contact",
        {
            "email": "jane@müller.example",
            "company": "Bäckerei Müller & Söhne",
            "employees": "250",
            "phone": "",
            "lastName": "x" * 1_000,
            "title": "Größe & Maß?",
            "message": "Bitte rufen Sie mich an.",
            "stage": "mql",
        },
    )

    jane = lead(stack, email="jane@xn--mller-kva.example")
    assert jane["email"] == "jane@xn--mller-kva.example"
    assert jane["traits"] == {
        "company": "Bäckerei Müller & Söhne",
        "employees": "250",
        "lastName": "x" * 256,
    }
    (entry,) = ledger(stack, email="jane@müller.example")
    assert entry["properties"] == {"form": "contact", "title": "Größe & Maß?"}


def test_a_form_in_an_old_encoding_is_mended_and_kept(stack: LocalStack) -> None:
    body = b"email=old@example.com&company=M\xfcller&lastName=M%FCller"
    assert stack.request("POST", "/f/contact", body, {"content-type": URLENCODED}).status == 303
    mended = "M\N{REPLACEMENT CHARACTER}ller"
    assert lead(stack, email="old@example.com")["traits"] == {"company": mended, "lastName": mended}


@pytest.mark.parametrize(
    ("one", "other", "leads"),
    [
        ("ren\u00e9@example.com", "rene\u0301@example.com", 1),
        ("Jane.Doe@Example.COM", "  jane.doe@example.com\t", 1),
        ("max@MÜLLER.example", "max@mu\u0308ller.example", 1),
        ("max@straße.example", "max@strasse.example", 2),
        ("straße@example.com", "strasse@example.com", 2),
    ],
)
def test_two_spellings_of_one_address_are_one_lead(
    stack: LocalStack, one: str, other: str, leads: int
) -> None:
    ids = set()
    for address in (one, other):
        assert submit(stack, "newsletter", {"email": address}).status == 303
        ids.add(lead(stack, email=address)["id"])
    assert len(ids) == leads


def test_a_form_with_a_file_is_taken_without_the_file(stack: LocalStack) -> None:
    email = "applicant@example.com"
    cv = b"%PDF" * 500_000
    parts: Parts = [("email", email, None), ("title", "Größe", None), ("cv", cv, "cv.pdf")]

    answer = post(stack, "contact", multipart(parts), MULTIPART)

    assert answer.status == 303
    (entry,) = ledger(stack, email=email)
    assert entry["properties"] == {"form": "contact", "title": "Größe"}


def test_a_form_is_the_same_however_it_is_sent(stack: LocalStack) -> None:
    fields = {"email": "twice@example.com", "title": "Questions"}
    submit(stack, "contact", fields)
    post(stack, "contact", multipart((*field, None) for field in fields.items()), MULTIPART)
    assert lead(stack, email="twice@example.com")["interactions"] == 1


MANY = {f"question{n}": "yes" for n in range(101)}


@pytest.mark.parametrize(
    ("body", "content_type", "status", "field"),
    [
        (urlencode(MANY).encode(), URLENCODED, 400, "body"),
        (b"email=jane@example.com&message=" + b"x" * 32_000, URLENCODED, 413, "body"),
        (multipart([("email", "x" * 32_000, None)]), MULTIPART, 413, "body"),
        (multipart([("email", "jane@example.com", None)]), "multipart/form-data", 400, "body"),
        (BOUNDARY.encode(), MULTIPART, 400, "body"),
        (b'{"email":"jane@example.com"}', "application/json", 415, "content-type"),
    ],
)
def test_a_form_that_is_too_much_or_broken_or_of_another_type_is_refused(
    stack: LocalStack, body: bytes, content_type: str, status: int, field: str
) -> None:
    before = everything(stack)

    answer = post(stack, "contact", body, content_type, accept="application/json")

    assert (answer.status, answer.json()["field"]) == (status, field)
    assert everything(stack) == before
