"""The rules of the house, each shown to notice when somebody breaks it."""

import json
from collections.abc import Callable, Iterable, Iterator
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
from tests.permissions import FUNCTIONS
from tests.tables import rows

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

# What must not go wrong unseen: whose metric tells it. An alarm that reckons with several metrics
# has a row for each, under the alarm's name and the metric's id.
WATCHED = """
                        metric                                         of
LostLeads               ${Namespace} LostLeadsFound                    service sweep
Undelivered             AWS/SQS ApproximateNumberOfMessagesVisible     QueueName ${UndeliveredName}
PromoteBehind           AWS/Lambda IteratorAge                         FunctionName ${Promote}
RelayBehind             AWS/Lambda IteratorAge                         FunctionName ${Relay}
OutboxStuck             ${Namespace} PendingAge                        service sweep
SpoolWaiting visible    AWS/SQS ApproximateNumberOfMessagesVisible     QueueName ${SpoolName}
SpoolWaiting in_flight  AWS/SQS ApproximateNumberOfMessagesNotVisible  QueueName ${SpoolName}
SweepStopped            AWS/Lambda Errors                              FunctionName ${Sweep}
SweepFailures           ${Namespace} SweepFailures                     service sweep
ApiErrors               AWS/ApiGateway 5xx                             ApiId ${ApiId}
Conflicts               AWS/DynamoDB TransactionConflict               TableName ${TableName}
"""

# And when an alarm rings: before the bar stands the expression, where there are several metrics.
RINGS = """
               statistic  rings                             periods    without data
LostLeads      Sum        > 0                               1 x 300 s  notBreaching
Undelivered    Maximum    > 0                               1 x 300 s  ignore
PromoteBehind  Maximum    > 900000                          1 x 300 s  notBreaching
RelayBehind    Maximum    > 900000                          1 x 300 s  notBreaching
OutboxStuck    Maximum    > 900                             1 x 300 s  notBreaching
SpoolWaiting   Maximum    visible + FILL(in_flight, 0) > 0  3 x 300 s  ignore
SweepStopped   Minimum    > 0                               2 x 300 s  breaching
SweepFailures  Sum        > 0                               1 x 300 s  notBreaching
ApiErrors      Sum        > 0                               1 x 300 s  notBreaching
Conflicts      Sum        > 100                             3 x 300 s  notBreaching
"""

# Anything else that an alarm can say, such as a unit or that its actions are off, may silence it.
SAID_BY_ALARMS = {
    *("AlarmActions", "AlarmDescription", "ComparisonOperator", "Dimensions", "EvaluationPeriods"),
    *("MetricName", "Metrics", "Namespace", "Period", "Statistic", "Threshold", "TreatMissingData"),
}

# What the monitoring stack is told, under the names of the template that knows it.
TOLD_TO_MONITORING = {
    "AlarmEmail": {"Ref": "AlarmEmail"},
    "Dashboard": {"Ref": "Dashboard"},
    "Namespace": {"Fn::Sub": "urn:mqlambda:${AWS::StackName}"},
    "ApiId": {"Ref": "Api"},
    "TableName": {"Ref": "Table"},
    "SpoolName": {"Fn::GetAtt": ["Spool", "QueueName"]},
    "UndeliveredName": {"Fn::GetAtt": ["Undelivered", "QueueName"]},
    **{function: {"Ref": function} for function in FUNCTIONS},
}

ALARM = "AWS::CloudWatch::Alarm"
BUCKET = "AWS::S3::Bucket"
QUEUE = "AWS::SQS::Queue"
TABLE = "AWS::DynamoDB::Table"
TOPIC = "AWS::SNS::Topic"

AES = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}

# What says that something is kept encrypted: any of these, word for word.
ENCRYPTED: dict[str, list[dict[str, Any]]] = {
    BUCKET: [{"BucketEncryption": {"ServerSideEncryptionConfiguration": [AES]}}],
    QUEUE: [{"SqsManagedSseEnabled": True}],
    TABLE: [{"SSESpecification": {"SSEEnabled": True}}],
    TOPIC: [{"KmsMasterKeyId": key} for key in ("alias/aws/sns", {"Ref": "AlarmKey"})],
}


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
    for type_, ways in ENCRYPTED.items():
        for name, properties in house.of_type(type_).items():
            if not any(way.items() <= properties.items() for way in ways):
                yield f"{name} is not encrypted"


def nobody_talks_without_tls(house: House) -> Iterator[str]:
    for type_ in (BUCKET, QUEUE, TOPIC):
        guarded = {
            holder["Ref"]
            for policy in house.of_type(f"{type_}Policy").values()
            for holder in listed(
                policy.get("Queues") or policy.get("Topics") or policy.get("Bucket")
            )
            for statement in policy["PolicyDocument"]["Statement"]
            if _refusal_without_tls(type_, holder["Ref"]).items() <= statement.items()
        }
        for name in house.of_type(type_).keys() - guarded:
            yield f"{name} talks without TLS"


def _refusal_without_tls(type_: str, name: str) -> dict[str, Any]:
    arn = {"Fn::GetAtt": [name, "Arn"]}
    actions, resources = {
        BUCKET: ("s3:*", [arn, {"Fn::Sub": f"${{{name}.Arn}}/*"}]),
        QUEUE: ("sqs:*", arn),
        TOPIC: (["sns:Publish", "sns:Subscribe"], {"Ref": name}),
    }[type_]
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": actions,
        "Resource": resources,
        "Condition": {"Bool": {"aws:SecureTransport": False}},
    }


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
    watched = {
        name: [f"{_text(metric['Namespace'])} {metric['MetricName']}", _dimensions(metric)]
        for alarm, properties in alarms.items()
        for name, metric in _metrics(alarm, properties)
    }
    yield from _unlike(WATCHED, watched)
    yield from _unlike(RINGS, {name: _ringing(alarm) for name, alarm in alarms.items()})
    for name, alarm in alarms.items():
        for word in sorted(alarm.keys() - SAID_BY_ALARMS):
            yield f"{name} says {word}"
    for function in readers_of("StreamArn", house.main):
        if ["AWS/Lambda IteratorAge", f"FunctionName ${{{function}}}"] not in watched.values():
            yield f"nobody sees that {function} is behind"


def _unlike(table: str, found: dict[str, list[str]]) -> Iterator[str]:
    wanted = {name: [cell for _, cell in row] for name, row in rows(table).items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            yield f"{name}: {found.get(name)}, not {wanted.get(name)}"


def _metrics(name: str, alarm: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return an alarm's metrics, as an alarm of one metric says them."""
    if "Metrics" not in alarm:
        yield name, alarm
    for part in alarm.get("Metrics", ()):
        if measured := part.get("MetricStat"):
            own = {"Statistic": measured["Stat"], "Period": measured["Period"]}
            yield f"{name} {part['Id']}", measured["Metric"] | own


def _ringing(alarm: dict[str, Any]) -> list[str]:
    metrics = [metric for _, metric in _metrics("", alarm)]
    reckoned = [part["Expression"] for part in alarm.get("Metrics", ()) if "Expression" in part]
    above = {"GreaterThanThreshold": ">"}.get(alarm["ComparisonOperator"], "not above")
    period = _each(metric.get("Period") for metric in metrics)
    return [
        _each(metric.get("Statistic") for metric in metrics),
        " ".join([*reckoned, above, str(alarm["Threshold"])]),
        f"{alarm['EvaluationPeriods']} x {period} s",
        str(alarm.get("TreatMissingData")),
    ]


def _each(values: Iterable[Any]) -> str:
    return " or ".join(sorted({str(value) for value in values}))


def _dimensions(metric: dict[str, Any]) -> str:
    return ", ".join(f"{each['Name']} {_text(each['Value'])}" for each in metric["Dimensions"])


def _text(value: Any) -> str:
    return f"${{{value['Ref']}}}" if isinstance(value, dict) else str(value)


def monitoring_is_told_of_this_stack(house: House) -> Iterator[str]:
    told = of_type(house.main, "AWS::CloudFormation::Stack")["Monitoring"]["Parameters"]
    for name in sorted(TOLD_TO_MONITORING.keys() | told.keys()):
        if _at_home(told.get(name), house) != TOLD_TO_MONITORING.get(name):
            yield f"{name} is something else to the monitoring stack"
    for name, function in functions(house.main).items():
        if function["Environment"]["Variables"]["EVENT_SOURCE"] != told["Namespace"]:
            yield f"{name} measures under another name"


def _at_home(value: Any, house: House) -> Any:
    """Return what it is called in the data stack, if it comes from there."""
    match value:
        case {"Fn::GetAtt": ["Data", output]}:
            return house.data["Outputs"][output.removeprefix("Outputs.")]["Value"]
    return value


def alarms_reach_somebody(house: House) -> Iterator[str]:
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
    for name, alarm in of_type(house.monitoring, ALARM).items():
        for _, metric in _metrics(name, alarm):
            if metric["Namespace"] == {"Ref": "Namespace"}:
                [service] = metric["Dimensions"]
                yield service["Value"], metric["MetricName"]


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
    monitoring_is_told_of_this_stack,
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
    (DATA, "SSEEnabled: true", "SSEEnabled: false", "Table is not encrypted"),
    (DATA, "KmsMasterKeyId: alias/aws/sns", "DisplayName: leads", "Topic is not encrypted"),
    (DATA, TLS, TLS.replace("false", "true"), "Topic talks without TLS"),
    (DATA, "Queues: [!Ref Spool]", "Queues: [!Ref Undelivered]", "Spool talks without TLS"),
    (DATA, "Action: sqs:*", "Action: sqs:DeleteQueue", "Undelivered talks without TLS"),
    (DATA, '!Sub "${FailureBucket.Arn}/*"', "!GetAtt Spool.Arn", "FailureBucket talks without TLS"),
    (MONITORING, "Effect: Deny", "Effect: Allow", "AlarmTopic talks without TLS"),
    (DATA, "UpdateReplacePolicy: Retain", "UpdateReplacePolicy: Delete", "Table has no UpdateRe"),
    (MAIN, "DeletionPolicy: Retain", "DeletionPolicy: Delete", "Data has no DeletionPolicy"),
    (DATA, "RecoveryEnabled: true", "RecoveryEnabled: false", "Table is not recovered"),
    (MONITORING, "MetricName: 5xx", "MetricName: 4xx", "ApiErrors: ['AWS/ApiGateway 4xx'"),
    (MONITORING, "MessagesNotVisible", "MessagesDelayed", "SpoolWaiting in_flight: ['AWS/SQS Appr"),
    (MONITORING, "Namespace: AWS/DynamoDB", "Namespace: AWS/SQS", "Conflicts: ['AWS/SQS Transact"),
    (MONITORING, "Name: ApiId, Value: !Ref ApiId", "Name: Api, Value: api", "'Api api'], not"),
    (MONITORING, "Statistic: Minimum", "Statistic: Average", "SweepStopped: ['Average', '> 0'"),
    (MONITORING, "Threshold: 900000", "Threshold: 1000000000", "PromoteBehind: ['Maximum', '> 10"),
    (
        MONITORING,
        "Threshold: 900\n      ComparisonOperator: GreaterThanThreshold",
        "Threshold: 900\n      ComparisonOperator: LessThanThreshold",
        "OutboxStuck: ['Maximum', 'not above 900'",
    ),
    (
        MONITORING,
        "EvaluationPeriods: 3\n      Threshold: 100",
        "EvaluationPeriods: 30\n      Threshold: 100",
        "Conflicts: ['Sum', '> 100', '30 x 300 s'",
    ),
    (
        MONITORING,
        "TreatMissingData: ignore",
        "TreatMissingData: missing",
        "300 s', 'missing'], not",
    ),
    (
        MONITORING,
        "[{ Name: FunctionName, Value: !Ref Relay }]",
        "[{ Name: FunctionName, Value: !Ref Leads }]",
        "nobody sees that Relay is behind",
    ),
    (MONITORING, "TreatMissingData: breaching", "Unit: Count", "SweepStopped says Unit"),
    (MAIN, "source !Sub", "source !Ref AWS::StackName #", "Namespace is something else to"),
    (MAIN, "Namespace: *source", "Namespace: MQLambda", "Sweep measures under another name"),
    (MAIN, "Outputs.SpoolName", "Outputs.SpoolUrl", "SpoolName is something else to"),
    (DATA, "Undelivered.QueueName", "Spool.QueueName", "UndeliveredName is something else to"),
    (MAIN, "        Sweep: !Ref Sweep", "        Sweep: !Ref Leads", "Sweep is something else to"),
    (MAIN, "AlarmEmail: !Ref AlarmEmail", 'AlarmEmail: ""', "AlarmEmail is something else to"),
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
