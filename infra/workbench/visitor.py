"""HTTP as a visitor's browser speaks it, from outside: nothing is followed, everything is kept."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0"

_TIMEOUT_SECONDS = 20
_LARGEST_ANSWER = 1_000_000
_HERE = ("127.0.0.1", "localhost", "::1")


class NoAnswer(Exception):
    """Nobody answered, or not in HTTP; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def document(self) -> Mapping[str, Any]:
        """The JSON object in the body; without one, nothing."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    def header(self, name: str) -> str:
        """Return a header's value, or nothing."""
        return self.headers.get(name, "")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody at a browser, on a page of `origin` if that is known, before an API."""

    url: str
    origin: str | None = None
    agent: str = BROWSER

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request.

        Raises:
            NoAnswer: there is no answer to it.
        """
        own = {"user-agent": self.agent, **({"origin": self.origin} if self.origin else {})}
        try:
            # Joined as a browser follows a `location`: it may be a path, or a whole address.
            asked = Request(  # noqa: S310 (the scheme is checked where the address is given)
                urljoin(f"{self.url}/", path), body, {**own, **(headers or {})}, method=method
            )
            with _opener(self.url).open(asked, timeout=_TIMEOUT_SECONDS) as answer:
                return _read(answer.status, answer.headers, answer.read(_LARGEST_ANSWER))
        except HTTPError as error:
            with error:
                return _read(error.code, error.headers, error.read(_LARGEST_ANSWER))
        except URLError as error:
            raise NoAnswer(str(error.reason)) from error
        except (OSError, HTTPException, ValueError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error

    def send(self, call: str, document: object, *, plain: bool = False) -> Answer:
        """Send one of Segment's calls; `plain`, as a page does that must not wait for a preflight.

        Raises:
            NoAnswer: there is no answer to it.
        """
        kind = "text/plain;charset=UTF-8" if plain else "application/json"
        body = json.dumps(document).encode()
        return self.ask("POST", f"/v1/{call}", body, {"content-type": kind})

    def post(self, form: str, fields: Mapping[str, str]) -> Answer:
        """Send a plain form.

        Raises:
            NoAnswer: there is no answer to it.
        """
        kind = "application/x-www-form-urlencoded"
        headers = {"content-type": kind, "accept": "text/html,*/*;q=0.8"}
        return self.ask("POST", f"/f/{form}", urlencode(fields).encode(), headers)


class _FollowsNothing(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _opener(url: str) -> OpenerDirector:
    here = urlsplit(url).hostname in _HERE
    return build_opener(_FollowsNothing, *([ProxyHandler({})] if here else []))


def _read(status: int, headers: Message, body: bytes) -> Answer:
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body)
