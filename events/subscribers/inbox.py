"""What a subscriber has to remember: what it has done, and how far each lead is.

SNS delivers at least once, and not always in order. An id is done once; what was overtaken by a
later message of its lead is late, and whoever keeps only the present may drop it.
"""

import sqlite3
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from leadscoring.contract import LeadErased, Message


class News(StrEnum):
    """What a message is to someone who heard of its lead before."""

    NEW = "new"
    LATE = "late"
    OLD = "old"  # done already, or of a lead that was erased after it, alone or as part of another


type Act = Callable[[Message, News], None]


class Inbox(Protocol):
    """Remembers messages by id and sequence: nothing personal."""

    def news(self, message: Message) -> News:
        """Return what the message is to us."""

    def note(self, message: Message) -> None:
        """Remember that the message is done."""


def take(message: Message, inbox: Inbox, act: Act) -> News:
    """Act on the message unless it is old; one whose act fails is not done, and comes again."""
    news = inbox.news(message)
    if news is not News.OLD:
        act(message, news)
        inbox.note(message)
    return news


class FileInbox:
    """An inbox in a file, for one thread at a time on one machine."""

    def __init__(self, path: Path | str) -> None:
        self._database = sqlite3.connect(path, autocommit=True, check_same_thread=False)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS done"
            " (id TEXT PRIMARY KEY, lead TEXT, sequence INTEGER, erased INTEGER)"
        )
        self._database.execute("CREATE INDEX IF NOT EXISTS by_lead ON done (lead)")
        # A merged lead counts its messages for itself: only the time tells which came before.
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS erased_with_another"
            " (lead TEXT, until REAL, PRIMARY KEY (lead, until))"
        )

    def news(self, message: Message) -> News:
        """Return what the message is to us."""
        seen = "SELECT 1 FROM done WHERE id = ?"
        if self._database.execute(seen, (message.id,)).fetchone():
            return News.OLD
        gone = "SELECT 1 FROM erased_with_another WHERE lead = ? AND until >= ?"
        of_then = message.subject, message.time.timestamp()
        if self._database.execute(gone, of_then).fetchone():
            return News.OLD
        later = "SELECT max(erased) FROM done WHERE lead = ? AND sequence > ?"
        of_lead = message.subject, message.sequence
        (erased_since,) = self._database.execute(later, of_lead).fetchone()
        if erased_since is None:
            return News.NEW
        return News.OLD if erased_since else News.LATE

    def note(self, message: Message) -> None:
        """Remember that the message is done."""
        if isinstance(message, LeadErased):
            until = message.time.timestamp()
            rows = [(lead, until) for lead in message.data.merged_leads]
            noted = "INSERT OR IGNORE INTO erased_with_another VALUES (?, ?)"
            self._database.executemany(noted, rows)
        row = message.id, message.subject, message.sequence, isinstance(message, LeadErased)
        self._database.execute("INSERT OR IGNORE INTO done VALUES (?, ?, ?, ?)", row)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
