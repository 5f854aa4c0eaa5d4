"""`mqlambda explain`, `rescore` and `verify`, on the table of a whole stack."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from infra.workbench import cli
from leadscoring import settings
from leadscoring.ledger import Ledger
from tests.flow.acts import ACTS, counters, lead_item, ledger_sums, send
from tests.flow.asking import lead

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JANE, JOE, IDA = "jane@example.com", "joe@example.com", "ida@example.com"

type Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command against the stack in this process, at noon and a day."""
    monkeypatch.setattr(cli, "MODEL_FILE", settings.MODEL_FILE)
    monkeypatch.setattr(cli, "_now", lambda: NOON + timedelta(days=1))

    def run(*arguments: str) -> Result:
        with clock_at(NOON + timedelta(days=1)):
            return CliRunner().invoke(cli.app, ["--stack", "data", *arguments])

    return run


@pytest.fixture
def next_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a model in force that pays forms and webinars otherwise than the tests' own."""
    text = settings.MODEL_FILE.read_text(encoding="utf-8")
    path = tmp_path / "next.toml"
    path.write_text(
        text.replace("number = 1\n", "number = 2\n")
        .replace("points = 40\n", "points = 100\n")
        .replace("points = 25\n", "points = 5\n"),
        encoding="utf-8",
    )
    return path


def people(stack: LocalStack) -> None:
    """Let three people act: two who sent the form, and one who was at two webinars."""
    with clock_at(NOON):
        for email, acts in ((JANE, ["form", "page"]), (JOE, ["form"]), (IDA, ["webinar"] * 2)):
            send(
                stack,
                [{**ACTS[a], "userId": email, "messageId": f"m-{n}"} for n, a in enumerate(acts)],
            )
        stack.pump()


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_explain_says_what_the_private_api_says(stack: LocalStack, run: Run) -> None:
    people(stack)
    with clock_at(NOON + timedelta(days=1)):
        asked = lead(stack, email=JANE)

    said = answer(run("explain", JANE, "--json"))

    assert said == {name: asked[name] for name in said}
    assert said == answer(run("--json", "explain", asked["id"]))


def test_explain_shows_a_person_a_bill_that_adds_up(stack: LocalStack, run: Run) -> None:
    people(stack)

    shown = run("explain", JANE, "--at", "2026-03-23T12:00").stdout

    lines = [line.split() for line in shown.splitlines()]
    assert lines[0] == [JANE]
    assert [
        "2026-03-02",
        "12:00",
        "Form",
        "Submitted",
        "form",
        "40",
        "decay",
        "20.000",
        "20.000",
    ] in lines
    assert ["intent", "20.000"] in lines
    assert ["engagement", "0.616"] in lines
    assert ["score", "score", "20.616"] in lines


def test_explain_under_another_model_pays_the_ledger_from_its_beginning(
    stack: LocalStack, run: Run, next_model: Path
) -> None:
    people(stack)
    before = stack.items("")

    said = answer(
        run("explain", IDA, "--model", str(next_model), "--at", "2026-03-02T12:00", "--json")
    )

    assert (said["scorecard"]["score"], said["scorecard"]["model"]) == (10, 2)
    assert stack.items("") == before


def test_explain_never_moves_a_terminals_cursor(stack: LocalStack, run: Run) -> None:
    hostile = {"type": "track", "event": "\x1b[2J\x07gone", "userId": JANE}
    send(stack, [{**hostile}])
    assert "\x1b" not in run("explain", JANE).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "nobody@example.com"], "there is no lead nobody@example.com"),
        (["explain", JANE, "--at", "yesterday"], "an instant is ISO 8601"),
    ],
)
def test_what_can_not_be_explained_is_said_in_a_line(
    stack: LocalStack, run: Run, arguments: list[str], said: str
) -> None:
    people(stack)
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.replace("│", "").split())


def test_a_dry_run_counts_who_would_change_and_writes_nothing(
    stack: LocalStack, run: Run, next_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(stack)
    before = stack.items("")
    monkeypatch.setattr(cli, "MODEL_FILE", next_model)

    outcome = answer(run("rescore", "--dry-run", "--json"))

    assert stack.items("") == before
    assert {name: outcome[name] for name in ("leads", "entries", "changed_entries")} == {
        "leads": 3,
        "entries": 5,
        "changed_entries": 4,
    }
    assert (outcome["changed_leads"], outcome["promotions"]) == (3, 0)
    assert outcome["stages"] == {"nurtured → engaged": 2}
    assert "4 entries would be paid otherwise by model 2" in run("rescore", "--dry-run").stdout


def test_who_is_moved_by_time_alone_is_not_counted_as_moved_by_the_rescore(
    stack: LocalStack, run: Run, next_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(stack)
    exits = next_model.read_text(encoding="utf-8").replace(
        "enter.score = 15\n", "enter.score = 15\nexit.below.score = 14\n"
    )
    next_model.write_text(exits, encoding="utf-8")
    monkeypatch.setattr(cli, "MODEL_FILE", next_model)
    # By then both models have everybody below the bar, for other points each.
    monkeypatch.setattr(cli, "_now", lambda: NOON + timedelta(days=120))

    outcome = answer(run("rescore", "--dry-run", "--json"))

    assert outcome["changed_leads"] == 3
    assert outcome["stages"] == {}


def test_what_a_limit_paid_in_one_order_is_not_paid_in_another(
    stack: LocalStack, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = tmp_path / "limited.toml"
    text = settings.MODEL_FILE.read_text(encoding="utf-8")
    once = 'points = 40\nlimit = { times = 1, per = "day" }\n'
    limited.write_text(text.replace("points = 40\n", once), encoding="utf-8")
    monkeypatch.setattr(settings, "MODEL_FILE", limited)
    stack.load_functions()
    # Of one moment: nothing but the order in the request says which was first.
    with clock_at(NOON):
        send(stack, [{**ACTS["form"], "userId": JANE, "messageId": id_} for id_ in ("b", "a")])
    monkeypatch.setattr(cli, "MODEL_FILE", limited)

    assert answer(run("rescore", "--dry-run", "--json"))["changed_entries"] == 0
    assert answer(run("rescore", "--json"))["changed_entries"] == 0
    assert run("verify").exit_code == 0


def test_a_rescore_pays_the_ledger_again_and_the_stream_moves_the_leads(
    stack: LocalStack, run: Run, next_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(stack)
    monkeypatch.setattr(cli, "MODEL_FILE", next_model)

    outcome = answer(run("rescore", "--json"))
    again = answer(run("rescore", "--json"))

    assert (outcome["changed_entries"], outcome["stopped"]) == (4, False)
    assert again["changed_entries"] == 0
    assert counters(stack, JANE) == ledger_sums(stack, JANE)
    assert "rescoring_until" not in lead_item(stack, JANE)
    monkeypatch.setattr(settings, "MODEL_FILE", next_model)
    stack.load_functions()
    with clock_at(NOON + timedelta(days=1)):
        stack.pump()
        found = lead(stack, email=JANE)
    assert found["stage"] == "engaged"
    assert {r["rule"]: r["points"] for r in found["reasons"]} == {"form": 100, "page": 1}
    assert run("verify").exit_code == 0


def test_a_rescore_stops_before_one_promotion_too_many_and_goes_on_from_there(
    stack: LocalStack, run: Run, next_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(stack)
    text = next_model.read_text(encoding="utf-8").replace("{ score = 100 }", "{ score = 90 }")
    next_model.write_text(text, encoding="utf-8")
    monkeypatch.setattr(cli, "MODEL_FILE", next_model)

    told = run("rescore", "--most-promotions", "0").stdout
    first = answer(run("rescore", "--most-promotions", "0", "--json"))
    second = answer(run("rescore", "--most-promotions", "1", "--json"))
    third = answer(run("rescore", "--most-promotions", "1", "--json"))

    assert "stopped before one promotion too many" in told
    assert (first["promotions"], first["stopped"]) == (0, True)
    assert (second["promotions"], second["stopped"]) == (1, True)
    assert (third["promotions"], third["stopped"]) == (1, False)
    paid = [item for item in stack.items("INTERACTION#") if item["name"]["S"] == "Form Submitted"]
    assert [item["model"]["N"] for item in paid] == ["2", "2"]


def test_what_was_seen_before_a_cycle_is_counted_as_it_is_paid_now(
    stack: LocalStack, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two demo requests of the first cycle, then a model that no longer knows their like."""
    text = settings.MODEL_FILE.read_text(encoding="utf-8") + "\n[recycling]\n"
    text = text.replace("demo-requested = 1 }]\n", "demo-requested = 1 }]\nexit.below.score = 40\n")
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(text, encoding="utf-8")
    others = 'on = "Demo Requested"\nwhen.properties.kind = ["live"]'
    second.write_text(
        text.replace("number = 1\n", "number = 2\n").replace('on = "Demo Requested"', others),
        encoding="utf-8",
    )
    monkeypatch.setattr(settings, "MODEL_FILE", first)
    stack.load_functions()
    for days, act in ((0, "demo"), (0, "demo"), (60, "page")):
        with clock_at(NOON + timedelta(days=days)):
            send(stack, [{**ACTS[act], "userId": JANE}])
            stack.pump()
    assert lead_item(stack, JANE)["seen_before"]["M"]["demo-requested"]["N"] == "2"
    monkeypatch.setattr(cli, "MODEL_FILE", second)

    assert answer(run("rescore", "--json"))["changed_entries"] == 2

    assert "demo-requested" not in lead_item(stack, JANE)["seen_before"]["M"]
    monkeypatch.setattr(settings, "MODEL_FILE", second)
    stack.load_functions()
    with clock_at(NOON + timedelta(days=61)):
        send(stack, [{**ACTS["demo"], "userId": JANE, "properties": {"kind": "live"}}])
        stack.pump()
        assert (lead(stack, email=JANE)["stage"], lead(stack, email=JANE)["cycle"]) == ("mql", 2)


def test_a_rescore_goes_forward_only(
    stack: LocalStack, run: Run, next_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(stack)
    monkeypatch.setattr(cli, "MODEL_FILE", next_model)
    answer(run("rescore", "--json"))
    before = stack.items("")
    monkeypatch.setattr(cli, "MODEL_FILE", settings.MODEL_FILE)

    for arguments in (["rescore"], ["rescore", "--dry-run"]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "newer model" in result.stderr or "model 2 has paid" in result.stderr
    assert stack.items("") == before


def test_a_rescore_that_died_goes_on_where_it_stopped(
    stack: LocalStack, run: Run, next_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(stack)
    monkeypatch.setattr(cli, "MODEL_FILE", next_model)
    monkeypatch.setattr("infra.workbench.rescoring.ITEMS_A_PAGE", 4)
    paid: list[str] = []
    pay_again = Ledger.pay_again

    def dies(ledger: Ledger, entries: Any, model: Any) -> int:
        done = pay_again(ledger, entries, model)
        paid.append(entries[0].home)
        if len(paid) == 2:
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as dying:
        dying.setattr(Ledger, "pay_again", dies)
        run("rescore")
    held = [item for item in stack.items("LEAD") if "rescoring_until" in item]
    assert len(held) == 1

    outcome = answer(run("rescore", "--json"))

    assert not [item for item in stack.items("LEAD") if "rescoring_until" in item]
    assert outcome["changed_entries"] < 4
    for email in (JANE, JOE, IDA):
        assert counters(stack, email) == ledger_sums(stack, email)
    assert run("verify").exit_code == 0


def tamper(stack: LocalStack, email: str, sk: str, **attributes: Any) -> None:
    """Change attributes of one of the lead's items behind everybody's back."""
    pk = lead_item(stack, email)["pk"]
    (item,) = [i for i in stack.items(sk) if i["pk"] == pk and i["sk"]["S"].startswith(sk)][:1]
    stack.dynamodb.put_item(TableName=stack.table_name, Item={**item, **attributes})


def test_verify_names_each_difference_and_repairs_what_it_can(stack: LocalStack, run: Run) -> None:
    people(stack)
    assert run("verify").stdout == "3 leads, 5 ledger entries: all is right\n"
    right = counters(stack, JANE)
    tamper(
        stack,
        JANE,
        "LEAD",
        **{
            "interactions": {"N": "3"},
            "seen:form": {"N": "2"},
            "points:intent:21d:2026": {"N": "5"},
        },
    )

    found = run("verify")

    assert found.exit_code == 1
    pk = lead_item(stack, JANE)["pk"]["S"].removeprefix("LEAD#")
    assert f"lead {pk}: interactions is 3, not 2" in found.stdout
    assert f"lead {pk}: seen:form is 2, not 1" in found.stdout
    assert f"lead {pk}: points:intent:21d:2026 is 5, not" in found.stdout
    assert "3 differences" in found.stdout
    mended = run("verify", "--repair")
    assert mended.exit_code == 0
    assert "1 leads repaired" in mended.stdout
    assert counters(stack, JANE) == right


def test_verify_finds_pay_that_is_not_the_models_and_pays_it_again(
    stack: LocalStack, run: Run
) -> None:
    people(stack)
    right = ledger_sums(stack, JOE)
    (entry,) = [
        item for item in stack.items("INTERACTION#") if item["pk"] == lead_item(stack, JOE)["pk"]
    ]
    (paid,) = entry["paid"]["L"]
    more = {"M": {**paid["M"], "points": {"N": "41"}, "units": {"N": "1"}}}
    tamper(stack, JOE, "INTERACTION#", paid={"L": [more]})

    found = answer_of_failure(run("verify", "--json"))

    told = sorted(difference["of"] for difference in found["differences"])
    place = f"of public message {entry['sk']['S'].split('#')[2]}, model 1"
    assert told == sorted(
        [f"points by form {place}", f"units by form {place}", "points:intent:21d:2026"]
    )
    assert run("verify", "--repair").exit_code == 0
    assert counters(stack, JOE) == ledger_sums(stack, JOE) == right


def answer_of_failure(result: Result) -> Any:
    assert result.exit_code == 1, result.output
    return json.loads(result.stdout)


def test_verify_says_which_entries_it_could_not_judge(
    stack: LocalStack, run: Run, next_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(stack)
    monkeypatch.setattr(cli, "MODEL_FILE", next_model)

    alone = run("verify")
    together = run("verify", "--model", str(settings.MODEL_FILE))

    assert (alone.exit_code, together.exit_code) == (0, 0)
    assert "4 entries were paid by models that are not here: give their files by --model" in (
        alone.stdout
    )
    assert together.stdout == "3 leads, 5 ledger entries: all is right\n"
