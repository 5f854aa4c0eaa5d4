"""`mqlambda` as people and programs meet it, before a local stack in a process of its own."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from typer.testing import CliRunner, Result

from infra.local.stack import PUBLIC_KEY, LocalStack
from infra.workbench.cli import Workbench, app
from infra.workbench.connection import Connection

ROOT = Path(__file__).parents[2]
# What a person may have set, and no test should meet.
AWS_VARIABLES = [name for name in os.environ if name.startswith(("AWS_", "MQLAMBDA_"))]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Start an empty local stack, and let two leads look at it."""
    command = [sys.executable, "-m", "infra.local"]
    environment = {**os.environ, "PORT": "0", "REPLAY": "none", "PYTHONUNBUFFERED": "1"}
    with (
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        ) as stack,
        ThreadPoolExecutor(1) as reader,
    ):
        try:
            assert stack.stdout is not None
            ready = reader.submit(stack.stdout.readline).result(timeout=60).split()
            assert ready[0] == "ready"
            batch = [
                {"type": "page", "userId": "jane@example.com", "messageId": "m-1"},
                {"type": "page", "userId": "jane@example.com", "messageId": "m-2"},
                {"type": "page", "userId": "joe@example.com", "messageId": "m-1"},
            ]
            body = json.dumps({"writeKey": PUBLIC_KEY, "batch": batch}).encode()
            headers = {"content-type": "application/json"}
            with urlopen(Request(f"{ready[1]}/v1/batch", body, headers)) as answer:
                assert answer.status == 200
            wait_until_nothing_is_pending(ready[1])
            yield ready[1]
        finally:
            stack.terminate()


def wait_until_nothing_is_pending(url: str) -> None:
    deadline = monotonic() + 30
    while monotonic() < deadline:
        with urlopen(f"{url}/_local/status") as answer:
            if json.load(answer)["pending"] == 0:
                return
        sleep(0.05)


def wait_until_there_is(page: str) -> str:
    """Return where the page is in the end: a key is known to the functions a moment later."""
    deadline = monotonic() + 30
    while True:
        try:
            with urlopen(Request(page, method="HEAD")) as answer:
                return str(answer.url)
        except HTTPError:
            assert monotonic() < deadline
            sleep(0.05)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in AWS_VARIABLES:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)


@pytest.fixture
def signed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")


def mqlambda(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def refusal(result: Result) -> str:
    """Return the one line that the command said why it did not do it."""
    assert (result.stdout, result.exit_code) == ("", 2)
    (line,) = result.stderr.splitlines()
    return line


def test_status_counts_for_programs_and_says_nothing_else(url: str) -> None:
    command = [sys.executable, "-m", "infra.workbench.cli", "--local", "--url", url]
    done = subprocess.run([*command, "status", "--json"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    status = json.loads(done.stdout)
    assert status.pop("table_name").startswith("data-Table-")
    assert status == {
        "endpoint": f"{url}/_local/aws",
        "leads": 2,
        "interactions": 3,
        "pending": 0,
    }


def test_json_may_be_asked_for_before_or_after_the_command(url: str) -> None:
    after = mqlambda("--local", "--url", url, "status", "--json")
    before = mqlambda("--json", "--local", "--url", url, "status")
    assert json.loads(before.stdout) == json.loads(after.stdout)
    assert "--json" in mqlambda("status", "--help").stdout


def test_json_may_be_asked_for_around_a_command_of_a_group(url: str) -> None:
    after = mqlambda("--local", "--url", url, "keys", "list", "--json")
    before = mqlambda("--json", "--local", "--url", url, "keys", "list")
    assert json.loads(before.stdout) == json.loads(after.stdout)
    assert json.loads(after.stdout)["public"] == PUBLIC_KEY
    assert "--json" in mqlambda("keys", "list", "--help").stdout


def test_a_link_made_for_the_local_stack_leads_through_it(url: str) -> None:
    words = ("link", f"{url}/_local/keys", "ida@example.com", "--campaign", "spring", "--json")
    (made,) = json.loads(mqlambda("--local", "--url", url, *words).stdout)
    assert made["link"].startswith(f"{url}/c/")
    assert wait_until_there_is(made["link"]) == f"{url}/_local/keys"


def test_people_get_the_same_without_json(url: str) -> None:
    shown = mqlambda("--local", "--url", url, "status").stdout
    lines = dict(line.rsplit(maxsplit=1) for line in shown.splitlines())
    assert (lines["leads"], lines["interactions"], lines["pending"]) == ("2", "3", "0")
    assert lines["endpoint"] == f"{url}/_local/aws"


def test_status_reads_every_page_of_the_table(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # DynamoDB returns a page at each megabyte.
    for number in range(4):
        for sk in ("LEAD", "OUTBOX#000001", "CHANGE#000001"):
            item: Any = {
                "pk": {"S": f"LEAD#{number}"},
                "sk": {"S": sk},
                "large": {"B": bytes(390_000)},
            }
            stack.dynamodb.put_item(TableName=stack.table_name, Item=item)
    connection = Connection(stack.table_name, stack.dynamodb)
    monkeypatch.setattr(Workbench, "connection", lambda _workbench: connection)
    status = json.loads(mqlambda("status", "--json").stdout)
    assert (status["leads"], status["interactions"], status["pending"]) == (4, 0, 4)


def test_a_command_that_fails_on_its_way_says_why_in_one_line(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Connection("gone", stack.dynamodb)
    monkeypatch.setattr(Workbench, "connection", lambda _workbench: gone)
    assert "ResourceNotFoundException" in refusal(mqlambda("status"))


def test_the_local_stack_is_reached_whatever_the_environment_says(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / ".aws" / "config"
    broken.parent.mkdir()
    broken.write_text("no configuration")
    for name, value in {
        "HOME": str(tmp_path),
        "AWS_PROFILE": "nobody",
        "AWS_CONFIG_FILE": str(broken),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCOUNT_ID_ENDPOINT_MODE": "required",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "MQLAMBDA_STACK": "production",
        "MQLAMBDA_URL": url,
    }.items():
        monkeypatch.setenv(name, value)
    assert json.loads(mqlambda("--local", "status", "--json").stdout)["leads"] == 2


def test_where_nothing_answers_or_something_else_it_says_to_start_the_local_stack(
    url: str,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for wrong in (f"http://127.0.0.1:{port}", "http://127.0.0.1:999999", "nonsense"):
        said = refusal(mqlambda("--local", "--url", wrong, "status", "--json"))
        assert said.startswith(f"no local stack answers at {wrong}: start it with `make run`")
    said = refusal(mqlambda("--local", "--url", f"{url}/elsewhere", "status"))
    assert said.startswith(f"what answers at {url}/elsewhere/_local/aws is not AWS's API")


def test_a_command_that_needs_a_table_asks_which(url: str) -> None:
    said = refusal(mqlambda("status", "--json"))
    assert "--local" in said
    assert "--stack NAME" in said
    assert mqlambda("status", "--help").exit_code == 0


def test_two_tables_are_one_too_many(url: str) -> None:
    said = refusal(mqlambda("--local", "--url", url, "--stack", "production", "status"))
    assert "exclude each other" in said


def test_a_deployed_stack_is_found_by_its_name(
    url: str, signed_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{url}/_local/aws")
    assert json.loads(mqlambda("--stack", "data", "status", "--json").stdout)["leads"] == 2
    monkeypatch.setenv("MQLAMBDA_STACK", "data")
    assert json.loads(mqlambda("status", "--json").stdout)["leads"] == 2

    said = refusal(mqlambda("--stack", "production", "status"))
    assert said.startswith("there is no stack production in eu-central-1")


def test_without_a_region_or_credentials_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "AWS_DEFAULT_REGION" in refusal(mqlambda("--stack", "production", "status"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert "no AWS credentials" in refusal(mqlambda("--stack", "production", "status"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "(nobody)" in refusal(mqlambda("--stack", "production", "status"))


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("AccessDenied", "access denied: an IAM policy has to allow it"),
        ("ExpiredToken", "AWS does not accept these credentials: sign in again"),
    ],
)
def test_what_aws_refuses_is_one_line_with_advice(
    signed_in: None, monkeypatch: pytest.MonkeyPatch, code: str, advice: str
) -> None:
    error = f"<Error><Code>{code}</Code><Message>User: jane may\nnot</Message></Error>"
    with answering(403, f"<ErrorResponse>{error}</ErrorResponse>") as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        said = refusal(mqlambda("--stack", "production", "status"))
    assert said.startswith(advice)
    assert "User: jane may not" in said


def test_a_stack_without_a_table_is_not_one_of_ours(
    signed_in: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = "<Stacks><member><StackName>other</StackName></member></Stacks>"
    result = f"<DescribeStacksResult>{stack}</DescribeStacksResult>"
    text = f"<DescribeStacksResponse>{result}</DescribeStacksResponse>"
    with answering(200, text) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        said = refusal(mqlambda("--stack", "other", "status"))
    assert said.startswith("the stack other has no output `TableName`")


@contextmanager
def answering(status: int, text: str) -> Iterator[str]:
    """Answer every request alike."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
