"""What `template.yaml` says: which functions there are, and what calls them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the HTTP API."""

    function: str
    method: str
    path: str
    iam: bool

    @property
    def key(self) -> str:
        """What API Gateway calls the route: `POST /v1/{call}`."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class StreamTrigger:
    """One event source mapping on the table's stream."""

    function: str
    patterns: tuple[str, ...]
    batch_size: int
    retries: int
    bisect: bool
    reports: bool


@dataclass(frozen=True, slots=True)
class QueueTrigger:
    """One event source mapping on the spool."""

    function: str
    batch_size: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """What EventBridge calls again and again."""

    function: str
    every: timedelta


@dataclass(frozen=True, slots=True)
class Template:
    """The functions of the stack by module name, and their triggers."""

    functions: tuple[str, ...]
    routes: tuple[Route, ...]
    streams: tuple[StreamTrigger, ...]
    queues: tuple[QueueTrigger, ...]
    schedules: tuple[Schedule, ...]

    @classmethod
    def load(cls, path: Path = ROOT / "template.yaml") -> Self:
        """Read the template as people write it, before any transform."""
        resources = yaml.load(path.read_text(), _Loader)["Resources"]  # noqa: S506 (a SafeLoader)
        functions = {
            resource["Properties"]["Handler"].removesuffix(".handler"): resource["Properties"]
            for resource in resources.values()
            if resource["Type"] == "AWS::Serverless::Function"
        }
        return cls(
            functions=tuple(functions),
            routes=tuple(
                Route(name, event["Method"], event["Path"], "Auth" in event)
                for name, event in _events(functions, "HttpApi")
            ),
            streams=tuple(
                StreamTrigger(
                    function=name,
                    patterns=tuple(f["Pattern"] for f in event["FilterCriteria"]["Filters"]),
                    batch_size=event["BatchSize"],
                    retries=event["MaximumRetryAttempts"],
                    bisect=event["BisectBatchOnFunctionError"],
                    reports="ReportBatchItemFailures" in event["FunctionResponseTypes"],
                )
                for name, event in _events(functions, "DynamoDB")
            ),
            queues=tuple(
                QueueTrigger(name, event["BatchSize"]) for name, event in _events(functions, "SQS")
            ),
            schedules=tuple(
                Schedule(name, _rate(event["Schedule"]))
                for name, event in _events(functions, "Schedule")
            ),
        )


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short tags as plain values: nobody here follows a reference."""


def _tagged(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else None


_Loader.add_multi_constructor("!", _tagged)


def _events(functions: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, properties in functions.items():
        for event in properties.get("Events", {}).values():
            if event["Type"] == kind:
                yield name, event["Properties"]


def _rate(expression: str) -> timedelta:
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)
    if not found:
        raise ValueError(f"not a rate: {expression}")
    return timedelta(**{f"{found[2]}s": int(found[1])})
