"""Servers on 127.0.0.1 that the tests' clients talk to, over real sockets."""

import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from infra.local.server import Replaying, application
from infra.local.stack import LocalStack


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an ASGI application on a free port until the end of the block."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = Thread(target=server.run)
    thread.start()
    deadline = monotonic() + 30
    while not server.started and monotonic() < deadline:
        sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serving_stack(stack: LocalStack) -> Iterator[str]:
    """Serve the stack as `make run` does."""
    with serving(application(stack, Replaying("none"), Event())) as url:
        yield url


@contextmanager
def losing_an_answer(url: str) -> Iterator[str]:
    """Stand before a server, and hang up once instead of passing on its answer to a POST."""
    server = urlsplit(url)
    left = [b"POST"]

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked: list[bytes] = []
            with socket.create_connection((str(server.hostname), server.port or 80)) as behind:
                Thread(target=_pass_on, args=(self.request, behind, asked), daemon=True).start()
                with suppress(OSError):
                    while answer := behind.recv(65_536):
                        if asked[-1] in left:
                            left.remove(asked[-1])
                            return
                        self.request.sendall(answer)

    class Proxy(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Proxy(("127.0.0.1", 0), Connection) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
    assert not left, "no answer was lost"


def _pass_on(client: socket.socket, behind: socket.socket, asked: list[bytes]) -> None:
    """Pass on what the client sends, noting the method of each request."""
    with suppress(OSError):
        while sent := client.recv(65_536):
            method = sent.partition(b" ")[0]
            if method in (b"GET", b"POST", b"OPTIONS"):
                asked.append(method)
            behind.sendall(sent)
        behind.shutdown(socket.SHUT_RDWR)
