"""The template as CloudFormation sees it: expanded by AWS's own translator, without an account.

Runs in the environment of the SAM tools, from the checkout:

    .tools/sam/bin/python -m infra.expand [TEMPLATE] [PARAMETER=VALUE ...] > build/template.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import boto3
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

# Values of the parameters that have no default.
EXAMPLES = {"AllowedOrigins": "https://www.example.com,https://example.com"}


def expand(template: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """Return the template with nothing of SAM left.

    The values count where SAM itself reads a parameter; elsewhere references to parameters stay.
    Local code becomes an S3 address that still names it: `functions` is `s3://local/functions`.
    Code that `sam package` has uploaded keeps its address.

    Raises:
        InvalidDocumentException: SAM refuses the template; its `causes` say why.
    """
    globals_ = template.get("Globals", {}).get("Function", {})
    resources = [resource.get("Properties", {}) for resource in template["Resources"].values()]
    for properties in (globals_, *resources):
        if not properties.get("CodeUri", "s3://").startswith("s3://"):
            properties["CodeUri"] = f"s3://local/{properties['CodeUri']}"
    types = {name: part["Type"] for name, part in template.get("Parameters", {}).items()}
    # CloudFormation, too, hands the translator its lists as lists.
    given = {
        name: value.split(",") if "List" in types[name] else value
        for name, value in values.items()
        if name in types
    }
    # Only the region is asked of the session, so credentials and a network are never looked for.
    # Without a map of managed policies none can be named: our roles are our own.
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="eu-central-1"))
    expanded: dict[str, Any] = translator.translate(template, given)
    return expanded


def main(arguments: list[str]) -> None:
    """Print the expansion as JSON, or end with what SAM finds wrong."""
    values = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    paths = [argument for argument in arguments if "=" not in argument]
    template = yaml_parse(Path(*(paths or ["template.yaml"])).read_text(encoding="utf-8"))
    try:
        print(json.dumps(expand(template, EXAMPLES | values), indent=2))
    except InvalidDocumentException as error:
        sys.exit("\n".join(cause.message for cause in error.causes))


if __name__ == "__main__":
    main(sys.argv[1:])
