"""Puts a finished message on the SNS topic. No other module knows SNS."""

from typing import TYPE_CHECKING

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
        """Publish the message with the attributes that filter policies read; return SNS's id."""
        answer = self._sns.publish(
            TopicArn=self._topic_arn,
            Message=message.model_dump_json(),
            MessageAttributes=_attributes(message),
        )
        return answer["MessageId"]


def _attributes(message: Message) -> "dict[str, MessageAttributeValueTypeDef]":
    grade = message.data.grade
    graded: dict[str, MessageAttributeValueTypeDef] = (
        {"grade": {"DataType": "String", "StringValue": grade}} if grade else {}
    )
    return {
        **graded,
        "type": {"DataType": "String", "StringValue": message.type},
        "stage": {"DataType": "String", "StringValue": message.data.stage},
        "score": {"DataType": "Number", "StringValue": str(message.data.score)},
    }
