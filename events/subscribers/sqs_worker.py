"""Takes messages from an SQS queue that is subscribed to the topic.

    python -m events.subscribers.sqs_worker QUEUE_URL FILE

FILE remembers what is done. With SLACK_WEBHOOK_URL or CRM_TOKEN in the environment it tells Slack
or keeps a CRM; else it prints. Give the queue a dead-letter queue: what fails comes again.
"""

import logging
import os
import sys
from typing import TYPE_CHECKING

from events.subscribers.crm import Crm
from events.subscribers.inbox import Act, FileInbox, Inbox, News, take
from events.subscribers.slack import Slack
from leadscoring import notice
from leadscoring.contract import Message, from_sns

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = logging.getLogger("sqs_worker")


def work(
    sqs: "SQSClient", queue_url: str, inbox: Inbox, act: Act, *, wait_seconds: int = 20
) -> int:
    """Take what the queue has, ten messages at most; return how many of them are done now."""
    done = 0
    answer = sqs.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds
    )
    for delivered in answer.get("Messages", []):
        try:
            take(from_sns(delivered["Body"]), inbox, act)
        except Exception as error:  # noqa: BLE001 (the queue brings it again, the others go on)
            logger.error("not done: %s %s", delivered["MessageId"], type(error).__name__)
        else:
            sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=delivered["ReceiptHandle"])
            done += 1
    return done


def show(message: Message, _news: News) -> None:
    """Print the message for people."""
    print(notice.text(message), end="\n\n", flush=True)


def chosen() -> Act:
    """Return what to do with messages, as the environment says."""
    if url := os.environ.get("SLACK_WEBHOOK_URL"):
        return Slack(url)
    if token := os.environ.get("CRM_TOKEN"):
        return Crm(token)
    return show


if __name__ == "__main__":
    import boto3

    _, address, file = sys.argv
    client, remembered, chosen_act = boto3.client("sqs"), FileInbox(file), chosen()
    while True:
        work(client, address, remembered, chosen_act)
