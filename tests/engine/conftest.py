"""Two DynamoDB engines under one table: what holds on both is not one emulator's kindness."""

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import boto3
import pytest
from botocore.config import Config

from infra.local import engine as moto
from leadscoring.settings import AWS_CLIENT
from tests.engine.ministack import installed, ministack

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient

_TEMPLATE = Path(__file__).parents[2] / "infra" / "data.yaml"
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
}
# As in production, but for threads that share a client: each gets its connection.
_CONFIG = Config(**{**AWS_CLIENT, "max_pool_connections": 64})


@dataclass(frozen=True, slots=True)
class Engine:
    """A DynamoDB that holds the table of infra/data.yaml.

    `client` makes a client that is the caller's own, for as many threads as like to share it.
    While the engine stands, all clients that boto3 makes elsewhere speak to it too.
    """

    name: str
    table_name: str
    topic_arn: str
    client: Callable[[], "DynamoDBClient"]


@pytest.fixture(scope="session")
def ministack_url() -> Iterator[str]:
    if not installed():
        missing = "ministack is not installed: make .tools/ministack/ready"
        if os.environ.get("CI") == "true":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    with ministack() as url:
        yield url


# A module, not a session: moto answers the whole process, and other tests start it afresh.
@pytest.fixture(scope="module", params=["moto", "ministack"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Give each test of a module to both engines, with one table for all of them."""
    is_moto = request.param == "moto"
    with running(None if is_moto else request.getfixturevalue("ministack_url")) as engine:
        yield engine


@contextmanager
def running(ministack_url: str | None) -> Iterator[Engine]:
    """Run one engine with a stack of its own: moto in this process, unless ministack has a URL."""
    environment = _ENVIRONMENT | ({"AWS_ENDPOINT_URL": ministack_url} if ministack_url else {})
    with ExitStack() as running:
        running.enter_context(patch.dict(os.environ, environment))
        if not ministack_url:
            running.enter_context(moto.engine())
        session = boto3.Session()
        one_at_a_time = threading.Lock()

        def client() -> "DynamoDBClient":
            with one_at_a_time:  # a session can't make two at once
                made: DynamoDBClient = session.client("dynamodb", config=_CONFIG)
                running.callback(made.close)
                return made

        outputs = _create_stack(session)
        name = "ministack" if ministack_url else "moto"
        yield Engine(name, outputs["TableName"], outputs["TopicArn"], client)


def _create_stack(session: boto3.Session) -> dict[str, str]:
    """Create the stack of infra/data.yaml and return its outputs."""
    stack_name = f"data-{uuid.uuid4()}"
    cloudformation: CloudFormationClient = session.client("cloudformation")
    with closing(cloudformation):
        body = _TEMPLATE.read_text(encoding="utf-8")
        cloudformation.create_stack(StackName=stack_name, TemplateBody=body)
        created = cloudformation.get_waiter("stack_create_complete")
        created.wait(StackName=stack_name, WaiterConfig={"Delay": 1})
        (stack,) = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
