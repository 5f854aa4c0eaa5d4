"""Tells a Slack channel of MQLs, through an incoming webhook."""

from dataclasses import dataclass

from events.subscribers.inbox import News
from events.subscribers.sending import post
from leadscoring import notice
from leadscoring.contract import LeadPromoted, LeadReplyOverdue, Message

# https://docs.slack.dev/messaging/formatting-message-text#escaping
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True)
class Slack:
    """One channel, by the address of its webhook: that is a secret."""

    webhook_url: str

    def __call__(self, message: Message, news: News) -> None:
        """Tell of a promotion, and of one that nobody replied to; better late than never."""
        if isinstance(message, LeadPromoted | LeadReplyOverdue):
            late = "(late) " if news is News.LATE else ""
            text = late + notice.text(message).translate(_ESCAPED)
            post(self.webhook_url, {"text": text, "unfurl_links": False})
