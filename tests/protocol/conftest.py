"""The searches through all scopes, which several tests look at."""

import pytest

from tests.protocol.scopes import SCOPES
from tests.protocol.search import Found, Search

type Searches = dict[Search, Found]


@pytest.fixture(scope="session")
def searches() -> Searches:
    """Return each search, and what it found."""
    return {search: search.run() for search in map(Search, SCOPES)}
