"""The quick cut of `make trust`: the crowd on both engines, and all that must be found out."""

import pytest

from tests.engine.conftest import running
from tests.trust.broken import BROKEN, Broken
from tests.trust.faults import Fault
from tests.trust.run import Run


@pytest.mark.parametrize("engine_name", ["moto", "ministack"])
def test_of_a_crowd_in_bad_weather_nothing_is_lost_and_nothing_counted_twice(
    engine_name: str, ministack_url: str
) -> None:
    with running(ministack_url if engine_name == "ministack" else None) as engine:
        verdict = Run(engine, seed=7, unique=250).play()
    assert verdict.is_good, verdict
    assert verdict.sent > 1.5 * verdict.unique
    assert verdict.faults.keys() == set(Fault)
    assert verdict.expected > 3


@pytest.mark.parametrize("broken", BROKEN, ids=[broken.name for broken in BROKEN])
def test_the_run_finds_out(broken: Broken, ministack_url: str) -> None:
    hunt = broken.hunt(ministack_url)
    assert hunt.caught, hunt.verdict
