"""`make trust`: the mass run on both engines, all that is broken on purpose, and one table."""

import argparse
import logging
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import chain

from tests.engine.conftest import running
from tests.engine.ministack import ministack
from tests.trust.broken import BROKEN, SENDERS, Broken, small_run
from tests.trust.faults import Fault
from tests.trust.run import SENDERS as CROWD
from tests.trust.run import Run
from tests.trust.verdict import Verdict

_COLUMNS: dict[str, Callable[[Verdict], object]] = {
    "unique": lambda v: v.unique,
    "sent": lambda v: v.sent,
    "faults": lambda v: v.faults.total(),
    "gave up": lambda v: v.given_up,
    "peak": lambda v: v.peak_in_flight,
    "lost": lambda v: v.lost,
    "double": lambda v: v.doubled,
    "wrong": lambda v: v.leads_wrong,
    "over": lambda v: round(v.over, 1),
    "under": lambda v: round(v.under, 1),
    "MQLs": lambda v: v.expected,
    "-lost": lambda v: v.promotions_lost,
    "-double": lambda v: v.promotions_doubled,
    "-bogus": lambda v: v.promotions_bogus,
    "untold": lambda v: v.untold,
    "again": lambda v: v.raw_repeats,
    "per s": lambda v: round(v.unique / v.seconds),
}
_LEGEND = """
gave up: requests that nobody ever answered. peak: HTTP attempts in flight at once. lost, double:
interactions. wrong: leads whose counters, ledger or changes are not the truth, by so many points
over and under it. MQLs: promotions that had to come, and of these lost, doubled (two message ids)
and bogus. untold: changes whose message never came. again: the same message id once more, which
subscribers drop.
"""


def main() -> int:
    """Print the table; return 0 if ours lost and doubled nothing, and all the others did."""
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__)
    parser.add_argument("--unique", type=int, default=2000, help="interactions of each run")
    parser.add_argument("--seeds", type=int, default=5, help="runs on each engine")
    asked = parser.parse_args()
    # moto says each time what it can't make of the template: none of that is needed here.
    warnings.simplefilter("ignore")
    logging.getLogger("moto").setLevel(logging.ERROR)
    began = time.monotonic()
    _print_line("engine", "run", "seed", "threads", *_COLUMNS)
    with ministack() as url:
        ours = {
            name: [_run_ours(name, at, seed, asked.unique) for seed in range(1, asked.seeds + 1)]
            for name, at in (("moto", None), ("ministack", url))
        }
        with running(url) as engine:
            control = small_run(engine, 1).play()
        _print_verdict("ministack", "nothing broken", 1, SENDERS, control)
        caught = [_run_broken(broken, url) for broken in BROKEN]
    print(_LEGEND)
    _print_totals(ours)
    good = all(verdict.is_good for verdict in [*chain(*ours.values()), control]) and all(caught)
    print(f"\n{'good' if good else 'NOT GOOD'}, in {time.monotonic() - began:.0f} seconds")
    return 0 if good else 1


def _run_ours(name: str, ministack_url: str | None, seed: int, unique: int) -> Verdict:
    with running(ministack_url) as engine:
        verdict = Run(engine, seed, unique).play()
    _print_verdict(name, "ours", seed, CROWD, verdict)
    return verdict


def _run_broken(broken: Broken, ministack_url: str) -> bool:
    hunt = broken.hunt(ministack_url)
    said = f"{broken.name}: {'caught' if hunt.caught else 'NOT CAUGHT'} ({broken.figure})"
    _print_verdict("ministack", said, hunt.seed, SENDERS, hunt.verdict)
    return hunt.caught


def _print_verdict(engine: str, run: str, seed: int, threads: int, verdict: Verdict) -> None:
    figures = (figure(verdict) for figure in _COLUMNS.values())
    _print_line(engine, run, seed, threads, *figures)


def _print_totals(ours: dict[str, list[Verdict]]) -> None:
    totals = {name: _totals(runs) for name, runs in ours.items()}
    print(f"{'on each engine':<28}{''.join(f'{name:>12}' for name in totals)}")
    for what in _totals([]):
        print(f"{what:<28}{''.join(f'{total[what]:>12,}' for total in totals.values())}")


def _totals(runs: list[Verdict]) -> dict[str, int]:
    faults = sum((verdict.faults for verdict in runs), Counter[Fault]())
    return {
        "interactions": sum(verdict.unique for verdict in runs),
        "sent": sum(verdict.sent for verdict in runs),
        "faults": faults.total(),
        **{f"  {fault}": faults[fault] for fault in Fault},
    }


def _print_line(engine: str, run: str, *figures: object) -> None:
    cells = "".join(f"{figure!s:>8}" for figure in figures)
    print(f"{engine:<10}{run:<56}{cells}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
