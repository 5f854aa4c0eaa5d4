"""The programs under events/subscribers, the filter policies, and what a real topic delivers."""

import base64
import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from events.subscribers import crm, https_endpoint, sending, signature, slack, sqs_worker
from events.subscribers.inbox import FileInbox, News, take
from infra.local import stack as local
from infra.local.stack import LocalStack, local_stack
from infra.workbench import contract as written
from infra.workbench import subscribing
from infra.workbench.connection import Topic
from infra.workbench.subscribing import Protocol
from leadscoring import notice
from leadscoring.contract import Message, PublishedLead, from_sns
from leadscoring.publisher import Publisher

PAGE = Path(__file__).parents[2] / "docs" / "subscribers.md"
PROMOTED, ENGAGED, OVERDUE, MERGED, ERASED = written.examples()
LEAD = PROMOTED.subject

type Post = tuple[str, Mapping[str, str], Any]


@pytest.fixture
def topic(stack: LocalStack) -> Topic:
    arn = stack.functions["relay"].module.settings.topic_arn
    return Topic(arn, boto3.client("sns"), boto3.client("sqs"))


def publish(topic: Topic, *messages: Message) -> None:
    publisher = Publisher(topic.sns, topic.arn)
    for message in messages:
        publisher.publish(message)


def queue(topic: Topic, name: str, **attributes: str) -> str:
    """Return the address of a queue that is subscribed to the topic."""
    url = topic.sqs.create_queue(QueueName=name)["QueueUrl"]
    subscribing.subscribe(topic, Protocol.SQS, subscribing._arn(topic, url), attributes)
    return url


def bodies(topic: Topic, url: str) -> list[str]:
    """Return all that is in the queue."""
    found = []
    while messages := topic.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
        "Messages"
    ):
        for message in messages:
            found.append(message["Body"])
            topic.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def changed(message: Message, sequence: int, **said: Any) -> Any:
    """Return the message as that of another change, with other data."""
    data = message.data.model_copy(update=said)
    return message.model_copy(update={"id": f"{message.subject}:{sequence}", "data": data})


def of_company(name: str) -> PublishedLead:
    return PublishedLead(id=LEAD, email="jane@example.com", traits={"company": name})


@contextmanager
def served(
    answers: Mapping[str, Any] | None = None, refuses: int = 0
) -> Iterator[tuple[str, list[Post]]]:
    """Serve somebody else's API: it refuses so many posts, takes the others, notes these."""
    posts: list[Post] = []
    refusals = [503] * refuses

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status = refusals.pop() if refusals else 200
            if status == 200:
                posts.append((self.path, dict(self.headers), json.loads(body)))
            document = (answers or {}).get(self.path.rpartition("/")[2], {})
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with running(HTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url, posts


@contextmanager
def running(server: HTTPServer) -> Iterator[str]:
    with server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[FileInbox]:
    with closing(FileInbox(tmp_path / "inbox")) as fresh:
        yield fresh


# What a topic delivers


@pytest.mark.parametrize("raw", ["true", "false"])
def test_one_publication_is_json_for_programs_and_a_text_for_people(
    topic: Topic, raw: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[dict[str, Any]] = []
    topic.sns.meta.events.register(
        "provide-client-params.sns.Publish", lambda params, **_: published.append(params)
    )
    url = queue(topic, "programs", RawMessageDelivery=raw)
    publish(topic, PROMOTED)
    assert [from_sns(body) for body in bodies(topic, url)] == [PROMOTED]
    for_people = json.loads(published[0]["Message"])["email"]
    assert for_people == notice.text(PROMOTED)
    assert published[0]["Subject"] == "New MQL: score 100.306, grade B"


def test_a_person_reads_who_why_and_how_to_decide() -> None:
    text = notice.text(PROMOTED)
    for part in ("jane@example.com", "score 100.306", "demo-requested", "+60  Demo Requested"):
        assert part in text
    assert written.LINKS.accept in text
    assert written.LINKS.reject in text
    assert "Reject" not in notice.text(ENGAGED)
    assert LEAD in notice.text(ERASED)


def test_what_strangers_wrote_adds_no_line_to_a_text() -> None:
    text = notice.text(changed(PROMOTED, 3, lead=of_company("A\r\nAccept: evil\x1b")))
    assert "\nAccept: evil" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize("message", written.examples(), ids=lambda message: message.type)
def test_a_subject_is_what_sns_takes_and_names_nobody(message: Message) -> None:
    said = notice.subject(message)
    assert said.isascii()
    assert said.isprintable()
    assert len(said) < 100
    assert "jane" not in said.lower()


def test_thin_messages_name_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(local._ENVIRONMENT, "CONTACT_DATA", "thin")
    with local_stack() as stack:
        for kind, said in (
            ("page", {"anonymousId": "a-1"}),
            ("identify", {"anonymousId": "a-1", "traits": {"email": "jane@example.com"}}),
            ("track", {"userId": "jane@example.com", "event": "Demo Requested"}),
        ):
            body = {"writeKey": "local-secret", **said}
            assert stack.request("POST", f"/v1/{kind}", body).status == 200
            stack.pump()
        (item,) = [item for item in stack.items("LEAD") if "email" in item]
        path = item["pk"]["S"].replace("LEAD#", "/leads/") + "/decisions"
        decision = {"decision": "accept", "reason": "called her", "request_id": "r-1"}
        answer = stack.request("POST", path, decision)
        assert answer.json()["stage"] == "sql", answer.body
        stack.pump()
        told = {message["type"] for message in stack.received}
        assert {"mqlambda.lead.promoted.v1", "mqlambda.lead.merged.v1"} <= told
        assert "jane" not in json.dumps(stack.received)


# Filters


def on_the_page() -> dict[str, Any]:
    text = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"^### `(\S+)`\n.*?^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return {name: json.loads(policy) for name, policy in found}


HOT = changed(PROMOTED, 10, score=150.0)
WARM = changed(PROMOTED, 11, score=149.999, grade="D")
RECYCLED = changed(ENGAGED, 12, stage="recycled", grade=None)
ELSEWHERE = changed(PROMOTED, 13, lead=of_company("Other"))
EVERYTHING = (PROMOTED, ENGAGED, OVERDUE, MERGED, ERASED, HOT, WARM, RECYCLED, ELSEWHERE)
LETS_THROUGH = {
    "promotions": (PROMOTED, HOT, WARM, ELSEWHERE),
    "sales": (PROMOTED, OVERDUE, HOT, WARM, ELSEWHERE),
    "hot": (HOT,),
    "good-fit": (PROMOTED, ENGAGED, OVERDUE, HOT, ELSEWHERE),
    "recycled": (RECYCLED,),
    "no-merges": tuple(message for message in EVERYTHING if message is not MERGED),
    "one-company": (PROMOTED, ENGAGED, OVERDUE, MERGED, HOT, WARM, RECYCLED),
}


def test_the_page_shows_every_filter_as_its_file_has_it() -> None:
    files = {path.stem: json.loads(path.read_text()) for path in subscribing.FILTERS.iterdir()}
    assert on_the_page() == files
    assert files.keys() == LETS_THROUGH.keys()


@pytest.mark.parametrize("name", LETS_THROUGH)
def test_a_filter_of_the_page_lets_through_what_it_says(topic: Topic, name: str) -> None:
    url = queue(topic, name, **subscribing.filtered(name))
    publish(topic, *EVERYTHING)
    heard = {from_sns(body).id for body in bodies(topic, url)}
    assert heard == {message.id for message in LETS_THROUGH[name]}


# The inbox


@given(st.permutations([*range(1, 6), *range(1, 6)]), st.integers(1, 5))
def test_whatever_is_repeated_and_reordered_is_done_once_and_nothing_after_an_erasure(
    order: list[int], erased: int
) -> None:
    done: list[tuple[int, News]] = []
    with closing(FileInbox(":memory:")) as fresh:
        for number in order:
            message = changed(ERASED if number == erased else PROMOTED, number)
            take(message, fresh, lambda told, news: done.append((told.sequence, news)))
    numbers = [number for number, _ in done]
    assert len(numbers) == len(set(numbers))
    assert {n for n in range(1, 6) if n >= erased} <= set(numbers)
    assert all(n > erased for n in numbers[numbers.index(erased) + 1 :])
    for place, (number, news) in enumerate(done):
        late = any(earlier > number for earlier in numbers[:place])
        assert (news is News.LATE) == late


def test_what_fails_is_not_done_and_an_inbox_outlives_its_process(tmp_path: Path) -> None:
    def fail(*_: Any) -> None:
        raise OSError

    told: list[str] = []
    with closing(FileInbox(tmp_path / "inbox")) as first:
        with pytest.raises(OSError):  # noqa: PT011 (ours)
            take(PROMOTED, first, fail)
        take(PROMOTED, first, lambda message, _: told.append(message.id))
    with closing(FileInbox(tmp_path / "inbox")) as second:
        assert take(PROMOTED, second, fail) is News.OLD
    assert told == [PROMOTED.id]


# The programs


def test_a_worker_does_each_message_once_and_what_fails_again(
    topic: Topic, inbox: FileInbox
) -> None:
    url = queue(topic, "worker")
    topic.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    publish(topic, PROMOTED, PROMOTED, OVERDUE)
    topic.sqs.send_message(QueueUrl=url, MessageBody="none of ours")
    with served(refuses=1) as (address, posts):
        channel = slack.Slack(address)
        for _ in range(3):
            sqs_worker.work(topic.sqs, url, inbox, channel, wait_seconds=0)
    assert len(posts) == 2
    assert bodies_left(topic, url) == ["none of ours"]


def bodies_left(topic: Topic, url: str) -> list[str]:
    found = topic.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    return [message["Body"] for message in found.get("Messages", [])]


def test_slack_hears_of_mqls_alone_without_a_stranger_speaking_for_us(inbox: FileInbox) -> None:
    promoted = changed(PROMOTED, 3, lead=of_company("<!channel> & Co"))
    with served() as (address, posts):
        for message in (OVERDUE, promoted, ENGAGED, MERGED, ERASED):
            take(message, inbox, slack.Slack(address))
    overdue, late = (post[2]["text"] for post in posts)
    assert overdue.startswith("Still no reply to an MQL: score 100.306")
    assert late.startswith("(late) New MQL")
    assert "&lt;!channel&gt; &amp; Co" in late


def test_a_crm_ends_where_the_lead_stands_and_forgets_it_with_us(
    topic: Topic, inbox: FileInbox
) -> None:
    url = queue(topic, "crm")
    publish(topic, ENGAGED, OVERDUE, PROMOTED, OVERDUE, MERGED, ERASED)
    with served({"search": {"results": [{"id": "77"}]}}) as (address, posts):
        keeper = crm.Crm("token", address)
        while sqs_worker.work(topic.sqs, url, inbox, keeper, wait_seconds=0):
            pass
    calls = [path.removeprefix("/crm/v3/objects/contacts/") for path, _, _ in posts]
    assert calls == ["batch/upsert"] * 3 + ["search", "gdpr-delete"] * 2
    assert {headers["Authorization"] for _, headers, _ in posts} == {"Bearer token"}
    (contact,) = posts[1][2]["inputs"]
    assert contact == {
        "id": "jane@example.com",
        "idProperty": "email",
        "properties": {
            "firstname": "Jane",
            "company": "Example GmbH",
            "mqlambda_lead": LEAD,
            "mqlambda_stage": "mql",
            "mqlambda_score": "100.306",
            "mqlambda_grade": "B",
            "mqlambda_why": "nobody has decided in time",
        },
    }
    searched = [posts[n][2]["filterGroups"][0]["filters"][0]["value"] for n in (3, 5)]
    assert searched == [LEAD, written.VISITOR]
    assert posts[4][2] == {"objectId": "77"}


@pytest.fixture
def function(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    stack.dynamodb.create_table(
        TableName="inbox",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    with served(refuses=1) as (address, posts):
        monkeypatch.setenv("INBOX_TABLE", "inbox")
        monkeypatch.setenv("SLACK_WEBHOOK_URL", address)
        module = importlib.import_module("events.subscribers.lambda_function")
        yield importlib.reload(module), posts


def test_a_function_behind_a_queue_reports_what_failed_and_does_the_rest_once(
    topic: Topic, function: Any
) -> None:
    module, posts = function
    url = queue(topic, "lambda")
    publish(topic, PROMOTED, OVERDUE)
    records = [
        {"messageId": f"r-{n}", "eventSource": "aws:sqs", "body": body}
        for n, body in enumerate(bodies(topic, url))
    ]
    assert module.handler({"Records": records}, None) == {
        "batchItemFailures": [{"itemIdentifier": "r-0"}]
    }
    assert module.handler({"Records": records}, None) == {"batchItemFailures": []}
    assert [post[2]["text"][:10] for post in posts] == ["Still no r", "(late) New"]


def test_a_function_behind_the_topic_has_all_of_it_delivered_again(function: Any) -> None:
    module, posts = function

    def event(message: Message) -> Any:
        sent = {"Type": "Notification", "Message": message.model_dump_json()}
        return {"Records": [{"EventSource": "aws:sns", "Sns": sent}]}

    with pytest.raises(sending.Refused):
        module.handler(event(PROMOTED), None)
    for message in (PROMOTED, PROMOTED, ERASED, OVERDUE):
        module.handler(event(message), None)
    assert len(posts) == 1


def test_nothing_follows_of_a_lead_that_was_erased_as_part_of_another(
    inbox: FileInbox, function: Any
) -> None:
    module, _ = function

    def told(number: int, since_erasure: timedelta) -> Message:
        said = {"subject": written.VISITOR, "time": ERASED.time + since_erasure}
        return PROMOTED.model_copy(update={"id": f"{written.VISITOR}:{number}", **said})

    for each in (inbox, module.inbox):
        each.note(ERASED)
        # Its numbers are its own: a higher one than the erasure's may be of long before.
        assert each.news(told(9, timedelta(0))) is News.OLD
        assert each.news(told(2, timedelta(milliseconds=1))) is News.NEW


# The endpoint


ARN = "arn:aws:sns:eu-central-1:123456789012:leads"
CERTIFICATE_URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(days: int = 1) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    built = built.public_key(KEY.public_key()).serial_number(1)
    built = built.not_valid_before(now - timedelta(days=9)).not_valid_after(now + timedelta(days))
    return built.sign(KEY, SHA256()).public_bytes(Encoding.PEM)


def signed(kind: str = "Notification", version: str = "2", **said: str) -> dict[str, str]:
    """Return what SNS sends, signed by us in its place."""
    document = {
        "Type": kind,
        "MessageId": "m-1",
        "TopicArn": ARN,
        "Message": PROMOTED.model_dump_json(),
        "Timestamp": "2026-03-02T12:00:00.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        **({"Subject": "New MQL"} if kind == "Notification" else {"Token": "t"}),
        **said,
    }
    order = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn"]
    told = "".join(f"{name}\n{document[name]}\n" for name in [*order, "Type"] if name in document)
    algorithm = SHA256() if version == "2" else SHA1()
    made = KEY.sign(told.encode(), padding.PKCS1v15(), algorithm)
    return {**document, "Signature": base64.b64encode(made).decode()}


@pytest.fixture
def endpoint(inbox: FileInbox) -> tuple[https_endpoint.Endpoint, list[str]]:
    did: list[str] = []
    made = https_endpoint.Endpoint(
        ARN,
        inbox,
        lambda message, _: did.append(message.id),
        certificate_at=lambda _: certificate(),
        confirm=did.append,
    )
    return made, did


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_endpoint_takes_what_sns_signed_once(
    endpoint: tuple[https_endpoint.Endpoint, list[str]], version: str
) -> None:
    taking, did = endpoint
    with running(https_endpoint.server(taking, 0)) as url:
        for _ in range(2):
            assert status(url, json.dumps(signed(version=version)).encode()) == 200
        assert status(url, json.dumps(signed(TopicArn="arn:other")).encode()) == 403
        assert status(url, b"", {"content-length": "600001"}) == 413
    assert did == [PROMOTED.id]


def status(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> int:
    with closing(HTTPConnection(url.removeprefix("http://"), timeout=10)) as connection:
        connection.request("POST", "/", body, headers or {})
        return connection.getresponse().status


FORGED: dict[str, Callable[[dict[str, str]], Any]] = {
    "another message": lambda sent: {**sent, "Message": ERASED.model_dump_json()},
    "another subject": lambda sent: {**sent, "Subject": "x"},
    "no signature": lambda sent: {n: v for n, v in sent.items() if n != "Signature"},
    "half a signature": lambda sent: {**sent, "Signature": sent["Signature"][:40]},
    "another hash": lambda sent: {**sent, "SignatureVersion": "1"},
    "an unknown hash": lambda sent: {**sent, "SignatureVersion": "3"},
    "another type": lambda sent: {**sent, "Type": "UnsubscribeConfirmation"},
    "an unknown type": lambda sent: {**sent, "Type": "Other"},
    "another topic": lambda _: signed(TopicArn=f"{ARN}-other"),
    "a certificate of somebody else": lambda _: signed(SigningCertURL="https://example.com/a.pem"),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_the_endpoint_refuses_what_sns_did_not_sign_for_this_topic(
    endpoint: tuple[https_endpoint.Endpoint, list[str]], forge: Callable[[dict[str, str]], Any]
) -> None:
    taking, did = endpoint
    assert taking.answer(json.dumps(forge(signed())).encode()) in (400, 403)
    assert did == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"Type": ["Notification"]}'])
def test_the_endpoint_refuses_what_is_no_delivery(
    endpoint: tuple[https_endpoint.Endpoint, list[str]], body: bytes
) -> None:
    assert endpoint[0].answer(body) in (400, 403)


def test_a_subscription_is_confirmed_for_this_topic_at_sns_alone(
    endpoint: tuple[https_endpoint.Endpoint, list[str]],
) -> None:
    taking, did = endpoint
    kind, url = "SubscriptionConfirmation", "https://sns.eu-central-1.amazonaws.com/?Action=Confirm"

    def answer(**said: str) -> int:
        return taking.answer(json.dumps(signed(kind, **said)).encode())

    assert answer(SubscribeURL=url, TopicArn=f"{ARN}-other") == 403
    assert answer(SubscribeURL="https://example.com/?Action=Confirm") == 403
    assert did == []
    assert answer(SubscribeURL=url) == 200
    assert did == [url]


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/a.pem",
        "https://sns.eu-central-1.amazonaws.com.example.com/a.pem",
        "https://sns.eu-central-1.amazonaws.com@example.com/a.pem",
        "https://example.com/sns.eu-central-1.amazonaws.com/a.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/a.pem",
        "https://bucket.s3.amazonaws.com/a.pem",
        "https://[sns",
    ],
)
def test_a_certificate_comes_from_sns_over_https(url: str) -> None:
    assert signature.is_address_of_sns(CERTIFICATE_URL)
    assert not signature.is_address_of_sns(url)


def test_a_certificate_that_has_ended_is_no_longer_good() -> None:
    with pytest.raises(signature.NotFromSns, match="no longer good"):
        signature.check(signed(), ARN, certificate_at=lambda _: certificate(days=-1))
