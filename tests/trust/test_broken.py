"""The mass run can fail: all that is broken on purpose is found out, by the figure named."""

import pytest

from tests.trust.broken import BROKEN, Broken


@pytest.mark.parametrize("broken", BROKEN, ids=[broken.name for broken in BROKEN])
def test_the_run_finds_out(broken: Broken, ministack_url: str) -> None:
    hunt = broken.hunt(ministack_url)
    assert hunt.caught, hunt.verdict
