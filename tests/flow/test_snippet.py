"""What the API hands to browsers: lead.js, and the settings of Segment's SDK."""

import gzip
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack, local_stack
from infra.workbench import cli
from leadscoring.settings import SNIPPET_FILE
from leadscoring.snippet import Snippet

SETTINGS = "/v1/projects/{}/settings"


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with local_stack() as shared:
        yield shared


@pytest.mark.parametrize("accepted", ["", "br", "gzip, deflate, br"])
def test_the_snippet_comes_as_small_as_the_browser_can_take_it(
    stack: LocalStack, accepted: str
) -> None:
    answer = stack.request("GET", "/lead.js", headers={"accept-encoding": accepted})

    zipped = answer.headers.get("content-encoding") == "gzip"
    assert zipped is ("gzip" in accepted)
    assert (gzip.decompress(answer.body) if zipped else answer.body) == SNIPPET_FILE.read_bytes()
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["vary"] == "accept-encoding, origin"


def test_a_browser_that_has_the_snippet_is_not_sent_it_again(stack: LocalStack) -> None:
    etag = stack.request("GET", "/lead.js").headers["etag"]

    same = stack.request("GET", "/lead.js", headers={"if-none-match": f'"old", {etag}'})
    other = stack.request("GET", "/lead.js", headers={"if-none-match": 'W/"old"'})

    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
    assert other.status == 200


def test_segments_sdk_is_told_to_send_to_where_it_asked(stack: LocalStack) -> None:
    headers = {"host": "leads.example.com", "x-forwarded-proto": "https"}
    answer = stack.request("GET", SETTINGS.format(PUBLIC_KEY), headers=headers)

    sending = {"apiKey": PUBLIC_KEY, "apiHost": "leads.example.com/v1", "protocol": "http"}
    assert answer.status == 200
    assert answer.json() == {
        "integrations": {"Segment.io": sending},
        "metrics": {"sampleRate": 0},
    }


@pytest.mark.parametrize("key", ["guessed", SECRET_KEY, "%F0%9F%94%91", "%00"])
def test_a_key_that_is_not_public_has_no_settings(stack: LocalStack, key: str) -> None:
    answer = stack.request("GET", SETTINGS.format(key))
    assert (answer.status, answer.json()["code"]) == (404, "unknown_project")
    assert set(answer.json()) == {"code", "field", "message"}


@pytest.mark.parametrize("address", ["https://leads.example.com", "https://leads.example.com/"])
def test_the_command_prints_the_script_tag(stack: LocalStack, address: str) -> None:
    ran = CliRunner().invoke(cli.app, ["--stack", "data", "snippet", address])

    assert ran.output == (
        f'<script async src="https://leads.example.com/lead.js" data-key="{PUBLIC_KEY}" '
        f'integrity="{Snippet.load(SNIPPET_FILE).integrity}" crossorigin="anonymous"></script>\n'
    )
