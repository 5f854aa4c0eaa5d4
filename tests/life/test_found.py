"""What the hunt has found, as short as it could be told."""

import pytest

from infra.local.engine import clock_at
from infra.local.stack import PUBLIC_KEY, SECRET_KEY, LocalStack
from tests.flow.asking import lead
from tests.flow.own_model import stack_with
from tests.life.world import BEGIN, MODEL

JANE = "jane@acme.example"


def call(stack: LocalStack, kind: str, key: str = PUBLIC_KEY, **body: object) -> None:
    with clock_at(BEGIN):
        assert stack.request("POST", f"/v1/{kind}", {"writeKey": key, **body}).status == 200
        stack.pump()


@pytest.mark.parametrize("decision", [None, "accept", "customer"])
def test_a_gate_that_shuts_out_a_visitor_moves_nobody_whom_the_visitor_joins(
    decision: str | None,
) -> None:
    """She lost her place in the cycle, and was promoted in it once more as soon as she could."""
    with stack_with(MODEL) as stack:
        call(stack, "identify", SECRET_KEY, userId=JANE, traits={"jobTitle": "Head of IT"})
        for _ in range(2):
            call(stack, "track", userId=JANE, event="Demo Requested")
        before = lead(stack, email=JANE)
        if decision:
            stack.request("POST", f"/leads/{before['id']}/decisions", {"decision": decision})
        call(stack, "identify", anonymousId="phone", traits={"jobTitle": "Student"})
        assert lead(stack, anonymousId="phone")["stage"] == "disqualified"

        call(stack, "identify", userId=JANE, anonymousId="phone")

        after = lead(stack, email=JANE)
        stages = {None: "mql", "accept": "sql", "customer": "customer"}
        assert (after["stage"], after["cycle"]) == (stages[decision], 1)
        assert len(stack.promoted()) == 1
