"""lead.js as the API serves it, and the script tag that a page takes it by."""

import base64
import gzip
import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Self

from leadscoring.answers import Answer
from leadscoring.request import Request

_HOUR = "public, max-age=3600"


@dataclass(frozen=True, slots=True)
class Snippet:
    """One build of lead.js: its bytes, small, and the hash that browsers hold it to."""

    source: str
    gzipped: str
    integrity: str

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the build."""
        source = path.read_bytes()
        digest = base64.b64encode(hashlib.sha384(source).digest()).decode()
        gzipped = base64.b64encode(gzip.compress(source, 9, mtime=0)).decode()
        return cls(source.decode(), gzipped, f"sha384-{digest}")

    def tag(self, url: str, key: str) -> str:
        """Return the script tag for pages that send to the API at this address."""
        src = escape(f"{url.rstrip('/')}/lead.js")
        return (
            f'<script async src="{src}" data-key="{escape(key)}" '
            f'integrity="{self.integrity}" crossorigin="anonymous"></script>'
        )

    def answer(self, request: Request) -> Answer:
        """Answer a browser: the script, or that what it has is still the same."""
        headers = {
            "content-type": "text/javascript; charset=utf-8",
            "cache-control": _HOUR,
            "cross-origin-resource-policy": "cross-origin",
            "etag": f'W/"{self.integrity}"',
            # API Gateway lets in one origin by name, so one's answer is not another's.
            "vary": "accept-encoding, origin",
        }
        if self.integrity in request.header("if-none-match"):
            return {"statusCode": 304, "headers": headers}
        if "gzip" not in request.header("accept-encoding"):
            return {"statusCode": 200, "headers": headers, "body": self.source}
        return {
            "statusCode": 200,
            "headers": {**headers, "content-encoding": "gzip"},
            "body": self.gzipped,
            "isBase64Encoded": True,
        }
