"""Who may do what: every operation, under the role of every function.

The roles are deployed on ministack, which enforces them on the table and the spool: each operation
there is tried. What it does not enforce is read from the policies as they were deployed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from tests.deploy.conftest import REGION, ROOT, Template
from tests.permissions import FUNCTIONS, READ, TRIED, Allowed, intended
from tests.rehearsal.account import BUCKET, Account, account, over_tls
from tests.tables import rows

KEY = {"pk": {"S": "IAM"}, "sk": {"S": "IAM"}}
ACCOUNT = "000000000000"


@dataclass(frozen=True)
class Roles:
    """The functions' roles in an account with the table, the topic, the spool and the bucket."""

    aws: Account
    outputs: Mapping[str, str]

    def client(self, service: str, function: str) -> Any:
        """Return a client with the credentials that the function would have."""
        arn = f"arn:aws:iam::{ACCOUNT}:role/{self._name(function)}"
        given = self.aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="matrix")
        return self.aws.client(
            service,
            aws_access_key_id=given["Credentials"]["AccessKeyId"],
            aws_secret_access_key=given["Credentials"]["SecretAccessKey"],
            aws_session_token=given["Credentials"]["SessionToken"],
        )

    def statements(self, function: str) -> list[Any]:
        """Return the statements of the function's role as they were deployed."""
        iam, role = self.aws.client("iam"), {"RoleName": self._name(function)}
        assert iam.list_attached_role_policies(**role)["AttachedPolicies"] == []
        return [
            statement
            for name in iam.list_role_policies(**role)["PolicyNames"]
            for statement in iam.get_role_policy(**role, PolicyName=name)["PolicyDocument"][
                "Statement"
            ]
        ]

    def log_group(self, function: str) -> str:
        """Return the ARN of the function's log group."""
        name = self.aws.physical(f"{function}Logs")
        return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}:*"

    def _name(self, function: str) -> str:
        return self.aws.physical(f"{function}Role")


@pytest.fixture(scope="module")
def roles(expansion: Template) -> Iterator[Roles]:
    kept = ("AWS::IAM::Role", "AWS::Logs::LogGroup")
    resources = {
        name: part
        for name, part in expansion["Resources"].items()
        if part["Type"] in kept or name == "Data"
    }
    with account() as aws:
        aws.s3.upload_file(str(ROOT / "infra" / "data.yaml"), BUCKET, "data.yaml")
        data = {**resources["Data"]["Properties"], "TemplateURL": f"{aws.address}/data.yaml"}
        resources["Data"] = {**resources["Data"], "Properties": data}
        aws.deploy({"Parameters": expansion["Parameters"], "Resources": resources})
        yield Roles(aws, aws.outputs(aws.physical("Data")))


@pytest.fixture(scope="module")
def tried(roles: Roles) -> Allowed:
    allowed = {}
    for service, requests in operations(roles).items():
        for function in FUNCTIONS:
            client = roles.client(service, function)
            for row, request in requests.items():
                call = getattr(client, xform_name(row.split()[0]))
                allowed[row, function] = is_allowed(call, request)
    return allowed


@pytest.fixture(scope="module")
def policies(roles: Roles) -> dict[str, list[Any]]:
    return {function: roles.statements(function) for function in FUNCTIONS}


def test_each_role_may_do_to_the_table_and_the_spool_what_is_intended_and_no_more(
    tried: Allowed,
) -> None:
    assert tried == intended(TRIED)


def test_policies_allow_what_is_intended_and_no_more(
    roles: Roles, policies: dict[str, list[Any]]
) -> None:
    asked = [(row, *row.split(" ", 1), function) for row in rows(READ) for function in FUNCTIONS]
    read = {
        (row, function): permits(policies[function], action, resources(roles, function)[on])
        for row, action, on, function in asked
    }
    assert read == intended(READ)


def test_no_policy_speaks_of_what_the_tables_leave_out(policies: dict[str, list[Any]]) -> None:
    tables = {row.split()[0] for row in rows(READ)} | {
        f"{service}:{row}" for row in rows(TRIED) for service in ("dynamodb", "sqs")
    }
    written = {
        action
        for statements in policies.values()
        for statement in statements
        for action in listed(statement["Action"])
    }
    assert written <= tables


def test_policies_are_read_as_ministack_applies_them(
    roles: Roles, policies: dict[str, list[Any]], tried: Allowed
) -> None:
    arns = {"dynamodb": roles.outputs["TableArn"], "sqs": roles.outputs["SpoolArn"]}
    # What is done inside a transaction is no action of its own.
    asked = [
        (service, row, *row.partition(" ")[::2])
        for service, requests in operations(roles).items()
        for row in requests
        if not row.startswith("Transact")
    ]
    read = {
        (row, function): permits(
            policies[function],
            f"{service}:{action}",
            f"{arns[service]}/index/{index}" if index else arns[service],
        )
        for service, row, action, index in asked
        for function in FUNCTIONS
    }
    assert read == {cell: tried[cell] for cell in read}


def test_the_spool_takes_nothing_without_tls(roles: Roles) -> None:
    plain = roles.aws.client("sqs")
    plain.meta.events.unregister("before-send", over_tls)
    with pytest.raises(ClientError, match="AccessDenied"):
        plain.send_message(QueueUrl=roles.outputs["SpoolUrl"], MessageBody="a form")


@pytest.mark.parametrize(
    ("statement", "allows"),
    [
        ({"Effect": "Allow", "Action": "sns:Publish", "Resource": "arn:topic"}, True),
        ({"Effect": "Allow", "Action": ["a:B", "SNS:publish"], "Resource": ["arn:*"]}, True),
        ({"Effect": "Allow", "Action": "sns:*", "Resource": "arn:topi?"}, True),
        ({"Effect": "Allow", "Action": "sns:Subscribe", "Resource": "arn:topic"}, False),
        ({"Effect": "Allow", "Action": "sns:Publish", "Resource": "arn:TOPIC"}, False),
        ({"Effect": "Deny", "Action": "sns:Publish", "Resource": "arn:topic"}, False),
    ],
)
def test_a_policy_is_read_as_iam_reads_it(statement: Any, *, allows: bool) -> None:
    assert permits([statement], "sns:Publish", "arn:topic") is allows
    denied = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    assert permits([statement, denied], "sns:Publish", "arn:topic") is False


def is_allowed(call: Callable[..., Any], request: dict[str, Any]) -> bool:
    """Try the request; whatever is wrong with it but the permission is an error of the test."""
    try:
        call(**request)
    except ClientError as error:
        if "AccessDenied" not in error.response["Error"]["Code"]:
            raise
        return False
    return True


def permits(statements: list[Any], action: str, resource: str) -> bool:
    """Tell whether the policies allow it: a deny wins, and what nothing allows is denied.

    Actions are matched in any case, resources in theirs; `*` and `?` are wildcards in both.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

    Raises:
        ValueError: a statement says more than we can read, such as a condition.
    """
    effects = set()
    for statement in statements:
        if unread := statement.keys() - {"Sid", "Effect", "Action", "Resource"}:
            raise ValueError(f"{unread} can't be read")
        if any(
            fnmatchcase(action.lower(), pattern.lower()) for pattern in listed(statement["Action"])
        ) and any(fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"])):
            effects.add(statement["Effect"])
    return effects == {"Allow"}


def listed(value: Any) -> list[str]:
    """Return a list, of one if need be."""
    return value if isinstance(value, list) else [value]


def resources(roles: Roles, function: str) -> dict[str, str]:
    """Return the ARN of everything that READ asks about, for this function."""
    outputs = roles.outputs
    another = next(name for name in FUNCTIONS if name != function)
    return {
        "topic": outputs["TopicArn"],
        "another topic": f"{outputs['TopicArn']}x",
        "failures": outputs["FailureBucketArn"],
        "failure": f"{outputs['FailureBucketArn']}/aws/lambda/1/2/2026/05/04/record",
        "another bucket": f"{outputs['FailureBucketArn']}x/record",
        "own logs": roles.log_group(function),
        "another log": roles.log_group(another),
        "table": outputs["TableArn"],
        "another table": f"{outputs['TableArn']}x",
        "stream": outputs["StreamArn"],
        "another queue": f"{outputs['SpoolArn']}x",
        "a function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}",
        "a role": f"arn:aws:iam::{ACCOUNT}:role/{function}",
    }


def operations(roles: Roles) -> dict[str, dict[str, Any]]:
    """Return a request that is in order for every row of TRIED, by service."""
    name = roles.outputs["TableName"]
    table = {"TableName": name}
    one, new = {**table, "Key": KEY}, {**table, "Item": KEY}
    value = {"ExpressionAttributeValues": {":value": {"S": "IAM"}}}
    update = {**one, "UpdateExpression": "SET it = :value", **value}
    check = {**one, "ConditionExpression": "attribute_exists(pk)"}

    def where(attribute: str, **index: str) -> dict[str, Any]:
        return {**table, **index, **value, "KeyConditionExpression": f"{attribute} = :value"}

    queue = {"QueueUrl": roles.outputs["SpoolUrl"]}
    sqs = roles.aws.client("sqs")
    sqs.send_message(**queue, MessageBody="a form")
    [received] = sqs.receive_message(**queue)["Messages"]
    return {
        "dynamodb": {
            "PutItem": new,
            "GetItem": one,
            "UpdateItem": one,
            "Query": where("pk"),
            "Query by-stage": where("by_stage", IndexName="by-stage"),
            "Query pending": where("pending", IndexName="pending"),
            "Query due": where("due", IndexName="due"),
            "Scan": table,
            "Scan due": {**table, "IndexName": "due"},
            "BatchGetItem": {"RequestItems": {name: {"Keys": [KEY]}}},
            "BatchWriteItem": {"RequestItems": {name: [{"PutRequest": {"Item": KEY}}]}},
            "DescribeTable": table,
            "UpdateTable": {**table, "DeletionProtectionEnabled": False},
            "TransactWriteItems Put": {"TransactItems": [{"Put": new}]},
            "TransactWriteItems Update": {"TransactItems": [{"Update": update}]},
            "TransactWriteItems ConditionCheck": {"TransactItems": [{"ConditionCheck": check}]},
            "TransactGetItems Get": {"TransactItems": [{"Get": one}]},
            "TransactWriteItems Delete": {"TransactItems": [{"Delete": one}]},
            "DeleteItem": one,
        },
        "sqs": {
            "SendMessage": {**queue, "MessageBody": "a form"},
            "ReceiveMessage": queue,
            "DeleteMessage": {**queue, "ReceiptHandle": received["ReceiptHandle"]},
            "GetQueueAttributes": {**queue, "AttributeNames": ["QueueArn"]},
            "SetQueueAttributes": {**queue, "Attributes": {"VisibilityTimeout": "180"}},
            "PurgeQueue": queue,
        },
    }
