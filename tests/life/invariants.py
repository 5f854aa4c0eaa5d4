"""What holds of every life at every instant, read off the table and off what was published.

Each compares what stands there with what it should be by another way of reckoning, and says which
promise is broken.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from leadscoring import items, lifecycle, scoring
from leadscoring.interaction import to_text
from leadscoring.model import Model
from leadscoring.table import plain

type Row = dict[str, Any]

_CANARY = re.compile(r"canary-\d+")
_OF_A_TOMBSTONE = {"pk", "sk", "revision", "changes", "erased_at", "merged_into"}
_OF_A_TOMBSTONE |= {"partings", "identities", "merged_at", "last_erased_at"}


class Sight:
    """All that can be seen of a world at an instant: its table, partition by partition."""

    def __init__(self, rows: list[Row], now: datetime, model: Model) -> None:
        self.now, self.model = now, model
        self.partitions: dict[str, dict[str, Row]] = defaultdict(dict)
        for row in map(plain, rows):
            if row["pk"].startswith("LEAD#"):
                self.partitions[row["pk"].removeprefix("LEAD#")][row["sk"]] = row

    def leads(self) -> Iterator[tuple[str, Row]]:
        """Return the items of all that are leads, or were."""
        for lead_id, rows in self.partitions.items():
            if "LEAD" in rows:
                yield lead_id, rows["LEAD"]

    def alive(self) -> list[tuple[str, Row]]:
        gone = ("merged_into", "erased_at")
        return [(lead_id, lead) for lead_id, lead in self.leads() if not any(map(lead.get, gone))]

    def erased(self) -> dict[str, Row]:
        return {lead_id: lead for lead_id, lead in self.leads() if "erased_at" in lead}

    def under(self, lead_id: str, prefix: str) -> list[Row]:
        """Return what a partition holds under sort keys that begin so."""
        rows = sorted(self.partitions.get(lead_id, {}).items())
        return [row for sk, row in rows if sk.startswith(prefix)]

    def identities(self, lead_id: str) -> list[str]:
        """Return the lead's own id and those of all that became part of it."""
        found = [lead_id]
        for known in found:
            names = [row["sk"].partition("#")[2] for row in self.under(known, "IDENTITY#")]
            found += [name for name in names if name not in found]
        return found

    def entries(self, lead_id: str) -> Iterator[Row]:
        for home in self.identities(lead_id):
            yield from self.under(home, "INTERACTION#")

    def changes(self) -> Iterator[tuple[str, Row]]:
        """Return all changes that stand in the ledger, by the ids of their messages."""
        for lead_id in self.partitions:
            for row in self.under(lead_id, "CHANGE#"):
                yield f"{lead_id}:{_number(row)}", row

    def objected(self) -> set[str]:
        """Return the leads that have withdrawn consent."""
        said = ((lead_id, lead.get("trait:consent", {})) for lead_id, lead in self.alive())
        return {lead_id for lead_id, consent in said if consent.get("value") == "false"}


@dataclass
class History:
    """What was seen of one world so far.

    `kinds` tells which ids are of known people and which of anonymous visitors. A lead has had as
    many `generations` as it was erased; its changes and messages belong to one of them. `canaries`
    are the words that erased leads, and what was part of them, had held; with which change each
    began, or began anew, `begun` tells.
    """

    model: Model
    kinds: dict[str, str]
    now: Sight
    before: Sight
    generations: Counter[str] = field(default_factory=Counter)
    changes: dict[tuple[int, str], Row] = field(default_factory=dict)
    received: list[tuple[int, Row]] = field(default_factory=list)
    news: list[Row] = field(default_factory=list)
    canaries: dict[str, set[str]] = field(default_factory=dict)
    erasures: list[str] = field(default_factory=list)
    objected: set[str] = field(default_factory=set)
    opted_in: list[tuple[str, str]] = field(default_factory=list)
    tombstones: dict[str, str] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)

    def see(self, sight: Sight, received: list[Row]) -> None:
        """Take note of the world as it is now."""
        self.before, self.now = self.now, sight
        for lead_id, _ in sight.leads():
            if "LEAD" not in self.before.partitions.get(lead_id, {}):
                self.begun[lead_id] = int(sight.now.timestamp()) + 1
        known = self.before.erased()
        for lead_id, lead in sight.erased().items():
            if known.get(lead_id, {}).get("erased_at") != lead["erased_at"]:
                self._is_erased(lead_id, lead)
        dying = {home for lead_id in sight.erased() for home in sight.identities(lead_id)}
        for name, change in sight.changes():
            if (home := name.partition(":")[0]) not in dying:
                self.changes[self.generations[home], name] = change
        self.news = received[len(self.received) :]
        self.received += [(self.generations[news["subject"]], news) for news in self.news]
        self.objected |= sight.objected()

    def _is_erased(self, lead_id: str, lead: Row) -> None:
        """Take note that a lead was erased, with all that had become part of it."""
        if "erasing" in lead:
            self.erasures.append(f"{lead_id}:{int(lead['erasing'])}")
        stays = "leaves_nothing" not in lead
        if stays:
            self.tombstones[lead_id] = lead["erased_at"]
        for home in self.before.identities(lead_id):
            rows = self.before.partitions.get(home, {})
            self.generations[home] += 1
            if stays:
                self.begun[home] = int(rows["LEAD"]["changes"]) + 1
                self.canaries[home] = self.canaries.get(home, set()) | _canaries(rows)
        if stays:
            self.begun[lead_id] = int(lead["changes"]) + 1

    def promoted(
        self, lead_id: str, until: str, behind: frozenset[str] = frozenset()
    ) -> set[tuple[int, int]]:
        """Return in which cycles a lead, or what is part of it, had been promoted by then.

        Two leads may have been part of each other by turns: what is `behind` was looked at.
        """
        found: set[tuple[int, int]] = set()
        for (generation, name), change in self.changes.items():
            if name.startswith(lead_id) and change["at"] <= until and name not in behind:
                if _is_promotion(change):
                    found.add((generation, int(change["cycle"])))
                if change.get("kind") == "merged" and change["other"] != lead_id:
                    until_then = min(until, change["at"])
                    found |= self.promoted(change["other"], until_then, behind | {name})
        return found


type Invariant = Callable[[History], None]


def counters_are_what_the_ledger_adds_up_to(seen: History) -> None:
    for lead_id, lead in seen.now.alive():
        entered: Counter[str] = Counter()
        for entry in seen.now.entries(lead_id):
            entered["interactions"] += int(entry.get("carries", 1))
            for paid in entry["paid"]:
                entered[f"seen:{paid['rule']}"] += int(paid.get("times", 1))
                entered[paid["counter"]] += int(paid["units"])
        counted = {
            name: int(value)
            for name, value in lead.items()
            if name == "interactions" or name.startswith(("points:", "seen:"))
        }
        wrong = {
            name: (counted.get(name, 0), entered[name])
            for name in counted.keys() | entered.keys()
            if counted.get(name, 0) != entered[name]
        }
        assert not wrong, f"{lead_id} has and should have {wrong}"


def allowances_are_used_as_the_ledger_says(seen: History) -> None:
    for home in seen.now.partitions:
        if any(home in seen.now.identities(lead_id) for lead_id in seen.now.erased()):
            continue
        used: Counter[str] = Counter()
        for entry in seen.now.under(home, "INTERACTION#"):
            for paid in entry["paid"]:
                used[paid.get("allowance", "")] += paid.get("used", 0)
        used.pop("", None)
        counted = {row["sk"].partition("#")[2]: row for row in seen.now.under(home, "LIMIT#")}
        for name in used.keys() | counted.keys():
            row = counted.get(name, {"used": 0})
            if row.get("expires_at", seen.now.now.timestamp() + 1) > seen.now.now.timestamp():
                right = f"{home} should have used {used[name]} of {name}"
                assert row["used"] == used[name], f"{right}, not {row['used']}"
                limit = seen.model.rule[name.partition("#")[0]].limit
                most = limit.most if limit else 0
                assert used[name] <= most, f"{home} has {used[name]} of {name}"


def nobody_is_promoted_twice_in_a_cycle(seen: History) -> None:
    first: dict[tuple[int, str, int], str] = {}
    for (generation, name), change in seen.changes.items():
        lead_id, cycle = name.partition(":")[0], int(change["cycle"])
        if _is_promotion(change):
            other = first.setdefault((generation, lead_id, cycle), name)
            assert other == name, f"{other} and {name} both in cycle {cycle}"
        if change.get("kind") == "merged":
            for cycle in {cycle for _, cycle in seen.promoted(change["other"], change["at"])}:
                later = [
                    again
                    for (of, again), promotion in seen.changes.items()
                    if of == generation
                    and again.startswith(lead_id)
                    and _is_promotion(promotion)
                    and _number(promotion) > _number(change)
                    and promotion["cycle"] == cycle
                ]
                assert not later, f"{later} again in cycle {cycle} of {change['other']}"


def what_is_received_has_happened(seen: History) -> None:
    said: dict[str, Row] = {}
    for generation, message in seen.received:
        name, kind = message["id"], message["type"].split(".")[2]
        # Whoever was forgotten, and however often: the world remembers by this name alone. Whether
        # a merge says who it is depends on the consent when it is published.
        first = said.setdefault(name, message)
        assert _bare(first) == _bare(message), f"{name} says {first} and {message}"
        if kind == "erased":
            assert name in seen.erasures, f"{name} was not erased"
        elif kind != "unmerged":
            change = seen.changes.get((generation, name))
            assert change, f"nothing happened that is {name}"
            passage = "promoted" if change["to"] == "mql" else "stage_changed"
            wanted = {"unmerged": "stage_changed"}.get(change.get("kind", ""), change.get("kind"))
            assert kind == (wanted or passage), f"{name} is {change}, not {kind}"


def changes_are_numbered_and_lead_where_the_lead_stands(seen: History) -> None:
    for lead_id, lead in seen.now.alive():
        changes = seen.now.under(lead_id, "CHANGE#")
        numbers = [_number(change) for change in changes]
        first, last = seen.begun[lead_id], int(lead["changes"])
        expected = list(range(first, last + 1))
        assert numbers == expected, f"{lead_id} has changes {numbers} of {first} to {last}"
        moves = [c for c in changes if c.get("kind", "stage") == "stage" or c["from"] != c["to"]]
        if moves:
            assert lead["stage"] == moves[-1]["to"], f"{lead_id} is at {lead['stage']}"


def an_identity_is_part_of_one_lead(seen: History) -> None:
    parents: dict[str, str] = {}
    for lead_id in seen.now.partitions:
        for row in seen.now.under(lead_id, "IDENTITY#"):
            other = row["sk"].partition("#")[2]
            assert parents.setdefault(other, lead_id) == lead_id, f"{other} to two leads"
    merged = {
        lead_id: lead["merged_into"] for lead_id, lead in seen.now.leads() if "merged_into" in lead
    }
    assert merged == parents, f"{merged} is not {parents}"


def nobody_known_is_joined_to_somebody_known_by_the_public(seen: History) -> None:
    for lead_id in seen.now.partitions:
        for row in seen.now.under(lead_id, "IDENTITY#"):
            other = row["sk"].partition("#")[2]
            if row["who"] == "public":
                kind = seen.kinds[other]
                assert kind == "anonymous", f"{kind} {other} was joined to {lead_id}"


def a_lead_has_a_timer(seen: History) -> None:
    for lead_id, lead in seen.now.alive():
        if "stage" in lead:
            assert {"due", "due_at"} <= lead.keys(), f"{lead_id} is never looked at"


def who_objects_is_paid_nothing_and_not_handed_over(seen: History) -> None:
    for lead_id in seen.before.objected() & seen.now.objected():
        for home in set(seen.before.identities(lead_id)) & set(seen.now.identities(lead_id)):
            known = seen.before.partitions.get(home, {})
            for entry in seen.now.under(home, "INTERACTION#"):
                new = entry["sk"] not in known and "carries" not in entry
                assert not (new and entry["paid"]), f"{home} was paid {entry}"
        for news in seen.news:
            if news["subject"] == lead_id:
                handed_over = news["type"].split(".")[2] in ("promoted", "reply_overdue")
                assert not handed_over, f"{news['id']} was published"
                assert news == _bare(news), f"{news['id']} says who it is"


def nobody_erased_comes_back(seen: History) -> None:
    for lead_id, erased_at in seen.tombstones.items():
        lead = seen.now.partitions.get(lead_id, {}).get("LEAD")
        assert lead, f"nothing keeps {lead_id} from coming back"
        if "erased_at" not in lead:
            anew = [at for name, at in seen.opted_in if at > erased_at and name in seen.kinds]
            assert anew, f"{lead_id} is back"
    for news in seen.news:
        told = _canaries(news) & seen.canaries.get(news["subject"], set())
        assert not told, f"{news['id']} tells {told}"


ALWAYS: tuple[Invariant, ...] = (
    counters_are_what_the_ledger_adds_up_to,
    allowances_are_used_as_the_ledger_says,
    nobody_is_promoted_twice_in_a_cycle,
    what_is_received_has_happened,
    changes_are_numbered_and_lead_where_the_lead_stands,
    an_identity_is_part_of_one_lead,
    nobody_known_is_joined_to_somebody_known_by_the_public,
    a_lead_has_a_timer,
    who_objects_is_paid_nothing_and_not_handed_over,
    nobody_erased_comes_back,
)


def what_happened_is_published(seen: History) -> None:
    received = {(generation, message["id"]) for generation, message in seen.received}
    for name, change in seen.now.changes():
        lead_id = name.partition(":")[0]
        noted = change.get("published_as", "")
        if noted.startswith("withheld"):
            assert lead_id in seen.objected, f"{name} is {noted} for no reason"
        else:
            heard = (seen.generations[lead_id], name) in received
            assert heard, f"nobody heard of {name}"
            assert noted == name, f"{name} is not noted"
    told = {message["id"] for _, message in seen.received}
    for name in seen.erasures:
        assert name in told, f"nobody heard of the erasure {name}"


def nothing_of_the_erased_remains(seen: History) -> None:
    forgotten = set().union(*seen.canaries.values())
    for partition in seen.now.partitions.values():
        for row in partition.values():
            assert not _canaries(row) & forgotten, f"there still is {row}"
    for lead_id in seen.now.erased():
        for home in seen.now.identities(lead_id):
            rows = seen.now.partitions[home]
            beside = [sk for sk in rows if sk != "LEAD" and not sk.startswith("IDENTITY#")]
            assert not beside, f"{home} still holds {beside}"
            told = rows["LEAD"].keys() - _OF_A_TOMBSTONE
            assert not told, f"the tombstone {home} still tells {told}"


def everybody_stands_where_they_should(seen: History) -> None:
    for lead_id, item in seen.now.alive():
        lead = items.lead(item)
        card = scoring.scorecard(lead, seen.model, seen.now.now)
        change = lifecycle.decide(lead, card, seen.model)
        assert change is None, f"{lead_id} is {lead.stage}, not yet {change}"
        due_at = item.get("due_at", "")
        assert due_at > to_text(seen.now.now), f"the timer of {lead_id} rang at {due_at}"


def nobody_waits_for_a_reminder(seen: History) -> None:
    hours = seen.model.reply.hours if seen.model.reply else 0
    late = to_text(seen.now.now - timedelta(hours=hours))
    for lead_id, lead in seen.now.alive():
        waits = lead.get("stage") == "mql" and lead["stage_since"] <= late
        reminded = lead.get("overdue_cycle") == lead.get("cycle", 1)
        owed = waits and not reminded and lead_id not in seen.now.objected()
        assert not owed, f"nobody reminds of {lead_id}, mql since {lead['stage_since']}"


AT_REST: tuple[Invariant, ...] = (
    what_happened_is_published,
    nothing_of_the_erased_remains,
    everybody_stands_where_they_should,
    nobody_waits_for_a_reminder,
)


def _number(row: Row) -> int:
    return int(row["sk"].partition("#")[2])


def _is_promotion(change: Row) -> bool:
    return "kind" not in change and change["to"] == "mql"


def _bare(message: Row) -> Row:
    """Return the message as it is told of somebody who objects."""
    if message["type"].split(".")[2] != "merged":
        return message
    lead = {**message["data"]["lead"], "email": None, "traits": {}}
    return {**message, "data": {**message["data"], "lead": lead}}


def _canaries(document: Row) -> set[str]:
    return set(_CANARY.findall(json.dumps(document, default=str)))
