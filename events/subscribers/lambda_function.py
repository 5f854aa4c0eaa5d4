"""A Lambda function behind the topic, or behind a queue that is subscribed to it.

It needs a table of its own (INBOX_TABLE; partition key `id`, a text; time to live on `expires_at`)
and SLACK_WEBHOOK_URL. Ship it with `leadscoring`. Behind a queue set `ReportBatchItemFailures`;
behind the topic give it a dead-letter queue.
"""

import os
import time
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from events.subscribers.inbox import News, take
from events.subscribers.slack import Slack
from leadscoring.contract import LeadErased, Message, from_sns

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_REMEMBERED_SECONDS = 30 * 86_400


class TableInbox:
    """An inbox in DynamoDB, for as many processes as there are."""

    def __init__(self, dynamodb: "DynamoDBClient", table_name: str) -> None:
        self._dynamodb = dynamodb
        self._table_name = table_name

    def news(self, message: Message) -> News:
        """Return what the message is to us."""
        lead = self._item(message.subject)
        if self._item(message.id) or message.sequence < int(lead.get("erased", {"N": "0"})["N"]):
            return News.OLD
        latest = int(lead.get("latest", {"N": "0"})["N"])
        return News.LATE if message.sequence < latest else News.NEW

    def note(self, message: Message) -> None:
        """Remember that the message is done: for 30 days its id, for ever how far its lead is."""
        expires_at = str(int(time.time()) + _REMEMBERED_SECONDS)
        item: Any = {"id": {"S": message.id}, "expires_at": {"N": expires_at}}
        self._dynamodb.put_item(TableName=self._table_name, Item=item)
        self._raise("latest", message)
        if isinstance(message, LeadErased):
            self._raise("erased", message)

    def _item(self, key: str) -> dict[str, Any]:
        answer = self._dynamodb.get_item(
            TableName=self._table_name, Key={"id": {"S": key}}, ConsistentRead=True
        )
        return dict(answer.get("Item", {}))

    def _raise(self, name: str, message: Message) -> None:
        """Note the message's sequence on its lead, unless a higher one stands there."""
        try:
            self._dynamodb.update_item(
                TableName=self._table_name,
                Key={"id": {"S": message.subject}},
                UpdateExpression="SET #name = :sequence",
                ConditionExpression="attribute_not_exists(#name) OR #name < :sequence",
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues={":sequence": {"N": str(message.sequence)}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


inbox = TableInbox(boto3.client("dynamodb"), os.environ["INBOX_TABLE"])
act = Slack(os.environ["SLACK_WEBHOOK_URL"])


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take each message; a queue brings those that failed again, the topic all of them."""
    failures = []
    for record in event["Records"]:
        try:
            take(from_sns(record), inbox, act)
        except Exception:
            if "messageId" not in record:
                raise
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
