"""Links in e-mails: the reader always arrives, and what counts is a person's click, once a day."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import EndpointConnectionError

from infra.local.engine import clock_at
from infra.local.gateway import Answer
from infra.local.stack import LocalStack
from infra.workbench import linking
from infra.workbench.linking import Mailing
from leadscoring.keys import Keys
from leadscoring.store import Store
from tests.flow.acts import ACTS, send
from tests.flow.asking import everything, lead, ledger

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=2)
JANE = "jane@example.com"
TARGET = "https://www.example.com/prices?for=procurement"
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


def link(stack: LocalStack, email: str = JANE, at: datetime = NOON) -> str:
    """Send a mailing; return the path of its link."""
    keys = Store(stack.dynamodb, stack.table_name).signing_keys(at)
    mailing = Mailing("https://api.example", TARGET, "spring", "newsletter", at, valid_days=90)
    (made,) = linking.make(mailing, [email], keys)
    return made.link.removeprefix("https://api.example")


def follow(
    stack: LocalStack,
    path: str,
    at: datetime = LATER,
    method: str = "GET",
    headers: Mapping[str, str] = BROWSER,
) -> Answer:
    with clock_at(at):
        return stack.request(method, path, headers=headers)


def test_a_click_sends_the_reader_on_and_counts_for_the_lead(stack: LocalStack) -> None:
    with clock_at(NOON):
        send(stack, [{**ACTS["page"], "userId": JANE}])

    answer = follow(stack, link(stack))

    assert (answer.status, answer.body) == (302, b"")
    assert answer.headers == {
        "location": TARGET,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-robots-tag": "noindex",
    }
    (click,) = [e for e in ledger(stack, email=JANE) if e["name"] == "Email Link Clicked"]
    assert [(paid["rule"], paid["points"]) for paid in click["paid"]] == [("e-mail-click", 3)]
    assert click["properties"] == {"campaign": "spring"}
    assert click["context"]["campaign"] == {
        "name": "spring",
        "medium": "email",
        "source": "newsletter",
    }
    assert lead(stack, email=JANE)["email"] == JANE


def test_neither_the_address_nor_a_trace_of_it_stands_in_a_link(stack: LocalStack) -> None:
    path = link(stack)
    assert link(stack, " JANE@Example.com ") == path
    assert link(stack, "joe@example.com") != path
    assert "jane" not in path.lower()


def test_a_link_leads_there_at_once_though_its_key_is_a_moment_old(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clock_at(LATER - timedelta(seconds=1)):
        send(stack, [{**ACTS["page"], "userId": JANE}])
    path = link(stack)
    keyring = stack.functions["collect"].module.keyring
    reads: list[int] = []
    read: Callable[[], Keys] = keyring._read

    def counted() -> Keys:
        reads.append(1)
        return read()

    monkeypatch.setattr(keyring, "_read", counted)

    assert follow(stack, path).status == 302
    # Who makes up links, however many, has the keys read once a second and no more.
    assert {follow(stack, f"/c/{n}").status for n in range(20)} == {404}
    assert len(reads) == 1


def test_a_click_of_somebody_new_is_a_lead_that_is_recognised_later(stack: LocalStack) -> None:
    follow(stack, link(stack))
    with clock_at(LATER):
        send(stack, [{**ACTS["page"], "userId": JANE}])

    assert [entry["name"] for entry in ledger(stack, email=JANE)].count("Email Link Clicked") == 1
    assert lead(stack, email=JANE)["email"] == JANE


def test_a_link_counts_once_a_day(stack: LocalStack) -> None:
    path = link(stack)
    answers = [follow(stack, path, LATER + timedelta(hours=hours)) for hours in (0, 1, 2, 24)]
    assert len({(answer.status, answer.headers["location"]) for answer in answers}) == 1
    assert len(ledger(stack, email=JANE)) == 2


def test_who_looks_by_head_finds_the_target_and_counts_nothing(stack: LocalStack) -> None:
    path = link(stack)
    looked = follow(stack, path, method="HEAD")
    assert not stack.items("INTERACTION#")
    assert looked == follow(stack, path)
    assert follow(stack, path, method="POST").status == 404
    assert len(stack.items("INTERACTION#")) == 1


def test_a_scanners_click_earns_nothing_and_the_readers_does(stack: LocalStack) -> None:
    path = link(stack)
    scanned = follow(stack, path, NOON + timedelta(seconds=5))
    read = follow(stack, path, NOON + timedelta(seconds=70))

    assert scanned == read
    entries = {entry["withheld_by"]: entry["paid"] for entry in ledger(stack, email=JANE)}
    assert entries["too-soon"] == []
    assert [paid["points"] for paid in entries[None]] == [3]


def test_expired_forged_and_unknown_links_are_one_page(stack: LocalStack) -> None:
    path = link(stack)
    revoked = link(stack, "joe@example.com")
    store = Store(stack.dynamodb, stack.table_name)
    store.change_keys(lambda keys: keys.without(keys.newest_link))
    fresh = link(stack)
    stack.load_functions()
    before = everything(stack)

    answers = [
        follow(stack, fresh, NOON + timedelta(days=90)),
        follow(stack, f"{fresh[:-1]}{'A' if fresh[-1] != 'A' else 'B'}"),
        follow(stack, path),
        follow(stack, revoked),
        follow(stack, "/c/nothing"),
        follow(stack, f"/c/{'A' * 5_001}"),
        follow(stack, "/c/%00%E2%82%AC"),
    ]

    assert {answer.status for answer in answers} == {404}
    (body,) = {answer.body for answer in answers}
    assert b"This link leads nowhere." in body
    assert answers[0].headers["content-type"] == "text/html; charset=utf-8"
    assert "location" not in answers[0].headers
    assert everything(stack) == before
    assert follow(stack, fresh).status == 302


def test_the_reader_arrives_though_the_table_does_not_answer(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = link(stack), link(stack, "joe@example.com")
    expected = follow(stack, path)
    table = stack.functions["collect"].module.store._table

    def unreachable(**_request: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://dynamodb")

    monkeypatch.setattr(table, "_budget_seconds", 0)
    monkeypatch.setattr(table._dynamodb, "transact_write_items", unreachable)

    assert follow(stack, other) == expected
    assert stack.metrics["Spooled"] == 1
