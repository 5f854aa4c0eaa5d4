"""Who may do what: every kind of message, on every route, with every key.

A cell is the status of the answer, and behind it what the request added to the ledger: an entry of
that trust, or nothing.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import pytest

from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from leadscoring.interaction import to_text
from leadscoring.wire import CALLS as KIND_OF
from tests.flow.attack import (
    NOON,
    Sent,
    call,
    form,
    hook,
    link,
    message,
    open_hooks,
    revoke_key,
    send,
    set_key,
    target,
)
from tests.tables import rows

REVOKED = "sk_revoked"
REVOKED_SIGNING = "whsec_cmV2b2tlZA=="
KEYS: Mapping[str, str] = {
    "none": "",
    "wrong": "local-publik",
    "public": PUBLIC_KEY,
    "secret": SECRET_KEY,
    "revoked": REVOKED,
    # Who reads the table has the digests, and may not send with them.
    "digest": hashlib.sha256(SECRET_KEY.encode()).hexdigest(),
}

CALLS = """
             none   wrong   revoked   digest   public       again   secret        again
track        401    401     401       401      200 public   200     200 trusted   200
identify     401    401     401       401      200 public   200     200 trusted   200
page         401    401     401       401      200 public   200     200 trusted   200
screen       401    401     401       401      200 public   200     200 trusted   200
alias        401    401     401       401      200 public   200     200 trusted   200
group        401    401     401       401      200 public   200     200 trusted   200
"""

# A form carries no key, and what a page puts into it or beside it is no more than a field.
FORMS = """
             none         again   wrong        public       secret       again
contact      303 public   303     303 public   303 public   303 public   303
newsletter   303 public   303     303 public   303 public   303 public   303
nowhere      404          404     404          404          404          404
"""

# A link is believed as its lead's click, a webhook as its service: by their signatures alone.
LINKS = """
        good         again   forged   cut   of a revoked key   expired   asked by HEAD
click   302 public   302     404      404   404                404       302
"""
HOOKS = """
           good          again   none   forged   of a revoked secret   of another body   replayed
standard   200 trusted   200     401    401      401                   401               401
stripe     200 trusted   200     401    401      401                   401               401
typeform   200 trusted   200     401    401      401                   401               200
zoom       200 trusted   200     401    401      401                   401               401
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalStack]:
    """Run a stack where what was good yesterday was revoked today."""
    with target() as stack:
        yesterday = NOON - timedelta(days=1)
        link(stack)  # makes the key that links are signed with
        secret = f"secret:{hashlib.sha256(REVOKED.encode()).hexdigest()}"
        set_key(stack, secret, {"S": to_text(yesterday)})
        for source in rows(HOOKS):
            set_key(stack, f"webhook:{source}", {"L": [{"S": REVOKED_SIGNING}]})
        good = [hook(source).signed(yesterday, REVOKED_SIGNING) for source in rows(HOOKS)]
        good.append(call("track", {"writeKey": REVOKED, **message("track")}))
        assert {send(stack, sent, yesterday).status for sent in good} == {200}
        revoke_key(stack, secret)
        open_hooks(stack)
        yield stack


def outcome(stack: LocalStack, sent: Sent, at: datetime = NOON) -> str:
    """Send it; return the status, and the trust of the entry that it added to a ledger."""
    before = {(item["pk"]["S"], item["sk"]["S"]) for item in stack.items("INTERACTION#")}
    status = send(stack, sent, at).status
    after = {(item["pk"]["S"], item["sk"]["S"]) for item in stack.items("INTERACTION#")}
    return " ".join([str(status), *(sk.split("#")[1] for _, sk in after - before)])


def carried(sent: Sent, key: str, carrier: str) -> Sent:
    """Return the request with this key as Basic user or in the query."""
    if carrier == "query":
        return sent.changed(query=f"writeKey={key}")
    basic = base64.b64encode(f"{key}:".encode()).decode()
    return sent.changed(headers={**sent.headers, "authorization": f"Basic {basic}"})


@pytest.mark.parametrize("carrier", ["body", "basic", "query"])
@pytest.mark.parametrize("name", sorted(KIND_OF))
def test_a_call_passes_with_a_good_key_and_is_believed_as_far_as_its_key(
    shared: LocalStack, name: str, carrier: str
) -> None:
    table = rows(CALLS)
    assert set(table) == {*KIND_OF.values()} - {"batch"}, "a kind of message is not in the table"
    for kind in table if KIND_OF[name] == "batch" else [KIND_OF[name]]:
        found, key = [], ""
        for column, _ in table[kind]:
            key = KEYS.get(column, key)
            said = message(kind, messageId=f"{carrier}-{name}-{kind}")
            document = {"batch": [said]} if KIND_OF[name] == "batch" else said
            if carrier == "body":
                found.append((column, outcome(shared, call(name, {**document, "writeKey": key}))))
            else:
                found.append((column, outcome(shared, carried(call(name, document), key, carrier))))
        assert found == table[kind], f"/v1/{name}, key in the {carrier}"


@pytest.mark.parametrize("name", rows(FORMS))
def test_a_form_passes_without_a_key_and_no_key_makes_it_more_than_public(
    shared: LocalStack, name: str
) -> None:
    found, key = [], ""
    for column, _ in rows(FORMS)[name]:
        key = KEYS.get(column, key)
        sent = form(name, {"email": f"{name}@example.com", "writeKey": key})
        found.append((column, outcome(shared, carried(sent, key, "basic"))))
    assert found == rows(FORMS)[name]


def test_a_link_leads_on_only_if_we_signed_it_and_it_is_good_still(shared: LocalStack) -> None:
    good = link(shared)
    (item,) = shared.items("KEYS")
    (key,) = (name for name in item if name.startswith("link:"))
    sent = {
        "good": good,
        "again": good,
        "forged": good.changed(path=f"{good.path[:-2]}{'AA' if good.path[-2:] != 'AA' else 'BA'}"),
        "cut": good.changed(path=good.path[:-1]),
        "expired": link(shared, at=NOON - timedelta(days=91)),
        "asked by HEAD": link(shared, "joe@example.com").changed(route="HEAD /c/{token}"),
    }
    found = {column: outcome(shared, one) for column, one in sent.items()}
    revoke_key(shared, key)
    # A container forgets a key within a minute.
    found["of a revoked key"] = outcome(shared, good, NOON + timedelta(minutes=1))
    set_key(shared, key, item[key])
    assert found == dict(rows(LINKS)["click"])


@pytest.mark.parametrize("source", rows(HOOKS))
def test_a_webhook_is_taken_only_from_the_service_whose_signature_it_has(
    shared: LocalStack, source: str
) -> None:
    good = hook(source, "jim@example.com")
    unsigned = {"content-type": "application/json"}
    sent = {
        "good": good,
        "again": good,
        "none": good.changed(headers=unsigned),
        "forged": good.signed(secret="whsec_AAAA"),
        "of a revoked secret": good.signed(secret=REVOKED_SIGNING),
        "of another body": good.changed(body=hook(source, "joe@example.com").body),
        "replayed": good.signed(at=NOON - timedelta(minutes=6)),
    }
    found = {column: outcome(shared, one) for column, one in sent.items()}
    assert found == dict(rows(HOOKS)[source])
    assert outcome(shared, good.changed(path="/hooks/nobody")) == "404"
