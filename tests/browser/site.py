"""A company's website: pages of another origin than the API's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import ClassVar

from playwright.sync_api import Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from tests.serving import serving

PATIENCE_SECONDS = 60


@dataclass
class Site:
    """Pages by path and scripts by name, served at `url`; any other path is an empty page."""

    # A headless browser's own name is a bot's.
    AGENT: ClassVar = (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/142.0.0.0 Safari/537.36"
    )

    url: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    posted: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        """Answer any request, and note forms."""
        path = request.url.path
        if path[1:] in self.scripts:
            return Response(self.scripts[path[1:]], media_type="text/javascript")
        if request.method == "POST":
            body = (await request.body()).decode()
            self.posted.append(dict(pair.split("=", 1) for pair in body.split("&")))
        head = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
        return HTMLResponse(f"{head}<title>{path}</title>{self.pages.get(path, '')}")


@contextmanager
def serving_site() -> Iterator[Site]:
    """Serve a site until the end of the block."""
    site = Site()
    app = Starlette(routes=[Route("/{path:path}", site.answer, methods=["GET", "POST"])])
    with serving(app) as url:
        site.url = url.replace("127.0.0.1", "localhost")
        yield site


def eventually(page: Page, holds: Callable[[], bool]) -> None:
    """Let the browser work until it holds."""
    deadline = monotonic() + PATIENCE_SECONDS
    while not holds():
        assert monotonic() < deadline, "it never came to hold"
        page.wait_for_timeout(20)
