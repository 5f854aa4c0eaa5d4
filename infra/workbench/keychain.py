"""`mqlambda keys`: the keys of a stack, made, shown without what is secret of them, revoked."""

import dataclasses
import re
import secrets
import sys
from base64 import b64encode
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from leadscoring import faults
from leadscoring.keys import KeyChangeError, Keys, digest_of

if TYPE_CHECKING:
    from infra.workbench.cli import Workbench

ID_CHARACTERS = 12
_SECRET_BYTES = 32
_SOON = "Every function knows of it within a minute."

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the keys of a stack.")


@app.command()
def new(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Option(help="Whose key it will be, as `crm`.")] = "",
) -> None:
    """Make a secret key for a server. It is shown this once: the table keeps its digest."""
    workbench: Workbench = ctx.obj
    key = f"sk_{secrets.token_urlsafe(_SECRET_BYTES)}"
    now = workbench.now()
    workbench.store().change_keys(lambda keys: keys.with_secret(key, name, now))
    _show_secret(workbench, key)


@app.command("list")
def list_keys(ctx: typer.Context) -> None:
    """List the keys, each by an id that tells nothing of it; only the public key is shown."""
    workbench: Workbench = ctx.obj
    keys = workbench.store().keys()
    listed = list(keys.listed())
    workbench.print_json(
        {"public": keys.public, "keys": [dataclasses.asdict(known) for known in listed]}
    )
    table = Table.grid(padding=(0, 2))
    table.add_row("public", keys.public)
    for known in listed:
        made_at = f"{known.made_at:%Y-%m-%d %H:%M}" if known.made_at else ""
        table.add_row(known.kind, known.id[:ID_CHARACTERS], made_at, known.name)
    workbench.say(table)


@app.command()
def revoke(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Its id in the list, or its start.")],
) -> None:
    """Revoke a key. What was signed or sent with it is refused within a minute."""
    workbench: Workbench = ctx.obj
    gone: set[str] = set()

    def without(keys: Keys) -> Keys:
        left = keys.without(key_id)
        gone.clear()
        gone.update({known.id for known in keys.listed()} - {known.id for known in left.listed()})
        return left

    workbench.store().change_keys(without)
    workbench.print_json({"revoked": sorted(gone)})
    workbench.say(f"Revoked. {_SOON}")


@app.command()
def rotate_links(ctx: typer.Context) -> None:
    """Sign new e-mail links with a new key. Old links stay good until their key is revoked."""
    workbench: Workbench = ctx.obj
    key, now = secrets.token_bytes(_SECRET_BYTES), workbench.now()
    keys = workbench.store().change_keys(lambda keys: keys.with_link_key(key, now))
    workbench.print_json({"id": keys.newest_link})
    workbench.say(f"New links are signed with the key {keys.newest_link}. {_SOON}")


@app.command()
def webhook(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(help="The source, as in /hooks/SOURCE.")],
    *,
    secret: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="The secret that the source has made; `-` asks for it. Else one is made here.",
        ),
    ] = None,
) -> None:
    """Keep a secret that a source of webhooks signs with: a second one, for the change to it."""
    workbench: Workbench = ctx.obj
    _check_name(source)
    made = f"whsec_{b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()}"
    given = _asked(f"The secret of {source}") if secret == "-" else secret  # noqa: S105
    kept = given if given is not None else made
    workbench.store().change_keys(lambda keys: keys.with_webhook(source, kept))
    if given is None:
        _show_secret(workbench, made)
    else:
        _kept(workbench, given)


@app.command()
def captcha(
    ctx: typer.Context,
    provider: Annotated[str, typer.Argument(help="The provider that the forms name.")],
) -> None:
    """Keep the secret of a captcha's provider, in place of the one before; it is asked for."""
    workbench: Workbench = ctx.obj
    _check_name(provider)
    secret = _asked(f"The secret of {provider}")
    workbench.store().change_keys(lambda keys: keys.with_captcha(provider, secret))
    _kept(workbench, secret)


def _check_name(name: str) -> None:
    if not re.fullmatch(faults.NAME, name):
        raise KeyChangeError(
            f"{name!r} is no name of a source or provider: those are as `typeform`"
        )


def _asked(what: str) -> str:
    """Return what a person types unseen, or what comes in; it stands in no shell history."""
    if sys.stdin.isatty():
        return str(typer.prompt(what, hide_input=True, err=True))
    if not (given := sys.stdin.readline().strip()):
        raise KeyChangeError("no secret came in: type it, or hand it over on standard input")
    return given


def _show_secret(workbench: "Workbench", secret: str) -> None:
    workbench.print_json({"secret": secret, "id": digest_of(secret)})
    if not workbench.json:
        print(secret)
        typer.echo(f"Keep it: it is not shown again. {_SOON}", err=True)


def _kept(workbench: "Workbench", secret: str) -> None:
    workbench.print_json({"id": digest_of(secret)})
    workbench.say(f"Kept as {digest_of(secret)[:ID_CHARACTERS]}. {_SOON}")
