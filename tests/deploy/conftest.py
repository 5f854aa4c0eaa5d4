"""What the deploy tests share: AWS's tools on a scratch copy, one expansion, one build."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools" / "sam" / "bin"
REGION = "eu-central-1"
RUN_AS_LAMBDA = Path(__file__).with_name("run_as_lambda.py")

MAPPING = "AWS::Lambda::EventSourceMapping"
ROLE = "AWS::IAM::Role"

type Template = dict[str, Any]


@dataclass(frozen=True)
class Project:
    """A scratch copy of all that is deployed; the tools write only here."""

    root: Path

    @classmethod
    def copied_to(cls, root: Path) -> Self:
        """Copy all that is deployed into an empty folder."""
        for name in ("template.yaml", "samconfig.toml"):
            shutil.copy(ROOT / name, root)
        foreign = shutil.ignore_patterns("__pycache__", "local", "workbench")
        for name in ("functions", "infra"):
            shutil.copytree(ROOT / name, root / name, ignore=foreign)
        return cls(root)

    def run(
        self, tool: str, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the SAM environment's programs in the copy, whatever it says."""
        return subprocess.run(
            [TOOLS / tool, *arguments],
            cwd=self.root,
            env=_environment(self.root) | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace the first `old` in one of the files."""
        text = (self.root / name).read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old!r}"
        (self.root / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    def expand(self, name: str = "template.yaml", *values: str) -> Template:
        """Return the expansion of one of the templates, with these values of its parameters."""
        expanded = self.run("python", "-m", "infra.expand", name, *values)
        assert expanded.returncode == 0, expanded.stdout
        template: Template = json.loads(expanded.stdout)
        return template

    def build(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `sam build` into the copy's folder `built`, whatever it says."""
        return self.run("sam", "build", "--build-dir", "built", *arguments)


@dataclass(frozen=True)
class Runtime:
    """Built functions, each started in a process with nothing beside it but boto3."""

    python: Path
    artifacts: dict[str, Path]
    resources: Template

    def run(
        self, function: str, environment: dict[str, str], event: dict[str, Any] | None = None
    ) -> Any:
        """Start a function, call it if there is an event, and return its answer."""
        ran = subprocess.run(
            [self.python, "-P", RUN_AS_LAMBDA, self.resources[function]["Properties"]["Handler"]],
            input=json.dumps(event),
            env={**environment, "PYTHONPATH": str(self.artifacts[function])},
            cwd=self.artifacts[function],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, f"{function}: {ran.stdout}\n{ran.stderr}"
        return json.loads(ran.stdout.splitlines()[-1])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs the SAM tools where they are not installed; in CI that is a failure."""
    if "copy_project" in getattr(item, "fixturenames", ()) and not (TOOLS / "sam").exists():
        missing = "no SAM tools: UV_PROJECT_ENVIRONMENT=.tools/sam uv sync --only-group sam"
        pytest.fail(missing, pytrace=False) if "CI" in os.environ else pytest.skip(missing)


@pytest.fixture(scope="session")
def copy_project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Project]:
    def copy() -> Project:
        return Project.copied_to(tmp_path_factory.mktemp("project"))

    return copy


@pytest.fixture
def project(copy_project: Callable[[], Project]) -> Project:
    return copy_project()


@pytest.fixture(scope="session")
def expansion(copy_project: Callable[[], Project]) -> Template:
    return copy_project().expand()


@pytest.fixture(scope="session")
def data(copy_project: Callable[[], Project]) -> Template:
    return copy_project().expand("infra/data.yaml")


@pytest.fixture(scope="session")
def monitoring(copy_project: Callable[[], Project]) -> Template:
    return copy_project().expand("infra/monitoring.yaml")


@pytest.fixture(scope="session")
def artifacts(copy_project: Callable[[], Project], expansion: Template) -> dict[str, Path]:
    """The folder of each function, as `sam build` leaves it."""
    project = copy_project()
    built = project.build()
    assert built.returncode == 0, built.stdout
    return {name: project.root / "built" / name for name in functions(expansion)}


@pytest.fixture(scope="session")
def runtime(
    artifacts: dict[str, Path], expansion: Template, tmp_path_factory: pytest.TempPathFactory
) -> Runtime:
    home = tmp_path_factory.mktemp("python") / "venv"
    python = home / "bin" / "python"
    for step in (
        ("venv", "--python", sys.executable, home),
        ("pip", "install", "--python", python, f"boto3=={version('boto3')}"),
    ):
        subprocess.run([uv(), "--quiet", *step], check=True, timeout=120)
    return Runtime(python, artifacts, expansion["Resources"])


def functions(template: Template) -> Template:
    """Return the template's Lambda functions by logical name."""
    return of_type(template, "AWS::Lambda::Function")


def of_type(template: Template, *types: str) -> Template:
    """Return the properties of all resources of these types, by logical name."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] in types
    }


def statements(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every policy statement with the name of its role."""
    for name, role in of_type(template, ROLE).items():
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def readers_of(output: str, template: Template) -> Template:
    """Return the event source mappings on what the data stack calls so, by their function."""
    source = {"Fn::GetAtt": ["Data", f"Outputs.{output}"]}
    return {
        mapping["FunctionName"]["Ref"]: mapping
        for mapping in of_type(template, MAPPING).values()
        if mapping["EventSourceArn"] == source
    }


def routes(api: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every route of the API with its OpenAPI operation."""
    for path, methods in api["Body"]["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def listed(value: Any) -> list[Any]:
    """Return a list, of one if need be."""
    return value if isinstance(value, list) else [value]


def uv() -> str:
    """Return the path of uv."""
    found = shutil.which("uv") or shutil.which("uv", path=ROOT / ".tools" / "bin")
    assert found, "uv is not on PATH"
    return found


def _environment(scratch: Path) -> dict[str, str]:
    """Ours, without a trace of an account, or of the make that may have started the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "SAM_")) and name not in ("MAKEFLAGS", "MAKELEVEL")
    }
    return {
        **kept,
        "PATH": os.pathsep.join((str(Path(uv()).parent), kept.get("PATH", ""))),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(scratch / ".sam"),
    }
