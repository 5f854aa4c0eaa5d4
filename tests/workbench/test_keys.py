"""`mqlambda keys` and `mqlambda link`, and what the public door makes of them."""

import csv
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.local.engine import clock_at
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from infra.workbench import cli, keychain
from leadscoring.keys import Keys, digest_of
from leadscoring.store import Store
from tests.flow.asking import everything, ledger

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
JANE, JOE = "jane@example.com", "joe@example.com"
TARGET = "https://www.example.com/prices"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
API = ("--base-url", "https://api.example.com/")

type Run = Callable[..., Result]


@pytest.fixture
def run(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command against the stack in this process, at noon."""
    monkeypatch.setattr(cli, "_now", lambda: NOON)

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli.app, ["--stack", "data", *arguments], input=stdin)

    return run


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(result: Result) -> str:
    """Return the one line that the command said why it did not do it."""
    assert (result.stdout, result.exit_code) == ("", 2)
    (line,) = result.stderr.splitlines()
    return line


def keys_of(stack: LocalStack) -> Keys:
    return Store(stack.dynamodb, stack.table_name).keys()


def call(stack: LocalStack, key: str, at: datetime) -> int:
    """Return the status of a call that is sent with this key."""
    with clock_at(at):
        message = {"writeKey": key, "userId": JANE, "event": "Demo Requested"}
        return stack.request("POST", "/v1/track", message).status


def listed(run: Run, kind: str) -> list[dict[str, Any]]:
    return [known for known in said(run("keys", "list", "--json"))["keys"] if known["kind"] == kind]


# Secret keys


def test_a_new_key_is_good_within_a_minute_and_a_revoked_one_no_longer(
    stack: LocalStack, run: Run
) -> None:
    assert call(stack, SECRET_KEY, NOON) == 200

    key = said(run("keys", "new", "--name", "crm", "--json"))["secret"]

    assert [call(stack, k, NOON + MINUTE) for k in (SECRET_KEY, key, "sk_other")] == [200, 200, 401]
    assert run("keys", "revoke", digest_of(SECRET_KEY)[:6]).exit_code == 0
    assert call(stack, SECRET_KEY, NOON + 2 * MINUTE) == 401
    assert call(stack, key, NOON + 2 * MINUTE) == 200
    assert {entry["trust"] for entry in ledger(stack, email=JANE)} == {"trusted"}


def test_a_key_is_shown_once_and_the_table_keeps_its_digest(stack: LocalStack, run: Run) -> None:
    shown = run("keys", "new")
    (key,) = shown.stdout.splitlines()

    assert key.startswith("sk_")
    assert "not shown again" in shown.stderr
    assert key not in str(everything(stack))
    assert key not in run("keys", "list").stdout + run("keys", "list", "--json").stdout
    assert digest_of(key) in str(everything(stack))


def test_a_third_secret_key_is_refused_until_one_is_revoked(stack: LocalStack, run: Run) -> None:
    run("keys", "new")
    before = everything(stack)

    assert "revoke one of them first" in refusal(run("keys", "new"))
    assert everything(stack) == before
    run("keys", "revoke", digest_of(SECRET_KEY))
    assert run("keys", "new").exit_code == 0


@pytest.mark.parametrize("key_id", ["0000", "abc", "", "pk_l", "local-secret"])
def test_what_names_no_key_revokes_none(stack: LocalStack, run: Run, key_id: str) -> None:
    before = everything(stack)
    assert refusal(run("keys", "revoke", key_id))
    assert everything(stack) == before


def test_an_id_that_two_keys_begin_with_names_neither() -> None:
    keys = Keys(b"", "").with_link_key(b"31", NOON).with_link_key(b"1149", NOON)
    ids = list(keys.links)
    twins = Keys(b"", "", links={"abcd0001": keys.links[ids[0]], "abcd0002": keys.links[ids[1]]})
    with pytest.raises(ValueError, match="more than one key has an id that begins with abcd"):
        twins.without("abcd")
    assert list(twins.without("abcd0001").links) == ["abcd0002"]


def test_the_keys_are_made_where_there_are_none_yet(stack: LocalStack, run: Run) -> None:
    stack.dynamodb.delete_item(
        TableName=stack.table_name, Key={"pk": {"S": "KEYS"}, "sk": {"S": "KEYS"}}
    )
    stack.load_functions()

    key = said(run("keys", "new", "--json"))["secret"]

    assert said(run("keys", "list", "--json"))["public"].startswith("pk_")
    assert call(stack, key, NOON) == 200
    assert call(stack, PUBLIC_KEY, NOON) == 401


def test_two_who_change_the_keys_at_once_both_do_and_never_make_three(
    stack: LocalStack,
) -> None:
    mine, theirs = (Store(stack.dynamodb, stack.table_name) for _ in range(2))
    met: list[int] = []

    def change(keys: Keys) -> Keys:
        if not met:
            theirs.change_keys(lambda keys: keys.with_webhook("shop", "whsec_theirs"))
        met.append(keys.revision)
        return keys.with_secret("sk_mine", "", NOON)

    mine.change_keys(change)

    assert len(met) == 2
    assert keys_of(stack).webhooks == {"shop": ("whsec_theirs",)}
    digests = {known.digest for known in keys_of(stack).secrets}
    assert digests == {digest_of(SECRET_KEY), digest_of("sk_mine")}


# The other keys


def test_people_see_every_key_by_an_id(stack: LocalStack, run: Run) -> None:
    run("keys", "new", "--name", "our shop")
    run("keys", "rotate-links")
    secret = run("keys", "webhook", "shop").stdout.strip()
    run("keys", "captcha", "turnstile", stdin="captcha-secret\n")

    shown = run("keys", "list").stdout

    made = "2026-03-02 12:00"
    new, local = sorted(keys_of(stack).secrets, key=lambda known: known.name, reverse=True)
    assert [" ".join(line.split()) for line in shown.splitlines()] == [
        f"public {PUBLIC_KEY}",
        f"secret {new.digest[:12]} {made} our shop",
        f"secret {local.digest[:12]} {local.made_at:%Y-%m-%d %H:%M}",
        f"link {keys_of(stack).newest_link} {made}",
        f"webhook {digest_of(secret)[:12]} shop",
        f"captcha {digest_of('captcha-secret')[:12]} turnstile",
    ]
    for text in (shown, run("keys", "list", "--json").stdout):
        assert secret not in text
        assert "captcha-secret" not in text
        assert keys_of(stack).links[keys_of(stack).newest_link].key.hex() not in text


def test_a_webhook_has_two_secrets_for_the_change_from_one_to_the_other(
    stack: LocalStack, run: Run
) -> None:
    made = said(run("keys", "webhook", "shop", "--json"))["secret"]
    run("keys", "webhook", "shop", "--secret", "-", stdin="whsec_given\n")
    before = everything(stack)

    assert made.startswith("whsec_")
    assert keys_of(stack).webhooks == {"shop": (made, "whsec_given")}
    assert "revoke one of them first" in refusal(run("keys", "webhook", "shop"))
    assert run("keys", "webhook", "shop", "--secret", "whsec_given").exit_code == 0
    assert everything(stack) == before
    run("keys", "revoke", digest_of(made)[:8])
    assert keys_of(stack).webhooks == {"shop": ("whsec_given",)}
    run("keys", "revoke", digest_of("whsec_given")[:8])
    assert keys_of(stack).webhooks == {}


def test_a_captcha_has_the_last_secret_that_was_given(stack: LocalStack, run: Run) -> None:
    for secret in ("first", "second"):
        kept = run("keys", "captcha", "turnstile", stdin=f"{secret}\n")
        assert secret not in kept.output
    assert keys_of(stack).captchas == {"turnstile": "second"}
    run("keys", "revoke", listed(run, "captcha")[0]["id"])
    assert keys_of(stack).captchas == {}


def test_a_secret_that_does_not_come_or_a_name_that_is_none_changes_nothing(
    stack: LocalStack, run: Run
) -> None:
    before = everything(stack)
    assert "no secret came in" in refusal(run("keys", "captcha", "turnstile", stdin="\n"))
    assert "no secret came in" in refusal(run("keys", "webhook", "shop", "--secret", "-", stdin=""))
    assert "'Shop/1'" in refusal(run("keys", "webhook", "Shop/1"))
    assert everything(stack) == before


def test_a_secret_is_typed_unseen(
    stack: LocalStack, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: dict[str, Any] = {}

    def prompt(text: str, **how: Any) -> str:
        prompts.update(how, text=text)
        return "typed"

    monkeypatch.setattr(keychain, "sys", type("Terminal", (), {"stdin": Terminal()}))
    monkeypatch.setattr("typer.prompt", prompt)

    run("keys", "captcha", "turnstile")

    assert prompts["hide_input"] is True
    assert keys_of(stack).captchas == {"turnstile": "typed"}


class Terminal:
    def isatty(self) -> bool:
        return True


# Links


def follow(stack: LocalStack, link: str, at: datetime) -> int:
    with clock_at(at):
        path = link.removeprefix("https://api.example.com")
        return stack.request("GET", path, headers={"user-agent": BROWSER}).status


def test_links_come_as_a_table_for_mailing_software(stack: LocalStack, run: Run) -> None:
    addresses = f"{JANE}\n\n  Joe@Example.com \n"

    made = run(
        "link", TARGET, "-", "ida@example.com", "--campaign", "spring", *API, stdin=addresses
    )

    assert made.exit_code == 0, made.output
    rows = list(csv.DictReader(made.stdout.splitlines()))
    assert [row["email"] for row in rows] == [JANE, "Joe@Example.com", "ida@example.com"]
    assert {row["link"].partition("/c/")[0] for row in rows} == {"https://api.example.com"}
    assert [follow(stack, row["link"], NOON + 2 * MINUTE) for row in rows] == [302] * 3
    for email in (JANE, JOE):
        assert [entry["name"] for entry in ledger(stack, email=email)] == ["Email Link Clicked"]


def test_a_program_gets_links_in_json(stack: LocalStack, run: Run) -> None:
    (made,) = said(run("link", TARGET, JANE, "--campaign", "spring", *API, "--json"))
    assert made["email"] == JANE
    assert follow(stack, made["link"], NOON + 2 * MINUTE) == 302


def test_a_link_says_when_it_goes_out_and_how_long_it_leads_there(
    stack: LocalStack, run: Run
) -> None:
    times = ("--sent-at", "2026-03-09T08:00", "--valid-days", "2")
    (made,) = said(run("link", TARGET, JANE, "--campaign", "spring", *times, *API, "--json"))
    sent = datetime(2026, 3, 9, 8, tzinfo=UTC)

    assert follow(stack, made["link"], sent + timedelta(seconds=30)) == 302
    assert follow(stack, made["link"], sent + timedelta(days=1)) == 302
    assert follow(stack, made["link"], sent + timedelta(days=2)) == 404
    entries = stack.items("INTERACTION#")
    assert [entry["withheld_by"]["S"] for entry in entries if "withheld_by" in entry] == [
        "too-soon"
    ]
    assert len(entries) == 2


def test_links_of_an_older_key_lead_there_until_it_is_revoked(stack: LocalStack, run: Run) -> None:
    asked = ("link", TARGET, JANE, "--campaign", "spring", *API, "--json")
    (old,) = said(run(*asked))
    before = keys_of(stack).newest_link
    assert said(run("keys", "rotate-links", "--json"))["id"] != before
    (new,) = said(run(*asked))

    assert [follow(stack, one["link"], NOON + MINUTE) for one in (old, new)] == [302, 302]
    run("keys", "revoke", before)
    assert [follow(stack, one["link"], NOON + 2 * MINUTE) for one in (old, new)] == [404, 302]


def test_without_an_address_of_the_api_it_asks_for_one(stack: LocalStack, run: Run) -> None:
    assert "--base-url" in refusal(run("link", TARGET, JANE, "--campaign", "spring"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((TARGET, JANE, "nobody", "--campaign", "spring", *API), "address 2, nobody, is not an"),
        (("ftp://example.com", JANE, "--campaign", "spring", *API), "neither https:// nor http://"),
        ((TARGET, JANE, "--campaign", "", *API), "the campaign is not a readable text"),
        ((TARGET, JANE, "--campaign", "spring", "--base-url", "here"), "not a web address"),
    ],
)
def test_what_can_not_be_made_is_told_in_one_line_and_nothing_is_printed(
    stack: LocalStack, run: Run, arguments: tuple[str, ...], why: str
) -> None:
    assert why in refusal(run("link", *arguments))
