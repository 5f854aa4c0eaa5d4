"""Schemathesis asks the running stack all that events/openapi.json describes, and much it doesn't.

It lives in an environment of its own; `make api-check` sets that up.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.local.stack import PUBLIC_KEY
from infra.workbench.openapi import FILE
from tests.flow.asking import lead
from tests.flow.attack import JANE, good_requests, link, send, target
from tests.serving import serving_stack

SCHEMATHESIS = Path(__file__).parents[2] / ".tools" / "schemathesis" / "bin" / "schemathesis"
CHECKS = [
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance"),
]
# A short name is the same call: once is enough.
SHORT = r"^/v1/[a-z]$"
CASES = 20
# Once the lead is erased, all else is asked of nobody.
SPARING = ("--exclude-method", "DELETE", "--exclude-path", "/leads/erase")


@dataclass(frozen=True, slots=True)
class Running:
    """A stack that answers HTTP, and the names by which something is found in it."""

    url: str
    names: dict[str, str]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with target() as stack:
        for sent in good_requests(stack).values():
            send(stack, sent)
        names = {
            "id": lead(stack, email=JANE)["id"],
            "form": "contact",
            "key": PUBLIC_KEY,
            "source": "standard",
            "token": link(stack).path.removeprefix("/c/"),
        }
        with serving_stack(stack) as url:
            yield Running(url, names)


def attack(running: Running, document: Path, tmp_path: Path, *options: str) -> str:
    """Let Schemathesis loose; return what it reports, its exit code first."""
    config = tmp_path / "schemathesis.toml"
    named = [f'"path.{name}" = "{value}"' for name, value in running.names.items()]
    config.write_text("\n".join(["[parameters]", *named]), encoding="utf-8")
    command = [str(SCHEMATHESIS), "--no-color", "--config-file", str(config), "run", str(document)]
    command += ["--url", running.url, "--auth", f"{PUBLIC_KEY}:x", "--checks", ",".join(CHECKS)]
    command += ["--exclude-path-regex", SHORT, "--warnings", "off", "--seed", "1", *options]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600, cwd=tmp_path
    )
    return f"exit {done.returncode}\n{done.stdout}{done.stderr}"


def test_no_answer_is_an_error_of_ours_and_each_is_as_documented(
    running: Running, tmp_path: Path
) -> None:
    phases = ("--phases", "coverage,fuzzing", "-n", str(CASES))
    report = attack(running, FILE, tmp_path, *SPARING, *phases)
    assert report.startswith("exit 0\n"), report
    (cases,) = re.findall(r"(\d+) generated", report)
    assert int(cases) > 1_000


def without_an_answer(document: dict[str, Any]) -> None:
    del document["paths"]["/v1/track"]["post"]["responses"]["400"]


def with_another_body(document: dict[str, Any]) -> None:
    document["components"]["schemas"]["LeadDetails"]["properties"]["stage"] = {"type": "integer"}


@pytest.mark.parametrize(
    ("spoil", "path", "found"),
    [
        (without_an_answer, "/v1/track", "Undocumented status"),
        (with_another_body, "/leads/{id}", "Response violates schema"),
    ],
)
def test_an_answer_that_is_not_as_documented_is_found(
    running: Running, tmp_path: Path, spoil: Any, path: str, found: str
) -> None:
    document = json.loads(FILE.read_text())
    spoil(document)
    spoilt = tmp_path / "openapi.json"
    spoilt.write_text(json.dumps(document), encoding="utf-8")
    asked = ("--include-path", path, "--phases", "coverage")
    report = attack(running, spoilt, tmp_path, *SPARING, *asked)
    assert report.startswith("exit 1\n"), report
    assert re.search(found, report), report


@pytest.mark.parametrize(
    "asked", [("--include-path", "/leads/erase"), ("--include-method", "DELETE")]
)
def test_an_erasure_is_answered_as_documented(
    running: Running, tmp_path: Path, asked: tuple[str, str]
) -> None:
    report = attack(running, FILE, tmp_path, *asked, "--phases", "coverage")
    assert report.startswith("exit 0\n"), report
    assert re.search(r"[1-9]\d* generated", report), report
