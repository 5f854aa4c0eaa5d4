"""The engines of tests/engine, here too."""

from tests.engine.conftest import engine, ministack_url

__all__ = ["engine", "ministack_url"]
