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
from tests.flow.test_forgetting import sweep

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
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


def came_of(check: Result) -> tuple[int, int, list[str]]:
    """Return how many erased ids were known, how many leads came back, and who is left."""
    outcome = json.loads(check.stdout)
    return outcome["erased"], outcome["came_back"], outcome["left"]


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


def test_of_two_erasures_the_later_one_holds_in_whatever_order_they_were_told(
    stack: LocalStack, run: Run, tmp_path: Path
) -> None:
    people(stack)
    erase(stack, NOON, JANE)
    call(stack, NOON + HOUR, "identify", userId=JANE, secret=True, traits={"consent": True})
    restore(stack)
    erase(stack, NOON + DAY, JANE)
    told = tmp_path / "messages.jsonl"
    told.write_text("\n".join(as_json(m) for m in reversed(stack.received)), encoding="utf-8")

    done = run("restore-check", RESTORED, "--messages", str(told), "--json")

    assert json.loads(done.stdout)["came_back"] == 1
    assert emails() == {JOE, IDA}


def test_who_was_forgotten_without_a_trace_and_came_back_is_left_in_peace(
    stack: LocalStack, run: Run, tmp_path: Path
) -> None:
    call(stack, NOON, "track", userId=JANE, event="Demo Requested")
    silence = timedelta(days=732)
    sweep(stack, NOON + silence)
    with clock_at(NOON + silence):
        stack.pump()
    assert stack.leads() == []
    call(stack, NOON + silence + DAY, "track", userId=JANE, event="Demo Requested")
    restore(stack)
    told = tmp_path / "messages.jsonl"
    told.write_text("\n".join(as_json(m) for m in stack.received), encoding="utf-8")

    done = run("restore-check", RESTORED, "--messages", str(told), "--json")

    assert came_of(done) == (1, 0, [])
    assert emails() == {JANE}


def begun_anew(stack: LocalStack) -> None:
    """Let Jane be erased and begin anew, and restore the table as it is then."""
    people(stack)
    call(stack, NOON, "identify", anonymousId=f"phone of {JOE}", userId=JOE)
    erase(stack, NOON, JANE)
    call(stack, NOON + HOUR, "identify", userId=JANE, secret=True, traits={"consent": True})
    restore(stack)


@pytest.mark.parametrize(("whole", "part"), [(JANE, JOE), (JOE, JANE)])
def test_who_is_merged_with_somebody_that_was_erased_before_never_was(
    stack: LocalStack, run: Run, whole: str, part: str
) -> None:
    begun_anew(stack)
    said = {"other": lead(stack, email=part)["id"], "reason": "one person"}
    with clock_at(NOON + DAY):
        merges = f"/leads/{lead(stack, email=whole)['id']}/merges"
        assert stack.request("POST", merges, said).status == 200

    done = run("restore-check", RESTORED, "--json")

    assert came_of(done) == (1, 0, [])
    assert emails() == {JANE, JOE, IDA}


def test_who_is_taken_out_of_somebody_that_was_erased_before_never_was(
    stack: LocalStack, run: Run
) -> None:
    begun_anew(stack)
    phone = f"phone of {IDA}"
    call(stack, NOON + DAY, "identify", anonymousId=phone, userId=JANE)
    (joined,) = lead(stack, email=JANE)["identities"]
    said = {"identity": joined["id"], "reason": "it is Ida's"}
    with clock_at(NOON + DAY):
        unmerges = f"/leads/{lead(stack, email=JANE)['id']}/unmerges"
        assert stack.request("POST", unmerges, said).status == 200

    done = run("restore-check", RESTORED, "--json")

    assert came_of(done) == (1, 0, [])


def test_a_name_that_was_erased_with_its_lead_is_erased_again_though_it_left_the_lead(
    stack: LocalStack, run: Run
) -> None:
    people(stack)
    restore(stack)
    call(stack, NOON, "identify", anonymousId=f"phone of {JANE}", userId=JANE)
    erase(stack, NOON + HOUR, JANE)
    opts_in = {"userId": JANE, "traits": {"consent": True}}
    call(stack, NOON + 2 * HOUR, "identify", secret=True, **opts_in)
    jane = lead(stack, email=JANE)
    (phone,) = jane["identities"]
    said = {"identity": phone["id"], "reason": "they are two"}
    with clock_at(NOON + 2 * HOUR):
        assert stack.request("POST", f"/leads/{jane['id']}/unmerges", said).status == 200

    done = run("restore-check", RESTORED, "--json")

    assert came_of(done) == (2, 2, [])


def test_names_of_a_lead_that_is_still_being_erased_are_erased_too(
    stack: LocalStack, run: Run
) -> None:
    people(stack)
    restore(stack)
    call(stack, NOON, "identify", anonymousId=f"phone of {JANE}", userId=JANE)
    with clock_at(NOON + HOUR):
        assert stack.request("POST", "/leads/erase", {"email": JANE}).status == 202

    done = run("restore-check", RESTORED, "--json")

    assert came_of(done) == (2, 2, [])


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
