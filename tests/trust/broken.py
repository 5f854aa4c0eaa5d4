"""All that is broken on purpose, and which figure of a run gives it away."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.engine.conftest import Engine, running
from tests.tampering import Bug, settled_before_it_is_published
from tests.trust import mutants, naive
from tests.trust.faults import Fault
from tests.trust.run import ODDS, Run
from tests.trust.verdict import Verdict

# Small and harsh: what is broken shows within seconds.
UNIQUE, SENDERS, LOST_RECORDS = 120, 16, 0.2
_ODDS = {**ODDS, Fault.DIES_BEFORE: 0.05, Fault.DIES_AFTER: 0.08}
_SEEDS = range(1, 9)


@dataclass(frozen=True, slots=True)
class Broken:
    """A design, or ours with guards less, and the figure that must say so."""

    name: str
    bug: Callable[[Run], Bug]
    figure: str

    def hunt(self, ministack_url: str | None) -> "Hunt":
        """Run it seed by seed until the figure says that it is broken: some need an accident."""
        for seed in _SEEDS:
            with running(ministack_url) as engine:
                run = small_run(engine, seed)
                with self.bug(run):
                    verdict = run.play()
            if getattr(verdict, self.figure):
                return Hunt(seed, verdict, caught=True)
        return Hunt(seed, verdict, caught=False)


@dataclass(frozen=True, slots=True)
class Hunt:
    """The last run of something broken, and whether its figure gave it away."""

    seed: int
    verdict: Verdict
    caught: bool


def small_run(engine: Engine, seed: int) -> Run:
    """Return the run by which all that is broken is caught."""
    return Run(engine, seed, UNIQUE, senders=SENDERS, odds=_ODDS, lost_records=LOST_RECORDS)


def _mutant(bug: Callable[[], Bug], name: str, figure: str) -> Broken:
    return Broken(name, lambda _run: bug(), figure)


NAIVE = [
    Broken("plain ADD", naive.plain_add, "over"),
    Broken("guard, then ADD", naive.guard_then_add, "under"),
    Broken("publish inline", naive.publish_inline, "untold"),
]
MUTANTS = [
    _mutant(mutants.entries_are_put_anyway, "entries put without a condition", "over"),
    _mutant(mutants.limits_hold_nobody_back, "limits without a condition", "over"),
    _mutant(mutants.refused_is_recorded, "refused counts as recorded", "lost"),
    _mutant(mutants.repeats_in_a_request_stay, "a request's repeats kept", "lost"),
    _mutant(mutants.one_id_is_one_entry, "no door in the ledger's key", "lost"),
    _mutant(mutants.nobody_asks_who_is_merged, "nobody asks who is merged", "under"),
    _mutant(mutants.joined_anyway, "a join asks neither lead", "under"),
    _mutant(mutants.moved_anyway, "a promotion asks nothing", "leads_wrong"),
    _mutant(mutants.outbox_comes_later, "outbox in a write of its own", "untold"),
    _mutant(settled_before_it_is_published, "settled, then published", "untold"),
    _mutant(mutants.outbox_is_not_swept, "nobody sweeps the outbox", "untold"),
    _mutant(mutants.published_under_new_ids, "an id for each publishing", "promotions_doubled"),
    _mutant(mutants.anybody_may_be_called, "MQL without an e-mail", "promotions_bogus"),
]

BROKEN = [*NAIVE, *MUTANTS]
