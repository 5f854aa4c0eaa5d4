"""The way to a stack's table: with the caller's own credentials, or into the local stack."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from leadscoring import handover
from leadscoring.contract import Sender
from leadscoring.publisher import Publisher
from leadscoring.settings import AWS_CLIENT
from leadscoring.store import Store

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

LOCAL_URL = "http://127.0.0.1:8000"

# What the local stack goes by: the path of its AWS endpoint, its data stack, its region.
_LOCAL_PATH = "/_local/aws"
_LOCAL_STACK = "data"
_LOCAL_REGION = "eu-central-1"

_NOT_SIGNED_IN = (
    exceptions.CredentialRetrievalError,
    exceptions.LoginError,
    exceptions.NoAuthTokenError,
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.ProfileNotFound,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
_NOT_ACCEPTED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"AccessDenied", "AccessDeniedException"}


class NoConnection(Exception):
    """The table can't be reached; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Topic:
    """The topic of one stack, and clients that reach it and the queues behind it."""

    arn: str
    sns: "SNSClient"
    sqs: "SQSClient"

    def publisher(self) -> Publisher:
        """Return what publishes to the topic."""
        return Publisher(self.sns, self.arn)


@dataclass(frozen=True, slots=True)
class Connection:
    """The table of one stack, a client that reaches it, its API's address, its messages' source.

    `client` makes a client of another of AWS's services, where the stack is.
    """

    table_name: str
    dynamodb: "DynamoDBClient"
    api_url: str | None = None
    source: str = "urn:mqlambda:local"
    with_contact: bool = True
    topic_arn: str | None = None
    client: Callable[[str], Any] | None = None

    def store(self) -> Store:
        """Return the store of the table."""
        return Store(self.dynamodb, self.table_name)

    def sender(self) -> Sender:
        """Return who speaks as the stack's own functions do."""
        links = handover.linking(self.api_url or "", self.store().signing_keys)
        return Sender(self.source, self.with_contact, links)

    def topic(self) -> Topic:
        """Return the stack's topic; raise `NoConnection` if it does not say which that is."""
        if self.topic_arn is None or self.client is None:
            raise NoConnection("the stack has no output `TopicArn`: is its deployment complete?")
        return Topic(self.topic_arn, self.client("sns"), self.client("sqs"))

    @classmethod
    def local(cls, url: str = LOCAL_URL) -> Self:
        """Connect to the stack that `make run` serves at this URL, whatever the environment says.

        Raises:
            NoConnection: it is not there.
        """
        # AWS's clients take half a second to load: commands without a table need not wait.
        from botocore.config import Config

        try:
            found = cls._to(
                _LOCAL_STACK,
                _local_session(),
                config=Config(**AWS_CLIENT, proxies={}),
                endpoint_url=url.rstrip("/") + _LOCAL_PATH,
            )
        except (BotoCoreError, ClientError, ValueError) as error:
            raise NoConnection(
                f"no local stack answers at {url}: start it with `make run`, "
                "or name its address with `--url`"
            ) from error
        return replace(found, api_url=url)

    @classmethod
    def to_stack(cls, name: str) -> Self:
        """Connect to a deployed stack, with what the environment says as AWS's own tools read it.

        Raises:
            NoConnection: credentials, a region, a permission, the network or the stack is missing.
        """
        import boto3
        from botocore.config import Config

        with explained():
            return cls._to(name, boto3.Session(), config=Config(**AWS_CLIENT))

    @classmethod
    def _to(cls, stack_name: str, session: "boto3.Session", **settings: Any) -> Self:
        from botocore.parsers import ResponseParserError

        cloudformation = session.client("cloudformation", **settings)
        try:
            found = cloudformation.describe_stacks(StackName=stack_name)
        except ResponseParserError as error:
            raise NoConnection(
                f"what answers at {cloudformation.meta.endpoint_url} is not AWS's API: "
                "is the address right?"
            ) from error
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            raise NoConnection(
                f"there is no stack {stack_name} in {cloudformation.meta.region_name}: give the "
                "name that it was deployed under, or set AWS_DEFAULT_REGION"
            ) from error
        (stack,) = found.get("Stacks", [])
        outputs = {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}
        parameters = {p["ParameterKey"]: p["ParameterValue"] for p in stack.get("Parameters", [])}
        if "TableName" not in outputs:
            raise NoConnection(
                f"the stack {stack_name} has no output `TableName`: give the name of an MQLambda "
                "stack whose deployment is complete"
            )
        make: Any = session.client
        client = partial(make, **settings)
        name = "local" if stack_name == _LOCAL_STACK else stack_name
        return cls(
            outputs["TableName"],
            client("dynamodb"),
            outputs.get("ApiUrl"),
            f"urn:mqlambda:{name}",
            parameters.get("ContactData") != "thin",
            outputs.get("TopicArn"),
            client,
        )


@contextmanager
def explained() -> Iterator[None]:
    """Turn what botocore raises in the block into `NoConnection`."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise NoConnection(_advice(error)) from error


def _advice(error: BotoCoreError | ClientError) -> str:
    said = " ".join(str(error).split())
    if isinstance(error, exceptions.NoRegionError):
        return "no AWS region is set: set AWS_DEFAULT_REGION, or `region` in ~/.aws/config"
    if isinstance(error, _NOT_SIGNED_IN):
        return f"no AWS credentials: sign in, as with `aws configure` or `aws sso login` ({said})"
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        return f"no answer: try again, or look at the network ({said})"
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
    if code in _NOT_ACCEPTED:
        return f"AWS does not accept these credentials: sign in again ({said})"
    if code in _DENIED:
        return f"access denied: an IAM policy has to allow it ({said})"
    return said


def _local_session() -> "boto3.Session":
    """Return a session that reads neither the environment nor ~/.aws."""
    import boto3
    from botocore.session import Session

    files = {"config_file", "credentials_file"}
    variables = {
        name: (None, None, os.devnull if name in files else default, convert)
        for name, (_in_file, _in_environment, default, convert) in Session.SESSION_VARIABLES.items()
    }
    return boto3.Session(
        botocore_session=Session(session_vars=variables),
        region_name=_LOCAL_REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 (moto looks at none of them)
    )
