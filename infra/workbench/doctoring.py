"""`mqlambda doctor`: does a stack do for a web page what it should, as seen from outside?

What an answer can't show stands in the ledger: with a store, it is read there.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urljoin, urlsplit

from rich.console import RenderableType
from rich.table import Table

from infra.workbench.importing import is_promoted
from infra.workbench.visitor import Answer, NoAnswer, Visitor
from leadscoring import scoring, wire
from leadscoring.confirmation import UNCONFIRMED
from leadscoring.doors import Form
from leadscoring.interaction import Identity, Trust, to_text
from leadscoring.lead import Entry, Lead
from leadscoring.model import MQL, Model
from leadscoring.request import Arrival
from leadscoring.store import Store

CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

_CHECKED = "Doctor Called"
_FILLED_IN = timedelta(minutes=2)
_ASK_AGAIN_SECONDS = 0.5
_IN_LEDGER = "stands in the ledger: give `--local` or `--stack`"


class Result(StrEnum):
    """What a check came to: it is so, it is not, or it can't be seen."""

    GOOD = "good"
    BAD = "bad"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to, and why."""

    check: str
    result: Result
    reason: str


class Bad(Exception):
    """It is not as it should be; the text says what is wrong, or what to do."""


class Unseen(Exception):
    """It can't be seen; the text says why."""


@dataclass(frozen=True, slots=True)
class Examination:
    """One visit to a stack: as whom, with which key, by which form.

    `email` is what the addresses of the visit are made of, each with the visit's `tag`. `event`
    should make an MQL of somebody; without it nobody is promoted. What follows a request has
    `wait_seconds` to be seen in the table.
    """

    visitor: Visitor
    key: str
    model: Model
    form: str | None
    email: str
    tag: str
    event: str | None
    store: Store | None
    now: Callable[[], datetime]
    wait_seconds: float = 60
    sleep: Callable[[float], None] = time.sleep

    def address(self, check: str) -> str:
        """Return the address of the lead that one check is made with."""
        name, _, domain = self.email.rpartition("@")
        return f"{name}+{self.tag}-{check}@{domain}"

    def message(self, check: str, event: str = _CHECKED) -> dict[str, Any]:
        """Return a message of that lead."""
        email = self.address(check)
        said = {"type": "track", "event": event, "messageId": f"doctor-{self.tag}-{check}"}
        return {**said, "userId": email, "timestamp": to_text(self.now())}

    def track(self, message: dict[str, Any], visitor: Visitor | None = None) -> Answer:
        """Send a message alone, as this visitor or another one."""
        return (visitor or self.visitor).send("track", {"writeKey": self.key, **message})

    def fill_in(self, check: str, **more: str) -> tuple[str, Form, Answer]:
        """Send the form as that lead; return its name, what it is, and the answer."""
        if self.form is None:
            raise Unseen("the model has no form")
        form = self.model.forms.get(self.form, Form())
        if form.captcha:
            raise Unseen(f"the form {self.form} asks for a captcha, which only people solve")
        told = dict.fromkeys(form.required, "doctor") | {"email": self.address(check)}
        if form.consent:
            told[form.consent.field] = "on"
        theirs = {ours: theirs for theirs, ours in form.fields.items()}
        fields = {theirs.get(name, name): value for name, value in told.items()}
        opened = to_text(self.now() - _FILLED_IN)
        answer = self.visitor.post(self.form, {**fields, "_opened": opened, **more})
        return self.form, form, answer

    def lead_id(self, check: str, store: Store) -> str:
        """Return the id of that lead."""
        return Identity.of_email(self.address(check)).lead_id(store.keys().lead_ids)

    def entry(self, check: str, store: Store) -> Entry:
        """Return the one entry in that lead's ledger; raise `Bad` if it is not one."""
        entries = list(store.ledger.entries(self.lead_id(check, store)))
        if not entries:
            raise Bad("accepted, but not in this table's ledger: is it the same stack's?")
        if len(entries) > 1:
            raise Bad(f"counted {len(entries)} times")
        return entries[0]


def web_address(text: str) -> str:
    """Return the address of a website or an API as browsers write it, without a path's end.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text} is no web address, as https://www.example.com is")
    return text.rstrip("/")


def form_to_fill_in(model: Model) -> str | None:
    """Return the model's first form that is not for people alone."""
    open_to_all = (name for name, form in model.forms.items() if not form.captcha)
    return next(open_to_all, next(iter(model.forms), None))


def examine(visit: Examination, progress: Callable[[], None]) -> Iterator[Finding]:
    """Make all checks, one after another, as far as those before them let anything be seen."""
    missing: set[str] = set()
    for name, check in CHECKS.items():
        try:
            for needed in missing - _DONE_WITHOUT.get(name, set()):
                raise Unseen(_NEEDED[needed])
            finding = Finding(name, Result.GOOD, check(visit))
        except Unseen as unseen:
            finding = Finding(name, Result.UNSEEN, str(unseen))
        except (Bad, NoAnswer) as bad:
            finding = Finding(name, Result.BAD, str(bad))
            missing |= {name} & _NEEDED.keys()
        progress()
        yield finding


def _address(visit: Examination) -> str:
    answer = visit.visitor.send("track", {"writeKey": "nobody's", **visit.message("address")})
    if answer.status != 401 or answer.document.get("code") != "unknown_key":
        raise Bad(f"no API of ours: is the address right? It answered {_told(answer)}")
    return f"the API answers at {visit.visitor.url}"


def _key(visit: Examination) -> str:
    answer = visit.track(visit.message("key"))
    if answer.status == 401:
        raise Bad("the key is not one of this stack's")
    _expect_success(answer)
    return "the key is accepted"


def _cors(visit: Examination) -> str:
    visitor = visit.visitor
    if visitor.origin is None:
        raise Unseen("give the website whose pages call, as `--origin https://www.example.com`")
    asked = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    preflight = visitor.ask("OPTIONS", "/v1/batch", headers=asked)
    if not 200 <= preflight.status < 300:
        raise Bad(f"the preflight was answered {_told(preflight)}")
    _expect_allowed(visitor, preflight, "preflight")
    for what, wanted in (("methods", "POST"), ("headers", "content-type")):
        allowed = preflight.header(f"access-control-allow-{what}").lower()
        if wanted.lower() not in allowed and allowed.strip() != "*":
            raise Bad(f"the preflight does not allow {wanted}: {what} are {allowed or 'none'}")
    _expect_allowed(visitor, visit.track(visit.message("cors")), "answer")
    refusal = visitor.send("track", {"writeKey": "nobody's", **visit.message("cors")})
    _expect_allowed(visitor, refusal, "error")
    return f"pages of {visitor.origin} may call, and read errors"


def _form(visit: Examination) -> str:
    name, form, answer = visit.fill_in("form")
    if answer.status == 404:
        raise Bad(f"there is no form {name}: deploy the model, or name another one by `--form`")
    if answer.status != 303:
        raise Bad(f"the form {name} was answered {_told(answer)}")
    target = answer.header("location")
    if visit.store:
        entry = visit.entry("form", visit.store)
        if entry.withheld_by not in (None, form.confirm_by and UNCONFIRMED):
            raise Bad(f"it is withheld by {entry.withheld_by} and pays nothing")
    if urljoin(visit.visitor.url, target).startswith(visit.visitor.url):
        page = visit.visitor.ask("GET", target)
        if page.status != 200:
            raise Bad(f"its thank-you page {target} is answered {_told(page)}")
    return f"the form {name} is taken, and leads to {target}"


def _beacon(visit: Examination) -> str:
    document = {"writeKey": visit.key, "batch": [visit.message("beacon")]}
    answer = visit.visitor.send("batch", document, plain=True)
    _expect_success(answer)
    if rejected := answer.document.get("rejected"):
        raise Bad(f"the message in it was rejected: {rejected[0].get('message')}")
    if visit.store:
        _expect_believed(visit.entry("beacon", visit.store))
    return "JSON as text/plain is taken, which needs no preflight"


def _duplicate(visit: Examination) -> str:
    message = visit.message("duplicate")
    first, second = visit.track(message), visit.track(message)
    _expect_success(first)
    _expect_alike(first, second, "sent again")
    if visit.store is None:
        raise Unseen(f"both got the same answer; whether it counted once {_IN_LEDGER}")
    visit.entry("duplicate", visit.store)
    lead = visit.store.lead(visit.lead_id("duplicate", visit.store))
    if lead is None or lead.interactions != 1:
        raise Bad(f"its lead counts {lead.interactions if lead else 0} interactions, not 1")
    return "sent twice, it counted once"


def _honeypot(visit: Examination) -> str:
    _, form, honest = visit.fill_in("person")
    _, _, trapped = visit.fill_in("honeypot", **{form.honeypot: "https://spam.example"})
    _expect_alike(honest, trapped, f"with {form.honeypot} filled in")
    if honest.status != 303:
        raise Bad(f"the form was answered {_told(honest)}")
    if visit.store is None:
        raise Unseen(f"it gets the normal thank-you; that it scores nothing {_IN_LEDGER}")
    return _expect_withheld(visit.entry("honeypot", visit.store))


def _bot(visit: Examination) -> str:
    person = visit.track(visit.message("browser"))
    crawler = visit.track(visit.message("bot"), replace(visit.visitor, agent=CRAWLER))
    _expect_success(person)
    _expect_alike(person, crawler, "sent by Googlebot")
    if visit.store is None:
        raise Unseen(f"it gets the same answer; that it scores nothing {_IN_LEDGER}")
    return _expect_withheld(visit.entry("bot", visit.store))


def _promotion(visit: Examination) -> str:
    if visit.event is None:
        raise Unseen("left out by `--no-promotion`")
    message = visit.message("promotion", visit.event)
    if not _should_promote(visit, message):
        raise Unseen(f"one {visit.event!r} alone makes no MQL here: name what does by `--event`")
    _expect_success(visit.track(message))
    if visit.store is None:
        raise Unseen(
            f"{visit.event!r} was taken: look whether your subscribers hear of "
            f"{visit.address('promotion')}. That it was published {_IN_LEDGER}"
        )
    _expect_believed(visit.entry("promotion", visit.store))
    lead_id = visit.lead_id("promotion", visit.store)
    ends = time.monotonic() + visit.wait_seconds
    while True:
        changes = [c for c in visit.store.changes(lead_id) if c.to_stage == MQL]
        if any(change.published_at for change in changes):
            return f"{visit.event!r} made an MQL, and that was published"
        if time.monotonic() >= ends:
            so_far = "promoted, but not published" if changes else "not promoted"
            raise Bad(f"{so_far} within {visit.wait_seconds:.0f} seconds")
        visit.sleep(_ASK_AGAIN_SECONDS)


CHECKS: dict[str, Callable[[Examination], str]] = {
    "address": _address,
    "key": _key,
    "cors": _cors,
    "form": _form,
    "beacon": _beacon,
    "duplicate": _duplicate,
    "honeypot": _honeypot,
    "bot": _bot,
    "promotion": _promotion,
}
# Where these fail, what comes after them would only fail again; a form needs no key.
_NEEDED = {"address": "no API to look at", "key": "no key that is accepted"}
_DONE_WITHOUT = {"form": {"key"}, "honeypot": {"key"}}


def _should_promote(visit: Examination, message: dict[str, Any]) -> bool:
    """Tell whether the model, as it is in our file, promotes a new lead for this alone."""
    now = visit.now()
    act = wire.read_message(message, Arrival(now, "", Trust.PUBLIC), visit.model)
    email = act.identity.email if act.identity else None
    lead = Lead("new", stage=visit.model.first_stage, email=email)
    return is_promoted(lead, [scoring.enter(act, visit.model)], visit.model, now)


def _expect_success(answer: Answer) -> None:
    if answer.status != 200 or answer.document.get("success") is not True:
        raise Bad(f"it was answered {_told(answer)}")


def _expect_alike(first: Answer, second: Answer, how: str) -> None:
    """Accept two answers between which nobody could tell."""
    for what, one, other in (
        ("status", first.status, second.status),
        ("target", first.header("location"), second.header("location")),
        ("type", first.header("content-type"), second.header("content-type")),
        ("body", first.body, second.body),
    ):
        if one != other:
            raise Bad(f"{how}, the answer has another {what}: {other!r}, not {one!r}"[:200])


def _expect_allowed(visitor: Visitor, answer: Answer, what: str) -> None:
    allowed = answer.header("access-control-allow-origin")
    if allowed not in ("*", visitor.origin):
        raise Bad(
            f"the {what} allows {allowed or 'no origin'}, not {visitor.origin}: add it to "
            "`AllowedOrigins` and deploy"
        )


def _expect_believed(entry: Entry) -> None:
    if entry.is_withheld:
        raise Bad(f"it is withheld by {entry.withheld_by}: give an address of others by `--email`")


def _expect_withheld(entry: Entry) -> str:
    if not entry.is_withheld or entry.paid:
        raise Bad("it gets the same answer, but nothing withholds its points")
    return f"it gets the same answer, and is withheld by {entry.withheld_by}"


def _told(answer: Answer) -> str:
    """Return what was answered, in a few words."""
    kind = answer.header("content-type").partition(";")[0] or "no type"
    message = answer.document.get("message")
    return f"{answer.status} ({message or kind})"


_MARKS = {
    Result.GOOD: ("✔", "green"),
    Result.BAD: ("✘", "red"),
    Result.UNSEEN: ("–", "yellow"),  # noqa: RUF001 (a dash, as in a table with nothing in a cell)
}


def foreword(visit: Examination) -> RenderableType:
    """Return for people who visits, and what stays of the visit."""
    lines = [f"visiting {visit.visitor.url} as {visit.address('…')}: these test leads stay"]
    if visit.event:
        promoted = visit.address("promotion")
        lines.append(f"subscribers will hear of {promoted} (`--no-promotion` leaves that out)")
    return "\n".join(lines)


def answer(visit: Examination, findings: list[Finding]) -> dict[str, Any]:
    """Return for programs what was found."""
    as_whom = visit.address("*")
    return {"url": visit.visitor.url, "leads": as_whom, "checks": [asdict(f) for f in findings]}


def shown(findings: list[Finding]) -> RenderableType:
    """Return for people what was found."""
    table = Table.grid(padding=(0, 1))
    for finding in findings:
        mark, style = _MARKS[finding.result]
        table.add_row(mark, finding.check, finding.reason, style=style)
    return table
