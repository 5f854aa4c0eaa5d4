"""JSON to somebody else's API."""

import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

_SECONDS = 10


class Refused(OSError):
    """The other side did not take it."""


def post(url: str, document: object, **headers: str) -> Any:
    """Post a document and return the one that is answered, if it is one.

    Raises:
        Refused: the answer is not 2xx.
        OSError: there is none.
    """
    said = {"content-type": "application/json", **headers}
    request = Request(url, json.dumps(document).encode(), said)  # noqa: S310 (our own setting)
    try:
        with urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            body = answer.read()
            return json.loads(body) if answer.headers.get_content_subtype() == "json" else body
    except HTTPError as refusal:
        with refusal:
            raise Refused(f"answered {refusal.code}") from None
