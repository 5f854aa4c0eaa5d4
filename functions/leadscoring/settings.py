"""What a function is told by its environment, and how it calls AWS."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

MODEL_FILE = Path(__file__).parent.parent / "model.toml"
SNIPPET_FILE = Path(__file__).parent.parent / "static" / "lead.js"

# botocore waits 60 seconds by default: a form's visitor does not.
AWS_CLIENT: Mapping[str, Any] = {
    "connect_timeout": 1,
    "read_timeout": 2,
    "retries": {"mode": "standard", "total_max_attempts": 3},
}


class MissingSetting(LookupError):
    """An environment variable that the function needs is not set."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment of every function."""

    table_name: str
    topic_arn: str
    spool_url: str
    source: str
    with_contact: bool
    api_url: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the settings; raise `MissingSetting` naming the variable that is not there."""
        variables = os.environ if env is None else env
        try:
            return cls(
                table_name=variables["TABLE_NAME"],
                topic_arn=variables["TOPIC_ARN"],
                spool_url=variables["SPOOL_URL"],
                source=variables["EVENT_SOURCE"],
                with_contact=variables["CONTACT_DATA"] == "full",
                # Only who makes messages with links is told it.
                api_url=variables.get("API_URL", ""),
            )
        except KeyError as error:
            raise MissingSetting(f"environment variable {error} is not set") from error
