"""Was it a person? The provider of a captcha is asked what it makes of a visitor's token.

https://developers.cloudflare.com/turnstile/get-started/server-side-validation/
https://docs.hcaptcha.com/#verify-the-user-response-server-side
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from pydantic_core import from_json

from leadscoring.doors import Captcha
from leadscoring.request import Invalid

type Post = Callable[[str, bytes], bytes]
"""Posts a urlencoded body to an address and returns the answer; raises `OSError` if it can't."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider is asked, and the field that its widget adds to a form."""

    address: str
    field: str


PROVIDERS: Mapping[str, Provider] = {
    "turnstile": Provider(
        "https://challenges.cloudflare.com/turnstile/v0/siteverify", "cf-turnstile-response"
    ),
    "hcaptcha": Provider("https://api.hcaptcha.com/siteverify", "h-captcha-response"),
}

# hCaptcha's widget fills in the field of the one that it replaces, too.
FIELDS = frozenset({p.field for p in PROVIDERS.values()} | {"g-recaptcha-response"})

# Faults that are ours or the provider's: they say nothing of the visitor.
_NO_VERDICT = (
    *("missing-input-secret", "invalid-input-secret", "sitekey-secret-mismatch"),
    "internal-error",
)


class Unreachable(Exception):
    """The provider can't be asked, and the model does not want the form unasked."""


def check(asked: Captcha, sent: Mapping[str, str], secrets: Mapping[str, str], post: Post) -> None:
    """Accept a form whose token is good, by the word of its provider.

    The provider learns the token alone, not the visitor's address.

    Raises:
        Invalid: there is no token, or not a good one.
        Unreachable: there is a token, but nobody to ask.
    """
    token = sent.get(PROVIDERS[asked.provider].field)
    verdict = _verdict(asked.provider, token, secrets, post) if token else False
    if verdict is False:
        raise Invalid("captcha_failed", "captcha", "the check that you are a person failed")
    if verdict is None and asked.when_unreachable == "refuse":
        raise Unreachable


def _verdict(provider: str, token: str, secrets: Mapping[str, str], post: Post) -> bool | None:
    """Return whether the token is good, or None where nobody can tell."""
    if provider not in secrets:
        return None
    question = urlencode({"secret": secrets[provider], "response": token}).encode()
    try:
        answer = from_json(post(PROVIDERS[provider].address, question))
    except (OSError, ValueError):
        return None
    match answer:
        case {"success": True}:
            return True
        case {"success": False, "error-codes": [*faults]} if any(f in _NO_VERDICT for f in faults):
            return None
        case {"success": False}:
            return False
    return None
