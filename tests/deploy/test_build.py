"""What `sam build` makes of the functions, and what it refuses."""

import importlib.util
import marshal
from pathlib import Path

import pytest

from tests.deploy.conftest import Project

# e_machine in the header of an ELF file, by Lambda's name and by Python's.
PROCESSORS = {"arm64": ("aarch64", 183), "x86_64": ("x86_64", 62)}


def test_every_artifact_is_the_same_so_that_a_deployment_uploads_one(
    artifacts: dict[str, Path],
) -> None:
    first, *others = [contents(artifact) for artifact in artifacts.values()]
    assert first
    assert all(other == first for other in others)


@pytest.mark.parametrize("architecture", PROCESSORS)
def test_an_artifact_starts_on_either_processor(
    artifacts: dict[str, Path], architecture: str
) -> None:
    processor, machine = PROCESSORS[architecture]
    for artifact in artifacts.values():
        modules = list(artifact.rglob("*.so"))
        named = {(path.parent, path.name.split(".")[0]) for path in modules}
        ours = [
            path for path in modules if path.name.endswith(f".cpython-313-{processor}-linux-gnu.so")
        ]
        assert {(path.parent, path.name.split(".")[0]) for path in ours} == named != set()
        assert {int.from_bytes(path.read_bytes()[18:20], "little") for path in ours} == {machine}


def test_an_artifact_holds_nothing_that_no_function_reads(artifacts: dict[str, Path]) -> None:
    for artifact in artifacts.values():
        found = {path.name for path in artifact.iterdir()}
        assert found >= {"collect.py", "leadscoring", "model.toml", "pydantic", "static"}
        # Lambda's runtime brings boto3; the rest is for building.
        assert found.isdisjoint(
            {".lock", "bin", "boto3", "botocore", "Makefile", "requirements.txt", "tests", "wheels"}
        )
        assert found.isdisjoint({"model.lock", "model.schema.json"})
        assert not {"lint", "lines.py"} & {
            path.name for path in (artifact / "leadscoring").iterdir()
        }


def test_every_module_comes_compiled_for_lambda(artifacts: dict[str, Path]) -> None:
    for artifact in artifacts.values():
        sources = set(artifact.rglob("*.py"))
        compiled = {Path(importlib.util.cache_from_source(str(source))) for source in sources}
        assert set(artifact.rglob("*.pyc")) == compiled
        for path in compiled:
            header, code = path.read_bytes()[:8], path.read_bytes()[16:]
            # Python 3.13's, with a hash that is not checked: the times in a zip are of no account.
            assert header == importlib.util.MAGIC_NUMBER + b"\1\0\0\0"
            assert marshal.loads(code).co_filename.startswith("/var/task/")


def test_an_artifact_stays_small(artifacts: dict[str, Path]) -> None:
    sizes = [sum(map(len, contents(artifact).values())) for artifact in artifacts.values()]
    assert max(sizes) < 25_000_000


def test_a_wrong_model_stops_the_build_and_says_where(project: Project) -> None:
    text = (project.root / "functions/model.toml").read_text(encoding="utf-8")
    line = text[: text.index("\npoints = 1\n")].count("\n") + 2
    project.edit("functions/model.toml", "\npoints = 1\n", "\npoint = 1\n")
    built = project.build("Collect")
    assert built.returncode != 0
    assert f"model.toml:{line}: error: rules.page.point: there is no such key" in built.stdout
    assert "Traceback" not in built.stdout


def test_a_model_that_pays_otherwise_under_its_old_number_stops_the_build(project: Project) -> None:
    project.edit("functions/model.toml", "\npoints = 1\n", "\npoints = 2\n")
    built = project.build("Collect")
    assert built.returncode != 0
    assert "error: number: what the rules pay has changed" in built.stdout


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below the folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
