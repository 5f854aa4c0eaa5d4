"""`mqlambda erase`, `export` and `restore-check`, on the table of a whole stack."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.local.engine import clock_at, rows
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from infra.workbench import cli
from leadscoring import settings
from leadscoring.answers import as_json
from tests.flow.asking import lead

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
JANE, JOE, IDA = "jane@example.com", "joe@example.com", "ida@example.com"
RESTORED = "restored"

type Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command against the stack in this process, at noon and a day."""
    monkeypatch.setattr(cli, "MODEL_FILE", settings.MODEL_FILE)
    monkeypatch.setattr(cli, "_now", lambda: NOON + DAY)

    def run(*arguments: str) -> Result:
        with clock_at(NOON + DAY):
            return CliRunner().invoke(cli.app, ["--stack", "data", *arguments])

    return run


def call(stack: LocalStack, at: datetime, kind: str, *, secret: bool = False, **said: Any) -> None:
    key = SECRET_KEY if secret else PUBLIC_KEY
    with clock_at(at):
        assert stack.request("POST", f"/v1/{kind}", {"writeKey": key, **said}).status == 200
        stack.pump()


def erase(stack: LocalStack, at: datetime, email: str) -> None:
    with clock_at(at):
        assert stack.request("POST", "/leads/erase", {"email": email}).status == 202
        stack.pump()


def people(stack: LocalStack) -> None:
    for email in (JANE, JOE, IDA):
        call(stack, NOON, "page", anonymousId=f"phone of {email}")
        call(stack, NOON, "track", userId=email, event="Demo Requested")


def restore(stack: LocalStack) -> None:
    """Restore the table as it is now into another one, as AWS does."""
    stack.dynamodb.create_table(
        TableName=RESTORED,
        KeySchema=[
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    for item in stack.items(""):
        stack.dynamodb.put_item(TableName=RESTORED, Item=item)


def restored_items(prefix: str) -> list[dict[str, Any]]:
    return [item for item in rows(RESTORED, prefix) if item["pk"]["S"].startswith("LEAD#")]


def emails() -> set[str]:
    """Return who is in the restored table."""
    leads = (item for item in restored_items("LEAD") if "merged_into" not in item)
    return {item["email"]["S"] for item in leads if "email" in item}


def test_a_lead_is_erased_when_that_is_confirmed(stack: LocalStack, run: Run) -> None:
    people(stack)
    refused = CliRunner().invoke(cli.app, ["--stack", "data", "erase", JANE], input="n\n")
    assert refused.exit_code == 1
    assert lead(stack, email=JANE)["interactions"] == 1

    first = run("erase", JANE, "--yes", "--json")
    stack.pump()
    again = run("erase", JANE, "--yes")

    receipt = json.loads(first.stdout)
    assert (receipt["finished"], receipt["remains"]["backups"]["days"]) == (False, 35)
    assert "is erased" in again.stdout
    assert "backups: the table as it was" in again.stdout
    assert stack.request("POST", "/leads/find", {"email": JANE}).status == 404
    assert run("erase", "nobody@example.com", "--yes").exit_code == 2


def test_an_export_says_what_the_private_api_says_and_nothing_of_who_is_erased(
    stack: LocalStack, run: Run
) -> None:
    people(stack)
    answer = stack.request("GET", f"/leads/{lead(stack, email=JANE)['id']}/export")

    exported = run("export", JANE)

    assert json.loads(exported.stdout) == answer.json()
    erase(stack, NOON, JANE)
    for command in ("export", "explain"):
        refused = run(command, JANE)
        assert refused.exit_code == 2
        assert f"the lead {JANE} is erased" in refused.stderr


def test_whom_a_restore_brings_back_is_erased_again_and_nobody_else(
    stack: LocalStack, run: Run
) -> None:
    people(stack)
    erase(stack, NOON, IDA)
    call(stack, NOON + DAY, "identify", userId=IDA, secret=True, traits={"consent": True})
    restore(stack)
    assert emails() == {JANE, JOE, IDA}
    call(stack, NOON + DAY, "identify", anonymousId=f"phone of {JANE}", userId=JANE)
    erase(stack, NOON + DAY, JANE)

    found = run("restore-check", RESTORED, "--dry-run", "--json")
    assert json.loads(found.stdout)["came_back"] == 2
    assert emails() == {JANE, JOE, IDA}

    done = run("restore-check", RESTORED, "--json")

    assert json.loads(done.stdout)["came_back"] == 2
    assert json.loads(done.stdout)["left"] == []
    assert emails() == {JOE, IDA}
    assert restored_items("OUTBOX#") == []
    assert sum("erased_at" in item for item in restored_items("LEAD")) == 2
    anew = json.loads(run("restore-check", RESTORED, "--json").stdout)
    assert anew["came_back"] == 0


def test_where_the_old_table_is_lost_a_subscriber_s_messages_say_who_was_erased(
    stack: LocalStack, run: Run, tmp_path: Path
) -> None:
    people(stack)
    call(stack, NOON, "identify", anonymousId=f"phone of {JANE}", userId=JANE)
    restore(stack)
    erase(stack, NOON + DAY, JANE)
    told = tmp_path / "messages.jsonl"
    told.write_text("\n".join(as_json(m) for m in stack.received), encoding="utf-8")

    done = run("restore-check", RESTORED, "--messages", str(told), "--json")

    assert json.loads(done.stdout)["came_back"] == 1
    assert emails() == {JOE, IDA}


def test_who_is_part_of_somebody_else_in_the_restored_table_is_left_for_people(
    stack: LocalStack, run: Run
) -> None:
    people(stack)
    jane, joe = lead(stack, email=JANE)["id"], lead(stack, email=JOE)["id"]
    with clock_at(NOON):
        because = {"other": joe, "reason": "one person"}
        assert stack.request("POST", f"/leads/{jane}/merges", because).status == 200
    restore(stack)
    with clock_at(NOON):
        taken = {"identity": joe, "reason": "they are two"}
        assert stack.request("POST", f"/leads/{jane}/unmerges", taken).status == 200
    erase(stack, NOON + DAY, JOE)

    done = run("restore-check", RESTORED)

    assert done.exit_code == 1
    assert joe in done.stdout
