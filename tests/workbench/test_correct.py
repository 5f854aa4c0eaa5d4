"""`mqlambda correct`: what a detector withheld is paid, and what none has seen is taken back."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from infra.local.engine import clock_at
from infra.local.stack import PUBLIC_KEY, LocalStack
from infra.workbench import cli
from infra.workbench.correcting import Correction, correct
from infra.workbench.rescoring import rescore
from infra.workbench.verifying import verify
from leadscoring import scoring, settings
from leadscoring.lead import Entry
from leadscoring.ledger import Ledger
from leadscoring.model import Model
from leadscoring.store import Store
from leadscoring.table import plain
from tests.flow.acts import ACTS, Message, counters, lead_item
from tests.flow.asking import lead
from tests.flow.own_model import stack_with

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JANE, JOE = "jane@example.com", "joe@example.com"
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
NEW = count()

type Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command against the stack in this process, an hour after noon."""
    monkeypatch.setattr(cli, "MODEL_FILE", settings.MODEL_FILE)
    monkeypatch.setattr(cli, "_now", lambda: NOON + timedelta(hours=1))

    def run(*arguments: str) -> Result:
        with clock_at(NOON + timedelta(hours=1)):
            return CliRunner().invoke(cli.app, ["--stack", "data", *arguments])

    return run


def act(
    stack: LocalStack, email: str, act: str, *, bot: bool = False, minutes: int = 0, **more: Any
) -> None:
    message: Message = {**ACTS[act], "userId": email, "messageId": f"m-{next(NEW)}", **more}
    headers = {"user-agent": BOT} if bot else {}
    with clock_at(NOON + timedelta(minutes=minutes)):
        call = f"/v1/{message['type']}"
        answer = stack.request("POST", call, {"writeKey": PUBLIC_KEY, **message}, headers)
    assert answer.status == 200


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def all_is_right(run: Run) -> None:
    assert said(run("verify", "--json"))["differences"] == []


def test_what_a_detector_withheld_is_paid_and_the_lead_is_promoted(
    stack: LocalStack, run: Run
) -> None:
    context = {"traits": {"company": "Acme"}, "campaign": {"name": "fair"}}
    act(stack, JANE, "demo", bot=True, context=context)
    act(stack, JOE, "page")
    stack.pump()
    assert stack.promoted() == {}

    outcome = said(run("correct", "--detector", "crawlerdetect", "--json"))
    stack.pump()

    assert outcome == {
        "detector": "crawlerdetect",
        "dry_run": False,
        "leads": 2,
        "entries": 2,
        "changed_entries": 1,
        "changed_leads": 1,
        "promotions": 1,
        "stages": {"captured → mql": 1},
        "stopped": False,
    }
    (promoted,) = stack.promoted().values()
    assert promoted["data"]["lead"]["email"] == JANE
    found = lead(stack, email=JANE)
    assert (found["traits"], found["withheld"]) == ({"company": "Acme"}, {})
    all_is_right(run)
    again = said(run("correct", "--detector", "crawlerdetect", "--json"))
    assert again["changed_entries"] == 0


def test_what_was_paid_wrongly_is_taken_back_with_the_traits_that_only_it_told(
    stack: LocalStack, run: Run
) -> None:
    act(stack, JANE, "form", minutes=1, context={"traits": {"company": "Bots", "phone": "1"}})
    act(stack, JANE, "page", minutes=2, context={"traits": {"company": "Acme"}})
    act(stack, JOE, "form", bot=True)
    said(run("correct", "--detector", "crawlerdetect", "--json"))
    assert counters(stack, JOE)["seen:form"] == 1

    until = "2026-03-02T12:02:00Z"
    named = ("correct", "--detector", "farm", "--lead", JANE, "--take-back", "--until", until)
    assert said(run(*named, "--json"))["changed_entries"] == 1
    said(run("correct", "--detector", "crawlerdetect", "--take-back", "--json"))

    assert (
        counters(stack, JANE).get("seen:form", 0) == counters(stack, JOE).get("seen:form", 0) == 0
    )
    found = lead(stack, email=JANE)
    assert (found["traits"], found["withheld"]) == ({"company": "Acme"}, {"farm": 1})
    assert lead(stack, email=JOE)["withheld"] == {"crawlerdetect": 1}
    all_is_right(run)

    said(run("correct", "--detector", "farm", "--json"))
    assert lead(stack, email=JANE)["traits"] == {"company": "Acme", "phone": "1"}
    assert counters(stack, JANE)["seen:form"] == 1
    all_is_right(run)


def test_what_a_lead_tells_during_a_correction_is_not_forgotten(
    stack: LocalStack, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    act(stack, JANE, "page", minutes=1, context={"traits": {"company": "Acme"}})
    act(stack, JANE, "page", minutes=2, context={"traits": {"company": "Bots"}})
    read, reads = Ledger.entries, count()

    def entries(ledger: Ledger, *asked: Any) -> Iterator[Entry]:
        yield from read(ledger, *asked)
        if next(reads) == 1:
            act(stack, JANE, "page", minutes=3, context={"traits": {"company": "ACME Inc."}})

    monkeypatch.setattr(Ledger, "entries", entries)
    named = ("correct", "--detector", "farm", "--lead", JANE, "--take-back")
    said(run(*named, "--since", "2026-03-02T12:02:00Z", "--json"))

    assert lead(stack, email=JANE)["traits"] == {"company": "ACME Inc."}
    all_is_right(run)


def test_a_dry_run_counts_and_writes_nothing(stack: LocalStack, run: Run) -> None:
    act(stack, JANE, "demo", bot=True)
    stack.pump()
    before = stack.items("")
    outcome = said(run("correct", "--detector", "crawlerdetect", "--dry-run", "--json"))
    assert (outcome["changed_entries"], outcome["promotions"]) == (1, 1)
    assert stack.items("") == before


def test_it_stops_before_one_promotion_too_many_and_goes_on_from_there(
    stack: LocalStack, run: Run
) -> None:
    for number in range(3):
        act(stack, f"{number}@example.com", "demo", bot=True)
    stack.pump()
    named = ("correct", "--detector", "crawlerdetect", "--most-promotions", "2")
    assert "stopped before one promotion too many" in run(*named).stdout
    stack.pump()
    assert len(stack.promoted()) == 2
    assert "1 entries are paid by model 1" in run(*named).stdout
    stack.pump()
    assert len(stack.promoted()) == 3
    all_is_right(run)


def test_a_rescore_pays_nothing_that_is_withheld(
    stack: LocalStack, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act(stack, JANE, "form", bot=True)
    act(stack, JANE, "form")
    text = settings.MODEL_FILE.read_text(encoding="utf-8").replace("number = 1\n", "number = 2\n")
    (tmp_path / "next.toml").write_text(text.replace("points = 40\n", "points = 50\n"))
    monkeypatch.setattr(cli, "MODEL_FILE", tmp_path / "next.toml")

    assert said(run("rescore", "--json"))["changed_entries"] == 1

    assert counters(stack, JANE)["seen:form"] == 1
    all_is_right(run)


def test_explain_says_what_is_withheld(stack: LocalStack, run: Run) -> None:
    act(stack, JANE, "form", bot=True)
    shown = run("explain", JANE).stdout
    assert "all that it did is withheld" in shown
    assert "1 interactions withheld by crawlerdetect: they pay nothing" in shown


@pytest.mark.parametrize("detector", ["", "Crawler Detect", "x" * 41])
def test_a_detector_has_a_name(stack: LocalStack, run: Run, detector: str) -> None:
    assert stack.items("LEAD") == []
    assert run("correct", "--detector", detector).exit_code == 2


# Any history of bots and people, of corrections and of a model that changes meanwhile

LIMITED = """
[[rules]]
name = "visit"
on = "Page Viewed"
points = 3
dimension = "engagement"
limit = { times = 2, per = "day" }
[[rules]]
name = "click-week"
on = "Email Link Clicked"
points = 4
dimension = "intent"
limit = { points = 10, per = "week" }
"""
TEXT = (Path(__file__).parents[1] / "model.toml").read_text(encoding="utf-8") + LIMITED
MODELS = [
    Model.parse(TEXT),
    Model.parse(
        TEXT.replace("number = 1\n", "number = 2\n")
        .replace("times = 2", "times = 3")
        .replace("points = 3\n", "points = 5\n")
    ),
]
HAPPENS = st.one_of(
    st.tuples(st.sampled_from(["page", "click"]), st.booleans(), st.sampled_from("abc")),
    st.tuples(st.just("correct"), st.booleans(), st.sampled_from(["all", "lead", "late"])),
    st.tuples(st.just("rescore"), st.booleans(), st.just("all")),
)


@pytest.fixture(scope="module")
def limited() -> Iterator[LocalStack]:
    with stack_with(TEXT) as stack:
        yield stack


@examples(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(happens=st.lists(HAPPENS, min_size=3, max_size=14))
def test_whatever_is_corrected_counters_limits_and_traits_are_what_the_ledger_says(
    limited: LocalStack, happens: list[tuple[str, bool, str]]
) -> None:
    stack, email, newest = limited, f"lead-{next(NEW)}@example.com", MODELS[0]
    for item in stack.items(""):
        if item["pk"]["S"] != "KEYS":
            stack.dynamodb.delete_item(
                TableName=stack.table_name, Key={"pk": item["pk"], "sk": item["sk"]}
            )
    stack.load_functions()
    store = Store(stack.dynamodb, stack.table_name)
    act(stack, email, "page", context={"traits": {"company": "first"}})
    for minute, (what, flag, which) in enumerate(happens):
        if what == "rescore":
            newest = MODELS[1]
            rescore(store, newest, lambda: NOON, most_promotions=99, entries_per_second=1e6)
        elif what == "correct":
            (one,) = store.leads(1000).items
            correction = Correction(
                "crawlerdetect",
                take_back=flag,
                lead=None if which == "all" else one,
                since=NOON + timedelta(minutes=5) if which == "late" else None,
            )
            correct(store, newest, correction, lambda: NOON, most_promotions=99)
        else:
            context = {"traits": {"company": which}, "campaign": {"name": f"at {minute}"}}
            act(stack, email, what, bot=flag, minutes=minute, context=context)

    report = verify(store, {model.number: model for model in MODELS}, NOON)
    assert (report.differences, report.leads) == ([], 1)
    (one,) = store.leads(1000).items
    told = scoring.claims(store.ledger.entries(one.id))
    item = plain(lead_item(stack, email))
    assert told == {
        name: (value["claim"], value["value"])
        for name, value in item.items()
        if name.startswith(("trait:", "touch:"))
    }
