"""`make run`: the whole stack on this machine, with a page to click and a history to look at."""

import os
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import uvicorn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from infra.local.replay import read_messages, replay
from infra.local.server import Replaying, application
from infra.local.stack import LocalStack, local_stack
from infra.local.template import ROOT, Schedule

SAMPLE = ROOT / "events" / "samples" / "acme.jsonl"

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Serve until Ctrl-C; return the exit code."""
    port, sample = os.environ.get("PORT", "8000"), os.environ.get("REPLAY", str(SAMPLE))
    if sample != "none" and not Path(sample).is_file():
        console.print(f"REPLAY={sample}: there is no such file; `REPLAY=none` starts empty")
        return 1
    try:
        listening = _listen(int(port))
    except (OSError, OverflowError, ValueError):
        console.print(f"port {port} can't be had: choose another one, as in `make run PORT=8001`")
        return 1
    warnings.filterwarnings("ignore", module="moto")
    stopping, wake = threading.Event(), threading.Event()
    replaying = Replaying("none" if sample == "none" else "running")
    with local_stack(_url(listening)) as stack:
        server = _Server(uvicorn.Config(application(stack, replaying, wake), log_level="warning"))
        threads = [threading.Thread(target=_pump, args=(stack, wake, stopping))]
        threads += [
            threading.Thread(target=_run_schedule, args=(stack, schedule, stopping))
            for schedule in stack.template.schedules
        ]
        if sample != "none":
            play = threading.Thread(target=_replay, args=(stack, Path(sample), replaying, stopping))
            threads.append(play)
        server.threads = threads
        try:
            with suppress(KeyboardInterrupt):
                server.run(sockets=[listening])
        finally:
            stopping.set()
            wake.set()
            for thread in threads:
                if thread.ident:
                    thread.join()
    return 0


class _Server(uvicorn.Server):
    """Says `ready` when it answers, and not before."""

    threads: Sequence[threading.Thread] = ()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or []:
            console.print(f"ready {_url(listening)}")
        for thread in self.threads:
            thread.start()


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    return listening


def _url(listening: socket.socket) -> str:
    address, port = listening.getsockname()
    return f"http://{address}:{port}"


def _pump(stack: LocalStack, wake: threading.Event, stopping: threading.Event) -> None:
    while not stopping.is_set():
        wake.wait(timeout=1)
        wake.clear()
        _carry_on(stack.pump)


def _run_schedule(stack: LocalStack, schedule: Schedule, stopping: threading.Event) -> None:
    while not stopping.wait(schedule.every.total_seconds()):
        _carry_on(partial(stack.run_schedule, schedule))


def _carry_on(step: Callable[[], None]) -> None:
    """Do the step; say so if it fails, as a log would, and let the next one try."""
    try:
        step()
    except Exception as error:  # noqa: BLE001 (a thread that dies would promote nobody any more)
        console.print(f"failed, and will be tried again: {error!r}")


def _replay(
    stack: LocalStack, sample: Path, replaying: Replaying, stopping: threading.Event
) -> None:
    def progress(sent: int) -> None:
        if stopping.is_set():
            raise InterruptedError
        bar.advance(task, sent)

    try:
        messages = read_messages(sample, datetime.now(UTC).date())
        columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        silent = not console.is_terminal
        with Progress(*columns, console=console, transient=True, disable=silent) as bar:
            task = bar.add_task("replay", total=len(messages))
            summary = replay(stack, messages, progress=progress)
    except InterruptedError:
        return
    except (RuntimeError, ValueError, KeyError) as error:
        replaying.state = "failed"
        console.print(f"the replay stopped: {error!r}")
    else:
        replaying.state = "done"
        console.print(str(summary))


if __name__ == "__main__":
    sys.exit(main())
