"""What ministack lacks of AWS: all that a rehearsal changes of the template, and can't show."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.deploy.conftest import Template, of_type


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What a rehearsal on ministack can't show, and the test that looks at it instead."""

    what: str
    test: str


SHORTFALLS = (
    Shortfall(
        "routes and origins out of the API's OpenAPI body: each became a resource of its own",
        "tests/deploy/test_template.py::test_collect_answers_exactly_the_routes_it_is_given",
    ),
    Shortfall(
        "throttling of the public routes",
        "tests/deploy/test_house_rules.py::test_the_house_keeps_its_rules",
    ),
    Shortfall(
        "retries, bisecting, partial failures and the failure bucket of the stream",
        "tests/deploy/test_house_rules.py::test_the_house_keeps_its_rules",
    ),
    Shortfall(
        "TLS: ministack was spoken to in plain HTTP, and no policy minded",
        "tests/deploy/test_iam.py::test_the_spool_takes_nothing_without_tls",
    ),
    Shortfall(
        "permission to publish, to leave failed records, and to log",
        "tests/deploy/test_iam.py::test_policies_allow_what_is_intended_and_no_more",
    ),
    Shortfall(
        "an alarm that reckons with two metrics: it went by the first one alone",
        "tests/deploy/test_house_rules.py::test_the_house_keeps_its_rules",
    ),
    Shortfall(
        "arm64: the functions ran as x86_64, from the same artifact",
        "tests/deploy/test_build.py::test_an_artifact_starts_on_either_processor",
    ),
    Shortfall(
        "an artifact beside nothing but boto3: ministack's own packages were in reach",
        "tests/deploy/test_run.py::test_every_function_starts_in_a_clean_environment",
    ),
    Shortfall(
        "the import of the kept data stack: the new stack was told of the table instead",
        "tests/deploy/test_rehearsal.py::test_a_kept_data_stack_is_imported_as_the_template_declares_it",
    ),
)


def fitted(template: Template) -> Template:
    """Return the expanded template as ministack can deploy it.

    It ignores the body of an HTTP API, so each operation in it becomes an integration and a route.
    """
    fit = copy.deepcopy(template)
    for name, api in of_type(fit, "AWS::ApiGatewayV2::Api").items():
        body = api.pop("Body")
        api |= {
            "Name": body["info"]["title"],
            "ProtocolType": "HTTP",
            "CorsConfiguration": body["x-amazon-apigateway-cors"],  # it reads the body's own case
        }
        for path, operations in body["paths"].items():
            for method, operation in operations.items():
                key = f"{method.upper()} {path}"
                fit["Resources"] |= _route(name, key, operation, len(fit["Resources"]))
    return fit


def spoken_to_plainly(data: str) -> str:
    """Return the text of infra/data.yaml with policies that let plain HTTP pass."""
    return data.replace('"aws:SecureTransport": false', '"aws:SecureTransport": "whichever"')


def without_metric_math(monitoring: Template) -> Template:
    """Return the expanded template with alarms that go by their first metric alone."""
    fit = copy.deepcopy(monitoring)
    for alarm in of_type(fit, "AWS::CloudWatch::Alarm").values():
        parts = alarm.pop("Metrics", ())
        for first in [part["MetricStat"] for part in parts if "MetricStat" in part][:1]:
            alarm |= {**first["Metric"], "Statistic": first["Stat"], "Period": first["Period"]}
    return fit


def told_of(template: Template, outputs: Mapping[str, str]) -> Template:
    """Return the template with what a kept data stack holds in place of a data stack of its own.

    ministack can't import a stack into another one.
    """
    own = {name: part for name, part in template["Resources"].items() if name != "Data"}
    told: Template = _told({**template, "Resources": own}, outputs)
    return told


def _route(api: str, key: str, operation: Mapping[str, Any], number: int) -> Template:
    integration = operation["x-amazon-apigateway-integration"]
    target = f"Integration{number}"
    return {
        target: {
            "Type": "AWS::ApiGatewayV2::Integration",
            "Properties": {
                "ApiId": {"Ref": api},
                "IntegrationType": "AWS_PROXY",
                "IntegrationUri": integration["uri"],
                "PayloadFormatVersion": integration["payloadFormatVersion"],
            },
        },
        f"Route{number}": {
            "Type": "AWS::ApiGatewayV2::Route",
            "Properties": {
                "ApiId": {"Ref": api},
                "RouteKey": key,
                "Target": {"Fn::Sub": f"integrations/${{{target}}}"},
                "AuthorizationType": "AWS_IAM" if "security" in operation else "NONE",
            },
        },
    }


def _told(part: Any, outputs: Mapping[str, str]) -> Any:
    match part:
        case {"Fn::GetAtt": ["Data", str(output)]}:
            return outputs[output.removeprefix("Outputs.")]
        case {"Fn::Sub": str(text)}:
            for output, value in outputs.items():
                text = text.replace(f"${{Data.Outputs.{output}}}", value)
            return {"Fn::Sub": text}
        case dict():
            return {name: _told(value, outputs) for name, value in part.items()}
        case list():
            return [_told(value, outputs) for value in part]
        case _:
            return part
