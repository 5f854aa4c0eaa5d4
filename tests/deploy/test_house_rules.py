"""The rules of the house, each shown to notice when somebody breaks it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.deploy.conftest import (
    ROLE,
    ROOT,
    Project,
    Template,
    functions,
    listed,
    of_type,
    readers_of,
    routes,
    statements,
)

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

# Lambda chooses the keys under which it leaves what it could not deliver, and lists streams.
LAMBDAS_OWN = (
    {"Fn::Sub": "${Data.Outputs.FailureBucketArn}/*"},
    {"Fn::Sub": "${Data.Outputs.TableArn}/stream/*"},
)

# What must not go wrong unseen, by the metric that tells it.
ALARMED = {
    "dead letters": "ApproximateNumberOfMessagesVisible",
    "what the spool keeps": "ApproximateNumberOfMessagesNotVisible",
    "how old the stream's records are": "IteratorAge",
    "how old the oldest outbox item is": "PendingAge",
    "answers that are our fault": "5xx",
    "writers that meet": "TransactionConflict",
    "leads that were lost": "LostLeadsFound",
    "leads that can't be swept": "SweepFailures",
    "a sweep that does not run": "Errors",
}

ALARM = "AWS::CloudWatch::Alarm"
BUCKET = "AWS::S3::Bucket"
QUEUE = "AWS::SQS::Queue"
TABLE = "AWS::DynamoDB::Table"
TOPIC = "AWS::SNS::Topic"


@dataclass(frozen=True)
class House:
    """Everything that is deployed, as CloudFormation sees it."""

    main: Template
    data: Template
    monitoring: Template

    @property
    def templates(self) -> tuple[Template, ...]:
        return self.main, self.data, self.monitoring

    def of_type(self, *types: str) -> Template:
        return {
            name: properties
            for template in self.templates
            for name, properties in of_type(template, *types).items()
        }


# The rules: each says what breaks it


def roles_may_do_what_they_name(house: House) -> Iterator[str]:
    for name, role in of_type(house.main, ROLE).items():
        if "ManagedPolicyArns" in role:
            yield f"{name} has managed policies"
    for name, statement in statements(house.main):
        for word in (*listed(statement["Action"]), *listed(statement["Resource"])):
            if "*" in str(word) and word not in LAMBDAS_OWN:
                yield f"{name} may {word}"


def routes_ask_who_calls(house: House) -> Iterator[str]:
    [api] = of_type(house.main, "AWS::ApiGatewayV2::Api").values()
    for route, operation in routes(api):
        authorised = operation.get("security") == [{"AWS_IAM": []}]
        if authorised == (route in OPEN_TO_ALL):
            yield f"{route} is {'closed' if authorised else 'open to all'}"
    iam = api["Body"]["components"]["securitySchemes"]["AWS_IAM"]
    if iam["x-amazon-apigateway-authtype"] != "awsSigv4":
        yield "AWS_IAM is not IAM"


def doors_are_throttled(house: House) -> Iterator[str]:
    [stage] = of_type(house.main, "AWS::ApiGatewayV2::Stage").values()
    every, own = stage["DefaultRouteSettings"], stage["RouteSettings"]
    for route, settings in {"default": every, "POST /f/{form}": {}, **own}.items():
        for limit in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
            if not 0 < settings.get(limit, 0) <= every.get(limit, 0):
                yield f"{route} has no {limit}"


def streams_lose_nothing_without_a_trace(house: House) -> Iterator[str]:
    bucket = {"Fn::GetAtt": ["Data", "Outputs.FailureBucketArn"]}
    wanted = {
        "StartingPosition": "TRIM_HORIZON",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "BisectBatchOnFunctionError": True,
        "DestinationConfig": {"OnFailure": {"Destination": bucket}},
    }
    for function, mapping in readers_of("StreamArn", house.main).items():
        for name, value in wanted.items():
            if mapping.get(name) != value:
                yield f"{function}: {name}"
        # -1, and nothing at all, would hold up the shard until the record is too old.
        if not 0 < mapping.get("MaximumRetryAttempts", -1) <= 100:
            yield f"{function}: MaximumRetryAttempts"


def logs_are_everyones_own_and_forgotten(house: House) -> Iterator[str]:
    used = [f["LoggingConfig"]["LogGroup"]["Ref"] for f in functions(house.main).values()]
    for name, group in of_type(house.main, "AWS::Logs::LogGroup").items():
        if "RetentionInDays" not in group:
            yield f"{name} forgets nothing"
        if used.count(name) != 1:
            yield f"{name} is used by {used.count(name)}"


def what_is_kept_is_encrypted(house: House) -> Iterator[str]:
    encryption = {
        BUCKET: ["BucketEncryption"],
        QUEUE: ["SqsManagedSseEnabled", "KmsMasterKeyId"],
        TABLE: ["SSESpecification"],
        TOPIC: ["KmsMasterKeyId"],
    }
    for type_, any_of in encryption.items():
        for name, properties in house.of_type(type_).items():
            if not any(properties.get(each) for each in any_of):
                yield f"{name} is not encrypted"


def nobody_talks_without_tls(house: House) -> Iterator[str]:
    guarded = {
        holder["Ref"]
        for policy in house.of_type(f"{BUCKET}Policy", f"{QUEUE}Policy", f"{TOPIC}Policy").values()
        for holder in listed(policy.get("Queues") or policy.get("Topics") or policy.get("Bucket"))
        if any(_denies_all_without_tls(s) for s in policy["PolicyDocument"]["Statement"])
    }
    for name in house.of_type(BUCKET, QUEUE, TOPIC).keys() - guarded:
        yield f"{name} talks without TLS"


def _denies_all_without_tls(statement: dict[str, Any]) -> bool:
    return (statement["Effect"], statement["Principal"], statement.get("Condition")) == (
        "Deny",
        "*",
        {"Bool": {"aws:SecureTransport": False}},
    )


def what_is_remembered_stays(house: House) -> Iterator[str]:
    kept = {**of_type(house.data, TABLE, BUCKET, QUEUE), "Data": {}}
    for template in (house.main, house.data):
        for name in kept.keys() & template["Resources"].keys():
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                if template["Resources"][name].get(policy) != "Retain":
                    yield f"{name} has no {policy}"
    for name, table in of_type(house.data, TABLE).items():
        recovery = table.get("PointInTimeRecoverySpecification", {})
        if not recovery.get("PointInTimeRecoveryEnabled"):
            yield f"{name} is not recovered to a point in time"


def nothing_goes_wrong_unseen(house: House) -> Iterator[str]:
    alarms = of_type(house.monitoring, ALARM)
    seen = {metric.get("MetricName") for a in alarms.values() for metric in _metrics(a)}
    for what in (what for what, metric in ALARMED.items() if metric not in seen):
        yield f"no alarm for {what}"
    behind = {str(a["Dimensions"]) for a in alarms.values() if a.get("MetricName") == "IteratorAge"}
    for function in readers_of("StreamArn", house.main):
        if str([{"Name": "FunctionName", "Value": {"Ref": function}}]) not in behind:
            yield f"nobody sees that {function} is behind"
    for name, alarm in alarms.items():
        # Left out, it would be `missing`, which leaves an alarm where it last had data.
        if "TreatMissingData" not in alarm:
            yield f"{name} does not say what no data means"


def alarms_reach_somebody(house: House) -> Iterator[str]:
    handed_on = of_type(house.main, "AWS::CloudFormation::Stack")["Monitoring"]["Parameters"]
    if handed_on["AlarmEmail"] != {"Ref": "AlarmEmail"}:
        yield "AlarmEmail is handed to nobody"
    topic, subscriptions = {"Ref": "AlarmTopic"}, of_type(house.monitoring, TOPIC)["AlarmTopic"]
    if {"Protocol": "email", "Endpoint": {"Ref": "AlarmEmail"}} not in subscriptions[
        "Subscription"
    ]:
        yield "AlarmEmail is not subscribed"
    for name, alarm in of_type(house.monitoring, ALARM).items():
        if alarm.get("AlarmActions") != [
            {"Fn::If": ["IsMailed", topic, {"Ref": "AWS::NoValue"}]},
        ]:
            yield f"{name} rings unheard"


def only_what_is_measured_is_watched(house: House) -> Iterator[str]:
    watched = [*_watched_by_alarms(house), *_shown_on_the_dashboard(house)]
    for service, metric in watched:
        said = [f"functions/{service}.py", "functions/leadscoring/ledger.py"]
        if not any(f'"{metric}"' in (ROOT / path).read_text(encoding="utf-8") for path in said):
            yield f"{service} does not measure {metric}"


def _watched_by_alarms(house: House) -> Iterator[tuple[str, str]]:
    for alarm in of_type(house.monitoring, ALARM).values():
        for metric in _metrics(alarm):
            if metric["Namespace"] == {"Ref": "Namespace"}:
                [service] = metric["Dimensions"]
                yield service["Value"], metric["MetricName"]


def _metrics(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an alarm goes by: its own metric, or those that it reckons with."""
    parts = alarm.get("Metrics", ())
    return [part["MetricStat"]["Metric"] for part in parts if "MetricStat" in part] or [alarm]


def _shown_on_the_dashboard(house: House) -> Iterator[tuple[str, str]]:
    [board] = of_type(house.monitoring, "AWS::CloudWatch::Dashboard").values()
    for widget in json.loads(board["DashboardBody"]["Fn::Sub"])["widgets"]:
        above: list[str] = []
        for line in widget["properties"].get("metrics", ()):
            words = [word for word in line if isinstance(word, str)]
            if words[0] == "...":
                words = [*above[: len(above) - len(words) + 1], *words[1:]]
            above = [
                old if new == "." else new for old, new in zip(above or words, words, strict=True)
            ]
            if above[0] == "${Namespace}":
                yield above[3], above[1]


RULES: list[Callable[[House], Iterator[str]]] = [
    roles_may_do_what_they_name,
    routes_ask_who_calls,
    doors_are_throttled,
    streams_lose_nothing_without_a_trace,
    logs_are_everyones_own_and_forgotten,
    what_is_kept_is_encrypted,
    nobody_talks_without_tls,
    what_is_remembered_stays,
    nothing_goes_wrong_unseen,
    alarms_reach_somebody,
    only_what_is_measured_is_watched,
]

MAIN, DATA, MONITORING = "template.yaml", "infra/data.yaml", "infra/monitoring.yaml"
RETENTION = "RetentionInDays: !Ref LogRetentionDays, "
TLS = 'Condition: { Bool: { "aws:SecureTransport": false } }'

# What somebody writes, in which file instead of what, and how each time one rule notices.
BREACHES = [
    (MAIN, "Action: sqs:SendMessage", "Action: sqs:*", "CollectRole may sqs:*"),
    (MAIN, "Resource: !GetAtt Data.Outputs.SpoolArn", 'Resource: "*"', "CollectRole may *"),
    (
        MAIN,
        "RetryRole:\n    Type: AWS::IAM::Role\n    Properties:\n",
        "RetryRole:\n    Type: AWS::IAM::Role\n    Properties:\n      ManagedPolicyArns: [x]\n",
        "RetryRole has managed policies",
    ),
    (MAIN, "Path: /leads/find, Auth: *iam }", "Path: /leads/find }", "POST /leads/find is open"),
    (MAIN, 'Path: "/d/{token}" }', 'Path: "/d/{token}", Auth: *iam }', "GET /d/{token} is closed"),
    (MAIN, "{ ThrottlingBurstLimit: 500, ", "{ ", "default has no ThrottlingBurstLimit"),
    (MAIN, "ThrottlingRateLimit: 50 }", "ThrottlingRateLimit: 5000 }", "{form} has no Throttling"),
    (MAIN, "TRIM_HORIZON", "LATEST", "Promote: StartingPosition"),
    (
        MAIN,
        "BatchSize: 100\n            FunctionResponseTypes: [ReportBatchItemFailures]\n",
        "BatchSize: 100\n",
        "Promote: FunctionResponseTypes",
    ),
    (MAIN, "BisectBatchOnFunctionError: true", "Enabled: true", "Promote: BisectBatchOn"),
    (MAIN, "MaximumRetryAttempts: 100\n", "MaximumRetryAttempts: -1\n", "Promote: MaximumRetry"),
    (
        MAIN,
        "OnFailure: { Type: S3, Destination: !GetAtt Data.Outputs.FailureBucketArn }",
        "OnFailure: { Type: SQS, Destination: !GetAtt Data.Outputs.SpoolArn }",
        "Promote: DestinationConfig",
    ),
    (MAIN, RETENTION, "", "CollectLogs forgets nothing"),
    (MAIN, "LogGroup: !Ref SweepLogs", "LogGroup: !Ref RelayLogs", "RelayLogs is used by 2"),
    (DATA, "SqsManagedSseEnabled: true", "DelaySeconds: 0", "Undelivered is not encrypted"),
    (DATA, "KmsMasterKeyId: alias/aws/sns", "DisplayName: leads", "Topic is not encrypted"),
    (DATA, TLS, TLS.replace("false", "true"), "Topic talks without TLS"),
    (DATA, "Queues: [!Ref Spool]", "Queues: [!Ref Undelivered]", "Spool talks without TLS"),
    (MONITORING, "Effect: Deny", "Effect: Allow", "AlarmTopic talks without TLS"),
    (DATA, "UpdateReplacePolicy: Retain", "UpdateReplacePolicy: Delete", "Table has no UpdateRe"),
    (MAIN, "DeletionPolicy: Retain", "DeletionPolicy: Delete", "Data has no DeletionPolicy"),
    (DATA, "RecoveryEnabled: true", "RecoveryEnabled: false", "Table is not recovered"),
    (MONITORING, "MetricName: 5xx", "MetricName: 4xx", "no alarm for answers that are our fault"),
    (MONITORING, "MessagesNotVisible", "MessagesDelayed", "no alarm for what the spool keeps"),
    (
        MONITORING,
        "[{ Name: FunctionName, Value: !Ref Relay }]",
        "[{ Name: FunctionName, Value: !Ref Leads }]",
        "nobody sees that Relay is behind",
    ),
    (MONITORING, "TreatMissingData: breaching", "Unit: Count", "SweepStopped does not say"),
    (MAIN, "AlarmEmail: !Ref AlarmEmail", 'AlarmEmail: ""', "AlarmEmail is handed to nobody"),
    (MONITORING, "Endpoint: !Ref AlarmEmail", "Endpoint: x", "AlarmEmail is not subscribed"),
    (
        MONITORING,
        "AlarmActions: [!If [IsMailed, !Ref AlarmTopic, !Ref AWS::NoValue]]",
        "ActionsEnabled: true",
        "LostLeads rings unheard",
    ),
    (MONITORING, "MetricName: PendingAge", "MetricName: OutboxAge", "sweep does not measure Outb"),
    (MONITORING, '[".", "Published",', '[".", "Sent",', "relay does not measure Sent"),
]


@pytest.fixture(scope="session")
def house(expansion: Template, data: Template, monitoring: Template) -> House:
    return House(expansion, data, monitoring)


@pytest.fixture(scope="session")
def ruin(copy_project: Callable[[], Project]) -> list[str]:
    """What the rules say of a house in which every one of them is broken, each time elsewhere."""
    project = copy_project()
    for name, old, new, _ in BREACHES:
        project.edit(name, old, new)
    broken = House(*(project.expand(name) for name in (MAIN, DATA, MONITORING)))
    return [said for rule in RULES for said in rule(broken)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(house: House, rule: Callable[[House], Iterator[str]]) -> None:
    assert list(rule(house)) == []


@pytest.mark.parametrize("said", [breach[-1] for breach in BREACHES])
def test_whoever_breaks_a_rule_is_told(ruin: list[str], said: str) -> None:
    assert [line for line in ruin if said in line]
