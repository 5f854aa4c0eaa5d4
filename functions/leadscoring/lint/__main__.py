"""`python -m leadscoring.lint model.toml`, as `sam build` calls it."""

import sys
from pathlib import Path

from leadscoring.lint import lint_file
from leadscoring.lint.lock import LockError


def main(path: Path) -> int:
    """Lint a model file by the lock beside it, say what is wrong; return the exit code."""
    try:
        findings = lint_file(path)
    except LockError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for finding in findings:
        sys.stderr.write(f"{path}:{finding}\n")
    return int(any(finding.severity == "error" for finding in findings))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
