"""Write what is generated: schemas and examples of messages, the model's, the API, the topic.

    python -m infra.workbench.contract

A test compares the files with what this would write.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from infra.workbench import asyncapi, model_schema, openapi
from leadscoring import explanation
from leadscoring.contract import DecisionLinks, Message, Sender
from leadscoring.decay import Counter
from leadscoring.interaction import Identity, IdentityKind, Trust, to_text
from leadscoring.lead import (
    Change,
    ChangeKind,
    Entry,
    Explanation,
    Lead,
    Payment,
    counted_from,
)
from leadscoring.model import Model

MESSAGES = Path(__file__).parents[2] / "events" / "messages"

# A model of its own: the contract does not depend on what a company scores.
MODEL = Model.parse("""
number = 1
name = "example"
retention_days = 730
properties = []
traits = ["firstName", "company", "employees"]
rules = []
fit.rules = [{ name = "mid-market", when.employees = [{ numeric = [">=", 50] }], points = 20 }]
grades = { A = 30, B = 20, C = 10 }
matrix = { fit = { A = 30, B = 15 }, engagement = { 1 = 60, 2 = 20 } }
dimensions.engagement = { half_life_days = 30, cap = 80 }
dimensions.intent = { half_life_days = 21, cap = 120 }
stages = [{ name = "captured" }, { name = "mql", enter.score = 100 }]
""")

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
PAST = NOW - timedelta(days=9)
TRAITS = {"firstName": "Jane", "company": "Example GmbH", "employees": 120}
JANE = Lead(
    id=Identity.of_email("jane@example.com").lead_id(b"example"),
    stage="nurtured",
    email="jane@example.com",
    traits=TRAITS,
    first_touch={"source": "newsletter", "name": "spring", "at": to_text(PAST)},
    last_touch={"source": "google", "medium": "cpc", "name": "e-invoicing", "at": to_text(NOW)},
)
VISITOR = Identity(IdentityKind.ANONYMOUS_ID, "visitor").lead_id(b"example")
LINKS = DecisionLinks(
    accept="https://api.example.com/d/accept", reject="https://api.example.com/d/reject"
)


def files() -> dict[Path, str]:
    """Return the text of each file."""
    found = {
        model_schema.FILE: _text(model_schema.schema()),
        openapi.FILE: _text(openapi.document()),
        asyncapi.FILE: _text(asyncapi.document(examples())),
    }
    for example in examples():
        schema = type(example).model_json_schema(mode="serialization")
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        found[MESSAGES / f"{example.type}.schema.json"] = _text(schema)
        found[MESSAGES / f"{example.type}.example.json"] = _text(example.model_dump(mode="json"))
    return found


def examples() -> list[Message]:
    """Return a message of every type, all of one lead."""
    sender = Sender("urn:mqlambda:example", links=lambda *_: LINKS)
    engaged, mql = replace(JANE, stage="engaged"), replace(JANE, stage="mql")
    why = _explanation(JANE)
    return [
        sender.message(_change(3, "engaged", "mql", "demo-requested seen 1 of 1"), engaged, why),
        sender.message(_change(2, "nurtured", "engaged", "score 40 reached 40"), JANE, why),
        sender.message(
            _change(
                *(4, "mql", "mql", "nobody has decided in time"), kind=ChangeKind.REPLY_OVERDUE
            ),
            mql,
            why,
        ),
        sender.merge(
            _change(5, "mql", "mql", "the same person", kind=ChangeKind.MERGED, other=VISITOR), mql
        ),
        sender.erasure(JANE.id, _number(6), NOW, [VISITOR]),
    ]


def _explanation(lead: Lead) -> Explanation:
    paid = [
        (_payment("webinar-attended", "engagement", 25, days=9), "Webinar Attended", 9),
        (_payment("demo-requested", "intent", 60, days=0), "Demo Requested", 0),
    ]
    entries = [
        Entry(
            message_id=f"m-{days}",
            trust=Trust.PUBLIC if days == 0 else Trust.TRUSTED,
            name=name,
            occurred_at=NOW - timedelta(days=days),
            received_at=NOW - timedelta(days=days),
            fingerprint="",
            model=MODEL.number,
            paid=(payment,),
            traits=TRAITS,
        )
        for payment, name, days in paid
    ]
    return explanation.explain(lead, entries, MODEL, NOW)


def _number(change: int) -> int:
    return counted_from(PAST) + change


def _change(
    number: int,
    before: str,
    after: str,
    why: str,
    *,
    kind: ChangeKind = ChangeKind.STAGE,
    other: str | None = None,
) -> Change:
    return Change(
        lead_id=JANE.id,
        number=_number(number),
        cycle=1,
        from_stage=before,
        to_stage=after,
        why=why,
        who=f"model {MODEL.number}",
        at=NOW,
        kind=kind,
        other=other,
    )


def _payment(rule: str, dimension: str, points: int, *, days: int) -> Payment:
    at = NOW - timedelta(days=days)
    half_life = MODEL.dimensions[dimension].half_life_days
    counter = Counter.earning(dimension, at, half_life_days=half_life)
    return Payment(rule, Decimal(points), counter.name, counter.units(Decimal(points), at))


def _text(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
