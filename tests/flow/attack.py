"""The public endpoint as a stranger sees it, every door of it open.

There is a good request for each address, and what must hold whatever is sent.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlencode

from infra.local import engine
from infra.local.engine import clock_at
from infra.local.gateway import Answer
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from infra.workbench import linking
from infra.workbench.linking import Mailing
from leadscoring import settings
from leadscoring.store import Store
from leadscoring.wire import CALLS
from tests.flow import signing
from tests.flow.own_model import stack_with
from tests.flow.posting import MULTIPART, URLENCODED, multipart

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
JANE = "jane@example.com"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
TARGET = "https://www.example.com/prices"
SECRET = f"whsec_{hashlib.sha256(b'webhook').hexdigest()[:32]}"

KEYS = {"pk": {"S": "KEYS"}, "sk": {"S": "KEYS"}}

# Every door is open, and what only a server may send is paid in a dimension of its own.
MODEL = (
    settings.MODEL_FILE.read_text(encoding="utf-8")
    + """
[dimensions.proof]

[[rules]]
name = "bought"
on = "Order Completed"
points = 500
dimension = "proof"
trusted = true

[[rules]]
name = "bought-by-form"
form = "contact"
points = 500
dimension = "proof"
trusted = true

[[rules]]
name = "bought-by-page"
page = "/pricing"
points = 500
dimension = "proof"
trusted = true

[webhooks.typeform]
scheme = "typeform"

[webhooks.zoom]
scheme = "zoom"

[webhooks.standard]
scheme = "standard"
email = "data.email"
events = { "bought" = "Order Completed" }
traits = { company = "data.company" }

[webhooks.stripe]
scheme = "stripe"
email = "data.email"
events = { "bought" = "Order Completed" }
"""
)

SAID: Mapping[str, dict[str, Any]] = {
    "track": {"event": "Content Downloaded", "properties": {"kind": "e-book", "minutes": 5}},
    "identify": {"traits": {"company": "Example GmbH", "employees": 120}},
    "page": {"name": "Prices", "properties": {"path": "/pricing", "title": "Prices"}},
    "screen": {"name": "Prices", "properties": {"path": "/pricing"}},
    "alias": {"previousId": "a-1"},
    "group": {"groupId": "g-1", "traits": {"employees": 120}},
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, as it is sent; `source` is the service whose webhook it is."""

    route: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""
    source: str = ""

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]

    def changed(self, **changes: Any) -> Self:
        return replace(self, **changes)

    def signed(self, at: datetime = NOON, secret: str = SECRET) -> Self:
        """Return the request with a signature that is good for its body; not all have one."""
        if not self.source:
            return self
        try:
            signature = signing.SIGN[self.source](secret, self.body, at)
        except UnicodeDecodeError:  # Standard Webhooks' own library signs texts alone
            return self
        return self.changed(headers={**self.headers, **signature})


@contextmanager
def target() -> Iterator[LocalStack]:
    """Run a stack whose every door is open."""
    with stack_with(MODEL) as stack:
        open_hooks(stack)
        yield stack


def open_hooks(stack: LocalStack) -> None:
    """Let each service sign its webhooks with our secret."""
    for source in signing.SIGN:
        set_key(stack, f"webhook:{source}", {"L": [{"S": SECRET}]})


def set_key(stack: LocalStack, name: str, value: Any) -> None:
    """Give the stack a key of its own, in DynamoDB's JSON."""
    stack.dynamodb.update_item(
        TableName=stack.table_name,
        Key=KEYS,
        UpdateExpression="SET #key = :key",
        ExpressionAttributeNames={"#key": name},
        ExpressionAttributeValues={":key": value},
    )


def revoke_key(stack: LocalStack, name: str) -> None:
    """Take a key from the stack."""
    stack.dynamodb.update_item(
        TableName=stack.table_name,
        Key=KEYS,
        UpdateExpression="REMOVE #key",
        ExpressionAttributeNames={"#key": name},
    )


def message(kind: str, **said: object) -> dict[str, Any]:
    """Return a good message of this kind; what is said besides goes before."""
    return {
        "type": kind,
        "userId": JANE,
        "anonymousId": "a-1",
        "messageId": f"m-{kind}",
        "timestamp": "2026-03-02T11:00:00Z",
        "context": {"page": {"path": "/"}, "campaign": {"source": "newsletter"}},
        **SAID[kind],
        **said,
    }


def call(name: str, document: Mapping[str, Any], **headers: str) -> Sent:
    """Return the request of one of Segment's calls."""
    sent = {"content-type": "application/json", "user-agent": BROWSER, **headers}
    return Sent("POST /v1/{call}", f"/v1/{name}", json.dumps(document).encode(), sent)


def form(name: str, fields: Mapping[str, str], *, in_parts: bool = False) -> Sent:
    """Return the request of a form, as a browser sends it."""
    body = urlencode(fields).encode()
    if in_parts:
        body = multipart([(name, value, None) for name, value in fields.items()])
    headers = {"content-type": MULTIPART if in_parts else URLENCODED, "user-agent": BROWSER}
    return Sent("POST /f/{form}", f"/f/{name}", body, headers)


def link(stack: LocalStack, email: str = JANE, at: datetime = NOON - timedelta(hours=2)) -> Sent:
    """Return a click on the link of a mailing that went out at this time."""
    keys = Store(stack.dynamodb, stack.table_name).signing_keys(at)
    mailing = Mailing("https://api.example", TARGET, "spring", "newsletter", at, valid_days=90)
    (made,) = linking.make(mailing, [email], keys)
    path = made.link.removeprefix("https://api.example")
    return Sent("GET /c/{token}", path, headers={"user-agent": BROWSER})


def hook(source: str, email: str = JANE, at: datetime = NOON, **said: object) -> Sent:
    """Return a webhook of this service, signed."""
    bodies: Mapping[str, dict[str, Any]] = {
        "standard": {"type": "bought", "data": {"email": email, "company": "Example GmbH"}},
        "stripe": {"id": "evt_1", "type": "bought", "data": {"email": email}},
        "typeform": {
            "event_id": "01",
            "event_type": "form_response",
            "form_response": {
                "form_id": "f",
                "answers": [{"type": "email", "email": email, "field": {"ref": "mail"}}],
            },
        },
        "zoom": {
            "event": "webinar.registration_created",
            "event_ts": int(NOON.timestamp() * 1000),
            "payload": {"object": {"registrant": {"email": email, "org": "Example GmbH"}}},
        },
    }
    body = json.dumps({**bodies[source], **said}).encode()
    headers = {"content-type": "application/json"}
    sent = Sent("POST /hooks/{source}", f"/hooks/{source}", body, headers, source=source)
    return sent.signed(at)


def decision(stack: LocalStack, email: str = JANE) -> Sent:
    """Return a click on the button by which somebody accepts this lead; it is handed over here."""
    said = message("track", userId=email, event="Order Completed", messageId="makes an MQL")
    send(stack, call("track", {"writeKey": SECRET_KEY, **said}))
    stack.pump()
    (promoted,) = (m for m in stack.promoted().values() if m["data"]["lead"]["email"] == email)
    path = "/d/" + promoted["data"]["decide"]["accept"].rpartition("/")[2]
    headers = {"content-type": URLENCODED, "user-agent": BROWSER}
    return Sent("POST /d/{token}", path, urlencode({"author": "Sam"}).encode(), headers)


def good_requests(stack: LocalStack, email: str = JANE) -> dict[str, Sent]:
    """Return a good request for each public address, and for each way to say it, by name."""
    kinds = sorted(SAID)
    keyed = {"writeKey": PUBLIC_KEY}
    named = {"userId": email}
    batch = {**keyed, "batch": [message(kind, **named) for kind in kinds]}
    contact = {"email": email, "company": "Example GmbH", "title": "Prices", "utm_source": "x"}
    sent = [
        *(
            call(name, batch if kind == "batch" else {**keyed, **message(kind, **named)})
            for name, kind in CALLS.items()
        ),
        Sent("GET /v1/projects/{key}/settings", f"/v1/projects/{PUBLIC_KEY}/settings"),
        Sent("GET /lead.js", "/lead.js"),
        form("contact", contact),
        Sent("GET /f/{form}", "/f/contact"),
        link(stack, email),
        link(stack, email).changed(route="HEAD /c/{token}"),
        decision(stack, email),
        decision(stack, email).changed(route="GET /d/{token}", body=b""),
        *(hook(source, email) for source in signing.SIGN),
    ]
    found = {f"{one.method} {one.path}": one for one in sent}
    return {**found, "POST /f/contact in parts": form("contact", contact, in_parts=True)}


def send(stack: LocalStack, sent: Sent, at: datetime = NOON) -> Answer:
    """Send it; whatever the answer is, no function failed, and a refusal wrote nothing."""
    before = engine.writes(stack.table_name)
    with clock_at(at):
        answer = stack.request(sent.method, sent.path, sent.body, sent.headers, sent.query)
    assert answer.status < 500, (sent, answer.body)
    if answer.status >= 400:
        assert engine.writes(stack.table_name) == before, (sent, answer.body)
    return answer
