"""An account on ministack, and one stack in it: deployed, called, deleted."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.deploy.conftest import REGION, Template
from tests.engine.ministack import ministack

STACK = "mqlambda"
BUCKET = "artifacts"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
PARAMETERS = {"AllowedOrigins": "https://www.example.com", "Architecture": "x86_64"}
_COMMAND = Path(sys.executable).with_name("mqlambda")
_SERVICES = (
    "apigateway,cloudformation,cloudwatch,dynamodb,dynamodbstreams,events,iam,lambda,logs,s3,sns,"
    "sqs,sts"
)
_KEY = "test"  # ministack's name for who may do everything


class Account:
    """An empty account where roles may do what their policies say, and a bucket for artifacts."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._session = boto3.Session(_KEY, _KEY, region_name=REGION)
        self.environment = {
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": endpoint,
        }
        self.s3 = self.client("s3")
        self.cloudformation = self.client("cloudformation")
        self.s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )

    @property
    def address(self) -> str:
        """The bucket's address, as CloudFormation is told of templates."""
        return f"{self.endpoint}/{BUCKET}"

    def client(self, service: str, **credentials: str) -> Any:
        """Return a client with these credentials, else with those of whoever owns the account."""
        make: Any = self._session.client
        made = make(service, endpoint_url=self.endpoint, **credentials)
        made.meta.events.register("before-send", over_tls)
        return made

    def uploaded(self, template: Template) -> str:
        """Return the address of the template in the bucket."""
        text = json.dumps(template)
        self.s3.put_object(Bucket=BUCKET, Key="template.json", Body=text.encode())
        return f"{self.address}/template.json"

    def deploy(self, template: Template) -> dict[str, str]:
        """Create the stack, or update it, and return its outputs."""
        known = self.cloudformation.list_stacks(StackStatusFilter=_STANDING)["StackSummaries"]
        is_new = STACK not in {stack["StackName"] for stack in known}
        change = self.cloudformation.create_stack if is_new else self.cloudformation.update_stack
        change(
            StackName=STACK,
            TemplateURL=self.uploaded(template),
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in PARAMETERS.items()
            ],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        self._wait("stack_create_complete" if is_new else "stack_update_complete")
        return self.outputs(STACK)

    def delete(self) -> None:
        """Delete the stack."""
        self.cloudformation.delete_stack(StackName=STACK)
        self._wait("stack_delete_complete")

    def outputs(self, stack: str) -> dict[str, str]:
        """Return what the stack tells of itself."""
        [found] = self.cloudformation.describe_stacks(StackName=stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}

    def physical(self, name: str, stack: str = STACK) -> str:
        """Return what became of one resource of the template."""
        [found] = self.cloudformation.describe_stack_resources(
            StackName=stack, LogicalResourceId=name
        )["StackResources"]
        physical: str = found["PhysicalResourceId"]
        return physical

    def command(self, *arguments: str) -> str:
        """Return what the `mqlambda` command says of the stack."""
        ran = subprocess.run(
            [_COMMAND, "--stack", STACK, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, f"mqlambda {arguments}: {ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def call(
        self, api_url: str, route: str, body: object = None, *, signed: bool = False
    ) -> tuple[int, Any]:
        """Call the API over HTTP and return the status and the JSON of its answer."""
        method, path = route.split(" ")
        # An API is known by the host that it is asked for.
        api_id = str(urlsplit(api_url).hostname).partition(".")[0]
        url = f"{self.endpoint}{path}"
        request = AWSRequest(
            method=method,
            url=url,
            data=b"" if body is None else json.dumps(body).encode(),
            headers={
                "host": f"{api_id}.execute-api.localhost:{urlsplit(self.endpoint).port}",
                "content-type": "application/json",
                "user-agent": AGENT,
                "origin": PARAMETERS["AllowedOrigins"],
            },
        )
        if signed:
            SigV4Auth(Credentials(_KEY, _KEY), "execute-api", REGION).add_auth(request)
        sent = urllib.request.Request(url, request.data, dict(request.headers), method=method)
        try:
            with urllib.request.urlopen(sent, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    def _wait(self, until: str) -> None:
        waiter = self.cloudformation.get_waiter(until)
        waiter.wait(StackName=STACK, WaiterConfig={"Delay": 1, "MaxAttempts": 120})


def over_tls(request: Any, **_: Any) -> None:
    """Say, as a proxy in front would, that TLS ends here: the spool takes nothing without."""
    request.headers["x-forwarded-proto"] = "https"


_STANDING = ["CREATE_COMPLETE", "UPDATE_COMPLETE"]


@contextmanager
def account() -> Iterator[Account]:
    """Return an account of its own, until the end of the block."""
    with ministack(_SERVICES, auth=True) as url:
        yield Account(url)
