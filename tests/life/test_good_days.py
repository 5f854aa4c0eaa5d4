"""Thousands of lives on days when nothing breaks: only people, clocks and streams are unruly."""

from tests.life.machine import live
from tests.life.world import world


def test_whatever_leads_do_in_whatever_order_the_promises_hold() -> None:
    with world() as here:
        steps = live(here, lives=125, steps=50)
    print(f"{steps:,} steps")
    assert steps >= 5_000
