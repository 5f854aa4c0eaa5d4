"""What `make deploy-rehearsal` can't show on ministack."""

import ast
from collections.abc import Callable

import pytest

from tests.deploy.conftest import ROOT, Project, Template
from tests.rehearsal.shortfalls import SHORTFALLS, Shortfall, fitted, told_of


@pytest.mark.parametrize("shortfall", SHORTFALLS, ids=lambda shortfall: shortfall.what)
def test_what_it_can_not_show_is_tested_elsewhere(shortfall: Shortfall) -> None:
    file, _, name = shortfall.test.partition("::")
    parsed = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in parsed.body if isinstance(node, ast.FunctionDef)}


def test_a_kept_data_stack_is_imported_as_the_template_declares_it(
    copy_project: Callable[[], Project], expansion: Template
) -> None:
    adopting = copy_project().expand("infra/adopt.yaml")["Resources"]
    # CloudFormation imports a stack if template and tags agree, and it is kept; and nothing is
    # created by the way. The next `sam deploy` must then find no difference, or it replaces it.
    declared = expansion["Resources"]["Data"]
    nested = {**declared["Properties"], "TemplateURL": "data.yaml"}
    assert adopting == {"Data": {**declared, "Properties": nested}}
    assert (declared["DeletionPolicy"], declared["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_every_route_and_its_authorisation_is_still_there(expansion: Template) -> None:
    paths = expansion["Resources"]["Api"]["Properties"]["Body"]["paths"]
    declared = {
        f"{method.upper()} {path}": "AWS_IAM" if "security" in operation else "NONE"
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    made = {
        part["Properties"]["RouteKey"]: part["Properties"]["AuthorizationType"]
        for part in fitted(expansion)["Resources"].values()
        if part["Type"] == "AWS::ApiGatewayV2::Route"
    }
    assert made == declared


def test_nothing_of_a_kept_data_stack_is_left_to_ask_for(
    expansion: Template, data: Template
) -> None:
    outputs = {name: f"kept-{name}" for name in data["Outputs"]}
    told = str(told_of(expansion, outputs))
    assert "Outputs." not in told
    assert all(value in told for value in outputs.values())
