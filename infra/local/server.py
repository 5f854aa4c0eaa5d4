"""HTTP on 127.0.0.1: the API as deployed, and beside it what only this machine should see."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from infra.local.gateway import LARGEST_REQUEST, joined
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack

PAGE = Path(__file__).parent / "page.html"


@dataclass
class Replaying:
    """How far the replay is: none, running, done, or failed."""

    state: str


def application(stack: LocalStack, replaying: Replaying, wake: threading.Event) -> Starlette:
    """Return the web application; `wake` is set when the stream may hold something new."""

    async def api(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_REQUEST:
                break
        answer = await run_in_threadpool(
            stack.request,
            request.method,
            request.scope["raw_path"].decode("ascii", "replace"),
            bytes(body),
            joined(request.headers.items()),
            request.url.query,
        )
        wake.set()
        return Response(answer.body, answer.status, dict(answer.headers))

    def local(answer: Callable[[], Any]) -> Callable[[Request], Response]:
        def endpoint(_request: Request) -> Response:
            return Response(json.dumps(answer()), media_type="application/json")

        return endpoint

    # Other origins may send, as deployed; what this machine alone should see stays closed to them.
    cors = [
        Middleware(
            CORSMiddleware,
            allow_origins=["*"],
            allow_methods=["GET", "POST"],
            allow_headers=["content-type", "authorization"],
        )
    ]
    keys = {"public": PUBLIC_KEY, "secret": SECRET_KEY}
    return Starlette(
        routes=[
            Route("/", lambda _request: FileResponse(PAGE)),
            Route("/_local/keys", local(lambda: keys)),
            Route("/_local/messages", local(lambda: stack.received)),
            Route("/_local/leads", local(stack.leads)),
            Route("/_local/status", local(lambda: {"replay": replaying.state, **stack.status()})),
            Route("/v1/{call}", api, methods=["POST", "OPTIONS"], middleware=cors),
            Route("/f/{form}", api, methods=["GET", "POST", "OPTIONS"], middleware=cors),
            Route("/{path:path}", api, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]),
        ],
    )
