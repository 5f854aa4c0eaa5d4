"""What the expanded template must hold to, whatever is added to it."""

import ast
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.deploy.conftest import ROOT, Template, functions, of_type, uv

# Who knows the public key may send; everything else asks for IAM.
OPEN_TO_ALL = {
    "POST /v1/{call}",
    "GET /v1/projects/{key}/settings",
    "GET /lead.js",
    "POST /f/{form}",
    "GET /f/{form}",
    "GET /c/{token}",
    "HEAD /c/{token}",
    "POST /hooks/{source}",
    "GET /d/{token}",
    "POST /d/{token}",
}

MAPPING = "AWS::Lambda::EventSourceMapping"
ROLE = "AWS::IAM::Role"

# A name of our choosing would keep a second stack out of the account. The expansion must leave
# these to CloudFormation.
NAMES = {
    "AWS::ApiGatewayV2::Api": "Name",
    "AWS::CloudWatch::Alarm": "AlarmName",
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


def test_roles_have_no_managed_policies(expansion: Template) -> None:
    managed = [r for r, role in of_type(expansion, ROLE).items() if "ManagedPolicyArns" in role]
    assert managed == []


def test_roles_name_every_action_and_every_resource(expansion: Template) -> None:
    # Lambda chooses the keys under which it leaves what it could not deliver, and lists streams.
    lambdas = [
        {"Fn::Sub": "${Data.Outputs.FailureBucketArn}/*"},
        {"Fn::Sub": "${Data.Outputs.TableArn}/stream/*"},
    ]
    wild = [
        (name, statement)
        for name, statement in statements(expansion)
        for word in (*listed(statement["Action"]), *listed(statement["Resource"]))
        if "*" in str(word) and word not in lambdas
    ]
    assert wild == []


def test_every_function_logs_to_a_group_of_its_own_that_forgets(expansion: Template) -> None:
    used = [f["LoggingConfig"]["LogGroup"]["Ref"] for f in functions(expansion).values()]
    groups = of_type(expansion, "AWS::Logs::LogGroup")
    assert sorted(used) == sorted(groups)
    assert all("RetentionInDays" in group for group in groups.values())


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


def test_the_stream_loses_no_record_without_a_trace(expansion: Template) -> None:
    for mapping in readers_of("StreamArn", expansion).values():
        assert mapping["StartingPosition"] == "TRIM_HORIZON"
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["BisectBatchOnFunctionError"] is True
        # -1, and nothing at all, would hold up the shard until the record is too old.
        assert 0 < mapping["MaximumRetryAttempts"] <= 100
        bucket = {"Fn::GetAtt": ["Data", "Outputs.FailureBucketArn"]}
        assert mapping["DestinationConfig"] == {"OnFailure": {"Destination": bucket}}


def test_the_spool_loses_no_form(expansion: Template, data: Template) -> None:
    [spool] = of_type(data, "AWS::SQS::Queue").values()
    assert spool["MessageRetentionPeriod"] == timedelta(days=14).total_seconds()
    # A dead-letter queue would take from the function what it has only tried so often.
    assert "RedrivePolicy" not in spool
    [mapping] = readers_of("SpoolArn", expansion).values()
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    # AWS's own advice; less, and a form could be recorded twice at the same time.
    assert spool["VisibilityTimeout"] >= 6 * functions(expansion)["Retry"]["Timeout"]


def test_the_spool_is_encrypted_and_talks_by_tls_alone(data: Template) -> None:
    [spool] = of_type(data, "AWS::SQS::Queue").values()
    assert spool["SqsManagedSseEnabled"] is True
    [policy] = of_type(data, "AWS::SQS::QueuePolicy").values()
    assert policy["Queues"] == [{"Ref": "Spool"}]
    [statement] = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": False}}


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


def test_only_the_listed_routes_are_open_to_all(expansion: Template) -> None:
    [api] = of_type(expansion, "AWS::ApiGatewayV2::Api").values()
    assert {r for r, operation in routes(api) if "security" not in operation} == OPEN_TO_ALL
    assert all(
        operation["security"] == [{"AWS_IAM": []}]
        for route, operation in routes(api)
        if route not in OPEN_TO_ALL
    )
    iam = api["Body"]["components"]["securitySchemes"]["AWS_IAM"]
    assert iam["x-amazon-apigateway-authtype"] == "awsSigv4"


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


def test_the_stage_and_the_forms_are_throttled(expansion: Template) -> None:
    [stage] = of_type(expansion, "AWS::ApiGatewayV2::Stage").values()
    every, own = stage["DefaultRouteSettings"], stage["RouteSettings"]
    assert set(own) <= OPEN_TO_ALL
    for settings in (every, *own.values()):
        assert 0 < settings["ThrottlingRateLimit"] <= every["ThrottlingRateLimit"]
        assert 0 < settings["ThrottlingBurstLimit"] <= every["ThrottlingBurstLimit"]
    assert "POST /f/{form}" in own


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


def test_two_stacks_can_live_in_one_account(expansion: Template, data: Template) -> None:
    fixed = [
        name
        for template in (expansion, data)
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


@pytest.mark.parametrize("type_", ["AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue"])
def test_what_is_remembered_outlives_the_stack(data: Template, type_: str) -> None:
    for name in of_type(data, type_):
        resource = data["Resources"][name]
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


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


def statements(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every policy statement with the name of its role."""
    for name, role in of_type(template, ROLE).items():
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement


def readers_of(output: str, template: Template) -> Template:
    """Return the event source mappings on what the data stack calls so, by their function."""
    source = {"Fn::GetAtt": ["Data", f"Outputs.{output}"]}
    return {
        mapping["FunctionName"]["Ref"]: mapping
        for mapping in of_type(template, MAPPING).values()
        if mapping["EventSourceArn"] == source
    }


def routes(api: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every route of the API with its OpenAPI operation."""
    for path, methods in api["Body"]["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


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


def listed(value: Any) -> list[Any]:
    """Return a list, of one if need be."""
    return value if isinstance(value, list) else [value]


def tag_names(tags: Any) -> set[str]:
    """Return the names of tags in either of CloudFormation's two forms."""
    return set(tags) if isinstance(tags, dict) else {tag["Key"] for tag in tags}
