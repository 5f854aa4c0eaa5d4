"""The whole life of one lead, told by the clock: all that its subscriber ever got, in order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from infra.local.engine import clock_at
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from leadscoring.interaction import to_text
from tests.flow.asking import lead
from tests.flow.own_model import stack_with

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JANE = "jane@acme.example"
LINKS = dict.fromkeys(("accept", "reject"), "http://127.0.0.1:8000")

# With a half-life of ten days whoever waits for ten days has half the points.
MODEL = """
number = 7
name = "a life"
retention_days = 730
properties = ["title"]
traits = ["firstName", "jobTitle"]
dimensions.interest = { half_life_days = 10, cap = 300 }
scores.whole.dimensions = ["interest"]
grades = { A = 20, B = 10 }
recycling.cool_down_days = 14
reply.hours = 48
forms.webinar.name = "Webinar Registered"

[[rules]]
name = "pricing"
page = { prefix = "/pricing" }
points = 16
dimension = "interest"

[[rules]]
name = "download"
on = "Content Downloaded"
points = 20
dimension = "interest"

[[rules]]
name = "registered"
on = "Webinar Registered"
points = 24
dimension = "interest"

[[rules]]
name = "attended"
on = "Webinar Attended"
points = 66
dimension = "interest"
trusted = true

[[rules]]
name = "demo"
on = "Demo Requested"
points = 60
dimension = "interest"

[[fit.rules]]
name = "decides"
when.jobTitle = ["CFO"]
points = 20

[[stages]]
name = "captured"

[[stages]]
name = "nurtured"
enter.score = 30
exit.below.score = 10

[[stages]]
name = "engaged"
enter.score = 50
exit.below.score = 20

[[stages]]
name = "mql"
enter.score = 100
enter_again.score = 130
exit.below.score = 30
"""

TRUST = {"attended": "trusted"}
NAMES = {
    "pricing": "Page Viewed",
    "download": "Content Downloaded",
    "registered": "Webinar Registered",
    "attended": "Webinar Attended",
    "demo": "Demo Requested",
}


@dataclass(frozen=True, slots=True)
class Person:
    """Who a message is about: the lead's id, its first day, and what subscribers learn of it."""

    id: str
    captured: float
    email: str | None = None
    traits: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> dict[str, Any]:
        nothing = {"first_touch": None, "last_touch": None}
        return {"id": self.id, "email": self.email, "traits": dict(self.traits), **nothing}

    def counted(self, number: int) -> int:
        """Return the number of its `number`-th change."""
        return int(day(self.captured).timestamp()) + number

    def message(self, kind: str, days: float, number: int, data: dict[str, Any]) -> dict[str, Any]:
        """Return the whole message that the subscriber should have got."""
        return {
            "specversion": "1.0",
            "id": f"{self.id}:{self.counted(number)}",
            "source": "urn:mqlambda:local",
            "type": f"mqlambda.lead.{kind}.v1",
            "subject": self.id,
            "time": to_text(day(days)).replace(".000Z", "Z"),
            "datacontenttype": "application/json",
            "data": data,
        }

    def merged(self, days: float, number: int, other: str, stage: str) -> dict[str, Any]:
        data = {"lead": self.told, "merged_lead": other, "stage": stage, "cycle": 1}
        return self.message("merged", days, number, {**data, "sequence": self.counted(number)})

    def moved(
        self,
        kind: str,
        days: float,
        number: int,
        passage: str,
        why: str,
        *reasons: tuple[str, float, float],
        score: float,
        trusted: float = 0.0,
        cycle: int = 1,
        **more: Any,
    ) -> dict[str, Any]:
        """`passage` is "from -> to", a reason its rule, the day it was earned, its points now."""
        previous, stage = passage.split(" -> ")
        fits = bool(self.traits)
        data = {
            "lead": self.told,
            "stage": stage,
            "previous_stage": previous,
            "why": why,
            "score": score,
            "scores": {"whole": score},
            "dimensions": {"interest": score, "fit": 20.0 if fits else 0.0},
            "grade": "A" if fits else "F",
            "matrix": None,
            "trusted_share": trusted,
            "reasons": [
                {
                    "rule": rule,
                    "name": NAMES[rule],
                    "points_now": points,
                    "occurred_at": to_text(day(earned)).replace(".000Z", "Z"),
                    "trust": TRUST.get(rule, "public"),
                }
                for rule, earned, points in reasons
            ],
            "cycle": cycle,
            "sequence": self.counted(number),
            "model": 7,
            **more,
        }
        return self.message(kind, days, number, data)


@pytest.fixture
def stack() -> Iterator[LocalStack]:
    with stack_with(MODEL) as fresh:
        yield fresh


def day(days: float) -> datetime:
    return NOON + timedelta(days=days)


def visits(stack: LocalStack, device: str, days: float) -> None:
    call(stack, days, "page", anonymousId=device, properties={"path": "/pricing"})


def call(stack: LocalStack, days: float, kind: str, key: str = PUBLIC_KEY, **body: Any) -> None:
    with clock_at(day(days)):
        answer = stack.request("POST", f"/v1/{kind}", {"writeKey": key, **body})
        assert answer.status == 200, answer.body
        stack.pump()


def registers(stack: LocalStack, device: str, days: float) -> None:
    """Let Jane fill in a plain form on a device that visited us before."""
    fields = {"email": JANE, "firstName": "Jane", "jobTitle": "CFO", "_anonymous_id": device}
    headers = {"content-type": "application/x-www-form-urlencoded"}
    with clock_at(day(days)):
        body = urlencode(fields).encode()
        assert stack.request("POST", "/f/webinar", body, headers).status == 303
        stack.pump()


def sweeps(stack: LocalStack, days: float) -> None:
    with clock_at(day(days)):
        for schedule in stack.template.schedules:
            stack.run_schedule(schedule)
        stack.pump()


def asks(stack: LocalStack, days: float, path: str, body: dict[str, str]) -> None:
    """Ask the private API for something, as somebody of the company."""
    with clock_at(day(days)):
        answer = stack.request("POST", path, body)
        assert answer.status in (200, 202), answer.body
        stack.pump()


def decides(stack: LocalStack, days: float, decision: str, reason: str) -> None:
    path = f"/leads/{lead(stack, email=JANE)['id']}/decisions"
    asks(stack, days, path, {"decision": decision, "reason": reason})


def presses(stack: LocalStack, days: float, decision: str, reason: str) -> None:
    """Let sales follow the link in the newest message that has one, and press its button."""
    links = [m["data"]["decide"][decision] for m in stack.received if "decide" in m["data"]]
    path = "/d/" + links[-1].rpartition("/")[2]
    headers = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode({"reason": reason, "author": "Sam"}).encode()
    with clock_at(day(days)):
        assert stack.request("GET", path).status == 200
        assert stack.request("POST", path, body, headers).status == 200
        stack.pump()


def without_links(message: dict[str, Any]) -> dict[str, Any]:
    """Return the message without its links' signatures, if it has links."""
    if "decide" not in message["data"]:
        return message
    links = {kind: link.partition("/d/")[0] for kind, link in message["data"]["decide"].items()}
    return {**message, "data": {**message["data"], "decide": links}}


def test_a_visitor_becomes_a_customer_on_the_second_try_and_is_forgotten(
    stack: LocalStack,
) -> None:
    # Somebody reads the prices, on a phone and on a laptop.
    visits(stack, "phone", 0)
    visits(stack, "laptop", 10)
    call(stack, 10, "track", anonymousId="laptop", event="Content Downloaded")
    laptop = lead(stack, anonymousId="laptop")["id"]
    phone = lead(stack, anonymousId="phone")["id"]

    # It is Jane, who registers for a webinar, follows a link on her phone, and attends.
    registers(stack, "laptop", 10)
    call(stack, 20, "identify", userId=JANE, anonymousId="phone")
    call(stack, 20, "track", SECRET_KEY, userId=JANE, event="Webinar Attended")
    jane = lead(stack, email=JANE)["id"]

    # Nobody calls her, and sales hears of it again. When somebody does call, it is too early.
    for days in (21, 22, 23):
        sweeps(stack, days)
    presses(stack, 30, "reject", "no budget before summer")

    # So long we leave her alone, and she cools; then she comes back by herself, on both devices.
    visits(stack, "phone", 40)
    for days in (43, 45):
        sweeps(stack, days)
    visits(stack, "laptop", 50)
    call(stack, 60, "track", userId=JANE, event="Demo Requested")
    call(stack, 60, "track", SECRET_KEY, userId=JANE, event="Webinar Attended")
    presses(stack, 70, "accept", "has a budget now")
    decides(stack, 80, "customer", "signed")

    # Years later she asks to be forgotten.
    asks(stack, 900, "/leads/erase", {"email": JANE})

    told = {"firstName": "Jane", "jobTitle": "CFO"}
    anonymous, known = Person(laptop, 10), Person(jane, 10, JANE, told)
    assert [without_links(message) for message in stack.received] == [
        anonymous.moved(
            *("stage_changed", 10, 1, "captured -> nurtured", "score 36 reached 30"),
            *(("download", 10, 20.0), ("pricing", 10, 16.0)),
            score=36.0,
        ),
        known.merged(10, 1, laptop, "nurtured"),
        known.moved(
            *("stage_changed", 10, 2, "nurtured -> engaged", "score 60 reached 50"),
            *(("registered", 10, 24.0), ("download", 10, 20.0), ("pricing", 10, 16.0)),
            score=60.0,
        ),
        known.merged(20, 3, phone, "engaged"),
        known.moved(
            *("promoted", 20, 4, "engaged -> mql", "score 100 reached 100"),
            *(("attended", 20, 66.0), ("registered", 10, 12.0), ("download", 10, 10.0)),
            *(("pricing", 10, 8.0), ("pricing", 0, 4.0)),
            score=100.0,
            trusted=0.66,
            decide=LINKS,
        ),
        known.moved(
            *("reply_overdue", 22, 5, "mql -> mql", "nobody has decided in time"),
            *(("attended", 20, 57.456), ("registered", 10, 10.447), ("download", 10, 8.706)),
            *(("pricing", 10, 6.964), ("pricing", 0, 3.482)),
            score=87.055,
            trusted=0.66,
            decide=LINKS,
        ),
        known.moved(
            *("stage_changed", 30, 6, "mql -> recycled", "no budget before summer"),
            *(("attended", 20, 33.0), ("registered", 10, 6.0), ("download", 10, 5.0)),
            *(("pricing", 10, 4.0), ("pricing", 0, 2.0)),
            score=50.0,
            trusted=0.66,
            cycle=2,
        ),
        known.moved(
            *("stage_changed", 45, 7, "recycled -> captured", "back after recycling"),
            *(("attended", 20, 11.667), ("pricing", 40, 11.314), ("registered", 10, 2.121)),
            *(("download", 10, 1.768), ("pricing", 10, 1.414)),
            score=28.991,
            trusted=0.402,
            cycle=2,
        ),
        known.moved(
            *("stage_changed", 50, 8, "captured -> nurtured", "score 36.5 reached 30"),
            *(("pricing", 50, 16.0), ("attended", 20, 8.25), ("pricing", 40, 8.0)),
            *(("registered", 10, 1.5), ("download", 10, 1.25)),
            score=36.5,
            trusted=0.226,
            cycle=2,
        ),
        known.moved(
            *("stage_changed", 60, 9, "nurtured -> engaged", "score 78.25 reached 50"),
            *(("demo", 60, 60.0), ("pricing", 50, 8.0), ("attended", 20, 4.125)),
            *(("pricing", 40, 4.0), ("registered", 10, 0.75)),
            score=78.25,
            trusted=0.053,
            cycle=2,
        ),
        known.moved(
            *("promoted", 60, 10, "engaged -> mql", "score 144.25 reached 130"),
            *(("attended", 60, 66.0), ("demo", 60, 60.0), ("pricing", 50, 8.0)),
            *(("attended", 20, 4.125), ("pricing", 40, 4.0)),
            score=144.25,
            trusted=0.486,
            cycle=2,
            decide=LINKS,
        ),
        known.moved(
            *("stage_changed", 70, 11, "mql -> sql", "has a budget now"),
            *(("attended", 60, 33.0), ("demo", 60, 30.0), ("pricing", 50, 4.0)),
            *(("attended", 20, 2.062), ("pricing", 40, 2.0)),
            score=72.125,
            trusted=0.486,
            cycle=2,
        ),
        known.moved(
            *("stage_changed", 80, 12, "sql -> customer", "signed"),
            *(("attended", 60, 16.5), ("demo", 60, 15.0), ("pricing", 50, 2.0)),
            *(("attended", 20, 1.031), ("pricing", 40, 1.0)),
            score=36.062,
            trusted=0.486,
            cycle=2,
        ),
        known.message("erased", 900, 13, {"lead": jane, "merged_leads": sorted([laptop, phone])}),
    ]
    remains = {item["sk"]["S"].partition("#")[0] for item in stack.items("")}
    assert remains == {"KEYS", "SWEEP", "LEAD", "IDENTITY"}
    assert not any("Jane" in str(item) or JANE in str(item) for item in stack.items(""))
