"""moto behind HTTP, so that a function in another process can call it; and the table it holds."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import boto3
from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto import mock_aws
from moto.core.models import botocore_stubber

from tests.deploy.conftest import REGION, ROOT

type Item = dict[str, dict[str, Any]]
"""An item as streams show it: {"sk": {"S": "LEAD"}}."""


class Aws:
    """An account with nothing in it but the stack of infra/data.yaml."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        cloudformation = boto3.client("cloudformation", REGION)
        body = (ROOT / "infra" / "data.yaml").read_text(encoding="utf-8")
        cloudformation.create_stack(StackName="data", TemplateBody=body)
        [stack] = cloudformation.describe_stacks(StackName="data")["Stacks"]
        self.outputs: dict[str, str] = {
            output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]
        }
        self._dynamodb = boto3.client("dynamodb", REGION)
        self._sqs = boto3.client("sqs", REGION)
        self._queue = self._sqs.create_queue(QueueName="subscriber")["QueueUrl"]
        boto3.client("sns", REGION).subscribe(
            TopicArn=self.outputs["TopicArn"],
            Protocol="sqs",
            Endpoint=f"arn:aws:sqs:{REGION}:123456789012:subscriber",
            Attributes={"RawMessageDelivery": "true"},
        )

    def items(self, kind: str) -> list[Item]:
        """Return the items whose sort key begins so."""
        found: list[Any] = self._dynamodb.scan(TableName=self.outputs["TableName"])["Items"]
        return [item for item in found if item["sk"]["S"].startswith(kind)]

    def received(self) -> list[str]:
        """Return what a subscriber of the topic has been sent since it was last asked."""
        got = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10)
        return [message["Body"] for message in got.get("Messages", [])]


@contextmanager
def account() -> Iterator[Aws]:
    """Return an account of its own; its endpoint answers until the end of the block."""
    with mock_aws(), HTTPServer(("127.0.0.1", 0), _Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Aws(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


class _Endpoint(BaseHTTPRequestHandler):
    """One request at a time: moto knows no threads."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        # The signature's scope tells the service that the one address stands for.
        _, _, region, service, _ = self.headers["authorization"].partition(",")[0].split("/")
        request = AWSPreparedRequest(
            method="POST",
            url=f"https://{service}.{region}.amazonaws.com{self.path}",
            headers=HTTPHeaders.from_pairs(self.headers.items()),
            body=body,
            stream_output=False,
        )
        answer = botocore_stubber.process_request(request)
        assert answer is not None, request.url
        status, headers, content = answer
        content = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "date", "server"):
                self.send_header(name, str(value))
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
