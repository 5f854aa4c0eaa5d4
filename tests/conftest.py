"""What all tests share: a fresh local stack, its real handlers and real stream records."""

import threading
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from infra.local.stack import Function, LocalStack, local_stack
from leadscoring import settings
from tests.expressions import too_large
from tests.permissions import TRIED, intended

# The tests speak of a model of their own, so that a company can change functions/model.toml.
SHIPPED_MODEL_FILE = settings.MODEL_FILE
settings.MODEL_FILE = Path(__file__).parent / "model.toml"


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with local_stack() as fresh:
        yield fresh


@pytest.fixture(scope="session", autouse=True)
def refused() -> Iterator[list[str]]:
    """What functions have asked of the table that their roles or DynamoDB itself would refuse.

    Moto knows no roles, and takes expressions of any length.
    """
    refused: list[str] = []
    allowed = {cell for cell, is_allowed in intended(TRIED).items() if is_allowed}

    running = threading.local()

    def look(function: Function, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        refused.extend(too_large(params))
        if getattr(running, "function", None) is not function:
            return  # somebody else asks, with a function's store
        inside = [kind for action in params.get("TransactItems", ()) for kind in action]
        for detail in inside or [params.get("IndexName", "")]:
            asked = f"{model.name} {detail}".rstrip(), function.module.__name__.capitalize()
            if asked not in allowed:
                refused.append(" by ".join(asked))

    start, call = Function.__init__, Function.__call__

    def watched(function: Function, module: Any) -> None:
        start(function, module)
        events = module.store._table._dynamodb.meta.events
        events.register("before-parameter-build.dynamodb.*", partial(look, function))

    def running_now(function: Function, event: dict[str, Any]) -> Any:
        interrupted = getattr(running, "function", None)
        running.function = function
        try:
            return call(function, event)
        finally:
            running.function = interrupted

    with (
        patch.object(Function, "__init__", watched),
        patch.object(Function, "__call__", running_now),
    ):
        yield refused


@pytest.fixture(autouse=True)
def within_bounds(refused: list[str]) -> Iterator[None]:
    refused.clear()
    yield
    assert refused == []
