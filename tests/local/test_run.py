"""`make run` as a person meets it: what it says, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.request import urlopen

MESSAGES = [
    {
        "type": "track",
        "channel": "browser",
        "messageId": f"m-{number}",
        "userId": "jane@example.com",
        "event": event,
        "timestamp": "2024-02-03T09:12:44.120Z",
    }
    for number, event in enumerate(["Newsletter Subscribed", "Demo Requested"])
]


def start(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "infra.local"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PORT": "0", **environment},
    )


def test_it_replays_a_file_says_what_that_came_to_and_ends_quietly(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("\n".join(map(json.dumps, [*MESSAGES, MESSAGES[0]])))
    running = start(REPLAY=str(file))
    try:
        assert running.stdout is not None
        ready = running.stdout.readline().split()
        summary = running.stdout.readline()
        status = wait_for(f"{ready[1]}/_local/status", "done")
    finally:
        running.send_signal(signal.SIGINT)
    rest, _ = running.communicate(timeout=30)

    assert ready[0] == "ready"
    assert "replayed 3 messages" in summary
    assert "2 interactions of 1 leads, 1 duplicates" in summary
    assert (status["interactions"], status["duplicates"], status["pending"]) == (2, 1, 0)
    assert (rest, running.returncode) == ("", 0)


def wait_for(url: str, state: str) -> Any:
    deadline = monotonic() + 30
    while True:
        with urlopen(url) as answer:
            status = json.load(answer)
        if status["replay"] == state or monotonic() > deadline:
            return status
        sleep(0.05)


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        running = start(PORT=port, REPLAY="none")
        said, _ = running.communicate(timeout=30)
    assert said == f"port {port} can't be had: choose another one, as in `make run PORT=8001`\n"
    assert running.returncode == 1


def test_a_history_that_is_not_there_is_one_clear_line() -> None:
    running = start(REPLAY="nowhere.jsonl")
    said, _ = running.communicate(timeout=30)
    assert said == "REPLAY=nowhere.jsonl: there is no such file; `REPLAY=none` starts empty\n"
    assert running.returncode == 1
