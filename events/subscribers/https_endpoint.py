"""An HTTPS endpoint that is subscribed to the topic.

    python -m events.subscribers.https_endpoint TOPIC_ARN FILE [PORT]

It speaks HTTP on this machine alone: let your proxy or load balancer speak HTTPS before it. FILE
remembers what is done; what is done is chosen as by the SQS worker.
"""

import json
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.request import urlopen

from events.subscribers import signature
from events.subscribers.inbox import Act, FileInbox, Inbox, take
from events.subscribers.sqs_worker import chosen
from leadscoring.contract import from_sns

# SNS sends 256 KB at most, in JSON once more.
_LARGEST = 600_000


def visit(url: str) -> None:
    """Confirm a subscription."""
    with urlopen(url, timeout=10):  # noqa: S310 (only what is_address_of_sns took)
        pass


class Endpoint:
    """Takes what SNS posts for one topic, and nothing else."""

    def __init__(
        self,
        topic_arn: str,
        inbox: Inbox,
        act: Act,
        *,
        certificate_at: Callable[[str], bytes] = signature.fetch,
        confirm: Callable[[str], None] = visit,
    ) -> None:
        self._topic_arn = topic_arn
        self._inbox = inbox
        self._act = act
        self._certificate_at = certificate_at
        self._confirm = confirm

    def answer(self, body: bytes) -> int:
        """Return the HTTP status of the answer; SNS sends again what is not answered by 2xx."""
        try:
            document = json.loads(body)
            if not isinstance(document, dict):
                return 400
            signature.check(document, self._topic_arn, certificate_at=self._certificate_at)
        except signature.NotFromSns:
            return 403
        except ValueError:
            return 400
        if document["Type"] == "SubscriptionConfirmation":
            if not signature.is_address_of_sns(document["SubscribeURL"]):
                return 403
            self._confirm(document["SubscribeURL"])
        elif document["Type"] == "Notification":
            take(from_sns(document), self._inbox, self._act)
        return 200


def server(endpoint: Endpoint, port: int) -> HTTPServer:
    """Return a server for the endpoint on this machine's own port; 0 is any free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            status = 413 if size > _LARGEST else 500
            try:
                if size <= _LARGEST:
                    status = endpoint.answer(self.rfile.read(size))
            finally:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing of who called."""

    return HTTPServer(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    topic, file, *ports = sys.argv[1:]
    served = Endpoint(topic, FileInbox(file), chosen())
    server(served, int(ports[0]) if ports else 8080).serve_forever()
