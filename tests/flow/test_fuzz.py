"""Ten thousand requests gone wrong: none fails a function, and none that is refused is written.

Each is a good request of `attack.good_requests`, mutated from one to four times. The seed stands
here, so that what fails once fails again.
"""

import base64
import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from infra.local.stack import SECRET_KEY, LocalStack
from tests.flow.attack import NOON, Sent, good_requests, send, target

BODIES = 10_000
SEED = 20_260_302

type Mutation = Callable[[Random, Sent], Sent]

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1e308, 10**30, -(2**63), "", " ", [], {}, [[]], {"": ""}),
    *("\0", "\u202e", "😀" * 200, "x" * 300, "{{7*7}}", "' OR 1=1 --", "<script>", "../..", "#"),
    *("a@b.c", "@", "jane@example.com\r\nBcc: x@example.com", "straße@straße.de", "9999-12-31"),
    *("track", "batch", "LEAD#0", "INTERACTION#trusted#m-1", SECRET_KEY, "NaN", "__class__"),
]
TYPES = [
    *("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"),
    *("multipart/form-data; boundary=", 'multipart/form-data; boundary="', "image/png", "", ";"),
    *("application/json; charset=utf-16", "multipart/form-data; boundary=limes", "text/html"),
]
HEADERS = [
    *("authorization", "content-encoding", "accept", "origin", "referer", "user-agent", "cookie"),
    *("x-forwarded-for", "webhook-id", "webhook-timestamp", "webhook-signature"),
    *("typeform-signature", "x-zm-signature", "x-zm-request-timestamp", "stripe-signature"),
]


def flip_bits(random: Random, sent: Sent) -> Sent:
    body = bytearray(sent.body)
    for _ in range(random.randint(1, 8) if body else 0):
        body[random.randrange(len(body))] ^= 1 << random.randrange(8)
    return sent.changed(body=bytes(body))


def cut(random: Random, sent: Sent) -> Sent:
    start, end = sorted(random.randint(0, len(sent.body)) for _ in range(2))
    body = sent.body[:start] if random.random() < 0.5 else sent.body[:start] + sent.body[end:]
    return sent.changed(body=body)


def repeat(random: Random, sent: Sent) -> Sent:
    start, end = sorted(random.randint(0, len(sent.body)) for _ in range(2))
    times = random.choice([2, 2, 10, 1000])
    part = sent.body[start : min(end, start + 40)]
    return sent.changed(body=sent.body[:start] + part * times + sent.body[end:])


def insert(random: Random, sent: Sent) -> Sent:
    at = random.randint(0, len(sent.body))
    what = random.choice(
        [b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"NaN", b"%", b"=&=", b"{"]
    )
    return sent.changed(body=sent.body[:at] + what + sent.body[at:])


def encode(random: Random, sent: Sent) -> Sent:
    ways: list[Callable[[bytes], bytes]] = [
        lambda body: body.decode(errors="replace").encode("utf-16", "replace"),
        lambda body: body.decode(errors="replace").encode("utf-32", "replace"),
        lambda body: body.decode(errors="replace").encode("latin-1", "replace"),
        lambda body: b"\xef\xbb\xbf" + body,
        base64.b64encode,
        gzip.compress,
    ]
    return sent.changed(body=random.choice(ways)(sent.body))


def zip_it(random: Random, sent: Sent) -> Sent:
    body = gzip.compress(sent.body * random.choice([1, 1, 1, 1000]))
    cut_to = len(body) if random.random() < 0.7 else random.randrange(len(body))
    return sent.changed(body=body[:cut_to], headers={**sent.headers, "content-encoding": "gzip"})


def restructure(random: Random, sent: Sent) -> Sent:
    """Change one place of a JSON body: another value, another name, gone, twice, or far down."""
    try:
        document = json.loads(sent.body)
    except ValueError:
        return flip_bits(random, sent)
    places = list(_places(document))
    if not places:
        return sent
    table, name = random.choice(places)
    match random.randrange(5):
        case 0:
            table[name] = random.choice(VALUES)
        case 1:
            del table[name]
        case 2:
            table[name] = [table[name]] * random.choice([1, 3, 200])
        case 3:
            for _ in range(random.choice([1, 10, 90])):
                table[name] = {"a": table[name]}
        case _:
            if isinstance(table, dict):
                table[random.choice(["", "email", "x" * 400, "\0", "type", "writeKey"])] = table[
                    name
                ]
    return sent.changed(body=json.dumps(document).encode())


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    if not isinstance(document, dict | list):
        return
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for name, value in inside:
        yield document, name
        yield from _places(value)


def retype(random: Random, sent: Sent) -> Sent:
    return sent.changed(headers={**sent.headers, "content-type": random.choice(TYPES)})


def add_header(random: Random, sent: Sent) -> Sent:
    junk = random.choice([str(random.choice(VALUES)), "Basic !!!", "gzip", "t=1,v1=00", "v1,AA=="])
    return sent.changed(headers={**sent.headers, random.choice(HEADERS): junk})


def readdress(random: Random, sent: Sent) -> Sent:
    if random.random() < 0.3:
        return sent.changed(
            query=random.choice(["writeKey=", "writeKey=x", "%", "a=b&a=c", "utm=1"])
        )
    at = random.randrange(1, len(sent.path))
    junk = random.choice(["%00", "%ff", "x", ".", "%2f", "a" * 2000, "é"])
    return sent.changed(path=sent.path[:at] + junk + sent.path[at + random.randint(0, 3) :])


MUTATIONS: list[Mutation] = [
    *(flip_bits, cut, repeat, insert, encode, zip_it, retype, add_header, readdress),
    *(restructure,) * 4,
]


def mutated(random: Random, sent: Sent) -> Sent:
    for mutate in random.choices(MUTATIONS, k=random.choice([1, 1, 2, 3, 4])):
        sent = mutate(random, sent)
    # A webhook is read behind its signature alone.
    return sent.signed() if random.random() < 0.7 else sent


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with target() as fresh:
        yield fresh


def attack(stack: LocalStack, times: int) -> Counter[int]:
    """Send so many requests gone wrong, some a second; return how often each status came back."""
    random = Random(SEED)
    people = [f"jane{number}@example.com" for number in range(20)]
    good = [sent for email in people for sent in good_requests(stack, email).values()]
    return Counter(
        send(
            stack, mutated(random, random.choice(good)), NOON + timedelta(seconds=number // 40)
        ).status
        for number in range(times)
    )


def test_no_request_gone_wrong_fails_a_function_and_none_that_is_refused_is_written(
    stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = attack(stack, BODIES)
    stack.pump()

    assert [mapping.on_failure for mapping in stack.mappings] == [[], []]
    assert stack.pending() == 0
    assert {200, 302, 303, 400, 401, 404, 413, 415} <= set(answers)
    by_status = ", ".join(f"{count} of {status}" for status, count in sorted(answers.items()))
    with capsys.disabled():
        sys.stdout.write(f"\nfuzz, seed {SEED}: {answers.total()} requests: {by_status}\n")


def test_the_fuzz_finds_a_refusal_that_is_written_after_all(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = stack.functions["collect"].module

    def write_first(request: Any) -> Any:
        item = {"pk": {"S": "x"}, "sk": {"S": request.request_id}}
        stack.dynamodb.put_item(TableName=stack.table_name, Item=item)
        return take_call(request)

    take_call = collect.take_call
    monkeypatch.setattr(collect, "ROUTES", {**collect.ROUTES, "POST /v1/{call}": write_first})
    with pytest.raises(AssertionError):
        attack(stack, 200)
