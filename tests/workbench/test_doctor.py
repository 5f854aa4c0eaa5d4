"""`mqlambda doctor` before a served stack: what it finds right there, and each way to be wrong."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.local import gateway
from infra.local.gateway import Answer
from infra.local.server import Replaying, application
from infra.local.stack import BROWSER, PUBLIC_KEY, LocalStack
from infra.workbench import cli, doctoring
from infra.workbench.doctoring import Examination, Result
from infra.workbench.visitor import Visitor
from leadscoring import settings
from leadscoring.model import Model
from leadscoring.store import Store
from tests.serving import serving, serving_stack

SITE = "https://www.example.com"
CHECKS = set(doctoring.CHECKS)

type Served = tuple[LocalStack, str]


@pytest.fixture
def served(stack: LocalStack) -> Iterator[Served]:
    with serving_stack(stack) as url:
        yield stack, url


def visit(stack: LocalStack, url: str, **other: Any) -> Examination:
    """Return a visit that reads the ledger, and delivers the stream while it waits."""
    usual = Examination(
        visitor=Visitor(url, SITE),
        key=PUBLIC_KEY,
        model=Model.load(settings.MODEL_FILE),
        form="contact",
        email="doctor@example.com",
        tag="0a1b2c",
        event="Demo Requested",
        store=Store(stack.dynamodb, stack.table_name),
        now=lambda: datetime.now(UTC),
        wait_seconds=30,
        sleep=lambda _seconds: stack.pump(),
    )
    return replace(usual, **other)


def found(visit: Examination) -> dict[str, tuple[Result, str]]:
    findings = doctoring.examine(visit, lambda: None)
    return {finding.check: (finding.result, finding.reason) for finding in findings}


def only_bad(visit: Examination, check: str) -> str:
    """Return why this check, and no other, failed."""
    findings = found(visit)
    bad = {name: reason for name, (result, reason) in findings.items() if result is Result.BAD}
    assert bad.keys() == {check}, findings
    return bad[check]


def test_all_is_well_before_a_stack_that_is(served: Served) -> None:
    findings = found(visit(*served))
    assert {name for name, (result, _) in findings.items() if result is Result.GOOD} == CHECKS


def test_what_no_answer_shows_is_left_open_without_a_table(served: Served) -> None:
    findings = found(visit(*served, store=None))
    unseen = {name for name, (result, _) in findings.items() if result is Result.UNSEEN}
    assert unseen == {"duplicate", "honeypot", "bot", "promotion"}
    assert {result for result, _ in findings.values()} == {Result.GOOD, Result.UNSEEN}
    assert all("--stack" in findings[name][1] for name in unseen)


def test_nobody_is_promoted_who_should_not_be(served: Served) -> None:
    stack, url = served
    findings = found(visit(stack, url, event=None))
    assert findings["promotion"] == (Result.UNSEEN, "left out by `--no-promotion`")
    stack.pump()
    assert stack.promoted() == {}


def test_an_event_that_makes_no_mql_is_not_sent(served: Served) -> None:
    result, why = found(visit(*served, event="Page Viewed"))["promotion"]
    assert (result, "--event" in why) == (Result.UNSEEN, True)


# Each check can fail


def test_where_nobody_listens_nothing_else_is_looked_at(served: Served) -> None:
    stack, url = served
    port = url.rpartition(":")[2]
    for wrong, why in (("http://127.0.0.1:9", "refused"), (f"https://127.0.0.1:{port}", "SSL")):
        assert why in only_bad(visit(stack, wrong), "address")


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {"content-type": "text/html"}, b"<h1>It works!</h1>"),
        (401, {"content-type": "application/json"}, b'{"message": "Unauthorized"}'),
        (401, {"content-type": "application/json"}, b"[" * 100_000),
    ],
    ids=["html", "another API", "hostile"],
)
def test_what_is_no_api_of_ours_is_told(
    served: Served, status: int, headers: dict[str, str], body: bytes
) -> None:
    stack, url = served
    meddle(stack, lambda *_: Answer(status, headers, body))
    assert "is the address right?" in only_bad(visit(stack, url), "address")


def test_a_wrong_key_is_told_and_a_form_needs_none(served: Served) -> None:
    checked = visit(*served, key="pk_of_somebody_else")
    assert "not one of this stack's" in only_bad(checked, "key")
    assert found(replace(checked, tag="again"))["form"][0] is Result.GOOD


@pytest.mark.parametrize(
    ("which", "told"),
    [
        (lambda method, _: method == "OPTIONS", "the preflight allows no origin"),
        (lambda method, status: status == 200 and method != "OPTIONS", "the answer allows no"),
        (lambda _, status: status == 401, "the error allows no origin"),
    ],
    ids=["preflight", "answer", "error"],
)
def test_an_origin_that_may_not_call_is_told(
    stack: LocalStack, which: Callable[[str, int], bool], told: str
) -> None:
    with serving(without_cors(application(stack, Replaying("none"), Event()), which)) as url:
        assert told in only_bad(visit(stack, url), "cors")


def test_without_an_origin_cors_is_left_open(served: Served) -> None:
    stack, url = served
    assert found(visit(stack, url, visitor=Visitor(url)))["cors"][0] is Result.UNSEEN


def test_a_form_that_is_not_deployed_is_told(served: Served) -> None:
    findings = found(visit(*served, form="fair"))
    assert findings["form"][0] is findings["honeypot"][0] is Result.BAD
    assert "there is no form fair" in findings["form"][1]


def test_a_form_without_its_thank_you_page_is_told(served: Served) -> None:
    stack, url = served
    before = stack.request
    missing = Answer(404, {"content-type": "text/html"})
    meddle(stack, lambda method, *more: missing if method == "GET" else before(method, *more))
    assert "thank-you page /f/contact is answered 404" in only_bad(visit(stack, url), "form")


def test_a_beacon_that_would_need_a_preflight_is_told(served: Served) -> None:
    stack, url = served
    before = stack.request

    def only_json(method: str, path: str, body: bytes, headers: Any, query: str) -> Answer:
        plain = headers.get("content-type", "").startswith("text/plain")
        return Answer(415) if plain else before(method, path, body, headers, query)

    meddle(stack, only_json)
    assert "415" in only_bad(visit(stack, url), "beacon")


def test_a_server_that_counts_twice_is_told(served: Served) -> None:
    stack, url = served
    before = stack.request

    def renumbered(method: str, path: str, body: bytes, headers: Any, query: str) -> Answer:
        if path == "/v1/track":
            body = json.dumps({**json.loads(body), "messageId": None, "timestamp": None}).encode()
        return before(method, path, body, headers, query)

    meddle(stack, renumbered)
    assert only_bad(visit(stack, url), "duplicate") == "counted 2 times"


def test_a_honeypot_that_the_stack_does_not_know_is_told(served: Served) -> None:
    model = Model.load(settings.MODEL_FILE)
    contact = model.forms["contact"].model_copy(update={"honeypot": "website"})
    ours = model.model_copy(update={"forms": {**model.forms, "contact": contact}})
    why = only_bad(visit(*served, model=ours), "honeypot")
    assert why == "it gets the same answer, but nothing withholds its points"


def test_a_bot_that_is_taken_for_a_person_is_told(served: Served) -> None:
    stack, url = served
    before = stack.request

    def disguised(method: str, path: str, body: bytes, headers: Any, query: str) -> Answer:
        return before(method, path, body, {**headers, "user-agent": BROWSER}, query)

    meddle(stack, disguised)
    assert "nothing withholds" in only_bad(visit(stack, url), "bot")


def test_a_bot_that_can_tell_is_told(served: Served) -> None:
    stack, url = served
    before = stack.request

    def keeping_out(method: str, path: str, body: bytes, headers: Any, query: str) -> Answer:
        bot = "Googlebot" in headers["user-agent"]
        return Answer(403) if bot else before(method, path, body, headers, query)

    meddle(stack, keeping_out)
    assert "another status: 403, not 200" in only_bad(visit(stack, url, store=None), "bot")


def test_what_is_accepted_and_recorded_elsewhere_is_told(served: Served) -> None:
    stack, url = served
    before = stack.request

    def swallowing(method: str, path: str, body: bytes, headers: Any, query: str) -> Answer:
        answer = before(method, path, b"{}" if b"beacon" in body else body, headers, query)
        return gateway.Answer(200, {}, b'{"success": true}') if b"beacon" in body else answer

    meddle(stack, swallowing)
    assert "is it the same stack's?" in only_bad(visit(stack, url), "beacon")


def test_a_promotion_that_does_not_come_is_told(served: Served) -> None:
    asleep = visit(*served, wait_seconds=0)
    assert only_bad(asleep, "promotion") == "not promoted within 0 seconds"


def test_a_promotion_that_is_not_published_is_told(served: Served) -> None:
    stack, url = served
    stack.mappings = [mapping for mapping in stack.mappings if mapping.function != "relay"]

    def checked() -> str:
        examined = visit(stack, url, wait_seconds=1, sleep=lambda _seconds: stack.pump())
        return only_bad(examined, "promotion")

    assert checked() == "promoted, but not published within 1 seconds"


def test_a_visit_by_our_own_people_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    text = settings.MODEL_FILE.read_text(encoding="utf-8")
    ours = tmp_path / "model.toml"
    ours.write_text(f'{text}\n[staff]\ndomains = ["example.com"]\n', encoding="utf-8")
    monkeypatch.setattr(settings, "MODEL_FILE", ours)
    findings = found(visit(*request.getfixturevalue("served")))
    assert "withheld by staff" in findings["form"][1]
    assert "--email" in findings["promotion"][1]


# The command


def doctor(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["--stack", "data", "doctor", *arguments])


def test_the_command_says_it_in_a_line_each_and_exits_by_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = served
    monkeypatch.setattr(cli, "MODEL_FILE", settings.MODEL_FILE)

    well = doctor(url, "--no-promotion", "--origin", SITE)
    assert well.exit_code == 0, well.output
    lines = [line.split()[:2] for line in well.stdout.splitlines()]
    assert ["–", "promotion"] in lines  # noqa: RUF001 (that dash)
    assert [["✔", name] for name in doctoring.CHECKS if name != "promotion"] == [
        line for line in lines if line[:1] == ["✔"]
    ]
    assert "these test leads stay" in " ".join(well.stdout.split())

    ill = doctor(url, "--no-promotion", "--key", "pk_wrong", "--json")
    assert ill.exit_code == 1
    checks = {check["check"]: check for check in json.loads(ill.stdout)["checks"]}
    assert (checks["key"]["result"], checks["form"]["result"]) == ("bad", "good")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nonsense"], "nonsense is no web address"),
        (["http://127.0.0.1:9", "--email", "doctor"], "doctor is not an e-mail address"),
        (["http://127.0.0.1:9", "--origin", "www.example.com"], "is no web address"),
    ],
)
def test_what_can_not_be_visited_is_told(
    stack: LocalStack, arguments: list[str], told: str
) -> None:
    result = doctor(*arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.replace("│", "").split())


def test_without_a_table_a_key_has_to_be_given() -> None:
    result = CliRunner().invoke(cli.app, ["doctor", "http://127.0.0.1:9"])
    assert result.exit_code == 2
    assert "which key?" in result.stderr


def meddle(stack: LocalStack, request: Callable[..., Answer]) -> None:
    """Let the stack answer otherwise than it does."""
    stack.request = request  # type: ignore[method-assign]


def without_cors(app: Any, which: Callable[[str, int], bool]) -> Any:
    """Return the application, its CORS headers gone from some of its answers."""

    async def meddling(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start" and which(
                scope["method"], message["status"]
            ):
                kept = [pair for pair in message["headers"] if b"allow-origin" not in pair[0]]
                message = {**message, "headers": kept}
            await send(message)

        await app(scope, receive, sending if scope["type"] == "http" else send)

    return meddling
