"""Calls to other people's HTTP servers: the only room that makes them."""

from http.client import HTTPException
from typing import IO
from urllib.error import HTTPError
from urllib.request import urlopen

SECONDS = 2


def post(address: str, body: bytes) -> bytes:
    """Return what the server at this address answers to a urlencoded body, whatever its status.

    Raises:
        OSError: it does not answer in time, or not in HTTP.
    """
    try:
        with _opened(address, body) as answer:
            return answer.read()
    except HTTPException as error:
        raise OSError("that is not HTTP") from error


def _opened(address: str, body: bytes) -> IO[bytes]:
    try:
        opened: IO[bytes] = urlopen(address, body, timeout=SECONDS)  # noqa: S310 (our own addresses)
    except HTTPError as refused:  # the body of a refusal says why
        return refused
    return opened
