"""SECURITY.md is true: its proofs are tests, and what remains is what the receipt says."""

import ast
import re
from pathlib import Path

import pytest

from leadscoring.forgetting import REMAINS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
THREATS = [
    row.strip("| ").split(" | ")
    for row in PAGE.partition("## Secrets and keys")[0].splitlines()
    if row.startswith("| ") and not row.startswith(("| who | what", "| ---"))
]


def test_every_threat_has_a_proof() -> None:
    assert len(THREATS) > 15
    assert [who for who, *_, proof in THREATS if "::test_" not in proof] == []


@pytest.mark.parametrize("proof", sorted(set(re.findall(r"`(tests/[^`]+::\w+)`", PAGE))))
def test_each_proof_is_a_test(proof: str) -> None:
    file, _, name = proof.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_page_says_what_the_receipt_of_an_erasure_says() -> None:
    said = re.findall(r"^\| (\w+) \| (no end of ours|\d+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert said == [
        (place, "no end of ours" if left.days is None else str(left.days), left.holds)
        for place, left in REMAINS.items()
    ]
