"""What all tests share: a fresh local stack, its real handlers and real stream records."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from infra.local.stack import LocalStack, local_stack
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

    def look(params: Mapping[str, Any], model: Any, **_: Any) -> None:
        refused.extend(too_large(params))
        function = getattr(running, "function", None)
        if function is None:  # a test asks, with a function's store
            return
        inside = [kind for action in params.get("TransactItems", ()) for kind in action]
        for detail in inside or [params.get("IndexName", "")]:
            asked = f"{model.name} {detail}".rstrip(), function.capitalize()
            if asked not in allowed:
                refused.append(" by ".join(asked))

    load, call = LocalStack.load_functions, LocalStack.invoke

    def load_functions(stack: LocalStack) -> None:
        load(stack)
        for function in stack.functions.values():
            events = function.module.store._table._dynamodb.meta.events
            events.register("before-parameter-build.dynamodb.*", look)

    def invoke(stack: LocalStack, function: str, event: dict[str, Any]) -> Any:
        running.function = function
        try:
            return call(stack, function, event)
        finally:
            running.function = None

    with (
        patch.object(LocalStack, "load_functions", load_functions),
        patch.object(LocalStack, "invoke", invoke),
    ):
        yield refused


@pytest.fixture(autouse=True)
def within_bounds(refused: list[str]) -> Iterator[None]:
    refused.clear()
    yield
    assert refused == []
