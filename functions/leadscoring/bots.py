"""Who is no lead: programs that visit pages, impossible speed, and our own people.

They get the answer that everybody gets. What they did enters the ledger with the name of the
detector that doubts it, and pays nothing, until somebody overrules that.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from ipaddress import ip_address

from crawlerdetect import CrawlerDetect

from leadscoring.doors import Bots, Staff
from leadscoring.interaction import Identity, Interaction, Trust
from leadscoring.model import Model

CRAWLER = "crawlerdetect"
NO_AGENT = "no-agent"
SPEED = "speed"
STAFF = "staff"

# The list's patterns take a time that grows with the square of a word's length: more than a minute
# for the 32 kB that a message may have, milliseconds for what a browser calls itself.
_AGENT_CHARACTERS = 256
_AGENTS_A_REQUEST = 100
_REMEMBERED_LEADS = 1_000

_crawlers = CrawlerDetect()
_crawlers.is_crawler("-")  # reads its list while the container starts, and not before an answer


class Detectors:
    """The detectors of one model, with what one container remembers of each lead's last acts."""

    def __init__(self, model: Model) -> None:
        self._staff = model.staff
        self._pace = Pace(model.bots) if model.bots else None

    def judge(
        self, interactions: Iterable[Interaction], agent: str | None = None, address: str = ""
    ) -> list[Interaction]:
        """Return the interactions, each that a detector doubts withheld by it.

        `agent` and `address` are those of the HTTP request, if there was one; where a server sent
        it they say nothing of the lead. What is withheld already stays so, but our own people are
        known before all else.
        """
        agents = Agents()
        return [self._judge(act, agents, agent, address) for act in interactions]

    def _judge(
        self, act: Interaction, agents: "Agents", agent: str | None, address: str
    ) -> Interaction:
        is_public = act.trust is Trust.PUBLIC
        if is_staff(act.identity, address if is_public else "", self._staff):
            return replace(act, withheld_by=STAFF)
        if act.is_withheld:
            return act
        own = act.context.get("userAgent")
        for said in (agent if is_public else None, own or None):
            if isinstance(said, str) and (detector := agents.doubt(said)):
                # A mail scanner's click must not stand in the place of the reader's own.
                own_id = f"{act.message_id}:{detector}"
                return replace(act, message_id=own_id, withheld_by=detector)
        if is_public and self._pace and self._pace.is_exceeded_by(act):
            return replace(act, withheld_by=SPEED)
        return act


class Agents:
    """The user agents of one request, each looked at once, and the first hundred of them only."""

    def __init__(self) -> None:
        self._doubts: dict[str, str | None] = {}

    def doubt(self, agent: str) -> str | None:
        """Return the detector by which this agent is no browser's."""
        agent = agent[:_AGENT_CHARACTERS].strip()
        if agent in ("", "Mozilla/5.0"):
            return NO_AGENT
        if agent not in self._doubts and len(self._doubts) < _AGENTS_A_REQUEST:
            self._doubts[agent] = CRAWLER if _crawlers.is_crawler(agent) else None
        return self._doubts.get(agent)


class Pace:
    """How fast leads act, as far as one container sees it: others may see as much again.

    An act counts when it occurred: a browser that was offline sends in a second what was done in
    an hour. What is sent again counts once, and what came too fast does not count at all.
    """

    def __init__(self, bots: Bots) -> None:
        self._most = bots.most
        self._window = timedelta(seconds=bots.seconds)
        self._last: dict[Identity | None, deque[tuple[str, datetime]]] = {}

    def is_exceeded_by(self, act: Interaction) -> bool:
        """Tell whether its lead did the most just before it; remember the act if not."""
        last = self._last.pop(act.identity, None) or deque(maxlen=self._most)
        self._last[act.identity] = last
        if len(self._last) > _REMEMBERED_LEADS:
            del self._last[next(iter(self._last))]
        if any(message_id == act.message_id for message_id, _ in last):
            return False
        if sum(abs(act.occurred_at - at) < self._window for _, at in last) == self._most:
            return True
        last.append((act.message_id, act.occurred_at))
        return False


def is_staff(identity: Identity | None, address: str, staff: Staff) -> bool:
    """Tell our own people by the domain of their e-mail, or by the address that they sit at."""
    email = identity.email if identity else None
    domain = email.rpartition("@")[2] if email else ""
    if any(domain == ours or domain.endswith(f".{ours}") for ours in staff.domains):
        return True
    try:
        sits_at = ip_address(address)
    except ValueError:
        return False
    return any(sits_at in network for network in staff.networks)
