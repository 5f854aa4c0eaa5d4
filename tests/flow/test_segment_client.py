"""Segment's own clients for servers, pointed at the local stack over HTTP.

The one for browsers: `tests/browser/test_segment_client.py`.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from segment.analytics.client import Client

from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from tests import node
from tests.serving import losing_an_answer, serving_stack


@pytest.fixture
def served(stack: LocalStack) -> Iterator[tuple[LocalStack, str]]:
    """The stack behind HTTP on a free port, ended with the test."""
    with serving_stack(stack) as url:
        yield stack, url


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/v1/track", "POST", True),
        ("/v1/projects/key/settings", "GET", True),
        ("/lead.js", "GET", True),
        ("/f/contact", "POST", True),
        ("/_local/leads", "GET", False),
    ],
)
def test_other_origins_may_send_but_not_look(
    served: tuple[LocalStack, str], path: str, method: str, *, allowed: bool
) -> None:
    _, url = served
    asked = Request(f"{url}{path}", method="OPTIONS")
    asked.add_header("Origin", "https://www.example.com")
    asked.add_header("Access-Control-Request-Method", method)
    asked.add_header("Access-Control-Request-Headers", "authorization,content-type,x-retry-count")
    try:
        with urlopen(asked) as answer:
            granted = answer.headers.get("Access-Control-Allow-Origin") == "*"
    except HTTPError as refused:
        refused.close()
        granted = False
    assert granted is allowed


@pytest.mark.parametrize("gzip", [False, True], ids=["json", "gzip"])
def test_a_hundred_calls_of_the_python_client_stand_in_the_ledger(
    served: tuple[LocalStack, str], *, gzip: bool
) -> None:
    stack, url = served
    sent: Counter[str] = Counter()
    with python_client(url, gzip=gzip) as client:
        for number in range(25):
            user = f"user{number % 7}@example.com"
            client.identify(user, {"firstName": f"User {number % 7}"})
            client.track(user, "Newsletter Subscribed")
            client.track(user, "Content Downloaded", {"kind": "e-book", "title": "Planning"})
            client.page(user, name="Pricing", properties={"path": "/pricing"})
            sent.update(
                ["Identified", "Newsletter Subscribed", "Content Downloaded", "Page Viewed"]
            )

    entries = list(stack.items("INTERACTION#"))
    assert names(stack) == sent
    assert len(entries) == 100
    assert len(list(stack.items("LEAD"))) == 7
    paths = {json.loads(entry["properties"]["S"]).get("path") for entry in entries}
    assert paths == {"/pricing", None}


# What each client's story says: every call once.
EVERY_CALL = Counter(
    {"Identified": 1, "Demo Requested": 1, "Page Viewed": 2, "Grouped": 1, "Aliased": 1}
)


def test_every_call_of_the_python_client_counts_once_when_an_answer_is_lost(
    served: tuple[LocalStack, str],
) -> None:
    stack, url = served
    user = "python@example.com"
    with losing_an_answer(url) as losing, python_client(losing) as client:
        client.identify(user, {"firstName": "Python"})
        client.track(user, "Demo Requested")
        client.page(user, name="Pricing", properties={"path": "/pricing"})
        client.screen(user, name="Start")
        client.group(user, "acme", {"industry": "Retail"})
        client.alias("before", user)

    assert names(stack) == EVERY_CALL
    assert stack.metrics["Duplicates"] > 0


@pytest.mark.parametrize("key", [PUBLIC_KEY, SECRET_KEY])
def test_every_call_of_the_node_client_counts_once_when_an_answer_is_lost(
    served: tuple[LocalStack, str], key: str
) -> None:
    stack, url = served
    with losing_an_answer(url) as losing:
        node.run(node.CLIENTS, "node", "server.js", losing, key)

    assert names(stack) == EVERY_CALL
    assert stack.metrics["Duplicates"] > 0


@contextmanager
def python_client(url: str, *, gzip: bool = False) -> Iterator[Any]:
    """Let a client send all that it is told in the block; it may not give up."""
    errors: list[object] = []
    segment: Any = Client  # it carries no types
    client = segment(PUBLIC_KEY, host=url, gzip=gzip, on_error=lambda *told: errors.append(told))
    yield client
    client.flush()
    client.shutdown()
    assert errors == []


def names(stack: LocalStack) -> Counter[str]:
    """Return how often which interaction stands in the ledgers."""
    return Counter(entry["name"]["S"] for entry in stack.items("INTERACTION#"))
