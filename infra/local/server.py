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
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from infra.local import engine, gateway
from infra.local.gateway import LARGEST_REQUEST, joined
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack

PAGE = Path(__file__).parent / "page.html"
# Where AWS's own clients find this process's table, topic and queue: their `endpoint_url`.
AWS = "/_local/aws"


@dataclass
class Replaying:
    """How far the replay is: none, running, done, or failed."""

    state: str


def application(stack: LocalStack, replaying: Replaying, wake: threading.Event) -> Starlette:
    """Return the web application; `wake` is set when the stream may hold something new."""

    async def api(request: Request) -> Response:
        answer = await run_in_threadpool(
            stack.request,
            request.method,
            _path(request),
            await _body(request, LARGEST_REQUEST),
            {"user-agent": "", **joined(request.headers.items())},
            request.url.query,
        )
        wake.set()
        return Response(answer.body, answer.status, dict(answer.headers))

    async def unrouted(request: Request, _error: Exception) -> Response:
        # A path with a line break is one, too, but not to Starlette.
        return await api(request)

    async def aws(request: Request) -> Response:
        call = gateway.Request(
            request.method,
            _path(request).removeprefix(AWS),
            request.url.query,
            joined(request.headers.items()),
            await _body(request, engine.LARGEST_CALL),
            engine.now(),
        )
        answer = await run_in_threadpool(engine.call, call)
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
            allow_headers=["content-type", "authorization", "x-retry-count"],
            expose_headers=["retry-after"],
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
            Route(AWS, aws, methods=["GET", "POST"]),
            Route(f"{AWS}/{{path:path}}", aws, methods=["GET", "POST"]),
            Route("/v1/{call}", api, methods=["POST", "OPTIONS"], middleware=cors),
            Route("/v1/projects/{key}/settings", api, methods=["GET", "OPTIONS"], middleware=cors),
            Route("/lead.js", api, methods=["GET", "OPTIONS"], middleware=cors),
            Route("/f/{form}", api, methods=["GET", "POST", "OPTIONS"], middleware=cors),
            Route("/{path:path}", api, methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]),
        ],
        exception_handlers={404: unrouted},
        # A page whose name was made to point at this machine is still a stranger's page.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )


def _path(request: Request) -> str:
    """Return the path as it was sent, before anything in it was decoded."""
    path: bytes = request.scope["raw_path"]
    return path.decode("ascii", "replace")


async def _body(request: Request, largest: int) -> bytes:
    """Return the body, or as much of it as shows that it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            break
    return bytes(body)
