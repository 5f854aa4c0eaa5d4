"""How a browser posts a form: urlencoded, or as multipart where it has files."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

from infra.local.engine import clock_at
from infra.local.gateway import Answer
from infra.local.stack import LocalStack

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
URLENCODED = "application/x-www-form-urlencoded"
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"

type Parts = Iterable[tuple[str, str | bytes, str | None]]
"""Name, content and, of a file, its name."""


def submit(
    stack: LocalStack,
    form: str,
    fields: Mapping[str, str],
    at: datetime = NOON,
    accept: str = "text/html",
    content_type: str = URLENCODED,
) -> Answer:
    """Post a urlencoded form."""
    body = urlencode(fields).encode()
    return post(stack, form, body, content_type, at=at, accept=accept)


def post(
    stack: LocalStack,
    form: str,
    body: bytes,
    content_type: str,
    *,
    at: datetime = NOON,
    accept: str = "text/html",
) -> Answer:
    """Post bytes that say they are a form."""
    with clock_at(at):
        headers = {"content-type": content_type, "accept": accept}
        return stack.request("POST", f"/f/{form}", body, headers)


def multipart(parts: Parts, boundary: str = BOUNDARY) -> bytes:
    """Return the parts as a browser writes them."""
    body = b""
    for name, content, filename in parts:
        quoted = name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
        disposition = f'form-data; name="{quoted}"'
        if filename is not None:
            disposition += f'; filename="{filename}"\r\nContent-Type: application/octet-stream'
        data = content if isinstance(content, bytes) else content.encode()
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n"
        body += head.encode() + data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()
