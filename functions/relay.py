"""Stream, new outbox items: publish what was committed."""

import warnings
from datetime import UTC, datetime, timedelta
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

from leadscoring import outbox
from leadscoring.publisher import Publisher
from leadscoring.settings import AWS_CLIENT, Settings
from leadscoring.store import Store

MILLISECOND = timedelta(milliseconds=1)

logger = Logger(service="relay")

# An hour in which a metric has a value costs money, so there is none where nothing happened.
warnings.filterwarnings("ignore", "No application metrics to publish")

settings = Settings.from_env()
metrics = Metrics(namespace=settings.source, service="relay")
store = Store(boto3.client("dynamodb", config=Config(**AWS_CLIENT)), settings.table_name)
publisher = Publisher(boto3.client("sns", config=Config(**AWS_CLIENT)), settings.topic_arn)
processor = BatchProcessor(
    event_type=EventType.DynamoDBStreams, raise_on_entire_batch_failure=False
)


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    """Publish each message in the batch; one that could not be published is reported as failed."""
    return process_partial_response(event, relay_record, processor, context)


def relay_record(record: DynamoDBRecord) -> None:
    """Publish the message of the outbox item that one stream record shows.

    How long it waited is measured by the wall's clock: nothing is decided by it.
    """
    stream: dict[str, Any] = record.raw_event["dynamodb"]
    now = datetime.fromtimestamp(float(stream["ApproximateCreationDateTime"]), UTC)
    key = store.outbox_key_of(stream["NewImage"])
    try:
        published = outbox.deliver(key, store, publisher, now)
    except Exception as error:
        logger.error("not published", lead=key.lead_id, error=type(error).__name__)
        raise
    if published:
        waited = datetime.now(UTC) - key.since
        metrics.add_metric("Published", MetricUnit.Count, 1)
        metrics.add_metric("TimeToPublish", MetricUnit.Milliseconds, waited / MILLISECOND)
