"""Node.js and the packages that `make node` installed: missing is a skip, in CI a failure."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLIENTS = ROOT / "tests" / "clients"
SNIPPET = ROOT / "infra" / "snippet"


def run(folder: Path, program: str, *arguments: str | Path) -> str:
    """Run `node`, or a program of the folder's packages, and return what it prints."""
    if not (folder / "node_modules").exists():
        missing = f"no packages in {folder.relative_to(ROOT)}: install Node.js, then `make node`"
        pytest.fail(missing, pytrace=False) if "CI" in os.environ else pytest.skip(missing)
    command = program if program == "node" else folder / "node_modules" / ".bin" / program
    ran = subprocess.run(
        [command, *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
