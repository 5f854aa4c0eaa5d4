"""What a model may not say of its forms, and the words in which it is told."""

import pytest

from leadscoring.model import Model, ModelError
from tests.unit.test_docs import BASE

CONSENT = 'consent = { field = "agree", version = "1", text = "Yes." }'


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('fields._email = "email"', "names that begin with '_' are ours"),
        ('fields.mail = "_redirect"', "names that begin with '_' are ours"),
        ('required = ["_gotcha"]', "names that begin with '_' are ours"),
        ('consent = { field = "_x", version = "1", text = "x" }', "names that begin with '_' are"),
        ('consent = { field = "x", text = "x" }', "consent.version: this is missing"),
        ('honeypot = "email"', "people fill in 'email': it can't be the honeypot"),
        ('honeypot = "firma"\nfields.firma = "company"', "people fill in 'firma'"),
        ('honeypot = "company"\nrequired = "company"', "people fill in 'company'"),
        (f'honeypot = "agree"\n{CONSENT}', "people fill in 'agree'"),
        ('targets = "/thanks"', "must be an address that begins with https:// or http://"),
        ("minimum_seconds = 0", "must be at least 1"),
        ("minimum_seconds = 61", "must be at most 60"),
        ('captcha = { provider = "recaptcha" }', "must be 'turnstile' or 'hcaptcha'"),
        ('captcha = { provider = "hcaptcha", when_unreachable = "x" }', "'refuse' or 'accept'"),
    ],
)
def test_what_a_form_can_not_be_is_told_at_its_place(said: str, told: str) -> None:
    with pytest.raises(ModelError) as wrong:
        Model.parse(f"{BASE}\n[forms.shown]\n{said}\n")
    assert str(wrong.value).startswith("forms.shown")
    assert told in str(wrong.value)
