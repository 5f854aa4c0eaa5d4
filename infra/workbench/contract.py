"""Write what is generated: schemas and examples of messages, schemas of the model and the API.

    python -m infra.workbench.contract

A test compares the files with what this would write.
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from infra.workbench import model_schema, openapi
from leadscoring import contract, explanation
from leadscoring.contract import LeadPromoted, LeadStageChanged, Sender
from leadscoring.decay import Counter
from leadscoring.interaction import Identity, Trust, to_text
from leadscoring.lead import Change, Entry, Lead, Payment
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
JANE = Identity.of_email("jane@example.com")
TRAITS = {"firstName": "Jane", "company": "Example GmbH", "employees": 120}


def files() -> dict[Path, str]:
    """Return the text of each file."""
    found = {
        model_schema.FILE: _text(model_schema.schema()),
        openapi.FILE: _text(openapi.document()),
    }
    for kind, before, after in (
        (LeadPromoted, "engaged", "mql"),
        (LeadStageChanged, "nurtured", "engaged"),
    ):
        name = str(kind.model_fields["type"].default)
        schema = kind.model_json_schema(mode="serialization")
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
        example = json.loads(_example(before, after).model_dump_json())
        found[MESSAGES / f"{name}.schema.json"] = _text(schema)
        found[MESSAGES / f"{name}.example.json"] = _text(example)
    return found


def _example(before: str, after: str) -> contract.Message:
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
    lead = Lead(
        id=JANE.lead_id(b"example"),
        stage=before,
        email=JANE.email,
        traits=TRAITS,
        first_touch={"source": "newsletter", "name": "spring", "at": to_text(PAST)},
        last_touch={"source": "google", "medium": "cpc", "name": "e-invoicing", "at": to_text(NOW)},
    )
    change = Change(
        lead_id=lead.id,
        number=3,
        cycle=1,
        from_stage=before,
        to_stage=after,
        why="demo-requested seen 1 of 1",
        who=f"model {MODEL.number}",
        at=NOW,
    )
    why = explanation.explain(lead, entries, MODEL, NOW)
    return Sender("urn:mqlambda:example").message(change, lead, why)


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
