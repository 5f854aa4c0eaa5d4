"""A crowd by seed: who sends which messages through which door, and how often each is sent."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from leadscoring.interaction import Trust, to_text

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 5
END = BEGIN + timedelta(days=DAYS)

_PER_PERSON = 25
_TITLES = 6
_MOST_COMPLAINTS = 3  # so that nobody who is promoted ever leaves again
_COPIES = {1: 0.5, 2: 0.3, 3: 0.15, 4: 0.05}
_SAID_TWICE_AT_ONCE = 0.05


@dataclass(frozen=True, slots=True)
class Message:
    """One of Segment's messages, the door it comes through, and the day on which it arrives."""

    trust: Trust
    day: int
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Post:
    """One request: a batch of messages through one door."""

    trust: Trust
    received_at: datetime
    documents: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Person:
    name: dict[str, str]
    devices: Sequence[dict[str, str]]


def messages(seed: int, unique: int) -> list[Message]:
    """Return so many messages of leads of whom a few do most, and most do little.

    Every second person has devices that are known by it sooner or later, and some devices never
    become known. A message's id is unique only among those of its door and its sender.
    """
    chance = random.Random(seed)
    people = [_person(number, chance) for number in range(max(4, unique // _PER_PERSON))]
    strangers = [_Person({"anonymousId": f"stranger-{n}"}, []) for n in range(1 + len(people) // 8)]
    ids: Counter[tuple[Trust, str]] = Counter()
    complaints: Counter[str] = Counter()

    def message(trust: Trust, **said: Any) -> Message:
        day = chance.randrange(DAYS)
        minutes = timedelta(minutes=chance.randrange(22 * 60))
        sender = trust, said.get("userId") or said["anonymousId"]
        ids[sender] += 1
        said |= {
            "messageId": f"m{ids[sender]}",
            "timestamp": to_text(BEGIN + timedelta(days=day) + minutes),
        }
        return Message(trust, day, said)

    made = [
        message(Trust.PUBLIC, type="identify", **person.name, **device)
        for person in people
        for device in person.devices
    ]
    everybody = [*people, *strangers]
    ranks = [1 / (number + 1) for number in range(len(people))]
    weights = [*ranks, *(ranks[1] for _ in strangers)]
    while len(made) < unique:
        (person,) = chance.choices(everybody, weights)
        name = chance.choice([person.name, person.name, *person.devices])
        known = name.get("userId")
        kinds = {"visit": 4.0, "click": 3.0, "asset": 1.5}
        if known:
            kinds["webinar"] = 1.0
            if complaints[known] < _MOST_COMPLAINTS:
                kinds["complaint"] = 0.5
        (kind,) = chance.choices([*kinds], [*kinds.values()])
        match kind:
            case "visit":
                made.append(message(Trust.PUBLIC, type="page", name="Home", **name))
            case "click":
                made.append(message(Trust.PUBLIC, type="track", event="Clicked", **name))
            case "asset":
                title = {"title": f"paper {chance.randrange(_TITLES)}"}
                trust = Trust.TRUSTED if known and chance.random() < 0.3 else Trust.PUBLIC
                made.append(
                    message(trust, type="track", event="Asset Opened", properties=title, **name)
                )
            case "webinar":
                # The public may say so, too: it earns nothing.
                trust = chance.choice([Trust.TRUSTED, Trust.TRUSTED, Trust.PUBLIC])
                made.append(message(trust, type="track", event="Webinar Attended", **name))
            case "complaint":
                complaints[name["userId"]] += 1
                made.append(message(Trust.TRUSTED, type="track", event="Complained", **name))
    return made


def posts(seed: int, unique: Sequence[Message]) -> list[Post]:
    """Return the requests that bring each message once or several times, in no order at all."""
    chance = random.Random(seed)
    copies = [
        message
        for message in unique
        for _ in range(chance.choices([*_COPIES], [*_COPIES.values()])[0])
    ]
    chance.shuffle(copies)
    return list(_batches(copies, chance))


def _batches(copies: Sequence[Message], chance: random.Random) -> Iterator[Post]:
    waiting: dict[tuple[Trust, int], list[dict[str, Any]]] = defaultdict(list)
    for message in copies:
        batch = waiting[message.trust, message.day]
        batch.append(message.document)
        if chance.random() < _SAID_TWICE_AT_ONCE:
            batch.append(message.document)
        if chance.random() < 0.5:
            yield _post(message.trust, message.day, waiting)
    for trust, day in list(waiting):
        yield _post(trust, day, waiting)


def _post(trust: Trust, day: int, waiting: dict[tuple[Trust, int], list[dict[str, Any]]]) -> Post:
    received_at = BEGIN + timedelta(days=day, hours=23)
    return Post(trust, received_at, waiting.pop((trust, day)))


def _person(number: int, chance: random.Random) -> _Person:
    name = {"userId": f"person{number}@example.com"}
    count = chance.choice([1, 2, 3]) if number % 2 else 0
    return _Person(name, [{"anonymousId": f"device-{number}-{n}"} for n in range(count)])
