"""What there is to say about stages: bars that nobody reaches, and stages where nobody stays."""

from collections.abc import Iterator
from itertools import combinations, product

from leadscoring.coherence import conditions
from leadscoring.criteria import Condition, Stage
from leadscoring.faults import Place
from leadscoring.lint import entailment
from leadscoring.lint.entailment import TooMany
from leadscoring.lint.reach import Most, Reach
from leadscoring.lint.remarks import Remark, error, shown, warning
from leadscoring.lint.rules import never_matches
from leadscoring.lint.ways import Measure, bars, conjunction, ways
from leadscoring.lint.whole import too_high
from leadscoring.model import FIT, MQL, Model


def remarks(model: Model, reach: Reach) -> Iterator[Remark]:
    """Return what there is to say about the stages, each for itself and one after another."""
    for place, condition in conditions(model):
        for within, part in condition.placed(place):
            if "not" in within[len(place) :]:
                yield from _excludes_nobody(within, part, model, reach)
            else:
                yield from _never_holds(within, part, model, reach)
    for index, stage in enumerate(model.stages):
        if stage.exit:
            yield from _leaves_at_once(("stages", index, "exit"), stage, stage.exit, model)
    yield from _nobody_stays(model)


def _most(measure: Measure, reach: Reach) -> Most:
    kind, name = measure
    return reach.scores[name] if kind == "scores" else reach.dimensions[name]


def _never_holds(place: Place, part: Condition, model: Model, reach: Reach) -> Iterator[Remark]:
    for within, measure, bar in bars(part, model):
        yield from too_high((*place, *within), bar, _most(measure, reach), measure[1])
    for within, measure, bar in bars(part.below, model) if part.below else ():
        most = _most(measure, reach).by_caps
        if bar > most:
            message = f"everybody is below {bar}: {measure[1]} has {shown(most)} at most"
            yield warning((*place, "below", *within), message)
    for name in part.seen:
        if _is_never_seen(name, model):
            yield error((*place, "seen", name), f"no interaction ever matches the rule {name!r}")
    fit = reach.dimensions[FIT].by_caps
    if part.grade and all(grade != "F" and model.grades[grade] > fit for grade in part.grade):
        message = f"nobody has such a grade: fit has {shown(fit)} at most"
        yield error((*place, "grade"), message)
    if part.matrix and _cells(model, reach).isdisjoint(part.matrix):
        yield error((*place, "matrix"), "nobody stands in such a cell: its bars are out of reach")
    already_said = part.traits and entailment.contradiction(part.traits)
    if not already_said and conjunction(part, model).is_impossible:
        yield error(place, "it never holds: nobody is all that is asked here")


def _excludes_nobody(place: Place, part: Condition, model: Model, reach: Reach) -> Iterator[Remark]:
    for within, measure, bar in bars(part, model):
        if bar > _most(measure, reach).by_caps:
            message = f"nobody reaches {bar}, so this excludes nobody"
            yield warning((*place, *within), message)
    for name in part.seen:
        if _is_never_seen(name, model):
            message = f"no interaction matches the rule {name!r}, so this excludes nobody"
            yield warning((*place, "seen", name), message)


def _is_never_seen(name: str, model: Model) -> bool:
    never = never_matches(model.rule[name])
    return never is not None and never.severity == "error"


def _cells(model: Model, reach: Reach) -> set[str]:
    """Return the cells of the matrix in which a lead can stand."""
    if model.matrix is None:
        return set()
    fit, across = reach.dimensions[FIT], reach.of_matrix(model.matrix)
    rows = [row for row, bar in model.matrix.fit.items() if bar <= fit.by_caps]
    columns = [column for column, bar in model.matrix.engagement.items() if bar <= across.by_caps]
    return {f"{row}{column}" for row, column in product([*rows, "C"], [*columns, "3"])}


def _leaves_at_once(place: Place, stage: Stage, exit_: Condition, model: Model) -> Iterator[Remark]:
    """Compare the way out with the ways in."""
    try:
        ways_in = [way for c in (stage.enter, stage.enter_again) if c for way in ways(c, model)]
    except TooMany:
        return
    if all(way.meets(exit_, model) for way in ways_in):
        yield error(place, "whoever may enter leaves at once: nobody ever stands here")
    for within, part in exit_.placed():
        if part.below is None or part.model_fields_set != {"below"} or {"all", "not"} & {*within}:
            continue
        (key, measure, bar), *others = bars(part.below, model)
        entered = min(
            (way.reached[measure] for way in ways_in if measure in way.reached), default=bar + 1
        )
        if others or bar < entered:
            continue
        where = (*place, *within, "below", *key)
        if bar > entered:
            message = f"whoever enters with {entered} is below {bar} and leaves at once"
            yield error(where, message)
        else:
            message = f"whoever enters with {entered} leaves with the first point that fades"
            yield warning(where, f"{message}: set it lower")


def _nobody_stays(model: Model) -> Iterator[Remark]:
    """Look for stages whose leads may all go on at once."""
    skipped = set()
    for (number, stage), (index, later) in combinations(enumerate(model.stages), 2):
        if number in skipped or not _goes_on(stage, later, model):
            continue
        skipped.add(number)
        who = "only leads without an e-mail address stay" if later.name == MQL else "nobody stays"
        message = f"whoever may enter {stage.name!r} may enter this too: {who} there"
        yield warning(("stages", index, "enter"), message)


def _goes_on(stage: Stage, later: Stage, model: Model) -> bool:
    """Tell whether all leads that may enter a stage may enter a later one, and would not leave."""
    if stage.enter is None or later.enter is None:
        return False
    try:
        ways_in = ways(stage.enter, model)
        ways_out = ways(later.exit, model) if later.exit else []
    except TooMany:
        return False
    return all(
        way.meets(later.enter, model) and all((way + out).is_impossible for out in ways_out)
        for way in ways_in
    )
