"""`make trust`: the mass run on both engines, all that is broken on purpose, and one table."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable

from tests.engine.conftest import running
from tests.engine.ministack import ministack
from tests.trust.broken import BROKEN, SENDERS
from tests.trust.faults import Fault
from tests.trust.run import SENDERS as CROWD
from tests.trust.run import Run, Verdict

_COLUMNS: dict[str, Callable[[Verdict], object]] = {
    "unique": lambda v: v.unique,
    "sent": lambda v: v.sent,
    "faults": lambda v: v.faults.total(),
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
peak: HTTP attempts in flight at once. lost, double: interactions. wrong: leads whose counters,
ledger or changes are not the truth, by so many points over and under it. MQLs: promotions that had
to come, and of these lost, doubled (two message ids in one cycle) and bogus. untold: changes whose
message never came. again: the same message id once more, which subscribers drop.
"""


def main() -> int:
    """Print the table; return 0 if ours lost and doubled nothing, and all the others did."""
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__)
    parser.add_argument("--unique", type=int, default=2000, help="interactions of each run")
    parser.add_argument("--seeds", type=int, default=5, help="runs on each engine")
    asked = parser.parse_args()
    began = time.monotonic()
    faults: dict[str, Counter[Fault]] = {}
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    print(_line("engine", "run", "seed", "threads", _COLUMNS))
    with ministack() as url:
        good = True
        for name, at in (("moto", None), ("ministack", url)):
            faults[name] = Counter()
            for seed in range(1, asked.seeds + 1):
                with running(at) as engine:
                    verdict = Run(engine, seed, asked.unique).play()
                faults[name] += verdict.faults
                good &= verdict.is_good
                said = "ok" if verdict.is_good else "WRONG"
                print(_line(name, f"ours: {said}", seed, CROWD, _figures(verdict)))
        for broken in BROKEN:
            hunt = broken.hunt(url)
            good &= hunt.caught
            said = "caught" if hunt.caught else "NOT CAUGHT"
            figures = _figures(hunt.verdict)
            run = f"{broken.name}: {said} ({broken.figure})"
            print(_line("ministack", run, hunt.seed, SENDERS, figures))
    print(_LEGEND)
    for fault in Fault:
        counts = "".join(f"{name} {count[fault]:>6,}   " for name, count in faults.items())
        print(f"{fault:<28}{counts}")
    print(f"\n{'good' if good else 'NOT GOOD'}, in {time.monotonic() - began:.0f} seconds")
    return 0 if good else 1


def _figures(verdict: Verdict) -> list[object]:
    return [figure(verdict) for figure in _COLUMNS.values()]


def _line(engine: str, run: str, seed: object, threads: object, figures: Iterable[object]) -> str:
    cells = "".join(f"{figure!s:>8}" for figure in (seed, threads, *figures))
    return f"{engine:<10}{run:<56}{cells}"


if __name__ == "__main__":
    sys.exit(main())
