"""ministack, the second engine: AWS in a process of its own, by other authors than moto's."""

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BIN = Path(__file__).parents[2] / ".tools" / "ministack" / "bin"
_STARTS_WITHIN_SECONDS = 60
_SERVICES = "cloudformation,dynamodb,dynamodbstreams,events,s3,sns,sqs"

# By itself it listens on every address, runs uploaded code and looks for old Docker containers of
# its kind to remove: here it speaks to this machine alone, and of what it is asked for.
_SETTINGS = {
    "BIND_HOST": "127.0.0.1",
    "SFTP_ENABLED": "0",
    "IOT_MTLS_ENABLED": "0",
    "DOCKER_HOST": "unix:///nonexistent",
    "LOG_LEVEL": "WARNING",
}

# Its input is a pipe from us. The pipe closes when we end, even by a kill that lets us do nothing
# more, and nobody is left with an engine that answers whoever finds its port.
_PROGRAM = """
import os, signal, threading
from ministack.app import main

def end_with_parent():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)

threading.Thread(target=end_with_parent, daemon=True).start()
main()
"""


def installed() -> bool:
    """Tell whether `make .tools/ministack/ready` has been here."""
    return (_BIN / "ministack").exists()


@contextmanager
def ministack(services: str = _SERVICES, *, auth: bool = False) -> Iterator[str]:
    """Run an empty ministack until the end of the block, and give its URL.

    With `auth` a role may do what its policies allow, and no more.

    Raises:
        RuntimeError: it did not start or did not last; the message ends with what it said.
    """
    with tempfile.TemporaryDirectory(prefix="ministack-") as directory:
        output = Path(directory) / "output"
        port, token = _free_port(), secrets.token_hex(16)
        # Its health report names its edition: a token there tells ours from all others.
        environment = _SETTINGS | {
            "SERVICES": services,
            "AUTH": str(auth).lower(),
            "GATEWAY_PORT": str(port),
            "TMPDIR": directory,
            "MINISTACK_EDITION": token,
        }
        with (
            output.open("wb") as said,
            subprocess.Popen(
                [_BIN / "python", "-I", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=directory,
                start_new_session=True,
            ) as process,
        ):
            try:
                if not _answers(process, port, token):
                    raise RuntimeError(_story("ministack did not start", output))
                yield f"http://127.0.0.1:{port}"
                if process.poll() is not None:
                    raise RuntimeError(_story("ministack ended by itself", output))
            finally:
                # Nobody else waits for it: while it runs, its number is no other process's. It
                # leads a group of its own, so whatever it started goes with it.
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], port: int, token: str) -> bool:
    """Wait until the process answers with its token; tell whether it did."""
    deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if _edition(port) == token:
            return True
        time.sleep(0.02)
    return False


def _edition(port: int) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/_ministack/health")
        return str(json.load(connection.getresponse())["edition"])
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return None
    finally:
        connection.close()


def _story(what: str, output: Path) -> str:
    return f"{what}. It said:\n{output.read_text(encoding='utf-8', errors='replace')}"
