"""Stream, lead items: decide where each lead now stands, and commit that with its message."""

import warnings
from datetime import UTC, datetime
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from leadscoring import handover, lifecycle
from leadscoring.contract import Sender
from leadscoring.model import Model
from leadscoring.promotion import Promoter
from leadscoring.settings import AWS_CLIENT, MODEL_FILE, Settings
from leadscoring.store import Store

logger = Logger(service="promote")

# An hour in which a metric has a value costs money, so there is none where nothing happened.
warnings.filterwarnings("ignore", "No application metrics to publish")

settings = Settings.from_env()
metrics = Metrics(namespace=settings.source, service="promote")
model = Model.load(MODEL_FILE)
store = Store(boto3.client("dynamodb", config=Config(**AWS_CLIENT)), settings.table_name)
links = handover.linking(settings.api_url, store.signing_keys)
promoter = Promoter(store, model, Sender(settings.source, settings.with_contact, links))
processor = BatchProcessor(
    event_type=EventType.DynamoDBStreams, raise_on_entire_batch_failure=False
)


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Decide on each lead in the batch; a lead that could not be decided is reported as failed."""
    return process_partial_response(event, promote_record, processor, context)


def promote_record(record: DynamoDBRecord) -> None:
    """Decide on the lead that one stream record shows."""
    stream: dict[str, Any] = record.raw_event["dynamodb"]
    now = datetime.fromtimestamp(float(stream["ApproximateCreationDateTime"]), UTC)
    lead = store.lead_of(stream["NewImage"])
    try:
        change = promoter.promote(lead, now)
    except Exception as error:
        logger.error("not decided", lead=lead.id, error=type(error).__name__)
        raise
    if change:
        metrics.add_metric("StageChanges", MetricUnit.Count, 1)
        if lifecycle.promotes(change):
            metrics.add_metric("Promotions", MetricUnit.Count, 1)
