"""The `mqlambda` command: a stack's table, for people and for programs (`--json`)."""

import collections
import copy
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from time import sleep
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperGroup

from infra.workbench import (
    correcting,
    doctoring,
    explaining,
    forgetting,
    importing,
    keychain,
    linking,
    linting,
    rescoring,
    resending,
    subscribing,
    verifying,
)
from infra.workbench.columns import Wording
from infra.workbench.connection import LOCAL_URL, Connection, NoConnection, explained
from infra.workbench.doctoring import Examination, Result
from infra.workbench.history import History, Unreadable
from infra.workbench.journal import Journal, Unwritable
from infra.workbench.subscribing import Protocol
from infra.workbench.visitor import Visitor
from leadscoring import answers, exporting, notice
from leadscoring.faults import NAME
from leadscoring.forgetting import Forgetter
from leadscoring.interaction import normalise_email
from leadscoring.keys import KeyChangeError
from leadscoring.lint.lock import LockError
from leadscoring.model import Model, ModelError
from leadscoring.request import Invalid
from leadscoring.settings import MODEL_FILE, SNIPPET_FILE
from leadscoring.snippet import Snippet
from leadscoring.store import Store
from leadscoring.table import Busy

# What a person can do something about: told in one line, without a traceback.
_TOLD = (
    *(NoConnection, LockError, ModelError, Busy),
    *(explaining.UnknownLead, rescoring.Backward, Unreadable, Unwritable),
    *(KeyChangeError, linking.NotAnAddress, Invalid, subscribing.NoSubscription),
)

_FILTER = typer.Option(
    "--filter", metavar="NAME", help="A policy of docs/subscribers.md, or a file like one of them."
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
        return self.connection().store()

    def now(self) -> datetime:
        """Return what the clock tells."""
        return _now()

    @contextmanager
    def counting(self, things: str) -> Iterator[Callable[[], None]]:
        """Show a person how many things are done: what this gives is called for each."""
        columns = SpinnerColumn(), TextColumn(f"{{task.completed:,}} {things}")
        console = _console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=self.json) as progress:
            task = progress.add_task(things, total=None)
            yield lambda: progress.advance(task)

    @contextmanager
    def measuring(self, things: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a person how far it is: what this gives is told how many things are done."""
        counted = TextColumn(f"{{task.completed:,}} of {{task.total:,}} {things}")
        columns = counted, BarColumn(), TimeRemainingColumn()
        console = _console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=self.json) as progress:
            task = progress.add_task(things, total=total)
            yield lambda done: progress.update(task, completed=done)

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
            for command in _leaves(self):
                command.params.append(option)

    def invoke(self, ctx: Any) -> Any:
        try:
            with explained():
                return super().invoke(ctx)
        except _TOLD as error:
            _console(stderr=True, soft_wrap=True).print(str(error), style="red")
            raise typer.Exit(2) from error


def _leaves(group: TyperGroup) -> Iterator[Any]:
    """Return the commands of a group and of the groups in it."""
    for command in group.commands.values():
        yield from _leaves(command) if isinstance(command, TyperGroup) else [command]


app = typer.Typer(cls=Commands, add_completion=False, pretty_exceptions_show_locals=False)
app.add_typer(keychain.app, name="keys")


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
    done = f"paid otherwise by model {model.number}"
    workbench.say(rescoring.shown(outcome, done, dry_run=dry_run))


@app.command()
def correct(
    ctx: typer.Context,
    *,
    detector: Annotated[str, typer.Option(help="Whose doubts: crawlerdetect, speed, honeypot, …")],
    lead: Annotated[
        str | None, typer.Option(metavar="WHO", help="Of this lead alone: named as in `explain`.")
    ] = None,
    take_back: Annotated[
        bool,
        typer.Option("--take-back", help="Withhold again; with --lead also what nobody doubted."),
    ] = False,
    since: Annotated[str | None, typer.Option(help="Only what arrived from then on.")] = None,
    until: Annotated[str | None, typer.Option(help="Only what arrived before.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count who would change; write nothing.")
    ] = False,
    most_promotions: Annotated[
        int, typer.Option(min=0, help="Stop before more leads than these become MQLs.")
    ] = 25,
) -> None:
    """Pay what a detector withheld, as if it had not, or take back what it should have.

    It is paid by functions/model.toml within its limits, and leads move as they should have. Traits
    follow what remains. Without --lead this reads the whole table once.
    """
    workbench: Workbench = ctx.obj
    if not re.match(NAME, detector):
        raise typer.BadParameter(f"{detector!r} is no detector's name")
    store, model = workbench.store(), Model.load(MODEL_FILE)
    correction = correcting.Correction(
        detector,
        take_back,
        explaining.find(store, lead) if lead else None,
        _instant(since),
        _instant(until),
    )
    with workbench.counting("leads") as count:
        outcome = correcting.correct(
            store,
            model,
            correction,
            _now,
            most_promotions=most_promotions,
            dry_run=dry_run,
            progress=lambda _: count(),
        )
    workbench.print_json({"detector": detector, "dry_run": dry_run, **asdict(outcome)})
    done = f"withheld by {detector}" if take_back else f"paid by model {model.number}"
    workbench.say(rescoring.shown(outcome, done, dry_run=dry_run))


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


@app.command(name="import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    *,
    renamed: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="THEIRS=OURS", help="What a column is to us; repeatable."),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OURS=VALUE", help="What a row means that does not say it."),
    ] = None,
    texts: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="COLUMN", help="A column whose numbers are text."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="If it is not UTF-8 and does not say so itself.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read it all and say what is wrong; enter nothing.")
    ] = False,
    most_promotions: Annotated[
        int, typer.Option(min=0, help="Stop before more leads than these become MQLs.")
    ] = 25,
) -> None:
    """Enter a history into the ledger, from CSV or JSON lines, as a server's word.

    It goes on where the last run stopped, and counts nothing twice. It exits with 1 where not all
    of the file could be entered.
    """
    workbench: Workbench = ctx.obj
    model = Model.load(MODEL_FILE)
    wording = Wording(
        renamed=dict(_pair(text, text.rpartition("=")) for text in renamed or ()),
        given=dict(_pair(text, text.partition("=")) for text in given or ()),
        texts=frozenset(texts or ()),
    )
    connection = None if dry_run else workbench.connection()
    history = History.of(file, wording, encoding)
    entering, into = None, ""
    if connection:
        into = connection.table_name
        entering = importing.Entering(
            connection.store(), model, connection.sender(), most_promotions
        )
    journal = Journal.beside(file, history.key(into), dry_run=dry_run)
    workbench.say(importing.foreword(history, journal, most_promotions))
    with workbench.measuring("lines", history.lines) as count:
        outcome = importing.import_history(
            history, entering, model, _now, journal, lambda outcome: count(outcome.line)
        )
    report = str(journal.report) if outcome.rejected else None
    workbench.print_json({**asdict(outcome), "dry_run": dry_run, "report": report})
    workbench.say(importing.shown(outcome, journal))
    raise typer.Exit(bool(outcome.rejected or outcome.stopped))


@app.command()
def doctor(
    ctx: typer.Context,
    url: Annotated[
        str | None, typer.Argument(help="Where the API answers, if not where the stack says.")
    ] = None,
    *,
    origin: Annotated[
        str | None, typer.Option(help="The website whose pages call: https://www.example.com.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="A write key; else the table's public one.")] = (
        None
    ),
    form: Annotated[str | None, typer.Option(help="A form of the model; else its first.")] = None,
    email: Annotated[
        str, typer.Option(help="Whom to visit as; each check adds a part behind a `+`.")
    ] = "doctor@example.com",
    event: Annotated[str, typer.Option(help="What makes an MQL.")] = "Demo Requested",
    promotion: Annotated[
        bool, typer.Option("--promotion/--no-promotion", help="Have a test lead promoted.")
    ] = True,
    wait: Annotated[float, typer.Option(min=0, help="So many seconds a promotion may take.")] = 60,
) -> None:
    """Visit a stack as a web page does, and say what works, what not and why, what is unseen.

    With `--local` or `--stack` it reads in the ledger what no answer shows. It exits with 1 if
    something is wrong. Its test leads stay, and subscribers hear of the one that is promoted.
    """
    workbench: Workbench = ctx.obj
    model = Model.load(MODEL_FILE)
    connection = workbench.connection() if workbench.local or workbench.stack else None
    store = connection.store() if connection else None
    visit = Examination(
        visitor=Visitor(
            _web_address(url or (connection and connection.api_url) or ""),
            origin and _web_address(origin),
        ),
        key=key or (store.keys().public if store else ""),
        model=model,
        form=form or doctoring.form_to_fill_in(model),
        email=_email(email),
        tag=secrets.token_hex(3),
        event=event if promotion else None,
        store=store,
        now=_now,
        wait_seconds=wait,
    )
    if not visit.key:
        raise typer.BadParameter("which key? Give `--key`, or the table by `--local` or `--stack`")
    workbench.say(doctoring.foreword(visit))
    with workbench.counting("checks") as count:
        findings = list(doctoring.examine(visit, count))
    workbench.print_json(doctoring.answer(visit, findings))
    workbench.say(doctoring.shown(findings))
    raise typer.Exit(any(finding.result is Result.BAD for finding in findings))


def _web_address(text: str) -> str:
    try:
        return doctoring.web_address(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _email(text: str) -> str:
    try:
        return normalise_email(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is {error}") from None


def _pair(text: str, parts: tuple[str, str, str]) -> tuple[str, str]:
    name, _, value = parts
    if not name or not value:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value


@app.command()
def link(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(help="The web address that the link leads to.")],
    emails: Annotated[
        list[str], typer.Argument(help="Who gets it; `-` reads addresses from standard input.")
    ],
    *,
    campaign: Annotated[str, typer.Option(help="The mailing's name, as the ledger will show it.")],
    source: Annotated[str, typer.Option(help="The campaign's source, as `newsletter`.")] = "",
    sent_at: Annotated[
        str | None,
        typer.Option(help="When the mailing goes out, as 2026-03-02T12:00:00Z; else now."),
    ] = None,
    valid_days: Annotated[
        int, typer.Option(min=1, max=3650, help="How long from then the link leads there.")
    ] = 90,
    base_url: Annotated[
        str | None, typer.Option(help="Where the API answers, if not where the stack says.")
    ] = None,
) -> None:
    """Make a signed link for each e-mail address: who follows it has clicked in that mailing.

    A link says which lead it is for, by the lead's id; no address stands in it.
    """
    workbench: Workbench = ctx.obj
    connection = workbench.connection()
    if (url := base_url or connection.api_url) is None:
        raise NoConnection("the stack does not say where its API answers: give `--base-url`")
    now = _now()
    keys = connection.store().signing_keys(now)
    mailing = linking.Mailing(url, target, campaign, source, _instant(sent_at) or now, valid_days)
    made = linking.make(mailing, linking.readers(emails), keys)
    workbench.print_json([asdict(one) for one in made])
    if not workbench.json:
        linking.write_csv(made)


@app.command()
def snippet(
    ctx: typer.Context,
    url: Annotated[
        str | None, typer.Argument(help="Where the API answers, if not where the stack says.")
    ] = None,
) -> None:
    """Print the script tag for your pages: lead.js as it is here, held to its very bytes."""
    workbench: Workbench = ctx.obj
    connection = workbench.connection()
    address = _web_address(url or connection.api_url or "")
    tag = Snippet.load(SNIPPET_FILE).tag(address, connection.store().keys().public)
    workbench.print_json({"tag": tag})
    if not workbench.json:
        _console(soft_wrap=True).print(tag)


@app.command()
def subscribe(
    ctx: typer.Context,
    protocol: Protocol,
    endpoint: Annotated[str, typer.Argument(help="An ARN, an https:// address, an e-mail.")],
    *,
    filter_: Annotated[str | None, _FILTER] = None,
) -> None:
    """Let somebody hear what becomes of leads: all of it, or what a filter lets through."""
    workbench: Workbench = ctx.obj
    topic = workbench.connection().topic()
    attributes = subscribing.filtered(filter_)
    arn = subscribing.subscribe(topic, protocol, endpoint, attributes)
    left = subscribing.what_is_left(topic, protocol, endpoint)
    workbench.print_json({"subscription": arn, "next": left})
    if not workbench.json:
        _console(soft_wrap=True).print(f"{arn}\n{left}")


@app.command()
def listen(
    ctx: typer.Context,
    *,
    filter_: Annotated[str | None, _FILTER] = None,
    most: Annotated[int | None, typer.Option(min=1, help="End after so many messages.")] = None,
) -> None:
    """Show what is published from now on, until Ctrl-C; with `--json` one message a line.

    It hears through a queue of its own, which is gone at the end.
    """
    workbench: Workbench = ctx.obj
    topic = workbench.connection().topic()
    with (
        suppress(KeyboardInterrupt),
        subscribing.listening(topic, subscribing.filtered(filter_)) as url,
    ):
        workbench.say("listening; Ctrl-C ends it")
        for message in islice(subscribing.heard(topic, url, _wait), most):
            said = message.model_dump_json() if workbench.json else f"\n{notice.text(message)}"
            _console(soft_wrap=True).print(said)


@app.command()
def resend(
    ctx: typer.Context,
    *,
    since: Annotated[str, typer.Option(help="What was published from then on.")],
    lead: Annotated[
        str | None, typer.Option(metavar="WHO", help="Of this lead alone: named as in `explain`.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be sent; send nothing.")
    ] = False,
) -> None:
    """Publish again what was published, for subscribers that lost it.

    The messages are made from the ledger, under the same ids, times and types: subscribers that
    have them recognise them. An erasure counts as of when it was asked for. Without --lead this
    reads the whole table twice.
    """
    workbench: Workbench = ctx.obj
    connection = workbench.connection()
    store, publisher = connection.store(), connection.topic().publisher()
    again = resending.messages(
        store,
        Model.load(MODEL_FILE),
        connection.sender(),
        _instant(since) or _now(),
        explaining.find(store, lead, even_erased=True) if lead else None,
    )
    counts: collections.Counter[str] = collections.Counter()
    with workbench.counting("messages") as count:
        for message in again:
            if not dry_run:
                publisher.publish(message)
            counts[message.type] += 1
            count()
    workbench.print_json({"dry_run": dry_run, "messages": counts})
    done = "would be sent" if dry_run else "were sent"
    workbench.say(f"{counts.total():,} messages {done} again, under their own ids")


def _wait() -> None:
    sleep(1)


@app.command()
def erase(
    ctx: typer.Context,
    who: Annotated[str, typer.Argument(help="An e-mail, a user id, an anonymous id, a lead's id.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether you mean it.")] = False,
) -> None:
    """Erase a lead and all that was merged into it, and say what remains where.

    There is no way back. The stack takes it away and tells its subscribers; run it again to see
    whether that is done.
    """
    workbench: Workbench = ctx.obj
    connection = workbench.connection()
    store = connection.store()
    lead = explaining.find(store, who, even_erased=True)
    if not yes:
        typer.confirm(f"Erase the lead {lead.id} for ever?", abort=True, err=True)
    forgetter = Forgetter(store, Model.load(MODEL_FILE), connection.sender())
    receipt = forgetter.erase(lead.id, _now())
    workbench.print_json(receipt)
    if receipt:
        workbench.say(forgetting.shown(receipt))


@app.command()
def export(
    ctx: typer.Context,
    who: Annotated[str, typer.Argument(help="An e-mail, a user id, an anonymous id, a lead's id.")],
) -> None:
    """Print all that is known of a lead as JSON, for the person it is about."""
    workbench: Workbench = ctx.obj
    store = workbench.store()
    print(answers.as_json(exporting.export(store, explaining.find(store, who)), indent=2))


@app.command()
def restore_check(
    ctx: typer.Context,
    table: Annotated[str, typer.Argument(help="The table that the restore made.")],
    *,
    messages: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Erasures as a subscriber heard them, one a line."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count who came back; write nothing.")
    ] = False,
) -> None:
    """Erase again from a restored table whom the restore has brought back.

    Who was erased since then, the stack's own table knows by its tombstones. Where that is lost,
    a subscriber's `mqlambda.lead.erased.v1` messages say it. It exits with 1 if anybody is left.
    """
    workbench: Workbench = ctx.obj
    connection = workbench.connection()
    restored = Store(connection.dynamodb, table)
    if messages:
        with messages.open(encoding="utf-8") as lines:
            erased = list(forgetting.in_messages(lines))
    else:
        erased = list(forgetting.in_table(connection.store()))
    with workbench.counting("erased ids") as count:
        outcome = forgetting.restore_check(
            erased,
            restored,
            Forgetter(restored, Model.load(MODEL_FILE), connection.sender()),
            _now(),
            dry_run=dry_run,
            progress=count,
        )
    workbench.print_json({"table": table, "dry_run": dry_run, **asdict(outcome)})
    workbench.say(forgetting.outcome_shown(outcome, dry_run=dry_run))
    raise typer.Exit(bool(outcome.left))


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
