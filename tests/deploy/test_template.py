"""What the expanded template must hold to, whatever is added to it."""

import ast
import re
import subprocess
from datetime import timedelta
from typing import Any

import pytest

from tests.deploy.conftest import (
    MAPPING,
    ROLE,
    ROOT,
    Template,
    functions,
    listed,
    of_type,
    readers_of,
    routes,
    statements,
    uv,
)

# A name of our choosing would keep a second stack out of the account. The expansion must leave
# these to CloudFormation.
NAMES = {
    "AWS::ApiGatewayV2::Api": "Name",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::Rule": "Name",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
}

# The nested stack hands its own tags on to the table, the topic and the bucket. SAM makes the
# mappings and the schedule and takes no tags for them.
TAGGED = (
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudFormation::Stack",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    ROLE,
)


def test_every_function_has_a_role_of_its_own(expansion: Template) -> None:
    used = [function["Role"]["Fn::GetAtt"][0] for function in functions(expansion).values()]
    assert sorted(used) == sorted(of_type(expansion, ROLE))


def test_a_function_may_write_to_its_own_log_group_alone(expansion: Template) -> None:
    for function in functions(expansion).values():
        mine = {"Fn::GetAtt": [function["LoggingConfig"]["LogGroup"]["Ref"], "Arn"]}
        written = [
            resource
            for role, statement in statements(expansion)
            if role == function["Role"]["Fn::GetAtt"][0]
            and any(action.startswith("logs:") for action in listed(statement["Action"]))
            for resource in listed(statement["Resource"])
        ]
        assert written == [mine]


def test_two_mappings_read_the_stream_and_one_the_spool(expansion: Template) -> None:
    mappings = of_type(expansion, MAPPING).values()
    assert len(mappings) == 3
    assert readers_of("StreamArn", expansion).keys() == {"Promote", "Relay"}
    assert readers_of("SpoolArn", expansion).keys() == {"Retry"}


def test_the_spool_loses_no_form(expansion: Template, data: Template) -> None:
    spool = of_type(data, "AWS::SQS::Queue")["Spool"]
    assert spool["MessageRetentionPeriod"] == timedelta(days=14).total_seconds()
    # A dead-letter queue would take from the function what it has only tried so often.
    assert "RedrivePolicy" not in spool
    [mapping] = readers_of("SpoolArn", expansion).values()
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    # AWS's own advice; less, and a form could be recorded twice at the same time.
    assert spool["VisibilityTimeout"] >= 6 * functions(expansion)["Retry"]["Timeout"]


def test_only_collect_fills_the_spool_and_only_retry_empties_it(expansion: Template) -> None:
    allowed = {
        role: set(listed(statement["Action"]))
        for role, statement in statements(expansion)
        if statement["Resource"] == {"Fn::GetAtt": ["Data", "Outputs.SpoolArn"]}
    }
    assert allowed == {
        "CollectRole": {"sqs:SendMessage"},
        "RetryRole": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
    }


def test_collect_answers_exactly_the_routes_it_is_given(expansion: Template) -> None:
    assert routes_in_collect() == routes_of("Collect", expansion)


def test_leads_answers_exactly_the_routes_it_is_given(expansion: Template) -> None:
    def without_names(found: set[str]) -> set[str]:
        return {re.sub(r"[<{]\w+[>}]", "*", route) for route in found}

    assert without_names(routes_in_leads()) == without_names(routes_of("Leads", expansion))


def test_web_origins_are_the_ones_that_were_asked_for(expansion: Template) -> None:
    [api] = of_type(expansion, "AWS::ApiGatewayV2::Api").values()
    cors = api["Body"]["x-amazon-apigateway-cors"]
    assert cors["allowOrigins"] == ["https://www.example.com", "https://example.com"]
    assert "allowCredentials" not in cors


@pytest.mark.parametrize(
    ("origin", "is_one"),
    [
        ("https://www.example.com", True),
        ("http://localhost:3000", True),
        ("*", False),
        ("https://*", False),
        ("https://*.example.com", False),
        ("https://www.example.com/", False),
        ("www.example.com", False),
        ("null", False),
        ("", False),
    ],
)
def test_web_origins_are_an_explicit_list(
    expansion: Template, origin: str, *, is_one: bool
) -> None:
    pattern = expansion["Parameters"]["AllowedOrigins"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, origin)) is is_one


def test_concurrency_is_reserved_for_the_public_door_alone_and_only_when_asked_for(
    expansion: Template,
) -> None:
    reserved = {
        name: function["ReservedConcurrentExecutions"]
        for name, function in functions(expansion).items()
        if "ReservedConcurrentExecutions" in function
    }
    number = {"Ref": "ReservedConcurrency"}
    assert reserved == {"Collect": {"Fn::If": ["IsReserved", number, {"Ref": "AWS::NoValue"}]}}
    assert expansion["Parameters"]["ReservedConcurrency"]["Default"] == 0
    assert expansion["Conditions"]["IsReserved"] == {"Fn::Not": [{"Fn::Equals": [number, 0]}]}


def test_two_stacks_can_live_in_one_account(
    expansion: Template, data: Template, monitoring: Template
) -> None:
    fixed = [
        name
        for template in (expansion, data, monitoring)
        for type_, property_ in NAMES.items()
        for name, properties in of_type(template, type_).items()
        if property_ in properties
    ]
    assert fixed == []


def test_everything_of_ours_says_which_stack_it_belongs_to(expansion: Template) -> None:
    [api] = of_type(expansion, "AWS::ApiGatewayV2::Api").values()
    tagged = {
        "Api": {tag["name"] for tag in api["Body"]["tags"]},
        **{n: tag_names(p.get("Tags", [])) for n, p in of_type(expansion, *TAGGED).items()},
    }
    assert {n: found for n, found in tagged.items() if not {"application", "stack"} <= found} == {}


def test_requirements_are_what_the_lock_file_says() -> None:
    exported = subprocess.run(
        [
            *(uv(), "export", "--frozen", "--no-default-groups", "--group", "runtime"),
            *("--no-emit-project", "--no-annotate", "--no-header"),
            # Lambda's runtime brings boto3.
            *("--prune", "boto3", "--prune", "boto3-stubs"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    requirements = (ROOT / "functions" / "requirements.txt").read_text(encoding="utf-8")
    assert requirements == exported.stdout


def routes_of(function: str, template: Template) -> set[str]:
    """Return the routes that the API hands to this function."""
    [api] = of_type(template, "AWS::ApiGatewayV2::Api").values()
    return {
        route
        for route, operation in routes(api)
        if f"${{{function}.Arn}}" in str(operation["x-amazon-apigateway-integration"]["uri"])
    }


def routes_in_collect() -> set[str]:
    """Return the keys of collect.py's ROUTES."""
    for node in source("collect.py").body:
        match node:
            case ast.AnnAssign(target=ast.Name("ROUTES"), value=ast.Dict(keys=keys)):
                return {ast.literal_eval(key) for key in keys if key}
    raise AssertionError("collect.py has no ROUTES")


def routes_in_leads() -> set[str]:
    """Return the routes that leads.py's functions are decorated with."""
    return {
        f"{method.upper()} {path}"
        for node in ast.walk(source("leads.py"))
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        for method, path in re.findall(r"app\.(\w+)\('([^']+)'\)", ast.unparse(decorator))
    }


def source(name: str) -> ast.Module:
    """Return one of the functions, parsed."""
    return ast.parse((ROOT / "functions" / name).read_text(encoding="utf-8"))


def tag_names(tags: Any) -> set[str]:
    """Return the names of tags in either of CloudFormation's two forms."""
    return set(tags) if isinstance(tags, dict) else {tag["Key"] for tag in tags}
