"""Puts a finished message on the SNS topic. No other module knows SNS."""

import json
from typing import TYPE_CHECKING

from leadscoring import notice
from leadscoring.contract import Message

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef


class Publisher:
    """Publishes to one topic."""

    def __init__(self, sns: "SNSClient", topic_arn: str) -> None:
        self._sns = sns
        self._topic_arn = topic_arn

    def publish(self, message: Message) -> str:
        """Publish the message with the attributes that filter policies read; return SNS's id.

        Who subscribed by e-mail gets a text to read, everybody else the JSON.
        """
        said = {"default": message.model_dump_json(), "email": notice.text(message)}
        answer = self._sns.publish(
            TopicArn=self._topic_arn,
            Message=json.dumps(said, ensure_ascii=False),
            MessageStructure="json",
            Subject=notice.subject(message),
            MessageAttributes=_attributes(message),
        )
        return answer["MessageId"]


def _attributes(message: Message) -> "dict[str, MessageAttributeValueTypeDef]":
    data = message.data
    said = {
        "type": ("String", message.type),
        "stage": ("String", getattr(data, "stage", None)),
        "grade": ("String", getattr(data, "grade", None)),
        "score": ("Number", getattr(data, "score", None)),
    }
    return {
        name: {"DataType": kind, "StringValue": str(value)}
        for name, (kind, value) in said.items()
        if value is not None
    }
