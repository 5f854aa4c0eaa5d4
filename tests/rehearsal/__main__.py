"""Rehearse a deployment: build, deploy, do the main job, update, delete, take up again.

Runs AWS's own `sam build`, `sam package` and translator, then the packaged functions on ministack,
each under its role. Needs `.venv`, `.tools/sam` and `.tools/ministack`; `make deploy-rehearsal`.
"""

import json
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any
from urllib.parse import urlencode

from leadscoring.contract import LeadPromoted, from_sns
from leadscoring.request import Request
from leadscoring.spool import Spool
from tests.deploy.conftest import Project, Template, functions
from tests.rehearsal.account import AGENT, BUCKET, PARAMETERS, STACK, Account, account
from tests.rehearsal.shortfalls import (
    SHORTFALLS,
    fitted,
    spoken_to_plainly,
    told_of,
    without_metric_math,
)

REHEARSED = "Deployment Rehearsed"  # what no model pays until the update
PAY = 7


class Rehearsal:
    """One stack from its first deployment to its second life, in an account of its own."""

    def __init__(self, project: Project, aws: Account) -> None:
        self._project = project
        self._aws = aws
        self._outputs: dict[str, str] = {}
        data = project.root / "infra" / "data.yaml"
        data.write_text(spoken_to_plainly(data.read_text(encoding="utf-8")), encoding="utf-8")
        monitoring = without_metric_math(project.expand("infra/monitoring.yaml"))
        project.root.joinpath("infra/monitoring.yaml").write_text(json.dumps(monitoring))
        self._model_file = project.root / "functions" / "model.toml"
        self._model = tomllib.loads(self._model_file.read_text(encoding="utf-8"))["number"]
        self._sqs = aws.client("sqs")
        self._queue = self._sqs.create_queue(QueueName="subscriber")["QueueUrl"]

    def run(self) -> None:
        """Take every step; whatever is not as it should be raises."""
        with step("sam build"):
            self._build()
        with step("sam package, the zip of all functions") as figures:
            figures.append(self._package())
        with step("expand by AWS's own translator, fit to ministack") as figures:
            template = self._expand()
            figures.append(f"{len(template['Resources'])} resources")
        with step("create the stack"):
            self._outputs = self._aws.deploy(template)
        with step("mqlambda subscribe: a queue hears of promotions"):
            self._subscribe()
        with step("a demo request by HTTP becomes a promotion in the queue") as figures:
            figures.append(self._promote("ada@example.com"))
        with step("an act that no rule names is in the ledger, and pays nothing"):
            assert self._paid("ada@example.com", self._model) == []
        with step("the private API refuses who has not signed"):
            assert self._call("GET /leads")[0] == 403
            assert self._call("GET /leads", signed=True)[0] == 200
        with step("a form that waited in the spool becomes one, too"):
            self._spool("alan@example.com")
            self._hear_of("alan@example.com")
        with step("the sweep's schedule is on, and a sweep fails nowhere") as figures:
            figures.append(self._sweep())
        with step("build again with a new model, and update the stack") as figures:
            figures.append(self._update())
        with step("the new model pays what the old one did not"):
            assert self._paid("ada@example.com", self._model + 1) == [PAY]
        with step("delete the stack: its functions go, its data stack stays") as figures:
            kept = self._delete()
            figures.append(f"{self._items()} items kept")
        with step("sam package infra/adopt.yaml, and ask for its import"):
            self._ask_for_import(kept)
        with step("create the stack again, over the kept table and topic"):
            outputs = self._aws.outputs(kept)
            self._outputs = self._aws.deploy(told_of(self._expand(), outputs))
        with step("who was promoted before is not promoted again"):
            self._demo("ada@example.com")
            assert self._lead("ada@example.com")["stage"] == "mql"
        with step("and the next lead is, in the queue that had subscribed before") as figures:
            figures.append(self._promote("grace@example.com"))
        with step("mqlambda verify: every counter is its ledger's sum"):
            self._aws.command("verify")

    def _build(self) -> None:
        overrides = [f"{name}={value}" for name, value in PARAMETERS.items()]
        built = self._project.build("--parameter-overrides", *overrides)
        assert built.returncode == 0, built.stdout

    def _package(self) -> str:
        self._sam_package("built/template.yaml", "packaged.yaml")
        objects = self._aws.s3.list_objects_v2(Bucket=BUCKET)["Contents"]
        sizes = [each["Size"] for each in objects]
        return f"{len(sizes)} uploads, the largest {max(sizes) / 1e6:.1f} MB"

    def _sam_package(self, template: str, packaged: str) -> None:
        ran = self._project.run(
            *("sam", "package", "--template-file", template, "--s3-bucket", BUCKET),
            *("--output-template-file", packaged),
            **self._aws.environment,
        )
        assert ran.returncode == 0, ran.stdout

    def _expand(self) -> Template:
        values = [f"{name}={value}" for name, value in PARAMETERS.items()]
        return fitted(self._project.expand("packaged.yaml", *values))

    def _subscribe(self) -> None:
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        self._aws.command(
            *("subscribe", "sqs", arn["Attributes"]["QueueArn"], "--filter", "promotions")
        )

    def _promote(self, email: str) -> str:
        began = monotonic()
        self._demo(email)
        return f"{self._hear_of(email) - began:.1f} s from call to message"

    def _hear_of(self, email: str) -> float:
        """Wait for the promotion of this lead, and for none beside it; return when it came."""
        [message] = self._received()
        at = monotonic()
        assert isinstance(message, LeadPromoted), message
        assert message.source == f"urn:mqlambda:{STACK}", message
        assert message.data.lead.email == email, message
        assert self._received(wait=1) == []
        return at

    def _spool(self, email: str) -> None:
        """Leave a form as `collect` does when it can't reach the table."""
        form = Request(
            route="POST /f/{form}",
            path={"form": "demo"},
            query={},
            headers={"content-type": "application/x-www-form-urlencoded"},
            received_at=datetime.now(UTC),
            request_id=str(uuid.uuid4()),
            agent=AGENT,
            address="203.0.113.7",
            sent_body=urlencode({"email": email}),
        )
        Spool(self._sqs, self._aws.outputs(self._aws.physical("Data"))["SpoolUrl"]).put(form)

    def _demo(self, email: str) -> None:
        self._send(email, "Demo Requested")

    def _paid(self, email: str, model: int) -> list[float]:
        """Return what the model of this number has paid for an act that is new to the ledger."""
        self._send(email, REHEARSED)
        status, ledger = self._call(f"GET /leads/{self._lead(email)['id']}/ledger", signed=True)
        assert status == 200, ledger
        [entry] = [
            entry
            for entry in ledger["interactions"]
            if (entry["name"], entry["model"]) == (REHEARSED, model)
        ]
        return [payment["points"] for payment in entry["paid"]]

    @cached_property
    def _key(self) -> str:
        """The public key: what a website was once told is good for good."""
        key: str = json.loads(self._aws.command("--json", "keys", "list"))["public"]
        return key

    def _send(self, email: str, name: str) -> None:
        message = {
            "writeKey": self._key,
            "messageId": str(uuid.uuid4()),
            "event": name,
            "properties": {"email": email},
        }
        assert self._call("POST /v1/track", message) == (200, {"success": True})

    def _lead(self, email: str) -> Any:
        status, lead = self._call("POST /leads/find", {"email": email}, signed=True)
        assert status == 200, lead
        return lead

    def _call(self, route: str, body: object = None, *, signed: bool = False) -> tuple[int, Any]:
        return self._aws.call(self._outputs["ApiUrl"], route, body, signed=signed)

    def _received(self, wait: int = 60) -> list[Any]:
        """Return the messages in the queue, or the first that come within so many seconds."""
        messages: list[Any] = []
        until = monotonic() + wait
        while not messages and monotonic() < until:
            answer = self._sqs.receive_message(
                QueueUrl=self._queue, WaitTimeSeconds=min(wait, 20), MaxNumberOfMessages=10
            )
            messages = answer.get("Messages", [])
        for message in messages:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [from_sns(message["Body"]) for message in messages]

    def _sweep(self) -> str:
        rule = self._aws.client("events").describe_rule(Name=self._aws.physical("SweepEveryMinute"))
        assert (rule["State"], rule["ScheduleExpression"]) == ("ENABLED", "rate(1 minute)")
        answer = self._aws.client("lambda").invoke(
            FunctionName=self._aws.physical("Sweep"),
            Payload=json.dumps({"time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}),
        )
        done = json.load(answer["Payload"])
        assert "FunctionError" not in answer, done
        assert "SweepFailures" not in done, done
        return f"done: {done or 'nothing to do'}"

    def _update(self) -> str:
        number = self._model
        model = tomllib.loads(self._model_file.read_text(encoding="utf-8"))
        rule = f"""
[[rules]]
name = "rehearsed"
on = "{REHEARSED}"
points = {PAY}
dimension = "{next(iter(model["dimensions"]))}"
"""
        self._project.edit(
            "functions/model.toml", f"\nnumber = {number}\n", f"\nnumber = {number + 1}\n"
        )
        with self._model_file.open("a", encoding="utf-8") as file:
            file.write(rule)
        self._aws.command("lint", "--record", str(self._model_file))
        self._build()
        self._package()
        self._outputs = self._aws.deploy(self._expand())
        return f"model {number} to {number + 1}"

    def _delete(self) -> str:
        data, items = self._aws.physical("Data"), self._items()
        assert len(self._functions()) == len(functions(self._expand()))
        self._aws.delete()
        assert self._functions() == []
        assert self._items() == items > 0
        return data

    def _functions(self) -> list[Any]:
        found: list[Any] = self._aws.client("lambda").list_functions()["Functions"]
        return found

    def _items(self) -> int:
        table = self._outputs["TableName"]
        count: int = self._aws.client("dynamodb").scan(TableName=table, Select="COUNT")["Count"]
        return count

    def _ask_for_import(self, kept: str) -> None:
        """Have it checked that the import adds what is kept and nothing else, and is allowed to."""
        self._sam_package("infra/adopt.yaml", "adopt.yaml")
        asked = self._aws.cloudformation.create_change_set(
            StackName=STACK,
            ChangeSetName="adopt",
            ChangeSetType="IMPORT",
            TemplateBody=Path(self._project.root, "adopt.yaml").read_text(encoding="utf-8"),
            ResourcesToImport=[
                {
                    "ResourceType": "AWS::CloudFormation::Stack",
                    "LogicalResourceId": "Data",
                    "ResourceIdentifier": {"StackId": kept},
                }
            ],
        )
        found = self._aws.cloudformation.describe_change_set(ChangeSetName=asked["Id"])
        [change] = [change["ResourceChange"] for change in found["Changes"]]
        assert (change["Action"], change["LogicalResourceId"]) == ("Import", "Data"), found
        self._aws.delete()


@contextmanager
def step(what: str) -> Iterator[list[str]]:
    """Say whether the block went well, how long it took, and what it adds to the list."""
    figures: list[str] = []
    began = monotonic()
    try:
        yield figures
    except BaseException:
        print(f"✘ {what}", flush=True)
        raise
    print(f"✔ {what:<66}{monotonic() - began:6.1f} s  {', '.join(figures)}".rstrip(), flush=True)


def main() -> None:
    """Rehearse, and say what that can't show."""
    began = monotonic()
    with TemporaryDirectory() as folder, account() as aws:
        Rehearsal(Project.copied_to(Path(folder)), aws).run()
    print(f"\nDone in {monotonic() - began:.0f} s.")
    print("\nNot shown here, since ministack is not AWS, and where it is tested instead:")
    for shortfall in SHORTFALLS:
        print(f"- {shortfall.what}\n  {shortfall.test}")


if __name__ == "__main__":
    main()
