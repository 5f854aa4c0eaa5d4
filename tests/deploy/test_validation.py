"""AWS's own linters, on the template as written and as CloudFormation will see it."""

import json

from tests.deploy.conftest import Project


def test_sam_finds_the_template_valid(project: Project) -> None:
    validated = project.run("sam", "validate", "--lint")
    assert validated.returncode == 0, validated.stdout


def test_the_expansion_and_the_plain_templates_have_no_lint(project: Project) -> None:
    plain = [f"infra/{path.name}" for path in (project.root / "infra").glob("*.yaml")]
    assert "infra/data.yaml" in plain
    assert lint_expansion(project, *plain) == ""


def test_the_expansion_shows_references_to_nothing(project: Project) -> None:
    # `sam validate --lint` sees none of these: it does not look into Globals.
    project.edit("template.yaml", "!GetAtt Data.Outputs.TableName\n", "!GetAtt Dada.Outputs.X\n")
    project.edit("template.yaml", "!GetAtt Data.Outputs.TopicArn\n", "!GetAtt Data.Outputs.Y\n")
    project.edit("template.yaml", "!Ref LogLevel\n", "!Ref LogLeval\n")
    said = lint_expansion(project)
    assert "'Dada' is not one of" in said
    assert "'Outputs.Y' is not one of" in said
    assert "'LogLeval' is not one of" in said


def lint_expansion(project: Project, *others: str) -> str:
    """Return what cfn-lint has to say about the template's expansion, and about other templates."""
    # cfn-lint follows a nested template only below the folder where it runs.
    (project.root / "expanded.json").write_text(json.dumps(project.expand()), encoding="utf-8")
    # W2001: the expansion has put values in place of parameters; `sam validate` sees unused ones.
    # W3002: the nested template is a local file until `sam deploy` uploads it.
    ignored = ("--ignore-checks", "W2001", "W3002", "--")
    return project.run("cfn-lint", *ignored, "expanded.json", *others).stdout
