"""Queue, what `collect` could not record: record it as if it had been recorded when it came.

A message stays in the spool until it is recorded, or 14 days old. What nobody can read today, a
mended model or function may read tomorrow.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from leadscoring import forms, links, spool
from leadscoring.contract import Sender
from leadscoring.interaction import Interaction
from leadscoring.keys import Keys
from leadscoring.model import Model
from leadscoring.recorder import Recorder
from leadscoring.request import Request
from leadscoring.settings import AWS_CLIENT, MODEL_FILE, Settings
from leadscoring.store import Store

logger = Logger(service="retry")

# An hour in which a metric has a value costs money, so there is none where nothing happened.
warnings.filterwarnings("ignore", "No application metrics to publish")

settings = Settings.from_env()
metrics = Metrics(namespace=settings.source, service="retry")
model = Model.load(MODEL_FILE)
store = Store(boto3.client("dynamodb", config=Config(**AWS_CLIENT)), settings.table_name)
recorder = Recorder(store, model, Sender(settings.source, with_contact=settings.with_contact))
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Record each spooled request; one that could not be recorded is reported as failed."""
    return process_partial_response(event, retry_record, processor, context)


def retry_record(record: SQSRecord) -> None:
    """Record the request that one message of the spool keeps."""
    try:
        keys = store.keys()
        request, interaction = _read(record.body, keys)
        done = recorder.record([interaction], keys, request)
    except Exception as error:
        logger.error("not recorded", spooled=record.message_id, error=type(error).__name__)
        raise
    for name, value in done.counts().items():
        _count(name, value)


def _read(body: str, keys: Keys) -> tuple[Request, Interaction]:
    try:
        request = spool.kept(body)
        return request, READERS[request.route](request, keys)
    except Exception:
        _count("SpoolPoison")
        raise


def _read_form(request: Request, _keys: Keys) -> Interaction:
    return forms.read(request, model)


def _read_click(request: Request, keys: Keys) -> Interaction:
    return links.read(request, keys, model).interaction


READERS: Mapping[str, Callable[[Request, Keys], Interaction]] = {
    "POST /f/{form}": _read_form,
    "GET /c/{token}": _read_click,
}


def _count(name: str, value: int = 1) -> None:
    if value:
        metrics.add_metric(name, MetricUnit.Count, value)
