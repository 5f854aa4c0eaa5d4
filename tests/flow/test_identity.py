"""Several names of one person are one lead: anonymous visits join whom they turn out to be."""

from typing import Any

from infra.local.stack import PUBLIC_KEY, LocalStack
from tests.flow.asking import lead, ledger

JANE = "jane@example.com"


def call(stack: LocalStack, kind: str, **body: Any) -> None:
    answer = stack.request("POST", f"/v1/{kind}", {"writeKey": PUBLIC_KEY, **body})
    assert answer.status == 200, answer.body


def test_an_anonymous_visitor_who_is_identified_is_one_lead_and_stays_one(
    stack: LocalStack,
) -> None:
    call(stack, "page", anonymousId="phone", properties={"path": "/pricing"})
    call(stack, "page", anonymousId="laptop", properties={"path": "/pricing"})
    call(stack, "track", userId=JANE, event="Newsletter Subscribed")
    before = lead(stack, email=JANE)["scorecard"]["score"]

    for device in ("phone", "laptop"):
        call(stack, "identify", userId=JANE, anonymousId=device)
    call(stack, "page", anonymousId="phone", properties={"path": "/pricing"})
    stack.pump()

    jane = lead(stack, email=JANE)
    assert jane["id"] == lead(stack, anonymousId="phone")["id"]
    assert jane["id"] == lead(stack, anonymousId="laptop")["id"]
    assert jane["interactions"] == len(ledger(stack, email=JANE)) == 6
    assert jane["scorecard"]["score"] > before
    assert [lead["email"] for lead in stack.leads()] == [JANE]
    merged = [m for m in stack.received if m["type"] == "mqlambda.lead.merged.v1"]
    assert len(merged) == 2
