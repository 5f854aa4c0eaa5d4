"""The rules of life: what people, servers, sales and the clock do, in any order."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from infra.local.stack import PUBLIC_KEY, SECRET_KEY
from leadscoring.interaction import Identity, IdentityKind, to_text
from leadscoring.model import Model
from tests.life.invariants import ALWAYS, AT_REST, History, Invariant, Sight
from tests.life.world import MISHAPS, MODEL, Mishaps, World

PEOPLE = ("jane@acme.example", "joe@acme.example")
USERS = ("u-1",)
DEVICES = ("phone", "kiosk")
NAMES = (*PEOPLE, *USERS, *DEVICES)
EVENTS = ("Visited", "Asset Opened", "Demo Requested", "Unsubscribed")
KINDS = ("accept", "reject", "disqualify", "customer", "reopen")
LEAPS = [timedelta(hours=hours) for hours in (0.02, 1.5, 49, 8 * 24, 31 * 24)]

type Mishap = tuple[int, str] | None

WHO = st.sampled_from(NAMES)
KEYS = st.sampled_from([PUBLIC_KEY, SECRET_KEY])
MISHAP = st.one_of(st.none(), st.tuples(st.sampled_from([1, 1, 2, 3]), st.sampled_from(MISHAPS)))


def identity(name: str) -> Identity:
    if name in DEVICES:
        return Identity(IdentityKind.ANONYMOUS_ID, name)
    return Identity.of_user_id(name)


class Life(RuleBasedStateMachine):
    """Leads of one world; `steps` counts what was done in all lives together."""

    world: World
    steps = 0
    always: tuple[Invariant, ...] = ALWAYS
    at_rest: tuple[Invariant, ...] = AT_REST
    with_mishaps = False
    since_rest = 0

    @initialize()
    def begins(self) -> None:
        self.world.begin()
        self.numbers = count(1)
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        key = self.world.stack.functions["leads"].module.store.keys().lead_ids
        self.ids = {name: identity(name).lead_id(key) for name in NAMES}
        kinds = {
            lead_id: "anonymous" if name in DEVICES else "known"
            for name, lead_id in self.ids.items()
        }
        model = Model.parse(MODEL)
        nothing = Sight([], self.world.now, model)
        self.history = History(model, kinds, now=nothing, before=nothing)

    @invariant()
    def is_a_step(self) -> None:
        type(self).steps += 1
        self.since_rest += 1

    # What messages tell us

    @rule(
        who=WHO,
        events=st.lists(st.sampled_from(EVENTS), min_size=1, max_size=4),
        key=KEYS,
        hours=st.sampled_from([0, 0, 0, 1, 30, 24 * 12]),
        arrives=st.sampled_from([True, True, True, False]),
        mishap=MISHAP,
    )
    def acts(
        self,
        who: str,
        events: list[str],
        key: str,
        hours: int,
        arrives: object,
        mishap: Mishap,
    ) -> None:
        """Do all this, some time ago; who is offline sends it later, or never."""
        batch = [
            self._message(who, hours, type="track", event=event, properties={"title": event})
            for event in events
        ]
        self._send("batch", {"writeKey": key, "batch": batch}, mishap, arrives=bool(arrives))

    @rule(who=st.sampled_from(PEOPLE), key=KEYS, mishap=MISHAP)
    def is_keen(self, who: str, key: str, mishap: Mishap) -> None:
        asks = {"type": "track", "event": "Demo Requested"}
        batch = [self._message(who, 0, **asks) for _ in range(2)]
        self._send("batch", {"writeKey": key, "batch": batch}, mishap)

    @rule(
        who=st.sampled_from(PEOPLE + USERS),
        device=st.sampled_from(DEVICES),
        key=KEYS,
        mishap=MISHAP,
    )
    def is_identified(self, who: str, device: str, key: str, mishap: Mishap) -> None:
        message = self._message(who, 0, anonymousId=device)
        self._send("identify", {"writeKey": key, **message}, mishap)

    @rule(who=st.sampled_from(PEOPLE), user=st.sampled_from(USERS), key=KEYS, mishap=MISHAP)
    def tells_the_address(self, who: str, user: str, key: str, mishap: Mishap) -> None:
        message = self._message(user, 0, traits={"email": who})
        self._send("identify", {"writeKey": key, **message}, mishap)

    @rule(
        who=WHO,
        title=st.sampled_from(["Student", "Head of IT"]),
        key=KEYS,
        mishap=MISHAP,
    )
    def has_a_title(self, who: str, title: str, key: str, mishap: Mishap) -> None:
        message = self._message(who, 0, traits={"jobTitle": title})
        self._send("identify", {"writeKey": key, **message}, mishap)

    @rule(who=WHO, consent=st.sampled_from([True, False]), key=KEYS, mishap=MISHAP)
    def is_asked_for_consent(self, who: str, consent: object, key: str, mishap: Mishap) -> None:
        message = self._message(who, 0, traits={"consent": consent})
        if consent and key == SECRET_KEY:
            self.history.opted_in.append((self.ids[who], message["timestamp"]))
        self._send("identify", {"writeKey": key, **message}, mishap)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), mishap=MISHAP)
    def sends_again(self, data: st.DataObject, mishap: Mishap) -> None:
        call, body = data.draw(st.sampled_from(self.sent))
        self._request("POST", f"/v1/{call}", body, mishap)

    # What people say

    @precondition(lambda self: self._handed_over())
    @rule(data=st.data(), kind=st.sampled_from(KINDS), mishap=MISHAP)
    def is_decided_on(self, data: st.DataObject, kind: str, mishap: Mishap) -> None:
        lead_id = data.draw(st.sampled_from(self._handed_over()))
        document = {"decision": kind, "reason": "because", "requestId": f"r-{next(self.numbers)}"}
        self._ask("POST", f"{lead_id}/decisions", document, mishap)

    @rule(who=WHO, other=WHO, mishap=MISHAP)
    def is_said_to_be_the_same(self, who: str, other: str, mishap: Mishap) -> None:
        document = {"other": self.ids[other], "reason": "we met"}
        self._ask("POST", f"{self.ids[who]}/merges", document, mishap)

    @precondition(lambda self: self._joined())
    @rule(data=st.data(), mishap=MISHAP)
    def is_said_to_be_another(self, data: st.DataObject, mishap: Mishap) -> None:
        lead_id, identity = data.draw(st.sampled_from(self._joined()))
        document = {"identity": identity, "reason": "we met both"}
        self._ask("POST", f"{lead_id}/unmerges", document, mishap)

    @precondition(lambda self: self.since_rest > 8)
    @rule(who=WHO, mishap=MISHAP)
    def asks_to_be_forgotten(self, who: str, mishap: Mishap) -> None:
        self._ask("DELETE", self.ids[who], {}, mishap)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), mishap=MISHAP)
    def is_asked_again(self, data: st.DataObject, mishap: Mishap) -> None:
        method, path, document = data.draw(st.sampled_from(self.asked))
        self._request(method, path, document, mishap)

    # What the machinery does

    @rule(mishap=MISHAP)
    def the_stream_delivers_all(self, mishap: Mishap) -> None:
        with self._going_wrong(mishap):
            for mapping in self.world.stack.mappings:
                self.world.deliver(mapping)
        self._look()

    @rule(
        mapping=st.sampled_from([0, 1]),
        most=st.sampled_from([None, None, 1, 3]),
        again=st.sampled_from([False, True]),
        mishap=MISHAP,
    )
    def the_stream_delivers(
        self, mapping: int, most: int | None, again: object, mishap: Mishap
    ) -> None:
        with self._going_wrong(mishap):
            self.world.deliver(self.world.stack.mappings[mapping], most, again=bool(again))
        self._look()

    @rule(mapping=st.sampled_from([0, 1]))
    def the_stream_loses_all(self, mapping: int) -> None:
        self.world.listen()
        self.world.waiting[self.world.stack.mappings[mapping]].clear()
        self._look()

    @rule(mishap=MISHAP)
    def is_swept(self, mishap: Mishap) -> None:
        with self._going_wrong(mishap):
            self.world.sweep()
        self._look()

    @rule(leap=st.sampled_from(LEAPS))
    def time_passes(self, leap: timedelta) -> None:
        self.world.now += leap
        self._look()

    @rule(name=st.sampled_from(["collect", "promote", "relay", "leads", "sweep"]))
    def a_container_starts_cold(self, name: str) -> None:
        self.world.start_cold(name)

    @precondition(lambda self: self.since_rest > 8)
    @rule()
    def comes_to_rest(self) -> None:
        self._rest()

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self._rest()

    # How

    def _handed_over(self) -> list[str]:
        """Return the leads at `mql` and beyond."""
        return [lead_id for lead_id, lead in self.history.now.alive() if "by_stage" in lead]

    def _joined(self) -> list[tuple[str, str]]:
        """Return which leads have which identities."""
        sight = self.history.now
        return [(lead, other) for lead, _ in sight.alive() for other in sight.identities(lead)[1:]]

    def _message(self, who: str, hours: int, **said: Any) -> dict[str, Any]:
        number = next(self.numbers)
        message = {
            "messageId": f"m-{number}",
            "timestamp": to_text(self.world.now - timedelta(hours=hours)),
            "anonymousId" if who in DEVICES else "userId": who,
            **said,
        }
        if "event" in said:
            message["properties"] = {"note": f"canary-{number}", **said.get("properties", {})}
        else:
            message["traits"] = {"firstName": f"canary-{number}", **said.get("traits", {})}
        return message

    def _send(
        self, call: str, body: dict[str, Any], mishap: Mishap, *, arrives: bool = True
    ) -> None:
        self.sent.append((call, body))
        if arrives:
            self._request("POST", f"/v1/{call}", body, mishap)

    def _ask(self, method: str, what: str, document: dict[str, Any], mishap: Mishap) -> None:
        asked = method, f"/leads/{what}", document
        self.asked.append(asked)
        self._request(*asked, mishap)

    def _request(self, method: str, path: str, body: dict[str, Any], mishap: Mishap) -> None:
        with self._going_wrong(mishap) as wrong:
            answer = self.world.request(method, path, body)
        expected = (200, 202) if path.startswith("/v1") else (200, 202, 400, 404, 409)
        if answer and not wrong.happened:
            assert answer.status in expected, f"answers: {method} {path} {body}: {answer}"
        self._look()

    @contextmanager
    def _going_wrong(self, mishap: Mishap) -> Iterator[Mishaps]:
        with self.world.mishaps.at(mishap if self.with_mishaps else None) as mishaps:
            yield mishaps

    def _rest(self) -> None:
        self.world.settle(self._look)
        self.since_rest = 0
        self._hold(self.at_rest)

    def _look(self) -> None:
        sight = Sight(self.world.rows(), self.world.now, self.history.model)
        self.history.see(sight, self.world.stack.received)
        self._hold(self.always)

    def _hold(self, invariants: Iterable[Invariant]) -> None:
        for promise in invariants:
            try:
                promise(self.history)
            except AssertionError as error:
                raise AssertionError(f"{promise.__name__}: {error}") from None


def live(world: World, *, lives: int, steps: int, shrinks: bool = True, **attributes: Any) -> int:
    """Live so many lives of so many steps, the same ones in each run; return all their steps."""
    kind: type[Life] = type("Lives", (Life,), {"world": world, "steps": 0, **attributes})
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=lives,
            stateful_step_count=steps,
            derandomize=True,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if shrinks else [Phase.generate],
        ),
    )
    return kind.steps


def tell(world: World, story: Callable[[Life], None], **attributes: Any) -> None:
    """Live this one life, to its rest."""
    kind: type[Life] = type("Told", (Life,), {"world": world, "with_mishaps": True, **attributes})
    life = kind()
    life.begins()
    story(life)
    life.teardown()
