"""What all tests share: a fresh local stack, its real handlers and real stream records."""

from collections.abc import Iterator

import pytest

from infra.local.stack import LocalStack, local_stack


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with local_stack() as fresh:
        yield fresh
