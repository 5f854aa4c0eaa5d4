"""What no stranger can do: pay what is a server's, tell better than a server, join two people."""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from tests.flow.acts import counters, lead_item
from tests.flow.attack import NOON, SAID, Sent, call, form, hook, link, message, send, target

SERVER = {"company": "Example GmbH", "employees": 120, "country": "DE", "consent": True}
_rounds = itertools.count()


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalStack]:
    with target() as stack:
        yield stack


def known(stack: LocalStack, email: str) -> None:
    """Let a server tell of a lead what only it may say, and one act that it alone can pay."""
    for number, event in enumerate(("Order Completed", "Content Downloaded")):
        said = message("track", userId=email, messageId=f"server-{number} {email}", event=event)
        document = {"writeKey": SECRET_KEY, **said, "traits": SERVER}
        assert send(stack, call("track", document)).status == 200


def texts(*likely: str) -> st.SearchStrategy[str]:
    return st.sampled_from(likely)


NAMES = texts("anna", "ben", "a-1", "a-2", "u-1")
TRAITS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from([*SERVER, "email", "group.employees"]),
    st.sampled_from(["Evil Ltd", "zzzz", 999, False, None, "US", "anna", "ben"]),
    max_size=4,
)
MESSAGES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(sorted(SAID)),
        "event": texts("Order Completed", "Demo Requested", "Unsubscribed"),
        "messageId": texts("server-0", "server-1", "m-1", "m-2", "m-3"),
        "properties": st.fixed_dictionaries(
            {"path": texts("/pricing", "/"), "form": texts("contact", "demo")},
            optional={"email": NAMES},
        ),
        "traits": TRAITS,
        "context": st.fixed_dictionaries({"traits": TRAITS}),
        "previousId": NAMES,
        "groupId": NAMES,
    },
    optional={
        "userId": NAMES,
        "anonymousId": NAMES,
        "timestamp": texts("2020-01-01T00:00:00Z", "2026-03-02T11:59:59Z", "2099-01-01T00:00:00Z"),
        "channel": texts("server"),
        "trust": texts("trusted", "staff"),
        "writeKey": texts(SECRET_KEY + " ", "trusted"),
    },
)
STEPS = st.one_of(
    st.tuples(st.just("call"), MESSAGES),
    st.tuples(st.just("batch"), st.lists(MESSAGES, max_size=4)),
    st.tuples(st.just("form"), st.tuples(NAMES, TRAITS)),
    st.tuples(st.just("link"), NAMES),
    st.tuples(st.just("forged link"), NAMES),
    st.tuples(st.just("forged hook"), NAMES),
)


def step(stack: LocalStack, kind: str, said: Any, people: dict[str, str]) -> Sent:
    """Return a stranger's request: the names in it are those of the people of this round."""
    match kind:
        case "call":
            said = labelled(_renamed(said, people))
            return call(said["type"], {**said, "writeKey": PUBLIC_KEY})
        case "batch":
            batch = [labelled(one) for one in _renamed(said, people)]
            return call("batch", {"writeKey": PUBLIC_KEY, "batch": batch})
        case "form":
            name, traits = _renamed(said, people)
            fields = {key: str(value) for key, value in traits.items()}
            return form("contact", {**fields, "email": name, "trust": "trusted"})
        case "link":
            return link(stack, people[said]) if "@" in people[said] else link(stack)
        case "forged link":
            sent = link(stack, people["ben"])
            return sent.changed(path=sent.path[:-8] + "AAAAAAAA")
    return hook("standard", people[said]).signed(secret="whsec_AAAA")


def labelled(said: dict[str, Any]) -> dict[str, Any]:
    """Return the message with the name of its lead in its id, by the README's order of names."""
    tables = [said["context"]["traits"], said["properties"]]
    if said["type"] != "group":  # whose traits are the company's
        tables.insert(0, said["traits"])
    emails = (str(table.get("email")) for table in tables if "@" in str(table.get("email")))
    unknown = said.get("anonymousId") or (said["type"] == "alias" and said["previousId"])
    name = next(emails, said.get("userId") or f"anonymous {unknown}")
    return {**said, "messageId": f"{said['messageId']} {name}"}


def _renamed(value: Any, people: dict[str, str]) -> Any:
    """Return the value with the names of this round's people in place of their short ones."""
    if isinstance(value, dict):
        return {name: _renamed(inner, people) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(inner, people) for inner in value]
    return people.get(value, value) if isinstance(value, str) else value


@given(steps=st.lists(STEPS, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_sequence_of_public_messages_does_what_only_a_server_may(
    shared: LocalStack, steps: list[tuple[str, Any]]
) -> None:
    number = next(_rounds)
    anna, ben = f"anna{number}@example.com", f"ben{number}@example.com"
    people = {"anna": anna, "ben": ben, "u-1": f"u-{number}"}
    people |= {"a-1": f"a-{number}", "a-2": f"aa-{number}"}
    for email in (anna, ben):
        known(shared, email)
    before = {email: lead_item(shared, email) for email in (anna, ben)}

    for place, (kind, said) in enumerate(steps):
        send(shared, step(shared, kind, said, people), NOON + timedelta(minutes=place))

    for email in (anna, ben):
        item = lead_item(shared, email)
        # Neither a server's points, nor what a server said, nor who it is has changed.
        assert counters(shared, email)["points:proof"] == 500 * 10**6
        assert counters(shared, email)["seen:bought"] == 1
        for trait, value in SERVER.items():
            assert json.loads(item[f"trait:{trait}"]["M"]["value"]["S"]) == value
        assert item["pk"] == before[email]["pk"]
        assert "merged_into" not in item
    _nobody_known_was_joined(shared)
    _only_servers_are_paid_for_what_is_theirs(shared)


def _nobody_known_was_joined(stack: LocalStack) -> None:
    """Check that a ledger holds what names one person, and that only visitors are parts."""
    named: dict[str, set[str]] = defaultdict(set)
    for entry in stack.items("INTERACTION#"):
        _, _, label = entry["sk"]["S"].rpartition("#")
        if " " in label:
            named[entry["pk"]["S"]].add(label.partition(" ")[2])
    everybody = [name for names in named.values() for name in names]
    assert max(map(len, named.values())) == 1
    assert len(everybody) == len(set(everybody))
    for part in stack.items("IDENTITY#"):
        names = named[f"LEAD#{part['sk']['S'].removeprefix('IDENTITY#')}"]
        assert all(name.startswith("anonymous ") for name in names)


def _only_servers_are_paid_for_what_is_theirs(stack: LocalStack) -> None:
    for entry in stack.items("INTERACTION#public#"):
        rules = {paid["M"]["rule"]["S"] for paid in entry["paid"]["L"]}
        assert not any(rule.startswith(("bought", "unsubscribed")) for rule in rules), entry
