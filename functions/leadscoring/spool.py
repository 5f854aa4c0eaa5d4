"""Keeps the requests that could not be recorded yet. No other module knows SQS."""

import json
from typing import TYPE_CHECKING

from leadscoring.request import Request

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# They say who asks, not what; what is kept for days is no place for them.
_NOT_KEPT = frozenset({"authorization", "cookie"})


class Spool:
    """One encrypted queue; it keeps a request until it is recorded, or 14 days old."""

    def __init__(self, sqs: "SQSClient", url: str) -> None:
        self._sqs = sqs
        self._url = url

    def put(self, request: Request) -> None:
        """Keep the request as it came, but for its credentials; raise what SQS raises."""
        event = request.as_event()
        headers = {n: value for n, value in request.headers.items() if n not in _NOT_KEPT}
        # JSON in ASCII: SQS refuses the control characters that people send.
        self._sqs.send_message(
            QueueUrl=self._url, MessageBody=json.dumps({**event, "headers": headers})
        )


def kept(body: str) -> Request:
    """Return the request that the spool keeps in a message.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: it is none of the spool's messages.
    """
    return Request.of(json.loads(body))
