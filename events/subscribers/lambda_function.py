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
        latest, erased, until = (_number(lead, name) for name in ("latest", "erased", "until"))
        is_gone = message.sequence < erased or message.time.timestamp() <= until
        if is_gone or self._item(message.id):
            return News.OLD
        return News.LATE if message.sequence < latest else News.NEW

    def note(self, message: Message) -> None:
        """Remember that the message is done: for 30 days its id, for ever how far its lead is."""
        self._raise(message.subject, "latest", message.sequence)
        if isinstance(message, LeadErased):
            self._raise(message.subject, "erased", message.sequence)
            # A merged lead counts its messages for itself: only the time tells which came before.
            for part in message.data.merged_leads:
                self._raise(part, "until", message.time.timestamp())
        # Last: should it fail before, the message comes again.
        expires_at = str(int(time.time()) + _REMEMBERED_SECONDS)
        item: Any = {"id": {"S": message.id}, "expires_at": {"N": expires_at}}
        self._dynamodb.put_item(TableName=self._table_name, Item=item)

    def _item(self, key: str) -> dict[str, Any]:
        answer = self._dynamodb.get_item(
            TableName=self._table_name, Key={"id": {"S": key}}, ConsistentRead=True
        )
        return dict(answer.get("Item", {}))

    def _raise(self, lead_id: str, name: str, value: float) -> None:
        """Note a number on a lead, unless a higher one stands there."""
        try:
            self._dynamodb.update_item(
                TableName=self._table_name,
                Key={"id": {"S": lead_id}},
                UpdateExpression="SET #name = :value",
                ConditionExpression="attribute_not_exists(#name) OR #name < :value",
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues={":value": {"N": str(value)}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


def _number(item: dict[str, Any], name: str) -> float:
    return float(item[name]["N"]) if name in item else 0.0


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
