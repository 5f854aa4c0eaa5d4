"""A few people who ask for a demo, and how time goes on after that, in bad weather too."""

from datetime import UTC, datetime, timedelta

from infra.local.engine import clock_at
from infra.local.stack import LocalStack
from tests.flow.acts import ACTS, send

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PEOPLE = [f"{name}@example.com" for name in ("ada", "bob", "cleo", "dora", "emil", "finn")]


def ask(stack: LocalStack, email: str, at: datetime, act: str = "demo") -> str:
    """Let somebody do something, and return the message's id."""
    message_id = f"{act}-{email}-{at:%d-%H-%M}"
    with clock_at(at):
        send(stack, [{**ACTS[act], "userId": email, "messageId": message_id}])
    return message_id


def all_ask(stack: LocalStack, at: datetime = NOON) -> list[str]:
    """Let everybody ask for a demo, and return the ids of their messages."""
    return [ask(stack, email, at) for email in PEOPLE]


def pump(stack: LocalStack, at: datetime) -> None:
    """Deliver what waits, at this instant."""
    with clock_at(at):
        stack.pump()


def sweep(stack: LocalStack, at: datetime) -> None:
    """Run the schedule, at this instant."""
    (schedule,) = stack.template.schedules
    with clock_at(at):
        stack.run_schedule(schedule)
