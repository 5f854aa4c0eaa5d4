"""An erasure races everything else that is done to a lead, each between any two calls of the other.

Races of threads, on two engines, are in tests/engine/test_erasures.py.
"""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest

from infra.local.engine import clock_at
from infra.local.mapping import Record
from infra.local.stack import PUBLIC_KEY, SECRET_KEY
from infra.workbench.rescoring import rescore
from infra.workbench.verifying import verify
from leadscoring.interaction import Identity, to_text
from leadscoring.model import Model
from tests.life.world import MODEL, World, world
from tests.trust.meanwhile import Act, Meanwhile

NEW_MODEL = MODEL.replace("number = 1", "number = 2").replace("points = 60", "points = 50")
ERASED = "mqlambda.lead.erased.v1"

type Rival = Callable[["Person", int], None]


@pytest.fixture(scope="module")
def here() -> Iterator[World]:
    with world() as shared:
        yield shared


class Person:
    """Somebody who was decided to be an MQL a moment ago, and the message waits in the outbox.

    Or who, still `undecided`, is about to be.
    """

    def __init__(self, here: World, name: str, *, undecided: bool = False) -> None:
        self.email = f"{name}@acme.example"
        self.canary = f"canary-{name}-"
        self._here = here
        self._numbers = count(1)
        who = {"userId": self.email}
        asks = {"type": "track", "event": "Demo Requested", "properties": {"note": self.canary}}
        known = {"type": "identify", "anonymousId": name, "traits": {"firstName": self.canary}}
        self.says("batch", batch=[{**known, **who}, {**asks, **who}, {**asks, **who}])
        here.listen()
        promote, relay = here.stack.mappings
        self.images = list(here.waiting[promote])
        if not undecided:
            here.deliver(promote)
        here.listen()
        self.messages = list(here.waiting[relay])
        key = here.stack.functions["leads"].module.store.keys().lead_ids
        self.id = Identity.of_user_id(self.email).lead_id(key)

    def says(self, call: str, *, key: str = PUBLIC_KEY, **body: Any) -> None:
        message_id = f"{self.email}-{next(self._numbers)}"
        sent = {"writeKey": key, "userId": self.email, "messageId": message_id, **body}
        self._ask("POST", f"/v1/{call}", sent)

    def is_erased(self) -> None:
        """Ask for it, and let the relay go to the end of it."""
        self._ask("DELETE", f"/leads/{self.id}", {})
        self._here.listen()
        self.relayed(self._here.waiting[self._here.stack.mappings[1]])

    def relayed(self, records: list[Record]) -> None:
        """Deliver these to the relay, as they may be at any time."""
        self._deliver("relay", records)

    def promoted(self) -> None:
        self._deliver("promote", self.images)

    def swept(self) -> None:
        here = self._here
        with clock_at(here.now + timedelta(minutes=3)):
            here.stack.invoke("sweep", {"time": to_text(here.now + timedelta(minutes=3))})

    def acts(self) -> None:
        self.says("track", event="Visited", properties={"note": self.canary})

    def is_recognised(self) -> None:
        """Be found to be the visitor on one more device."""
        device = f"tablet of {self.email}"
        self.says("track", userId=None, anonymousId=device, event="Visited")
        self.says("identify", anonymousId=device)

    def is_decided_on(self) -> None:
        self._ask("POST", f"/leads/{self.id}/decisions", {"decision": "accept"})

    def is_adjusted(self) -> None:
        given = {"points": 7, "dimension": "interest", "reason": self.canary}
        self._ask("POST", f"/leads/{self.id}/adjustments", given)

    def objects(self) -> None:
        self.says("identify", key=SECRET_KEY, traits={"consent": False})

    def is_rescored(self) -> None:
        with clock_at(self._here.now):
            rescore(
                self._here.stack.functions["leads"].module.store,
                Model.parse(NEW_MODEL),
                lambda: self._here.now,
                most_promotions=1000,
                entries_per_second=1e9,
            )

    def _deliver(self, function: str, records: list[Record]) -> None:
        if records:
            with clock_at(self._here.now):
                self._here.stack.invoke(function, {"Records": list(records)})

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> None:
        answer = self._here.request(method, path, body)
        assert answer
        # Of an erased lead a decision or an adjustment finds nothing.
        assert answer.status in (200, 202, 404), (path, answer.status, answer.body)


RIVALS: dict[str, Callable[[Person], None]] = {
    "interaction": Person.acts,
    "merge": Person.is_recognised,
    "promoter": Person.promoted,
    "relay": lambda person: person.relayed(person.messages),
    "sweep": Person.swept,
    "decision": Person.is_decided_on,
    "adjustment": Person.is_adjusted,
    "objection": Person.objects,
    "rescore": Person.is_rescored,
}


def everybody(person: Person, step: int) -> None:
    """Do all of that, in another order at every other step."""
    for rival in [*RIVALS.values()][:: 1 if step % 2 else -1]:
        rival(person)


def race(here: World, name: str, rival: Rival, *, erasure_first: bool) -> int:
    """Run one between any two calls of the other, each time with somebody else; look at the end.

    Return how many people that took.
    """
    here.begin()
    meanwhile = Meanwhile(here)
    people: list[Person] = []
    while not people or meanwhile.happened:
        step = len(people) + 1
        person = Person(here, f"{name}-{step}", undecided=name == "promoter")
        people.append(person)
        running: Act = person.is_erased
        interrupting: Act = partial(rival, person, step)
        if not erasure_first:
            running, interrupting = interrupting, running
        with meanwhile.before(step, interrupting):
            running()
        for mapping in here.stack.mappings:
            here.deliver(mapping)
    people[-1].is_erased()
    here.settle(lambda: None)
    being_published = not erasure_first and name in ("relay", "sweep")
    for person in people:
        nothing_is_left_of(person, here)
        published_after_its_end = after_the_end(person, here)
        assert len(published_after_its_end) <= being_published
    models = {model.number: model for model in map(Model.parse, (MODEL, NEW_MODEL))}
    store = here.stack.functions["leads"].module.store
    assert verify(store, models, here.now).differences == []
    return len(people)


def nothing_is_left_of(person: Person, here: World) -> None:
    """Assert that a tombstone stands there, and nothing of what it, or a part of it, did."""
    rows = here.rows()
    assert person.canary not in json.dumps(rows)
    leads = {row["pk"]["S"]: row for row in rows if row["sk"]["S"] == "LEAD"}
    assert "erased_at" in leads[f"LEAD#{person.id}"]
    gone = {pk for pk, lead in leads.items() if {"erased_at", "merged_into"} & lead.keys()}
    left = {row["sk"]["S"] for row in rows if row["pk"]["S"] in gone}
    assert {sk.partition("#")[0] for sk in left} <= {"LEAD", "IDENTITY"}


def after_the_end(person: Person, here: World) -> list[str]:
    """Return the kinds of what was published of somebody who was said to be erased, once."""
    told = [(m["type"], m["id"]) for m in here.stack.received if m["subject"] == person.id]
    (erased,) = {message for message in told if message[0] == ERASED}
    return [kind for kind, _ in told[told.index(erased) :] if kind != ERASED]


def test_whatever_comes_between_two_steps_of_an_erasure_nothing_comes_back_and_nothing_is_told(
    here: World,
) -> None:
    assert race(here, "all", everybody, erasure_first=True) > 20


@pytest.mark.parametrize("rival", RIVALS)
def test_an_erasure_between_any_two_steps_of_something_else_is_the_end_of_it(
    here: World, rival: str
) -> None:
    def alone(person: Person, _step: int) -> None:
        RIVALS[rival](person)

    assert race(here, rival, alone, erasure_first=False) > 1
