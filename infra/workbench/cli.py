"""The `mqlambda` command: a stack's table, for people and for programs (`--json`)."""

import collections
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from typer.core import TyperGroup

from infra.workbench import explaining, linting, rescoring, verifying
from infra.workbench.connection import LOCAL_URL, Connection, NoConnection, explained
from leadscoring import answers
from leadscoring.lint.lock import LockError
from leadscoring.model import Model, ModelError
from leadscoring.settings import MODEL_FILE
from leadscoring.store import Store
from leadscoring.table import Busy

# What a person can do something about: told in one line, without a traceback.
_TOLD = (
    *(NoConnection, LockError, ModelError, Busy),
    *(explaining.UnknownLead, rescoring.Backward),
)

# What is shown may hold what strangers sent: it is printed as it is.
_console = partial(Console, markup=False, emoji=False, highlight=False)


@dataclass
class Workbench:
    """What all commands share: the options before a command's name, and how to answer."""

    local: bool
    url: str
    stack: str | None
    json: bool

    def connection(self) -> Connection:
        """Return the way to the table that the options name.

        Raises:
            NoConnection: they name none or two, or it can't be reached.
        """
        if self.local and self.stack:
            raise NoConnection("`--local` and `--stack` exclude each other: give one of them")
        if self.local:
            return Connection.local(self.url)
        if self.stack:
            return Connection.to_stack(self.stack)
        raise NoConnection(
            "which table? Give `--local` for the stack that `make run` serves, or `--stack NAME` "
            "for a deployed one, before the command"
        )

    def store(self) -> Store:
        """Return the store of the table that the options name; raise `NoConnection`."""
        connection = self.connection()
        return Store(connection.dynamodb, connection.table_name)

    @contextmanager
    def counting(self, things: str) -> Iterator[Callable[[], None]]:
        """Show a person how many things are done: what this gives is called for each."""
        columns = SpinnerColumn(), TextColumn(f"{{task.completed:,}} {things}")
        console = _console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=self.json) as progress:
            task = progress.add_task(things, total=None)
            yield lambda: progress.advance(task)

    def say(self, *shown: RenderableType) -> None:
        """Print for people; with `--json`, print nothing."""
        if not self.json:
            _console().print(*shown)

    def print_json(self, document: object) -> None:
        """Print for programs; without `--json`, print nothing."""
        if self.json:
            print(answers.as_json(document, indent=2))


class Commands(TyperGroup):
    """Takes `--json` before and after a command's name, and tells a failure in one line."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for option in [copy.copy(param) for param in self.params if param.name == "json"]:
            option.expose_value = False
            for command in self.commands.values():
                command.params.append(option)

    def invoke(self, ctx: Any) -> Any:
        try:
            with explained():
                return super().invoke(ctx)
        except _TOLD as error:
            _console(stderr=True, soft_wrap=True).print(str(error), style="red")
            raise typer.Exit(2) from error


app = typer.Typer(cls=Commands, add_completion=False, pretty_exceptions_show_locals=False)


def _json_too(ctx: typer.Context, asked: bool) -> bool:  # noqa: FBT001 (typer's way)
    if asked and ctx.obj:
        ctx.obj.json = True
    return asked


@app.callback()
def options(
    ctx: typer.Context,
    *,
    local: Annotated[
        bool, typer.Option("--local", help="The stack that `make run` serves.")
    ] = False,
    url: Annotated[
        str, typer.Option(envvar="MQLAMBDA_URL", help="Where `--local` finds it.")
    ] = LOCAL_URL,
    stack: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", envvar="MQLAMBDA_STACK", help="A stack deployed by `sam deploy`."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", callback=_json_too, help="Answer in JSON, for programs.")
    ] = False,
) -> None:
    """Work on the table of one stack, with your own AWS credentials."""
    source = ctx.get_parameter_source("stack")
    if local and source and source.name == "ENVIRONMENT":
        stack = None  # what was typed counts for more
    ctx.obj = Workbench(local, url, stack, json)


@app.command()
def status(ctx: typer.Context) -> None:
    """Count the leads, the interactions, and the messages not published yet.

    This reads the whole table once: half a read unit for every 4 kB, some 2 US cents a GB.
    """
    workbench: Workbench = ctx.obj
    connection = workbench.connection()
    counts: collections.Counter[str] = collections.Counter()
    pages = connection.dynamodb.get_paginator("scan").paginate(
        TableName=connection.table_name, ProjectionExpression="sk"
    )
    for page in pages:
        counts.update(item["sk"]["S"].partition("#")[0] for item in page["Items"])
    found: dict[str, str | int] = {
        "table_name": connection.table_name,
        "endpoint": connection.dynamodb.meta.endpoint_url,
        "leads": counts["LEAD"],
        "interactions": counts["INTERACTION"],
        "pending": counts["OUTBOX"],
    }
    workbench.print_json(found)
    table = Table.grid(padding=(0, 2))
    for name, value in found.items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value)
    workbench.say(table)


@app.command()
def lint(
    ctx: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)] = MODEL_FILE,
    record: Annotated[
        bool, typer.Option("--record", help="Note in the lock what the model's number pays.")
    ] = False,
) -> None:
    """Say what is wrong with the model, or probably not meant, and what it costs."""
    workbench: Workbench = ctx.obj
    if record:
        linting.record(file)
    found = linting.report(file)
    workbench.print_json(linting.answer(found))
    if not workbench.json:
        # A finding keeps its line, so that editors and terminals can jump to its place.
        _console(soft_wrap=True).print(linting.findings(found))
    if found.model:
        workbench.say(linting.prices(found.model))
    raise typer.Exit(found.has_errors)


@app.command()
def explain(
    ctx: typer.Context,
    who: Annotated[str, typer.Argument(help="An e-mail, a user id, an anonymous id, a lead's id.")],
    *,
    at: Annotated[
        str | None, typer.Option(help="An instant past or future, as 2026-03-02T12:00:00Z.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(exists=True, help="Pay the ledger by this model instead.")
    ] = None,
) -> None:
    """Say why a lead has its score: every reason, what was taken, and what that adds up to."""
    workbench: Workbench = ctx.obj
    store = workbench.store()
    lead, why = explaining.explain(
        store,
        explaining.find(store, who),
        Model.load(model or MODEL_FILE),
        _now(),
        at=_instant(at),
        anew=model is not None,
    )
    workbench.print_json(explaining.answer(lead, why))
    workbench.say(explaining.shown(lead, why))


@app.command()
def rescore(
    ctx: typer.Context,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count who would change; write nothing.")
    ] = False,
    most_promotions: Annotated[
        int, typer.Option(min=0, help="Stop before more leads than these become MQLs.")
    ] = 25,
    entries_per_second: Annotated[
        int, typer.Option(min=1, help="Go no faster through the ledgers than this.")
    ] = 500,
) -> None:
    """Pay every ledger again by functions/model.toml, from where the last run of it stopped.

    Deploy the model first: what visitors do meanwhile is paid by the functions. This reads the
    whole table once, and writes two units for each entry that is paid otherwise.
    """
    workbench: Workbench = ctx.obj
    store, model = workbench.store(), Model.load(MODEL_FILE)
    with workbench.counting("leads") as count:
        if dry_run:
            outcome = rescoring.preview(store, model, _now, lambda _: count())
        else:
            outcome = rescoring.rescore(
                store,
                model,
                _now,
                most_promotions=most_promotions,
                entries_per_second=entries_per_second,
                progress=lambda _: count(),
            )
    workbench.print_json({"model": model.number, "dry_run": dry_run, **asdict(outcome)})
    workbench.say(rescoring.shown(outcome, model, dry_run=dry_run))


@app.command()
def verify(
    ctx: typer.Context,
    *,
    model: Annotated[
        list[Path] | None, typer.Option(exists=True, help="An older model's file; repeatable.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Bring what differs to what the ledger says.")
    ] = False,
) -> None:
    """Prove for every lead that its counters are its ledger's sum, and its pay its model's.

    This reads the whole table, each lead twice. It exits with 1 if a difference is left.
    """
    workbench: Workbench = ctx.obj
    loaded = [Model.load(path) for path in (*(model or ()), MODEL_FILE)]
    models = {one.number: one for one in loaded}
    with workbench.counting("leads") as count:
        report = verifying.verify(
            workbench.store(), models, _now(), repair=repair, progress=lambda _: count()
        )
    workbench.print_json(report)
    workbench.say(verifying.shown(report))
    raise typer.Exit(bool(report.differences))


def _now() -> datetime:
    return datetime.now(UTC)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("an instant is ISO 8601, as 2026-03-02T12:00:00Z") from None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


if __name__ == "__main__":
    app()
