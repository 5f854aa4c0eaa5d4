"""The quick cut of `make trust`: a small crowd in bad weather, on both engines."""

import pytest

from tests.engine.conftest import running
from tests.trust.faults import Fault
from tests.trust.run import Run


@pytest.mark.parametrize("engine_name", ["moto", "ministack"])
def test_of_a_crowd_in_bad_weather_nothing_is_lost_and_nothing_counted_twice(
    engine_name: str, ministack_url: str
) -> None:
    with running(ministack_url if engine_name == "ministack" else None) as engine:
        verdict = Run(engine, seed=7, unique=150).play()
    assert verdict.is_good, verdict
    assert verdict.sent > 1.5 * verdict.unique
    assert verdict.faults.keys() == set(Fault)
    assert verdict.expected > 2
