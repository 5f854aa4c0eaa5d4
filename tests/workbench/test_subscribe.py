"""`mqlambda subscribe`, `listen` and `resend`, on the topic of a whole stack."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from typer.testing import CliRunner, Result

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from infra.workbench import cli, resending, subscribing
from infra.workbench.connection import Topic
from leadscoring import settings
from leadscoring.contract import from_sns
from leadscoring.publisher import Publisher
from tests.flow.acts import ACTS, send
from tests.flow.asking import lead

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JANE, JOE = "jane@example.com", "joe@example.com"

type Run = Callable[..., Result]


@pytest.fixture
def run(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command against the stack in this process, at noon and a week."""
    monkeypatch.setattr(cli, "MODEL_FILE", settings.MODEL_FILE)
    monkeypatch.setattr(cli, "_now", lambda: NOON + timedelta(days=7))
    return lambda *arguments: CliRunner().invoke(cli.app, ["--stack", "data", *arguments])


@pytest.fixture
def topic(stack: LocalStack) -> Topic:
    arn = stack.functions["relay"].module.settings.topic_arn
    return Topic(arn, boto3.client("sns"), boto3.client("sqs"))


def acts(stack: LocalStack, at: datetime, *names: str, **who: str) -> None:
    with clock_at(at):
        said = [{**ACTS[name], **who, "messageId": f"{at}-{n}"} for n, name in enumerate(names)]
        send(stack, said, secret=True)
        stack.pump()


def act(stack: LocalStack, who: str, *names: str) -> None:
    """Let somebody act now."""
    for name in names:
        send(stack, [{**ACTS[name], "userId": who}], secret=True)
        stack.pump()


def people(stack: LocalStack) -> None:
    """Let Jane read without a name, join a webinar, and ask for a demo; and Joe ask for one."""
    acts(stack, NOON - timedelta(days=1), "pricing", "product", anonymousId="a-1")
    acts(stack, NOON, "webinar", "form", userId=JANE)
    with clock_at(NOON + timedelta(days=2)):
        send(stack, [{"type": "identify", "userId": JANE, "anonymousId": "a-1"}], secret=True)
        stack.pump()
    acts(stack, NOON + timedelta(days=3), "demo", userId=JANE)
    acts(stack, NOON + timedelta(days=4), "demo", userId=JOE)


# subscribe


def test_a_subscribed_queue_lets_the_topic_send_beside_what_it_allowed_before(
    stack: LocalStack, topic: Topic, run: Run
) -> None:
    mine = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [mine]}
    made = topic.sqs.create_queue(QueueName="crm", Attributes={"Policy": json.dumps(policy)})
    url = made["QueueUrl"]
    arn = subscribing._arn(topic, url)

    for _ in range(2):
        assert run("subscribe", "sqs", arn, "--filter", "promotions").exit_code == 0

    said = topic.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
    first, second = json.loads(said["Attributes"]["Policy"])["Statement"]
    assert first == mine
    assert (second["Resource"], second["Action"]) == (arn, "sqs:SendMessage")
    assert second["Condition"] == {"ArnEquals": {"aws:SourceArn": topic.arn}}
    act(stack, JANE, "demo", "unsubscribed")
    (message,) = topic.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert from_sns(message["Body"]).type == "mqlambda.lead.promoted.v1"


@pytest.mark.parametrize(
    ("protocol", "endpoint", "left"),
    [
        ("lambda", "arn:aws:lambda:eu-central-1:123456789012:function:crm", "add-permission"),
        ("https", "https://www.example.com/hook", "SubscribeURL"),
        ("email", "sales@example.com", "follow the link"),
    ],
)
def test_others_are_subscribed_and_what_is_left_to_do_is_said(
    topic: Topic, run: Run, protocol: str, endpoint: str, left: str
) -> None:
    said = json.loads(run("subscribe", protocol, endpoint, "--filter", "sales", "--json").stdout)
    assert left in said["next"]
    attributes = topic.sns.get_subscription_attributes(SubscriptionArn=said["subscription"])
    policy = json.loads((subscribing.FILTERS / "sales.json").read_text())["FilterPolicy"]
    assert json.loads(attributes["Attributes"]["FilterPolicy"]) == policy
    assert attributes["Attributes"]["Endpoint"] == endpoint


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sqs", "https://sqs.example.com/crm"], "is no endpoint for sqs"),
        (["https", "http://www.example.com"], "is no endpoint for https"),
        (["email", "sales"], "sales is"),
        (["email", "sales@example.com", "--filter", "one-company"], "never matches a text"),
        (["email", "sales@example.com", "--filter", "other"], "there is no filter other"),
    ],
)
def test_what_could_never_be_delivered_is_refused(
    run: Run, arguments: list[str], said: str
) -> None:
    result = run("subscribe", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_filter_of_ones_own_is_a_file(topic: Topic, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"FilterPolicy": {"stage": ["mql"]}}')
    arguments = ("subscribe", "email", "sales@example.com", "--filter", str(file), "--json")
    arn = json.loads(run(*arguments).stdout)["subscription"]
    attributes = topic.sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    assert json.loads(attributes["FilterPolicy"]) == {"stage": ["mql"]}


# listen


def test_who_listens_sees_what_is_published_meanwhile_and_leaves_nothing_behind(
    stack: LocalStack, topic: Topic, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    people_to_come = [JANE, JOE]
    before = topic.sqs.list_queues(), topic.sns.list_subscriptions()["Subscriptions"]
    monkeypatch.setattr(cli, "_wait", lambda: act(stack, people_to_come.pop(), "demo"))

    result = run("listen", "--filter", "promotions", "--most", "2", "--json")

    heard = [json.loads(line) for line in result.stdout.splitlines()]
    assert heard == [m for m in stack.received if m["type"] == "mqlambda.lead.promoted.v1"]
    assert topic.sqs.list_queues()["QueueUrls"] == before[0]["QueueUrls"]
    assert topic.sns.list_subscriptions()["Subscriptions"] == before[1]


def test_listening_ends_by_ctrl_c_and_leaves_nothing_behind(
    topic: Topic, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    before = topic.sqs.list_queues()["QueueUrls"]
    monkeypatch.setattr(cli, "_wait", interrupt)
    assert run("listen").exit_code == 0
    assert topic.sqs.list_queues()["QueueUrls"] == before


# resend


def again(stack: LocalStack, since: datetime) -> dict[str, Any]:
    """Return what is resent, by its ids."""
    promote = stack.functions["promote"].module
    made = resending.messages(promote.store, promote.model, promote.promoter._sender, since)
    return {message.id: message.model_dump(mode="json") for message in made}


def by_id(received: list[dict[str, Any]]) -> dict[str, Any]:
    return {message["id"]: message for message in received}


def test_messages_made_again_are_those_that_were_published(stack: LocalStack) -> None:
    people(stack)
    assert again(stack, NOON) == by_id(stack.received)
    assert len({message["type"] for message in stack.received}) == 3


def test_a_joined_lead_has_resent_to_it_what_each_of_its_parts_was_told(stack: LocalStack) -> None:
    people(stack)
    acts(stack, NOON + timedelta(days=5), "demo", userId=(ida := "ida@example.com"))
    for days, into, other in ((6, JOE, JANE), (7, ida, JOE)):
        with clock_at(NOON + timedelta(days=days)):
            path = f"/leads/{lead(stack, email=into)['id']}/merges"
            stack.request("POST", path, {"email": other, "reason": "one person"})
            stack.pump()
    made = again(stack, NOON)
    assert made == by_id(stack.received)
    assert [each["time"] for each in made.values()] == sorted(m["time"] for m in stack.received)


def test_what_was_published_late_is_resent_as_of_then(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as outage, clock_at(NOON):
        outage.setattr(Publisher, "publish", _fail)
        act(stack, JANE, "demo")
    with clock_at(NOON + timedelta(days=1)):
        for schedule in stack.template.schedules:
            stack.run_schedule(schedule)
        stack.pump()
    assert again(stack, NOON + timedelta(hours=23)) == by_id(stack.received)
    assert len(stack.received) == 1


def test_an_erasure_is_resent_for_its_tombstone_says_of_whom(stack: LocalStack, run: Run) -> None:
    people(stack)
    with clock_at(NOON + timedelta(days=5)):
        for name in (JANE, JOE):
            stack.request("POST", "/leads/erase", {"email": name})
            stack.pump()
    told = {m["id"]: m for m in stack.received if m["type"] == "mqlambda.lead.erased.v1"}
    assert [len(each["data"]["merged_leads"]) for each in told.values()] == [1, 0]
    assert again(stack, NOON) == told
    assert again(stack, NOON + timedelta(days=6)) == {}
    before = len(stack.received)
    assert run("resend", "--since", "2026-01-01", "--lead", JANE).exit_code == 0
    stack._receive()
    assert stack.received[before:] == [next(iter(told.values()))]


def test_resending_since_an_instant_tells_subscribers_what_they_have(
    stack: LocalStack, run: Run
) -> None:
    people(stack)
    before = list(stack.received)
    since = (NOON + timedelta(days=3)).isoformat()

    dry = json.loads(run("resend", "--since", since, "--dry-run", "--json").stdout)
    stack._receive()
    assert stack.received == before

    done = json.loads(run("resend", "--since", since, "--json").stdout)
    stack._receive()
    assert done == {**dry, "dry_run": False}
    late = [message["id"] for message in before if message["time"] >= "2026-03-05"]
    again = stack.received[len(before) :]
    assert sorted(message["id"] for message in again) == sorted(late)
    assert sum(done["messages"].values()) == len(late) == 2


def test_resending_of_one_lead_concerns_no_other(stack: LocalStack, run: Run) -> None:
    people(stack)
    before = len(stack.received)
    assert run("resend", "--since", "2026-01-01", "--lead", JOE).exit_code == 0
    stack._receive()
    assert {message["data"]["lead"]["email"] for message in stack.received[before:]} == {JOE}


def test_nothing_is_resent_that_is_pending_or_concerns_who_objected(
    stack: LocalStack, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(stack)
    with clock_at(NOON + timedelta(days=5)), monkeypatch.context() as outage:
        objection = {"type": "identify", "userId": JANE, "traits": {"consent": False}}
        send(stack, [objection], secret=True)
        stack.pump()
        outage.setattr(Publisher, "publish", _fail)
        ida = {**ACTS["demo"], "userId": "ida@example.com"}
        send(stack, [ida], secret=True)
        stack.functions["promote"]({"Records": stack.stream.read()[-1:]})
    before = len(stack.received)
    assert run("resend", "--since", "2026-01-01").exit_code == 0
    stack._receive()
    assert {message["data"]["lead"]["email"] for message in stack.received[before:]} == {JOE}


def _fail(*_: Any) -> str:
    raise OSError
