"""`mqlambda import`: files as people have them, into the ledger of a whole stack."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from infra.workbench import cli, importing
from infra.workbench.columns import Columns, Wording
from infra.workbench.history import History
from leadscoring import settings
from leadscoring.interaction import to_text
from leadscoring.ledger import Ledger
from leadscoring.model import Model
from leadscoring.table import Busy
from tests.flow.acts import ACTS, counters, lead_item, ledger_sums
from tests.flow.asking import ledger

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JANE, JOE, IDA = "jane@example.com", "joe@example.com", "ida@example.com"

type Import = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Import:
    """Run the command against the stack in this process, at noon."""
    monkeypatch.setattr(cli, "MODEL_FILE", settings.MODEL_FILE)
    monkeypatch.setattr(cli, "_now", lambda: NOON)

    def run(file: Path, *arguments: str) -> Result:
        with clock_at(NOON):
            return CliRunner().invoke(cli.app, ["--stack", "data", "import", str(file), *arguments])

    return run


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history.csv"


def days_ago(days: float) -> str:
    return to_text(NOON - timedelta(days=days))


def answer(result: Result, exit_code: int = 0) -> Any:
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def told(result: Result) -> str:
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    return " ".join(result.stderr.replace("│", "").split())


def by_key(stack: LocalStack) -> dict[tuple[str, str], Any]:
    return {(item["pk"]["S"], item["sk"]["S"]): item for item in stack.items("")}


def rejected(file: Path) -> list[tuple[int, str]]:
    with file.with_name(f"{file.name}.rejected.csv").open(encoding="utf-8") as report:
        return [(int(row["line"]), row["field"]) for row in csv.DictReader(report)]


def written(file: Path, *messages: dict[str, Any] | str) -> Path:
    lines = (line if isinstance(line, str) else json.dumps(line) for line in messages)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def act(who: str, name: str, days: float, **more: Any) -> dict[str, Any]:
    return {**ACTS[name], "userId": who, "timestamp": days_ago(days), **more}


# What a file says


def test_a_table_becomes_what_the_leads_did(stack: LocalStack, run: Import, history: Path) -> None:
    history.write_text(
        "type,event,email,timestamp,messageId,properties.kind,traits.company,traits.employees\n"
        f"track,Content Downloaded,{JANE},{days_ago(30)},m-1,whitepaper,Acme,250\n"
        f",Demo Requested,{JANE},{days_ago(1)},,,,\n"
        f"group,,{JOE},,,,Globex,12\n",
        encoding="utf-8",
    )
    done = answer(run(history, "--json"))

    assert (done["records"], done["interactions"], done["rejected"]) == (3, 3, 0)
    entries = {entry["name"]: entry for entry in ledger(stack, email=JANE)}
    assert entries["Content Downloaded"]["message_id"] == "m-1"
    assert entries["Content Downloaded"]["occurred_at"] == days_ago(30)
    assert {entry["trust"] for entry in entries.values()} == {"trusted"}
    assert json.loads(lead_item(stack, JANE)["trait:employees"]["M"]["value"]["S"]) == 250
    assert counters(stack, JANE) == ledger_sums(stack, JANE)


def test_columns_are_renamed_and_rows_say_what_they_leave_out(
    stack: LocalStack, run: Import, history: Path
) -> None:
    history.write_text(
        f"E-mail address;Join time;Notes\r\n{JANE};{days_ago(3)};shy\r\n", encoding="utf-8"
    )
    shown = run(
        history,
        *("--map", "E-mail address=email", "--map", "Join time=timestamp"),
        *("--set", "event=Webinar Attended"),
    )
    assert shown.exit_code == 0, shown.output
    assert "columns that mean nothing to us: Notes" in shown.stdout
    assert [entry["name"] for entry in ledger(stack, email=JANE)] == ["Webinar Attended"]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("45", 45),
        ("-1.5", -1.5),
        ("TRUE", True),
        ("false", False),
        ("007", "007"),
        ("+49 30 1234", "+49 30 1234"),
        ("1e5", "1e5"),
        ("1,5", "1,5"),
        ("٣", "٣"),
        ("4930123456789012345", "4930123456789012345"),
        ("nan", "nan"),
        (" padded ", "padded"),
    ],
)
def test_a_cell_is_a_number_where_json_would_write_it_so(cell: str, value: object) -> None:
    columns = Columns.of(["email", "traits.a", "properties.b.c", "context.d"], Wording())
    message = columns.message([JANE, cell, cell, cell])
    assert message["traits"] == {"a": value}
    assert message["properties"] == {"b": {"c": value}}
    assert message["context"]["d"] == cell.strip()
    assert type(message["traits"]["a"]) is type(value)

    as_text = Columns.of(["email", "traits.a"], Wording(texts=frozenset({"traits.a"})))
    assert as_text.message([JANE, cell])["traits"] == {"a": cell.strip()}


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.text("ab,;")),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_table_that_csv_writes_is_read_as_it_was_meant(
    rows: list[tuple[str, str]], delimiter: str, encoding: str, end: str
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(["email", "context.a", "context.b"])
    writer.writerows((JANE, *row) for row in rows)
    with scratch() as path:
        path.write_bytes(text.getvalue().encode(encoding))
        messages = [record.message for record in History.of(path, Wording()).records()]
    said = [message["context"] for message in messages if isinstance(message, dict)]
    expected = [
        {name: cell.strip() for name, cell in zip("ab", row, strict=True) if cell.strip()}
        for row in rows
    ]
    assert [{n: v for n, v in context.items() if n != "traits"} for context in said] == expected


def test_latin_1_is_told_and_read_when_it_is_called_so(
    stack: LocalStack, run: Import, history: Path
) -> None:
    rows = f"type,email,traits.company\nidentify,{JANE},Acme\nidentify,{JOE},Müller\n"
    history.write_bytes(rows.encode("cp1252"))

    assert "is not utf-8 in line 3" in told(run(history))
    assert stack.items("LEAD") == []

    answer(run(history, "--encoding", "cp1252", "--json"))
    assert "Müller" in lead_item(stack, JOE)["trait:company"]["M"]["value"]["S"].encode().decode(
        "unicode_escape"
    )


@pytest.mark.parametrize(
    ("content", "options", "why"),
    [
        (b"", [], "is empty"),
        (b"\n \n", [], "is empty"),
        (b'[{"type": "track"}]', [], "one message a line"),
        ("email\njane@example.com\n".encode("utf-16-le"), [], "--encoding utf-16-le"),
        (b"email\n", ["--encoding", "klingon"], "no encoding 'klingon'"),
        (b"Name,Company\nJane,Acme\n", [], "no column names the lead"),
        (b"email,E-Mail\n", ["--map", "E-Mail=email"], "two columns are email"),
        (b"email\n", ["--map", "Mail=email"], "there is no column 'Mail'"),
        (b"email,A\n", ["--map", "A=colour"], "'colour' is none of ours"),
        (b"email,traits.a,traits.a.b\n", [], "traits.a can't be a value and hold"),
        (b"email\n", ["--map", "email"], "is not NAME=VALUE"),
        (b'{"type": "track"}\n', ["--set", "type=page"], "only a table's columns have names"),
        (b'"email\n', [], "the first line has to name the columns"),
    ],
)
def test_what_is_no_history_is_told_before_anything_is_written(
    stack: LocalStack, run: Import, history: Path, content: bytes, options: list[str], why: str
) -> None:
    history.write_bytes(content)
    assert why in told(run(history, *options))
    assert list(history.parent.iterdir()) == [history]


def test_bad_lines_are_listed_and_the_others_entered(
    stack: LocalStack, run: Import, history: Path
) -> None:
    told_late = to_text(NOON + timedelta(days=1))
    written(
        history,
        act(JANE, "form", 1),
        "no JSON",
        {**ACTS["form"], "timestamp": days_ago(1)},
        "",
        {**ACTS["form"], "userId": JANE},
        act(JANE, "form", 731),
        act(JANE, "form", 1, timestamp=told_late),
        act(JANE, "form", 1, properties={"title": "x" * 32_000}),
        {"type": "identify", "userId": JANE, "traits": {"company": "Acme"}},
    )
    done = answer(run(history, "--json"), exit_code=1)

    assert (done["interactions"], done["rejected"]) == (2, 6)
    assert rejected(history) == [
        (2, "body"),
        (3, "userId"),
        (5, "timestamp"),
        (6, "timestamp"),
        (7, "timestamp"),
        (8, "body"),
    ]
    assert done["report"] == f"{history}.rejected.csv"
    assert len(ledger(stack, email=JANE)) == 2


def test_bad_rows_are_listed_by_the_line_they_begin_on(
    stack: LocalStack, run: Import, history: Path
) -> None:
    history.write_text(
        "event,email,timestamp,properties.title\n"
        f'Form Submitted,{JANE},{days_ago(1)},"two\nlines"\n'
        f"Form Submitted,jane,{days_ago(1)},\n"
        f"Form Submitted,{JANE},{days_ago(1)},,,\n"
        f'Form Submitted,{JANE},{days_ago(1)},"not "quoted\n'
        f"Form Submitted,{JANE},02.03.2026,\n"
        f"Form Submitted,{JANE},{days_ago(2)}\n",
        encoding="utf-8",
    )
    done = answer(run(history, "--json"), exit_code=1)
    assert (done["interactions"], done["rejected"]) == (2, 4)
    assert rejected(history) == [(4, "email"), (5, "line"), (6, "line"), (7, "timestamp")]


def test_an_archives_clock_is_left_alone(stack: LocalStack, run: Import, history: Path) -> None:
    sent = {"sentAt": days_ago(10), "originalTimestamp": days_ago(11), "receivedAt": days_ago(10)}
    written(history, act(JANE, "form", 10.5, **sent))
    answer(run(history, "--json"))
    assert [entry["occurred_at"] for entry in ledger(stack, email=JANE)] == [days_ago(10.5)]


# Counted once


def test_the_same_file_again_counts_nothing_twice(
    stack: LocalStack, run: Import, history: Path
) -> None:
    same = act(JANE, "page", 3)
    identify = {"type": "identify", "userId": JOE, "traits": {"company": "Acme"}}
    written(history, same, same, act(JANE, "page", 4), identify)

    first = answer(run(history, "--json"))
    before = by_key(stack)
    second = answer(run(history, "--json"))

    assert (first["interactions"], first["duplicates"]) == (3, 1)
    assert (second["interactions"], second["duplicates"]) == (0, 4)
    assert by_key(stack) == before
    assert list(history.parent.iterdir()) == [history]


def test_what_one_lead_did_is_one_transaction(
    stack: LocalStack, run: Import, history: Path
) -> None:
    written(history, *(act(who, "page", day) for day in range(1, 21) for who in (JANE, JOE)))
    answer(run(history, "--json"))
    assert [int(lead_item(stack, who)["revision"]["N"]) for who in (JANE, JOE)] == [1, 1]


@pytest.mark.parametrize("failure", [Busy("the table is busy"), KeyboardInterrupt()])
def test_the_same_command_goes_on_where_it_was_ended(
    stack: LocalStack,
    run: Import,
    history: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
) -> None:
    monkeypatch.setattr(importing, "WINDOW", 2)
    people = [f"lead-{number}@example.com" for number in range(7)]
    written(history, "{broken", *(act(who, "page", 1) for who in people), "{broken too")
    record, asked = Ledger.record, Counter[str]()

    def ending(self: Ledger, lead_id: str, *more: Any) -> Any:
        asked[lead_id] += 1
        if len(asked) == 4 and asked.total() == 4:
            raise failure
        return record(self, lead_id, *more)

    monkeypatch.setattr(Ledger, "record", ending)
    ended = run(history)
    assert ended.exit_code != 0
    left = history.with_name("history.csv.import.json")
    assert left.exists()
    with history.with_name("history.csv.rejected.csv").open("a") as report:
        report.write("9,invalid,body,reported and not yet noted\n")

    shown = run(history)
    assert "going on after line 4" in shown.stdout
    assert (shown.exit_code, left.exists()) == (1, False)
    assert rejected(history) == [(1, "body"), (9, "body")]
    # Only the window that was being written was written again.
    assert sorted(asked.values()) == [1] * 6 + [2]
    assert len(stack.items("INTERACTION#")) == len(people)


def test_a_file_that_changed_meanwhile_is_begun_anew(
    stack: LocalStack, run: Import, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "WINDOW", 1)
    written(history, act(JANE, "demo", 1), act(JOE, "demo", 1))
    assert answer(run(history, "--most-promotions", "1", "--json"), exit_code=1)["stopped"]

    written(history, act(IDA, "page", 1), act(JANE, "demo", 1))
    done = answer(run(history, "--json"))

    assert (done["records"], done["interactions"], done["duplicates"]) == (2, 1, 1)
    assert len(ledger(stack, email=IDA)) == 1


# Promotions


def test_it_stops_before_one_promotion_too_many_and_goes_on(
    stack: LocalStack, run: Import, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "WINDOW", 3)
    people = [f"lead-{number}@example.com" for number in range(5)]
    written(history, *(act(who, name, 1) for who in people for name in ("page", "demo")))

    first = answer(run(history, "--most-promotions", "2", "--json"), exit_code=1)
    with clock_at(NOON):
        stack.pump()
    assert (first["promotions"], first["stopped"]) == (2, True)
    assert len(stack.promoted()) == 2

    shown = run(history, "--most-promotions", "3")
    with clock_at(NOON):
        stack.pump()
    assert shown.exit_code == 0, shown.output
    assert "whoever subscribes hears of history" in " ".join(shown.stdout.split())
    assert len(stack.promoted()) == len(people)
    assert len(stack.items("INTERACTION#")) == 2 * len(people)


def test_only_those_count_whom_the_import_promotes(
    stack: LocalStack, run: Import, history: Path
) -> None:
    nobody = {**ACTS["demo"], "anonymousId": "a-1", "timestamp": days_ago(1)}
    written(history, act(JANE, "form", 600), nobody, act(JOE, "demo", 1))
    assert answer(run(history, "--json"))["promotions"] == 1

    written(history, act(JOE, "demo", 2), act(JANE, "form", 1), act(JANE, "webinar", 1))
    assert answer(run(history, "--json", "--most-promotions", "0"))["promotions"] == 0
    written(history, act(JANE, "form", 0.5), act(JANE, "form", 0.25))
    assert answer(run(history, "--json"))["promotions"] == 1


def test_a_dry_run_reads_all_and_enters_nothing(
    stack: LocalStack, run: Import, history: Path
) -> None:
    written(history, act(JANE, "demo", 1), "broken", act(JOE, "page", 1))
    before = stack.items("")

    shown = run(history, "--dry-run")

    assert (shown.exit_code, "2 could be entered" in shown.stdout) == (1, True)
    assert stack.items("") == before
    names = {path.name for path in history.parent.iterdir()}
    assert names == {"history.csv", "history.csv.dry-run.rejected.csv"}


def test_a_dry_run_needs_no_table(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "MODEL_FILE", settings.MODEL_FILE)
    recent = to_text(datetime.now(UTC) - timedelta(days=1))
    written(history, act(JANE, "page", 1, timestamp=recent))
    result = CliRunner().invoke(cli.app, ["import", str(history), "--dry-run", "--json"])
    assert answer(result)["interactions"] == 1


def test_where_no_notes_can_be_written_it_is_told(
    stack: LocalStack, run: Import, history: Path
) -> None:
    written(history, act(JANE, "page", 1))
    history.with_name("history.csv.rejected.csv").mkdir()
    assert "no notes can be written as" in told(run(history))
    assert stack.items("LEAD") == []


# Size


def test_a_long_file_is_never_in_memory_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    def most_memory(messages: int) -> int:
        line = json.dumps(act(JANE, "page", 1)) + "\n"
        path = tmp_path / f"{messages}.jsonl"
        path.write_text(line * messages, encoding="utf-8")
        tracemalloc.start()
        try:
            looked_through = History.of(path, Wording())
            assert sum(1 for _ in looked_through.records()) == messages
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most_memory(10)
    assert most_memory(60_000) < 2 * most_memory(20_000)


def scratch() -> Any:
    """Return a file that is gone after the block."""
    from contextlib import contextmanager
    from tempfile import TemporaryDirectory

    @contextmanager
    def file() -> Any:
        with TemporaryDirectory() as folder:
            yield Path(folder) / "history.csv"

    return file()


def test_the_models_retention_is_how_far_a_history_goes_back(
    stack: LocalStack, run: Import, history: Path
) -> None:
    days = Model.load(settings.MODEL_FILE).retention_days
    written(history, act(JANE, "page", days - 0.01), act(JANE, "page", days + 0.01))
    assert answer(run(history, "--json"), exit_code=1)["interactions"] == 1
    assert rejected(history) == [(2, "timestamp")]
