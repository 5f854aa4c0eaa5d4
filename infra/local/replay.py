"""Plays a file of Segment messages through the stack, in history's own time.

Times move by whole days, so that the last message is yesterday's. The clock of each request stands
at its message's time, and the stream is drained before a lead acts again and before the next day:
decay and promotions happen as they would have happened.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.local.engine import clock_at
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from leadscoring.interaction import to_text

type Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a replay came to."""

    messages: int
    interactions: int
    leads: int
    duplicates: int
    promoted_by_points: int
    promoted_by_criterion: int
    seconds: float

    def __str__(self) -> str:
        promotions = self.promoted_by_points + self.promoted_by_criterion
        return (
            f"replayed {self.messages} messages in {self.seconds:.0f} s"
            f" ({self.messages / self.seconds:.0f} a second): {self.interactions} interactions"
            f" of {self.leads} leads, {self.duplicates} duplicates, {promotions} promotions"
            f" ({self.promoted_by_points} by points, {self.promoted_by_criterion} by criterion)"
        )


def read_messages(path: Path, today: date) -> list[Message]:
    """Return the file's messages in order of time, moved to end yesterday."""
    messages = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    if not messages:
        return []
    last = max(at(message) for message in messages)
    moved = timedelta(days=(today - timedelta(days=1) - last.date()).days)
    return sorted(
        ({**message, "timestamp": to_text(at(message) + moved)} for message in messages), key=at
    )


def at(message: Message) -> datetime:
    """Return when the message says that it happened."""
    return datetime.fromisoformat(message["timestamp"]).astimezone(UTC)


def replay(
    stack: LocalStack,
    messages: Sequence[Message],
    *,
    batch_size: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> Summary:
    """Send all messages, in batches without regard to history's own time.

    Raises:
        RuntimeError: one is not accepted.
    """
    before, promoted_before = stack.status(), stack.promoted().keys()
    started = time.perf_counter()
    with stack.pump_lock:
        for wave in _waves(messages) if batch_size == 1 else [messages]:
            for batch in _batches(wave, batch_size):
                _send(stack, batch)
                progress(len(batch))
            with clock_at(at(wave[-1])):
                stack.pump()
    after = stack.status()
    whys = [
        message["data"]["why"]
        for id_, message in stack.promoted().items()
        if id_ not in promoted_before
    ]
    by_points = sum(why.startswith("score ") for why in whys)
    return Summary(
        messages=len(messages),
        interactions=after["interactions"] - before["interactions"],
        leads=sum(1 for _ in stack.items("LEAD")),
        duplicates=after["duplicates"] - before["duplicates"],
        promoted_by_points=by_points,
        promoted_by_criterion=len(whys) - by_points,
        seconds=time.perf_counter() - started,
    )


def _waves(messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Cut the messages where the day ends, or a lead would act a second time."""
    wave: list[Message] = []
    acted: set[str] = set()
    for message in messages:
        lead = message.get("userId") or message["anonymousId"]
        if wave and (lead in acted or at(message).date() != at(wave[-1]).date()):
            yield wave
            wave, acted = [], set()
        wave.append(message)
        acted.add(lead)
    if wave:
        yield wave


def _batches(wave: Sequence[Message], size: int) -> Iterator[list[Message]]:
    """Cut a wave into requests: single messages in their order, batches of one key each."""
    runs: list[Sequence[Message]] = [wave]
    if size > 1:
        runs = [[m for m in wave if _key(m) == key] for key in (PUBLIC_KEY, SECRET_KEY)]
    for run in runs:
        for start in range(0, len(run), size):
            yield list(run[start : start + size])


def _send(stack: LocalStack, batch: Sequence[Message]) -> None:
    """Send one message as its own call, several as a batch, at the time of the last one."""
    body: Message = {"writeKey": _key(batch[0])}
    if len(batch) == 1:
        call, body = batch[0]["type"], body | batch[0]
    else:
        call, body = "batch", body | {"batch": list(batch)}
    with clock_at(max(map(at, batch))):
        answer = stack.request("POST", f"/v1/{call}", body)
    if answer.status != 200 or answer.json().get("rejected"):
        raise RuntimeError(f"{answer.status}: {answer.body.decode()}")


def _key(message: Message) -> str:
    return SECRET_KEY if message.get("channel") == "server" else PUBLIC_KEY
