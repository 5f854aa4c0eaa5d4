"""A table that can't be reached loses no form and no click: they wait in the spool."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.local.engine import clock_at
from infra.local.gateway import Answer
from infra.local.stack import LocalStack, local_stack
from leadscoring.interaction import to_text
from tests.flow import posting
from tests.flow.acts import ACTS, counters, ledger_sums, send
from tests.flow.asking import lead, ledger
from tests.flow.posting import MULTIPART, URLENCODED, multipart
from tests.flow.test_links import TARGET, follow, link
from tests.flow.weather import DOWN, LOSSY, WELL, Weather

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
# A message that failed is seen again after three minutes.
AGAIN = timedelta(minutes=4)
JANE = "jane@example.com"


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let botocore try again at once."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)


@pytest.fixture
def weather(stack: LocalStack) -> Weather:
    return Weather(stack)


def submit(stack: LocalStack, email: str = JANE, at: datetime = NOON, form: str = "demo") -> Answer:
    return posting.submit(stack, form, {"email": email, "title": "E-invoicing"}, at)


def pump(stack: LocalStack, at: datetime) -> None:
    with clock_at(at):
        stack.pump()


def test_a_form_that_the_table_can_not_take_is_thanked_for_and_recorded_later(
    stack: LocalStack, weather: Weather
) -> None:
    thanked = submit(stack, "ada@example.com")
    pump(stack, NOON)
    weather.dynamodb = DOWN

    answer = submit(stack)

    assert (answer.status, answer.headers) == (thanked.status, thanked.headers)
    assert answer.status == 303
    assert (stack.pending(), stack.metrics["Spooled"]) == (1, 1)
    weather.dynamodb = WELL
    pump(stack, NOON + timedelta(hours=5))
    assert stack.pending() == 0
    (entry,) = ledger(stack, email=JANE)
    assert (entry["name"], entry["trust"]) == ("Demo Requested", "public")
    assert entry["received_at"] == entry["occurred_at"] == to_text(NOON)
    assert entry["properties"] == {"form": "demo", "title": "E-invoicing"}
    assert {m["data"]["lead"]["email"] for m in stack.promoted().values()} == {
        "ada@example.com",
        JANE,
    }


def test_while_the_table_stays_away_a_form_waits(stack: LocalStack, weather: Weather) -> None:
    weather.dynamodb = DOWN
    submit(stack)

    for minutes in (0, 4, 60, 24 * 60, 13 * 24 * 60):
        pump(stack, NOON + timedelta(minutes=minutes))
        assert stack.pending() == 1
    weather.dynamodb = WELL
    pump(stack, NOON + timedelta(days=13, minutes=1))
    assert stack.pending() == 1  # not seen yet: it was tried a minute ago
    pump(stack, NOON + timedelta(days=13, minutes=4))

    assert stack.pending() == 0
    assert [entry["received_at"] for entry in ledger(stack, email=JANE)] == [to_text(NOON)]


def test_a_form_that_is_sent_again_meanwhile_counts_once(
    stack: LocalStack, weather: Weather
) -> None:
    weather.dynamodb = DOWN
    submit(stack)
    submit(stack)
    weather.dynamodb = WELL
    submit(stack, at=NOON + timedelta(hours=1))

    pump(stack, NOON + timedelta(hours=2))

    assert lead(stack, email=JANE)["interactions"] == 1
    assert (stack.metrics["Interactions"], stack.metrics["Duplicates"]) == (1, 2)
    assert counters(stack, JANE) == ledger_sums(stack, JANE)


def test_a_form_that_was_committed_when_the_answer_got_lost_counts_once(
    stack: LocalStack, weather: Weather
) -> None:
    submit(stack, "ada@example.com")  # the keys are known
    weather.dynamodb = LOSSY

    assert submit(stack).status == 303

    weather.dynamodb = WELL
    assert lead(stack, email=JANE)["interactions"] == 1
    assert stack.metrics["Spooled"] == 1
    pump(stack, NOON + AGAIN)
    assert lead(stack, email=JANE)["interactions"] == 1
    assert len(stack.promoted()) == 2


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_whatever_the_table_answers_a_form_is_not_lost(
    stack: LocalStack, weather: Weather, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def refuse(**_request: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": ""}}, "TransactWriteItems")

    client = stack.functions["collect"].module.store._table._dynamodb
    monkeypatch.setattr(client, "transact_write_items", refuse)

    assert submit(stack).status == 303

    pump(stack, NOON)
    assert lead(stack, email=JANE)["interactions"] == 1


def test_a_form_is_taken_by_a_function_that_never_saw_the_keys(
    stack: LocalStack, weather: Weather
) -> None:
    weather.dynamodb = DOWN
    weather.start_cold()

    assert submit(stack).status == 303

    weather.dynamodb = WELL
    pump(stack, NOON)
    assert lead(stack, email=JANE)["interactions"] == 1


@pytest.mark.parametrize("spool", [DOWN, LOSSY])
def test_where_nothing_takes_a_form_its_sender_is_asked_to_send_it_again(
    stack: LocalStack, weather: Weather, spool: str
) -> None:
    weather.dynamodb, weather.sqs = DOWN, spool

    answer = submit(stack)

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "has not been sent yet" in answer.body.decode()
    weather.dynamodb = weather.sqs = WELL
    assert submit(stack).status == 303
    pump(stack, NOON)
    assert lead(stack, email=JANE)["interactions"] == 1


def test_a_form_with_a_file_of_megabytes_is_spooled_without_the_file(
    stack: LocalStack, weather: Weather
) -> None:
    file = ("cv", b"%PDF" * 1_000_000, "cv.pdf")
    weather.dynamodb = DOWN
    headers = {"content-type": MULTIPART}
    with clock_at(NOON):
        body = multipart([("email", JANE, None), file])
        assert stack.request("POST", "/f/demo", body, headers).status == 303

    weather.dynamodb = WELL
    pump(stack, NOON)

    assert lead(stack, email=JANE)["interactions"] == 1


def test_a_bot_is_recognised_when_its_form_comes_out_of_the_spool(
    stack: LocalStack, weather: Weather
) -> None:
    weather.dynamodb = DOWN
    headers = {"user-agent": "curl/8.5.0", "content-type": URLENCODED}
    with clock_at(NOON):
        body = urlencode({"email": JANE}).encode()
        assert stack.request("POST", "/f/demo", body, headers).status == 303

    weather.dynamodb = WELL
    pump(stack, NOON)

    (item,) = stack.items("INTERACTION#")
    assert item["withheld_by"]["S"] == "crawlerdetect"
    assert stack.promoted() == {}


def test_what_is_wrong_with_a_form_is_said_and_not_spooled(
    stack: LocalStack, weather: Weather
) -> None:
    weather.dynamodb = DOWN
    assert submit(stack, "not an address").status == 400
    assert stack.pending() == 0


def test_a_call_is_never_spooled_since_its_sender_repeats_it(
    stack: LocalStack, weather: Weather
) -> None:
    message = {"writeKey": "local-public", "userId": JANE, "event": "Demo Requested"}
    weather.dynamodb = DOWN

    for _ in ("cold", "warm"):
        answer = stack.request("POST", "/v1/track", message)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        weather.dynamodb = WELL
        assert stack.request("POST", "/v1/track", message).status == 200
        weather.dynamodb = DOWN
    assert stack.metrics["Spooled"] == 0


def test_a_call_is_told_to_come_again_when_the_keys_can_not_be_read_for_now(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_request: object) -> None:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "GetItem")

    client = stack.functions["collect"].module.store._table._dynamodb
    monkeypatch.setattr(client, "get_item", refuse)
    message = {"writeKey": "local-public", "userId": JANE, "event": "Demo Requested"}

    assert stack.request("POST", "/v1/track", message).status == 503


def test_a_click_leads_on_and_is_recorded_later(stack: LocalStack, weather: Weather) -> None:
    path = link(stack)
    with clock_at(NOON):
        send(stack, [{**ACTS["page"], "userId": JANE}])
    clicked_at = NOON + timedelta(hours=2)
    weather.dynamodb = DOWN

    answer = follow(stack, path, clicked_at)

    assert (answer.status, answer.headers["location"]) == (302, TARGET)
    weather.dynamodb = WELL
    pump(stack, NOON + timedelta(hours=9))
    click = next(e for e in ledger(stack, email=JANE) if e["name"] == "Email Link Clicked")
    assert click["received_at"] == to_text(clicked_at)
    assert [paid["rule"] for paid in click["paid"]] == ["e-mail-click"]


def test_a_click_that_nothing_takes_leads_on_all_the_same(
    stack: LocalStack, weather: Weather
) -> None:
    path = link(stack)
    assert follow(stack, path).status == 302  # the keys are known
    weather.dynamodb = weather.sqs = DOWN
    assert follow(stack, path).headers["location"] == TARGET


def test_a_link_that_can_not_be_verified_leads_nowhere_for_now(
    stack: LocalStack, weather: Weather
) -> None:
    path = link(stack)
    weather.dynamodb = DOWN
    weather.start_cold()

    answer = follow(stack, path)

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "location" not in answer.headers
    assert "open it again" in answer.body.decode()
    assert stack.pending() == 0


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[]",
        "{}",
        "null",
        "[" * 100_000,
        json.dumps({"routeKey": "POST /v1/{call}"}),
        json.dumps({"routeKey": "POST /f/{form}", "requestContext": {"timeEpoch": "noon"}}),
    ],
)
def test_what_can_not_be_read_stays_and_holds_up_nobody(
    stack: LocalStack, weather: Weather, body: str
) -> None:
    spool = stack.functions["collect"].module._spool()
    with clock_at(NOON):
        spool._sqs.send_message(QueueUrl=spool._url, MessageBody=body)
    weather.dynamodb = DOWN
    submit(stack)
    weather.dynamodb = WELL

    pump(stack, NOON)

    assert lead(stack, email=JANE)["interactions"] == 1
    assert (stack.pending(), stack.metrics["SpoolPoison"]) == (1, 1)
    pump(stack, NOON + AGAIN)
    assert (stack.pending(), stack.metrics["SpoolPoison"]) == (1, 2)


def test_a_form_that_the_model_dropped_meanwhile_waits_until_it_is_back(
    stack: LocalStack, weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    weather.dynamodb = DOWN
    submit(stack)
    weather.dynamodb = WELL
    retry = stack.functions["retry"].module
    with monkeypatch.context() as edited:
        edited.setattr(retry, "model", retry.model.model_copy(update={"forms": {}}))
        pump(stack, NOON)
        assert (stack.pending(), stack.metrics["SpoolPoison"]) == (1, 1)

    pump(stack, NOON + AGAIN)

    assert stack.pending() == 0
    assert lead(stack, email=JANE)["interactions"] == 1


def test_nobody_is_named_in_the_logs(
    stack: LocalStack, weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = io.StringIO()
    collect, retry = (stack.functions[name].module for name in ("collect", "retry"))
    for function in (collect, retry):
        monkeypatch.setattr(function.logger.registered_handler, "stream", logged)
    weather.dynamodb = DOWN
    submit(stack, "canary@example.com")
    pump(stack, NOON)
    weather.sqs = DOWN
    submit(stack, "canary@example.com")
    weather.dynamodb = WELL
    monkeypatch.setattr(retry, "model", retry.model.model_copy(update={"forms": {}}))
    pump(stack, NOON + AGAIN)

    lines = [json.loads(line) for line in logged.getvalue().splitlines()]

    assert [(line["service"], line["message"]) for line in lines] == [
        ("collect", "not recorded"),
        ("retry", "not recorded"),
        ("collect", "not recorded"),
        ("collect", "not spooled"),
        ("collect", "the table is busy"),
        ("retry", "not recorded"),
    ]
    assert "canary" not in logged.getvalue()
    assert "E-invoicing" not in logged.getvalue()


NAMES = {"demo": "Demo Requested", "contact": "Form Submitted"}
_runs = count()
STEPS = st.one_of(
    st.tuples(
        st.just("form"),
        st.sampled_from(["ada", "ben"]),
        st.sampled_from(sorted(NAMES)),
        st.sampled_from([WELL, DOWN, LOSSY]),
        st.sampled_from([WELL, WELL, DOWN, LOSSY]),
    ),
    st.tuples(st.just("pump"), st.sampled_from([WELL, DOWN, LOSSY])),
    st.tuples(st.just("cold")),
)


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[LocalStack, Weather]]:
    with local_stack() as stack:
        yield stack, Weather(stack)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(STEPS, min_size=1, max_size=12))
def test_whatever_fails_in_whatever_order_a_form_that_was_thanked_for_is_recorded_exactly_once(
    shared: tuple[LocalStack, Weather], steps: list[tuple[str, ...]]
) -> None:
    stack, weather = shared
    run = next(_runs)
    sent: dict[tuple[str, str], set[str]] = {}
    thanked: set[tuple[str, str]] = set()
    at = NOON
    for step in steps:
        at += AGAIN
        match step:
            case "form", who, form, table, spool:
                weather.dynamodb, weather.sqs = table, spool
                email = f"{who}-{run}@example.com"
                answer = submit(stack, email, at, form)
                assert answer.status in (303, 503)
                key = (email, NAMES[form])
                sent.setdefault(key, set()).add(to_text(at))
                if answer.status == 303:
                    thanked.add(key)
            case "pump", table:
                weather.dynamodb = table
                pump(stack, at)
            case _:
                weather.start_cold()
    weather.dynamodb = weather.sqs = WELL
    pump(stack, at + AGAIN)

    assert stack.pending() == 0
    emails = {item["pk"]["S"]: item["email"]["S"] for item in stack.items("LEAD")}
    entered: Counter[tuple[str, str]] = Counter()
    for entry in stack.items("INTERACTION#"):
        key = (emails[entry["pk"]["S"]], entry["name"]["S"])
        if key in sent:
            entered[key] += 1
            assert entry["received_at"]["S"] in sent[key]
    assert set(entered.values()) <= {1}
    assert thanked <= set(entered)
    for email in {email for email, _ in entered}:
        assert counters(stack, email) == ledger_sums(stack, email)
