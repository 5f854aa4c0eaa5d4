"""Start one function as Lambda does, and call it once if standard input holds an event.

Runs under the Python that a function meets, with neither the tests nor the project beside it.
The last line of the output is the answer.
"""

import importlib
import json
import sys
from types import SimpleNamespace

CONTEXT = SimpleNamespace(
    aws_request_id="00000000-0000-4000-8000-000000000000",
    function_name="under-test",
    function_version="$LATEST",
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:under-test",
    memory_limit_in_mb="512",
    get_remaining_time_in_millis=lambda: 29_000,
)

if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(".")
    handler = getattr(importlib.import_module(module), name)
    event = json.load(sys.stdin)
    answer = handler(event, CONTEXT) if event is not None else None
    sys.stdout.write(f"\n{json.dumps(answer)}\n")
