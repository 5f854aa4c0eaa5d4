"""How AWS's services are at the moment, as the functions meet them."""

from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from moto.core.models import botocore_stubber

from infra.local.stack import LocalStack
from leadscoring.settings import AWS_CLIENT

WELL, DOWN, LOSSY, HANGING = "well", "down", "lossy", "hanging"


class Weather:
    """Each service is well, or down, or does its work and loses the answer, or says nothing.

    `seconds_hung` is how long all who met silence would have waited by now.
    """

    def __init__(self, stack: LocalStack) -> None:
        self.dynamodb = self.sqs = self.sns = WELL
        self.seconds_hung = 0
        self._stack = stack
        self._meet()

    def start_cold(self) -> None:
        """Start every function anew: it knows nothing yet, not even the keys."""
        self._stack.load_functions()
        self._meet()

    def _meet(self) -> None:
        modules = {name: function.module for name, function in self._stack.functions.items()}
        tables = [module.store._table for module in modules.values()]
        for table in tables:
            # It gives up at once: nobody waits in a test.
            table._budget_seconds = 0
        publishers = [modules[name].publisher for name in ("relay", "sweep")]
        for client in (
            modules["collect"]._spool()._sqs,
            *(table._dynamodb for table in tables),
            *(publisher._sns for publisher in publishers),
        ):
            client.meta.events.register_first("before-send", self)

    def __call__(self, request: AWSPreparedRequest, **_named: object) -> None:
        service = str(urlsplit(request.url).hostname).partition(".")[0]
        match getattr(self, service):
            case "down":
                raise EndpointConnectionError(endpoint_url=request.url)
            case "lossy":
                botocore_stubber("before-send", request)
                raise ReadTimeoutError(endpoint_url=request.url)
            case "hanging":
                self.seconds_hung += AWS_CLIENT["read_timeout"]
                raise ReadTimeoutError(endpoint_url=request.url)
