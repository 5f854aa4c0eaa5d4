"""A stack that scores by a model of the test's own, and the same stack after the model changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from infra.local.stack import LocalStack, local_stack
from leadscoring import settings


@contextmanager
def stack_with(model: str) -> Iterator[LocalStack]:
    """Run a fresh stack that scores by this model, given as TOML."""
    with _model_file(model), local_stack() as stack:
        yield stack


def deploy(stack: LocalStack, model: str) -> None:
    """Start all functions cold, over the same table, with this model."""
    with _model_file(model):
        stack.load_functions()


@contextmanager
def _model_file(model: str) -> Iterator[None]:
    with TemporaryDirectory() as folder:
        file = Path(folder, "model.toml")
        file.write_text(model, encoding="utf-8")
        with patch.object(settings, "MODEL_FILE", file):
            yield
