"""Thousands of lives on days when processes die, requests and answers get lost between writes."""

from tests.life.machine import live
from tests.life.world import world


def test_whatever_breaks_between_two_writes_the_promises_hold() -> None:
    with world() as here:
        steps = live(here, lives=125, steps=50, with_mishaps=True)
        mishaps = here.mishaps.count
    print(f"{steps:,} steps, {mishaps:,} mishaps")
    assert steps >= 5_000
    assert mishaps >= 500
