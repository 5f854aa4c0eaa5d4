"""Did SNS send this, for our topic? Needs the package `cryptography`.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

_HOST = re.compile(r"sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_HASHES: Mapping[str, type[HashAlgorithm]] = {"1": SHA1, "2": SHA256}
_CONFIRMATION = "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_SECONDS = 5


class NotFromSns(ValueError):
    """Somebody else sent it, or SNS for another topic."""


@lru_cache(maxsize=8)
def fetch(url: str) -> bytes:
    """Return the certificate at an address of SNS, fetched once."""
    with urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 (only what is_address_of_sns took)
        return bytes(answer.read())


def check(
    document: Mapping[str, Any],
    topic_arn: str,
    now: datetime | None = None,
    certificate_at: Callable[[str], bytes] = fetch,
) -> None:
    """Make sure that SNS signed the document, and for this topic.

    Raises:
        NotFromSns: it did not, as far as anybody can tell.
    """
    names = _SIGNED.get(str(document.get("Type")))
    algorithm = _HASHES.get(str(document.get("SignatureVersion")))
    if names is None or algorithm is None or document.get("TopicArn") != topic_arn:
        raise NotFromSns("it is none of our topic's")
    url = str(document.get("SigningCertURL"))
    if not is_address_of_sns(url):
        raise NotFromSns("its certificate is not from SNS")
    certificate = x509.load_pem_x509_certificate(certificate_at(url))
    began, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    key = certificate.public_key()
    if not began <= (now or datetime.now(UTC)) <= ends or not isinstance(key, rsa.RSAPublicKey):
        raise NotFromSns("its certificate is no longer good")
    told = "".join(f"{name}\n{document[name]}\n" for name in names if name in document)
    try:
        signature = base64.b64decode(str(document.get("Signature")), validate=True)
        key.verify(signature, told.encode(), padding.PKCS1v15(), algorithm())
    except (InvalidSignature, ValueError):
        raise NotFromSns("the signature is not its own") from None


def is_address_of_sns(url: str) -> bool:
    """Tell whether SNS alone can answer at this address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(_HOST.fullmatch(parts.netloc))
