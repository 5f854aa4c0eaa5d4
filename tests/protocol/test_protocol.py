"""Every interleaving of the small worlds keeps the promises, and no needed guard can go."""

import re
from pathlib import Path

import pytest

from tests.protocol.actors import Programs
from tests.protocol.conftest import Searches
from tests.protocol.guards import GUARDS, Guard
from tests.protocol.scopes import SCOPES
from tests.protocol.search import Search
from tests.protocol.telling import sentences

HERE = Path(__file__).parent
CODE = HERE.parents[1] / "functions" / "leadscoring"
NAMED = {scope.name: scope for scope in SCOPES}


def test_in_a_hundred_thousand_states_nothing_is_wrong(searches: Searches) -> None:
    found = list(searches.values())
    assert [(one.scope, one.broken) for one in found if one.broken] == []
    assert sum(one.states for one in found) >= 100_000
    assert all(one.ends for one in found)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_without_a_guard_the_search_finds_what_breaks(guard: Guard) -> None:
    found = Search(NAMED[guard.shows], guard.name).run()
    assert found.broken == guard.breaks
    assert len(list(sentences(found.trace))) == found.depth if guard.breaks else not found.trace


def test_the_table_names_all_guards_that_the_model_asks_and_no_others(searches: Searches) -> None:
    model = (HERE / "actors.py").read_text(encoding="utf-8")
    checks = re.findall(r'_checks\("([^"]+)"', model)
    writes = (write for search in searches for write in search.writes)
    conditions = {
        asked.guard for write in writes for action in write for asked in action.conditions
    }
    assert sorted([*checks, *conditions]) == sorted(guard.name for guard in GUARDS)


def test_every_program_that_starts_is_in_the_model() -> None:
    started = {actor.program for scope in SCOPES for actor, _ in scope.starts}
    assert started <= set(dir(Programs))


@pytest.mark.parametrize("guard", [g for g in GUARDS if g.of == "check"], ids=lambda g: g.name)
def test_every_check_of_the_model_stands_in_the_code(guard: Guard) -> None:
    assert guard.words in (CODE / f"{guard.asked_by}.py").read_text(encoding="utf-8")
