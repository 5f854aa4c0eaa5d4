"""What people are told, and programs: the same, each in their own way."""

import json

import pytest

from leadscoring import answers
from leadscoring.request import Invalid


def test_a_page_shows_its_texts_as_they_are() -> None:
    body = answers.page(200, "<b>Hello</b>", "Fish & <script>\nand chips")["body"]
    assert "<title>&lt;b&gt;Hello&lt;/b&gt;</title>" in body
    assert "<p>Fish &amp; &lt;script&gt;</p><p>and chips</p>" in body


@pytest.mark.parametrize(
    ("code", "status", "advice"),
    [
        ("invalid", 400, "correct it"),
        ("captcha_failed", 400, "let the check run again"),
        ("too_large", 413, "shorten"),
        ("unknown_form", 404, "tell the people"),
        ("unsupported_type", 415, "tell the people"),
    ],
)
def test_a_refusal_says_the_same_to_a_program_and_to_a_person(
    code: str, status: int, advice: str
) -> None:
    fault = Invalid(code, "company", "the field company is missing")

    page, answer = answers.refusal(fault, as_page=True), answers.refusal(fault)

    assert (page["statusCode"], answer["statusCode"]) == (status, status)
    assert "<p>The field company is missing.</p>" in page["body"]
    assert advice in page["body"]
    assert json.loads(answer["body"]) == fault.as_dict()


def test_who_is_to_come_again_is_told_when() -> None:
    page, answer = answers.busy(as_page=True), answers.busy()
    assert page["headers"]["content-type"].startswith("text/html")
    assert json.loads(answer["body"])["code"] == "busy"
    for told in (page, answer):
        assert (told["statusCode"], told["headers"]["retry-after"]) == (503, "1")
