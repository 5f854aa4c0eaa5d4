"""Schedule, every minute: publish what the stream should have had published by now."""

import warnings
from datetime import datetime, timedelta
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from leadscoring import outbox
from leadscoring.publisher import Publisher
from leadscoring.settings import AWS_CLIENT, Settings
from leadscoring.store import Store

STREAM_HAS = timedelta(minutes=2)

logger = Logger(service="sweep")
metrics = Metrics(namespace="MQLambda", service="sweep")

# An hour in which a metric has a value costs money, so there is none where nothing happened.
warnings.filterwarnings("ignore", "No application metrics to publish")

settings = Settings.from_env()
store = Store(boto3.client("dynamodb", config=Config(**AWS_CLIENT)), settings.table_name)
publisher = Publisher(boto3.client("sns", config=Config(**AWS_CLIENT)), settings.topic_arn)


@metrics.log_metrics
def handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, int]:
    """Relay all outbox items older than two minutes; one that fails does not stop the others."""
    now = datetime.fromisoformat(event["time"])
    relayed = failed = 0
    for key in store.pending(now - STREAM_HAS):
        try:
            relayed += outbox.deliver(key, store, publisher, now)
        except Exception as error:  # noqa: BLE001 (the next minute tries it again)
            failed += 1
            logger.error("not published", lead=key.lead_id, error=type(error).__name__)
    for name, count in (("SweptOutboxItems", relayed), ("SweepFailures", failed)):
        if count:
            metrics.add_metric(name, MetricUnit.Count, count)
    return {"relayed": relayed, "failed": failed}
