"""What goes wrong between a client of AWS and a service, attempt by attempt, as a script says.

A fault stands below botocore, where the wire is: its own retries meet it, as they would outside.
"""

import io
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from moto.core.models import botocore_stubber
from urllib3 import HTTPResponse


class Fault(StrEnum):
    """What can happen to one HTTP attempt."""

    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost after commit"
    TWICE = "delivered twice at once"
    AGAIN_LATER = "delivered again later"
    ERROR_AFTER_COMMIT = "500 after commit"
    THROTTLED = "throttled"
    CONFLICT = "TransactionConflict"
    IN_PROGRESS = "TransactionInProgress"
    DIES_BEFORE = "killed before a call"
    DIES_AFTER = "killed after a call"


class Died(BaseException):
    """The process is gone in the middle of what it did: nothing catches that."""


type Script = Iterator[Fault | None]
"""What happens to one attempt after the other; nothing more once it has ended."""

type Send = Callable[[AWSPreparedRequest], AWSResponse]
"""Delivers a request to the engine, and returns its answer."""

_OF_WRITES = {Fault.ANSWER_LOST, Fault.TWICE, Fault.AGAIN_LATER, Fault.ERROR_AFTER_COMMIT}
_OF_TRANSACTIONS = {Fault.CONFLICT, Fault.IN_PROGRESS}
_WRITES = {"TransactWriteItems", "PutItem", "UpdateItem", "DeleteItem", "Publish"}


def seeded(seed: int, odds: Mapping[Fault, float]) -> Script:
    """Return an endless script in which each fault happens with its own probability."""
    faults: list[Fault | None] = [*odds, None]
    weights = [*odds.values(), 1 - sum(odds.values())]
    chance = random.Random(seed)
    while True:
        yield chance.choices(faults, weights)[0]


def to_moto(request: AWSPreparedRequest) -> AWSResponse:
    """Deliver a request to moto, in this process."""
    answer = botocore_stubber("before-send", request)
    assert answer is not None
    return answer


def over_http(connections: int = 64) -> Send:
    """Return what delivers requests to an engine that listens on its own port."""
    at_once: Any = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]  # as botocore's own sessions
    session = URLLib3Session(max_pool_connections=connections, socket_options=at_once)
    send: Send = session.send
    return send


class Faults:
    """Stands between clients and one engine, lets happen what the script says, and counts it.

    What is delivered again later comes so many attempts `later`, when the engine may have
    forgotten the token by which botocore marks repeats: DynamoDB does after ten minutes.
    """

    def __init__(self, script: Script, send: Send, *, later: int = 200) -> None:
        self.happened: Counter[Fault] = Counter()
        self.attempts = self.in_flight = self.peak_in_flight = 0
        self._script = script
        self._send = send
        self._later = later
        self._copies: list[tuple[int, AWSPreparedRequest]] = []
        self._lock = threading.Lock()

    def attach(self, client: Any) -> None:
        """Let all that this client sends go through here, and through nothing else."""
        client.meta.events.unregister("before-send", botocore_stubber)
        client.meta.events.register("before-send", self)

    def stop(self) -> None:
        """Let nothing more happen, once all that was to come later has come."""
        self._script = iter(())
        while self._copies:
            self._send(self._copies.pop()[1])

    def __call__(
        self, request: AWSPreparedRequest, event_name: str, **_named: object
    ) -> AWSResponse:
        service, operation = event_name.split(".")[1:]
        fault, copies = self._begin(operation)
        try:
            for copy in copies:
                self._send(copy)
            return self._answer(fault, request, service)
        finally:
            with self._lock:
                self.in_flight -= 1

    def _begin(self, operation: str) -> tuple[Fault | None, list[AWSPreparedRequest]]:
        """Return what happens to this attempt, and the copies of earlier ones that arrive now."""
        with self._lock:
            self.attempts += 1
            self.in_flight += 1
            self.peak_in_flight = max(self.peak_in_flight, self.in_flight)
            fault = next(self._script, None)
            if (fault in _OF_WRITES and operation not in _WRITES) or (
                fault in _OF_TRANSACTIONS and operation != "TransactWriteItems"
            ):
                fault = None
            if fault:
                self.happened[fault] += 1
            arrived = [copy for due, copy in self._copies if due <= self.attempts]
            self._copies = [late for late in self._copies if late[0] > self.attempts]
            return fault, arrived

    def _answer(
        self, fault: Fault | None, request: AWSPreparedRequest, service: str
    ) -> AWSResponse:
        match fault:
            case Fault.REQUEST_LOST:
                raise EndpointConnectionError(endpoint_url=request.url)
            case Fault.DIES_BEFORE:
                raise Died
            case Fault.THROTTLED | Fault.CONFLICT | Fault.IN_PROGRESS:
                return _refusal(fault, request, service)
        answer = self._send(request)
        match fault:
            case Fault.ANSWER_LOST:
                raise ReadTimeoutError(endpoint_url=request.url)
            case Fault.DIES_AFTER:
                raise Died
            case Fault.ERROR_AFTER_COMMIT:
                return _refusal(fault, request, service)
            case Fault.TWICE:
                self._send(request)
            case Fault.AGAIN_LATER:
                with self._lock:
                    self._copies.append((self.attempts + self._later, _forgotten(request)))
        return answer


def _forgotten(request: AWSPreparedRequest) -> AWSPreparedRequest:
    """Return the request as it is to an engine that has forgotten its token."""
    if not isinstance(request.body, bytes) or not request.body.startswith(b"{"):
        return request
    document = json.loads(request.body)
    document.pop("ClientRequestToken", None)
    body = json.dumps(document).encode()
    request.headers["Content-Length"] = str(len(body))
    return AWSPreparedRequest(
        request.method, request.url, request.headers, body, request.stream_output
    )


def _refusal(fault: Fault, request: AWSPreparedRequest, service: str) -> AWSResponse:
    """Return the service's error in its own words: DynamoDB's JSON, SNS's XML."""
    status = 500 if fault is Fault.ERROR_AFTER_COMMIT else 400
    if service == "sns":
        code = "Throttling" if fault is Fault.THROTTLED else "InternalFailure"
        body = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"
    else:
        body = json.dumps(_said_by_dynamodb(fault, request))
    raw = HTTPResponse(io.BytesIO(body.encode()), status=status, preload_content=False)
    return AWSResponse(request.url, status, HTTPHeaders(), raw)


def _said_by_dynamodb(fault: Fault, request: AWSPreparedRequest) -> dict[str, Any]:
    codes = {
        Fault.ERROR_AFTER_COMMIT: "InternalServerError",
        Fault.THROTTLED: "ProvisionedThroughputExceededException",
        Fault.CONFLICT: "TransactionCanceledException",
        Fault.IN_PROGRESS: "TransactionInProgressException",
    }
    said = {"__type": f"com.amazonaws.dynamodb.v20120810#{codes[fault]}", "message": fault}
    if fault is not Fault.CONFLICT:
        return said
    assert isinstance(request.body, bytes)
    actions = json.loads(request.body)["TransactItems"]
    reasons = [{"Code": "None"} for _ in actions]
    reasons[-1] = {"Code": "TransactionConflict", "Message": "met another transaction"}
    return {**said, "CancellationReasons": reasons}
