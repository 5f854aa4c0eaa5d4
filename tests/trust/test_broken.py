"""The mass run can fail: all that is broken on purpose is found out, by the figure named."""

import pytest

from tests.engine.conftest import running
from tests.trust.broken import BROKEN, Broken, small_run


@pytest.mark.parametrize("broken", BROKEN, ids=[broken.name for broken in BROKEN])
def test_the_run_finds_out(broken: Broken, ministack_url: str) -> None:
    hunt = broken.hunt(ministack_url)
    assert hunt.caught, hunt.verdict


def test_the_same_run_finds_nothing_where_nothing_is_broken(ministack_url: str) -> None:
    with running(ministack_url) as engine:
        verdict = small_run(engine, seed=1).play()
    assert verdict.is_good, verdict
