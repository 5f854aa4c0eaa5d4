"""Schedule, every minute: what the stream should have done by now, and what time alone does.

Each run does so much of it at most; what is left waits for the next minute. Whatever fails with
one lead stops no other.
"""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from leadscoring import handover, lifecycle, outbox
from leadscoring.contract import Sender
from leadscoring.forgetting import Forgetter
from leadscoring.lead import Lead
from leadscoring.model import Model
from leadscoring.promotion import Promoter
from leadscoring.publisher import Publisher
from leadscoring.settings import AWS_CLIENT, MODEL_FILE, Settings
from leadscoring.store import Store

MILLISECOND = timedelta(milliseconds=1)
STREAM_HAS = timedelta(minutes=2)
# In one run: so many messages, so many timers of each shard, so many parts of the table, one for
# each minute of the day and some more where minutes were missed.
MESSAGES = 400
TIMERS = 25
PARTS = 24 * 60
PARTS_IN_A_RUN = 5
# As long as one message may take where topic and table hang: each call is tried for some ten
# seconds, and the write that settles it once more.
LONGEST_DELIVERY = timedelta(seconds=25)

logger = Logger(service="sweep")

# An hour in which a metric has a value costs money, so there is none where nothing happened.
warnings.filterwarnings("ignore", "No application metrics to publish")

settings = Settings.from_env()
metrics = Metrics(namespace=settings.source, service="sweep")
model = Model.load(MODEL_FILE)
store = Store(boto3.client("dynamodb", config=Config(**AWS_CLIENT)), settings.table_name)
publisher = Publisher(boto3.client("sns", config=Config(**AWS_CLIENT)), settings.topic_arn)
links = handover.linking(settings.api_url, store.signing_keys)
sender = Sender(settings.source, settings.with_contact, links)
promoter = Promoter(store, model, sender)
forgetter = Forgetter(store, model, sender)


@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, int]:
    """Hear the timers that ring, guard a part of the table, and relay what is left in the outbox.

    Return how much of each was done.
    """
    now, done, relayed = datetime.fromisoformat(event["time"]), Counter[str](), Counter[str]()
    with ExitStack() as parts:
        # The last comes first, and all come whatever fails. The relay is told by itself: a topic
        # that hangs must keep neither the others nor their metrics.
        parts.callback(_tell, relayed)
        parts.callback(relay, now, context, relayed)
        parts.callback(_tell, done)
        parts.callback(guard, now, done)
        parts.callback(ring, now, context, done)
    return dict(done + relayed)


def ring(now: datetime, context: LambdaContext, done: Counter[str]) -> None:
    """Hear the timers that ring: a lead has cooled, nobody replied, retention is over.

    That takes a third of the time at most: the others must have theirs.
    """
    rest = context.get_remaining_time_in_millis() * 2 // 3
    for lead_id in store.due(now, TIMERS):
        if context.get_remaining_time_in_millis() < rest:
            return
        with _alone("timer not heard", lead_id, done):
            if not forgetter.forget(lead_id, now):
                done["StageChanges"] += promoter.ring(lead_id, now) is not None


def guard(now: datetime, done: Counter[str]) -> None:
    """Look at the parts of the table whose minute has come: within a day at every lead."""
    minute = int(now.timestamp()) // 60
    until = store.guarded_until()
    first = minute if until is None else max(until + 1, minute - PARTS + 1)
    for each in range(first, minute + 1)[:PARTS_IN_A_RUN]:
        for lead_id, read in store.leads_in(each % PARTS, PARTS):
            with _alone("not guarded", lead_id, done):
                _look_at(read(), now, done)
        store.note_guarded(each)


def relay(now: datetime, context: LambdaContext, done: Counter[str]) -> None:
    """Publish what waits, while there is time for one message more.

    How long it waited is measured by the wall's clock, as in the relay.
    """
    waiting = list(islice(store.pending(now - STREAM_HAS), MESSAGES))
    if waiting:
        age = now - waiting[0].since
        metrics.add_metric("PendingAge", MetricUnit.Seconds, age.total_seconds())
        metrics.flush_metrics()
    for key in waiting:
        if context.get_remaining_time_in_millis() * MILLISECOND < LONGEST_DELIVERY:
            return
        with _alone("not published", key.lead_id, done):
            if outbox.deliver(key, store, publisher, now):
                done["SweptOutboxItems"] += 1
                waited = datetime.now(UTC) - key.since
                metrics.add_metric("TimeToPublish", MetricUnit.Milliseconds, waited / MILLISECOND)


def _look_at(lead: Lead, now: datetime, done: Counter[str]) -> None:
    """Move a lead that nothing has moved, unless the stream still has its time to."""
    if lead.updated_at and lead.updated_at >= now - STREAM_HAS:
        return
    if change := promoter.promote(lead, now):
        done["StageChanges"] += 1
        done["LostLeadsFound"] += lifecycle.promotes(change)


def _tell(done: Counter[str]) -> None:
    """Give out the metrics of what was done, now: a run that is cut off gives out none."""
    for name, count in done.items():
        if count:
            metrics.add_metric(name, MetricUnit.Count, count)
    metrics.flush_metrics()


@contextmanager
def _alone(what: str, lead_id: str, done: Counter[str]) -> Iterator[None]:
    """Let no failure with one lead stop the others: the next minute tries it again."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever it is)
        done["SweepFailures"] += 1
        logger.error(what, lead=lead_id, error=type(error).__name__)
