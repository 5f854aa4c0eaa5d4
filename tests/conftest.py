"""What all tests share: a fresh local stack, its real handlers and real stream records."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.stack import LocalStack, local_stack
from leadscoring import settings

# The tests speak of a model of their own, so that a company can change functions/model.toml.
SHIPPED_MODEL_FILE = settings.MODEL_FILE
settings.MODEL_FILE = Path(__file__).parent / "model.toml"


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with local_stack() as fresh:
        yield fresh
