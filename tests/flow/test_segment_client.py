"""Segment's own Python client, pointed at the local stack over HTTP."""

import json
from collections import Counter
from collections.abc import Iterator
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import uvicorn
from segment.analytics.client import Client

from infra.local.server import Replaying, application
from infra.local.stack import PUBLIC_KEY, LocalStack


@pytest.fixture
def served(stack: LocalStack) -> Iterator[tuple[LocalStack, str]]:
    """The stack behind HTTP on a free port, ended with the test."""
    app = application(stack, Replaying("none"), Event())
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = Thread(target=server.run)
    thread.start()
    deadline = monotonic() + 30
    while not server.started and monotonic() < deadline:
        sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield stack, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    ("path", "allowed"), [("/v1/track", True), ("/f/contact", True), ("/_local/leads", False)]
)
def test_other_origins_may_send_but_not_look(
    served: tuple[LocalStack, str], path: str, *, allowed: bool
) -> None:
    _, url = served
    asked = Request(f"{url}{path}", method="OPTIONS")
    asked.add_header("Origin", "https://www.example.com")
    asked.add_header("Access-Control-Request-Method", "POST")
    asked.add_header("Access-Control-Request-Headers", "content-type")
    try:
        with urlopen(asked) as answer:
            granted = answer.headers.get("Access-Control-Allow-Origin") == "*"
    except HTTPError as refused:
        refused.close()
        granted = False
    assert granted is allowed


@pytest.mark.parametrize("gzip", [False, True], ids=["json", "gzip"])
def test_a_hundred_calls_of_segments_client_stand_in_the_ledger(
    served: tuple[LocalStack, str], *, gzip: bool
) -> None:
    stack, url = served
    errors: list[Any] = []
    segment: Any = Client  # it carries no types
    client = segment(
        PUBLIC_KEY, host=url, gzip=gzip, on_error=lambda *failure: errors.append(failure)
    )
    sent: Counter[str] = Counter()
    for number in range(25):
        user = f"user{number % 7}@example.com"
        client.identify(user, {"firstName": f"User {number % 7}"})
        client.track(user, "Newsletter Subscribed")
        client.track(user, "Content Downloaded", {"kind": "e-book", "title": "Planning"})
        client.page(user, name="Pricing", properties={"path": "/pricing"})
        sent.update(["Identified", "Newsletter Subscribed", "Content Downloaded", "Page Viewed"])
    client.flush()
    client.shutdown()

    assert errors == []
    entries = list(stack.items("INTERACTION#"))
    assert Counter(entry["name"]["S"] for entry in entries) == sent
    assert len(entries) == 100
    assert len(list(stack.items("LEAD"))) == 7
    paths = {json.loads(entry["properties"]["S"]).get("path") for entry in entries}
    assert paths == {"/pricing", None}
