"""An answer that is lost after the commit makes botocore send the same write again."""

from datetime import UTC, datetime

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ReadTimeoutError
from moto.core.models import botocore_stubber

from infra.local.engine import clock_at
from infra.local.stack import LocalStack, local_stack
from tests.flow.acts import ACTS, counters, ledger_sums, send

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LEADS = [f"lead{number}@example.com" for number in range(4)]


class LosesEveryFifthAnswer:
    """Does the write, and then says that no answer came."""

    def __init__(self) -> None:
        self.writes = self.lost = 0

    def __call__(self, request: AWSPreparedRequest, **_named: object) -> None:
        self.writes += 1
        if self.writes % 5 == 0:
            self.lost += 1
            botocore_stubber("before-send", request)
            raise ReadTimeoutError(endpoint_url=request.url)


def play(stack: LocalStack) -> dict[str, dict[str, int]]:
    with clock_at(NOON):
        for act in ACTS:
            for email in LEADS:
                message = {**ACTS[act], "userId": email, "messageId": act}
                send(stack, [message], secret=True)
        stack.pump()
    return {email: counters(stack, email) for email in LEADS}


def test_counters_and_promotions_are_the_same_with_every_fifth_answer_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with local_stack() as reliable:
        expected = play(reliable)

    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    with local_stack() as stack:
        faults = LosesEveryFifthAnswer()
        for function in ("collect", "promote", "relay"):
            client = stack.functions[function].module.store._table._dynamodb
            client.meta.events.register_first("before-send.dynamodb.TransactWriteItems", faults)

        assert play(stack) == expected
        assert faults.lost >= 10
        for email in LEADS:
            assert counters(stack, email) == ledger_sums(stack, email)
        assert len(stack.promoted()) == len(LEADS)
        assert list(stack.items("OUTBOX#")) == []
