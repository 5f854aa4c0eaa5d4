"""docs/runbook.md can be typed: every alarm stands in it, and every command runs without a fault.

That a command mends is shown where SIGNS says how to tell; what the others answer is not looked at.
The stack is the real template on ministack, with functions that do nothing and log nothing: what
the commands look for in the logs is held against what the real functions write there. Everything
is typed into a shell as it stands on the page.
"""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import boto3
import pytest

from infra.local.stack import LocalStack
from tests.deploy.conftest import REGION, ROOT, Template, of_type
from tests.engine.ministack import installed, ministack
from tests.rehearsal.shortfalls import without_metric_math

AWS = ROOT / ".tools" / "aws" / "bin" / "aws"
SERVICES = (
    "apigateway,cloudformation,cloudwatch,dynamodb,dynamodbstreams,events,iam,kms,lambda,logs,s3,"
    "sns,sqs,sts"
)
PARAMETERS = {"AllowedOrigins": "https://www.example.com", "AlarmEmail": "ops@example.com"}
HISTORY = {"type": "page", "userId": "jane@example.com", "timestamp": "2026-11-02T12:00:00Z"}


def state_of_mapping(function: str) -> str:
    return (
        "aws lambda get-event-source-mapping --query State --output text"
        f' --uuid "$(mapping {function})"'
    )


# What tells that a part of the page has mended something: what to type, and what that says before
# and after.
SIGNS = {
    "LostLeads": (state_of_mapping("Promote"), "Disabled", "Enabled"),
    "SpoolWaiting": (state_of_mapping("Retry"), "Disabled", "Enabled"),
    "Undelivered": (
        "aws sqs get-queue-attributes --attribute-names ApproximateNumberOfMessages"
        ' --query "Attributes.*" --output text --queue-url "$(output UndeliveredUrl)"',
        "1",
        "0",
    ),
    "SweepStopped": (
        "aws events describe-rule --query State --output text"
        ' --name "$(resource SweepEveryMinute)"',
        "DISABLED",
        "ENABLED",
    ),
    "Conflicts": ("mqlambda --stack mqlambda --json keys list | grep -c crm || true", "1", "0"),
}

PREAMBLE, *SECTIONS = re.split(
    r"^## ", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), flags=re.MULTILINE
)
PAGE = {section.split("\n", 1)[0]: section.split("\n", 1)[1] for section in SECTIONS}


def commands(text: str) -> str:
    """Return what one part of the page has to be typed."""
    [block] = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(block)


@dataclass(frozen=True)
class Deployed:
    """A stack, and a shell that has credentials for it."""

    endpoint: str
    environment: dict[str, str]

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def type(self, script: str, **variables: str) -> str:
        """Run the script as somebody types it; nothing in it may go wrong."""
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (ran.returncode, ran.stderr.strip()) == (0, ""), f"{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def output(self, name: str) -> str:
        return self.type(f"{commands(PREAMBLE)}\noutput {name}").strip()


@pytest.fixture(scope="module")
def deployed(
    expansion: Template, monitoring: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    if not installed() or not AWS.exists():
        missing = "ministack or the AWS CLI is not installed: make deploy-check"
        pytest.fail(missing, pytrace=False) if "CI" in os.environ else pytest.skip(missing)
    with ministack(SERVICES) as url:
        home = tmp_path_factory.mktemp("home")
        # It sends what concerns queues to Amazon unless it is told on its command line, too.
        command = home / "aws"
        command.write_text(f'#!/bin/sh\nexec {AWS} --endpoint-url {url} "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "HOME": str(home),
            "PATH": f"{home}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        stack = Deployed(url, environment)
        deploy(stack, expansion, monitoring)
        yield stack


def deploy(stack: Deployed, expansion: Template, monitoring: Template) -> None:
    """Deploy the template, all but the code."""
    s3, cloudformation = stack.client("s3"), stack.client("cloudformation")
    s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    template = json.loads(json.dumps(expansion))
    for function in of_type(template, "AWS::Lambda::Function").values():
        function["Code"] = {"ZipFile": "def handler(event, context): pass"}
    for nested in of_type(template, "AWS::CloudFormation::Stack").values():
        name = nested["TemplateURL"]
        s3.upload_file(str(ROOT / name), "artifacts", name)
        nested["TemplateURL"] = f"{stack.endpoint}/artifacts/{name}"
    fit = json.dumps(without_metric_math(monitoring))
    s3.put_object(Bucket="artifacts", Key="infra/monitoring.yaml", Body=fit.encode())
    cloudformation.create_stack(
        StackName="mqlambda",
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": n, "ParameterValue": v} for n, v in PARAMETERS.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    created = cloudformation.get_waiter("stack_create_complete")
    created.wait(StackName="mqlambda", WaiterConfig={"Delay": 1, "MaxAttempts": 60})


@pytest.fixture(scope="module")
def troubled(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Have what alarms tell of: a lead, a key, a record that failed, triggers that are off."""
    history = tmp_path_factory.mktemp("history") / "history.jsonl"
    history.write_text(json.dumps(HISTORY), encoding="utf-8")
    mqlambda = "mqlambda --stack mqlambda --json"
    deployed.type(f"{mqlambda} import {history} 2>&1")
    lead = json.loads(deployed.type(f"{mqlambda} explain jane@example.com"))
    deployed.type(f"{mqlambda} keys new --name crm 2>&1")
    keys = json.loads(deployed.type(f"{mqlambda} keys list"))
    deployed.client("s3").put_object(
        Bucket=deployed.output("FailureBucketName"), Key="aws/lambda/record", Body=b"{}"
    )
    deployed.type(
        f"""{commands(PREAMBLE)}
        aws lambda update-event-source-mapping --uuid "$(mapping Promote)" --no-enabled
        aws lambda update-event-source-mapping --uuid "$(mapping Retry)" --no-enabled
        aws events disable-rule --name "$(resource SweepEveryMinute)"
        """
    )
    return {"LEAD": lead["id"], "KEY_ID": keys["keys"][0]["id"]}


def test_each_alarm_has_its_part_of_the_page(monitoring: Template) -> None:
    assert set(PAGE) == set(of_type(monitoring, "AWS::CloudWatch::Alarm"))


@pytest.mark.parametrize("alarm", PAGE)
def test_each_part_says_what_it_means_how_to_look_and_how_to_mend(alarm: str) -> None:
    meaning = PAGE[alarm].strip().split("\n\n")[0]
    assert len(meaning.split()) > 30
    steps = [line for line in commands(PAGE[alarm]).splitlines() if line.startswith("#")]
    assert steps == ["# look", "# mend"]


def test_troubles_are_looked_for_by_the_words_that_functions_log(
    stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    [pattern] = re.findall("--filter-pattern '(.*)'", commands(PREAMBLE))
    words = re.findall(r'\$\.(\w+) = "(\w+)"', pattern)
    assert pattern == f"{{ {' || '.join(f'$.{name} = "{value}"' for name, value in words)} }}"

    for function in stack.functions.values():
        logger, log = function.module.logger, io.StringIO()
        monkeypatch.setattr(logger.registered_handler, "stream", log)
        logger.error("not recorded")
        logger.warning("withheld")
        lines = [json.loads(line) for line in log.getvalue().splitlines()]
        assert {(name, line[name]) for line in lines for name, _ in words} == set(words)


@pytest.mark.parametrize("alarm", PAGE)
def test_each_command_can_be_typed(
    deployed: Deployed, troubled: dict[str, str], alarm: str
) -> None:
    sign, before, after = SIGNS.get(alarm, ("echo", "", ""))
    steps = [sign, commands(PAGE[alarm]), sign]
    said = [deployed.type(f"{commands(PREAMBLE)}\n{step}", **troubled).strip() for step in steps]
    assert said == [before, ANY, after]
