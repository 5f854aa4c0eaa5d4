"""The hold on what functions ask of the table can fail, however a function was started."""

import importlib
import sys
from typing import Any
from unittest.mock import patch

import pytest

from infra.local.stack import Function, LocalStack


@pytest.fixture
def collect(stack: LocalStack) -> Function:
    """Return a container of its own, which the stack knows nothing of."""
    sys.modules.pop("collect")
    return Function(importlib.import_module("collect"))


def test_a_call_that_its_role_refuses_is_noticed_of_a_function_started_cold(
    stack: LocalStack, collect: Function, refused: list[str]
) -> None:
    def handler(*_: object) -> None:
        stack.invoke("sweep", {"time": "2026-03-02T12:00:00.000Z"})
        module: Any = collect.module
        module.store._table._dynamodb.scan(TableName=stack.table_name)

    with patch.object(collect.module, "handler", handler):
        collect({})
    assert refused == ["Scan by Collect"]
    refused.clear()
