"""Random models and random histories, for what must hold of all of them.

A model has two halves: what it pays, and how that is read. `models` draws both; `readings` draws
other second halves for the same first one: caps, audiences, fit, grades, scores, stages.

    model = data.draw(models())
    history = data.draw(histories(model))
    ledger = paid(history, model)
    lead = remember(LEAD, ledger)
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from leadscoring import scoring
from leadscoring.interaction import Identity, Interaction, Trust
from leadscoring.lead import Entry, Lead
from leadscoring.limits import Tally
from leadscoring.model import Model, Rule

type Table = dict[str, Any]
type Draw = st.DrawFn

START = datetime(2026, 9, 14, 8, 30, tzinfo=UTC)
DAYS = 400
LEAD = Lead(id="0f" * 16, stage="captured", email="jane@company.example")

EXAMPLES = settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)

DIMENSIONS = ("engagement", "intent", "loyalty")
NAMES = (
    *("Page Viewed", "Content Downloaded", "Webinar Attended"),
    *("Form Submitted", "Unsubscribed", "Identified"),
)
PATTERNS: tuple[Table, ...] = (
    {"country": ["DE", "AT"]},
    {"employees": [{"numeric": [">=", 50]}]},
    {"group": {"employees": [{"numeric": [">=", 50]}]}},
    {"jobTitle": [{"prefix": "Head"}, {"equals-ignore-case": "CTO"}]},
    {"jobTitle": [{"equals-ignore-case": "student"}]},
    {"email": {"kind": ["free", "disposable"]}},
    {"email": {"domain": ["company.example"]}},
    {"not": {"country": ["DE"]}},
    {"any": [{"country": ["US"]}, {"employees": [{"exists": False}]}]},
)
CLOCKS: tuple[Table, ...] = (
    *({"half_life_days": days} for days in (7, 30, 365)),
    *({"expires_months": months} for months in (1, 6)),
    {},
)

# Strategies that never change stand here: to make one again for every draw takes most of the time.
_PATTERN = st.sampled_from(PATTERNS)
_ONE_IN = {n: st.sampled_from((True, *(False,) * (n - 1))) for n in (2, 3, 4, 6, 12)}
_THOUSANDTHS = st.integers(0, 999).map(lambda n: Decimal(n).scaleb(-3))
_WHOLE = st.one_of(st.integers(0, 40), st.integers(0, 40), st.integers(0, 999)).map(Decimal)
POINTS = st.one_of(_WHOLE, st.tuples(_WHOLE, _THOUSANDTHS).map(lambda parts: sum(parts, Decimal())))
BAR = st.one_of(
    st.integers(1, 120).map(Decimal), st.integers(1, 120_000).map(lambda n: Decimal(n).scaleb(-3))
)
_TWO_BARS = st.tuples(BAR, BAR).map(lambda bars: (bars[0], bars[0] + bars[1]))


# Models


@st.composite
def models(draw: Draw, *, number: int = 1, limits: bool = True) -> Model:
    """Draw a valid model; `limits=False` draws one whose rules pay every time."""
    pays = _pays(draw, limits=limits)
    return Model.model_validate({"number": number, **pays, **_reads(draw, pays)})


@st.composite
def readings(draw: Draw, model: Model) -> Model:
    """Draw a model of the same number and pay that reads what was paid in its own way."""
    parts = model.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    kept = ("name", "retention_days", "properties", "traits", "forms", "rules")
    pays = {
        **{name: parts[name] for name in kept if name in parts},
        "dimensions": {
            name: {clock: value for clock, value in part.items() if clock != "cap"}
            for name, part in parts["dimensions"].items()
        },
    }
    return Model.model_validate({"number": model.number, **pays, **_reads(draw, pays)})


_DIMENSIONS = st.dictionaries(st.sampled_from(DIMENSIONS), st.sampled_from(CLOCKS), min_size=1)
_RULES = st.integers(1, 5)


def _pays(draw: Draw, *, limits: bool) -> Table:
    dimensions = draw(_DIMENSIONS)
    names = ("page", "download", "webinar", "form", "goodbye")[: draw(_RULES)]
    return {
        "name": "Drawn",
        "retention_days": 730,
        "properties": ["kind"],
        "traits": ["country", "employees", "group.employees", "jobTitle"],
        "forms": {"contact": {}},
        "dimensions": dimensions,
        "rules": [_rule(draw, name, dimensions, limits=limits) for name in names],
    }


_CHOSEN = st.one_of(
    *(
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True).map(
            lambda names: {"on": names}
        ),
    )
    * 2,
    st.just({"form": "contact"}),
    st.just({"page": [{"prefix": "/pricing"}, "/demo"]}),
)
_WHEN = st.sampled_from(
    (
        {"properties": {"kind": ["e-book", {"prefix": "white"}]}},
        {"properties": {"minutes": [{"numeric": [">=", 10]}]}},
        {"not": {"properties": {"kind": ["vacancy"]}}},
        {"any": [{"context": {"campaign": {"name": ["spring"]}}}, {"traits": {"country": ["DE"]}}]},
        {"traits": {"group": {"employees": [{"exists": True}]}}},
    )
)
_FACTOR = st.sampled_from((Decimal(1), Decimal("0.5"), Decimal("0.3333")))
_SINCE = st.integers(0, DAYS).map(lambda days: START.date() + timedelta(days=days))
_FOR = st.integers(1, 200).map(lambda days: timedelta(days=days))
_TIMES = st.integers(1, 3)
_MOST: st.SearchStrategy[Table] = st.one_of(
    _TIMES.map(lambda times: {"times": times}), BAR.map(lambda points: {"points": points})
)
_PER = st.sampled_from(("hour", "day", "week", "month", "ever"))
_BY = st.sampled_from(({}, {}, {"by": "title"}, {"by": "source.name"}))


def _rule(draw: Draw, name: str, dimensions: Mapping[str, Table], *, limits: bool) -> Table:
    dimension = draw(st.sampled_from(sorted(dimensions)))
    takes = draw(_ONE_IN[4]) and "expires_months" not in dimensions[dimension]
    rule: Table = {
        "name": name,
        "dimension": dimension,
        "trusted": takes or draw(_ONE_IN[4]),
        **draw(_CHOSEN),
    }
    sign, points = -1 if takes else 1, draw(POINTS)
    if draw(_ONE_IN[3]):
        less, more = sorted((sign * points, sign * draw(POINTS)))
        bounds = {"factor": sign * draw(_FACTOR), "min": less, "max": more}
        rule["points_from"] = {"property": "minutes", **bounds}
    else:
        rule["points"] = sign * points
    if draw(_ONE_IN[3]):
        rule["when"] = draw(_WHEN)
    if draw(_ONE_IN[4]):
        rule["audience"] = "second" if draw(_ONE_IN[2]) else "first"
    if draw(_ONE_IN[6]):
        since = draw(_SINCE)
        rule |= {"from": since, "until": since + draw(_FOR)}
    if limits and draw(_ONE_IN[2]):
        rule["limit"] = {**draw(_MOST), "per": draw(_PER), **draw(_BY)}
    return rule


_CAPS: st.SearchStrategy[Table] = st.one_of(st.just({}), BAR.map(lambda bar: {"cap": bar}))
_FIT = st.lists(st.tuples(_PATTERN, st.integers(-30_000, 60_000)), max_size=3)
_GATES: st.SearchStrategy[list[Table]] = st.one_of(
    st.just([]), st.just([]), _PATTERN.map(lambda when: [{"name": "closed", "when": when}])
)
_GRADES = st.lists(st.integers(0, 60), max_size=5, unique=True).map(
    lambda bars: dict(zip("ABCDE", sorted(bars, reverse=True), strict=False))
)
_SCORES = st.lists(st.sampled_from(("interest", "services", "total")), max_size=3, unique=True)
_PARTS = st.lists(st.sampled_from((*DIMENSIONS, "fit")), min_size=1, max_size=4, unique=True)
_COOL_DOWN = st.sampled_from((0, 0, 14))


def _reads(draw: Draw, pays: Table) -> Table:
    """Draw the half of a model that can change without touching any ledger."""
    known = (*pays["dimensions"], "fit")
    reads: Table = {
        "dimensions": {n: {**clock, **draw(_CAPS)} for n, clock in pays["dimensions"].items()},
        "audiences": {"first": draw(_PATTERN), "second": draw(_PATTERN)},
        "fit": {
            "rules": [
                {"name": f"fits-{index}", "when": when, "points": Decimal(points).scaleb(-3)}
                for index, (when, points) in enumerate(draw(_FIT))
            ],
            "gates": draw(_GATES),
            **draw(_CAPS),
        },
        "grades": draw(_GRADES),
        "scores": {},
        "recycling": {"cool_down_days": draw(_COOL_DOWN)},
    }
    for name in draw(_SCORES):
        parts = [part for part in draw(_PARTS) if part in known] or ["fit"]
        reads["scores"][name] = {
            "dimensions": parts,
            "decides": not reads["scores"],
            **draw(_CAPS),
        }
    if draw(_ONE_IN[2]):
        fit, engagement = draw(_TWO_BARS), draw(_TWO_BARS)
        reads["matrix"] = {
            "fit": {"A": fit[1], "B": fit[0]},
            "engagement": {"1": engagement[1], "2": engagement[0]},
            "of": draw(st.sampled_from((*known, *(reads["scores"] or ["score"])))),
        }
    rules = [rule["name"] for rule in pays["rules"]]
    return {**reads, "stages": _stages(draw, reads, rules)}


def _stages(draw: Draw, reads: Table, rules: Sequence[str]) -> list[Table]:
    stages: list[Table] = [{"name": "captured"}]
    for name in ("nurtured", "engaged", "mql"):
        if name != "mql" and draw(_ONE_IN[3]):
            continue
        stage: Table = {"name": name, "enter": _condition(draw, reads, rules)}
        if draw(_ONE_IN[2]):
            stage["exit"] = (
                {"below": {"score": draw(BAR)}}
                if draw(_ONE_IN[2])
                else _condition(draw, reads, rules)
            )
        if draw(_ONE_IN[3]):
            stage["enter_again"] = _condition(draw, reads, rules)
        stages.append(stage)
    return stages


_ASKED = st.sampled_from(
    (
        *("score", "score", "dimensions", "scores", "below", "seen", "traits", "consent"),
        *("grade", "matrix", "any", "all", "not", "both"),
    )
)
_PLAINLY_ASKED = st.sampled_from(("score", "dimensions", "below", "seen", "grade", "matrix"))
_CELLS = st.lists(
    st.sampled_from([row + column for row in "ABC" for column in "123"]), min_size=1, unique=True
)


def _condition(draw: Draw, reads: Table, rules: Sequence[str], *, plain: bool = False) -> Table:
    """Draw something that can be asked of a lead under such a model."""
    asked = draw(_PLAINLY_ASKED if plain else _ASKED)
    match asked:
        case "dimensions":
            return {asked: {draw(st.sampled_from((*reads["dimensions"], "fit"))): draw(BAR)}}
        case "scores" if reads["scores"]:
            return {asked: {draw(st.sampled_from(sorted(reads["scores"]))): draw(BAR)}}
        case "below":
            of = draw(st.sampled_from((*reads["dimensions"], "fit", "score", "score")))
            bar = draw(BAR)
            return {asked: {"score": bar} if of == "score" else {"dimensions": {of: bar}}}
        case "seen":
            return {asked: {draw(st.sampled_from(rules)): draw(_TIMES)}}
        case "traits":
            return {asked: draw(_PATTERN)}
        case "consent":
            return {asked: draw(_ONE_IN[2])}
        case "grade" if reads["grades"]:
            return {asked: draw(st.sampled_from((*reads["grades"], "F")))}
        case "matrix" if "matrix" in reads:
            return {asked: draw(_CELLS)}
        case "any" | "all":
            return {asked: [_condition(draw, reads, rules, plain=True) for _ in range(2)]}
        case "not":
            return {asked: _condition(draw, reads, rules, plain=True)}
        case "both":
            return {**_condition(draw, reads, rules, plain=True), "score": draw(BAR)}
    return {"score": draw(BAR)}


# Histories

_MINUTE = 60_000
_DAY = 24 * 60 * _MINUTE
# The ends of a day, an ISO week, a month, a year, and of an ISO week in it.
_BORDERS = [
    (datetime(*day, tzinfo=UTC) - START) // timedelta(milliseconds=1)
    for day in ((2026, 9, 15), (2026, 9, 21), (2026, 10, 1), (2027, 1, 1), (2027, 1, 4))
]
_BUSY_DAYS = (0, 1, 108, 109)
_MOMENTS = st.one_of(
    st.integers(0, DAYS * _DAY),
    st.tuples(st.sampled_from(_BORDERS), st.integers(-1, 1)).map(sum),
    st.tuples(st.sampled_from(_BUSY_DAYS), st.integers(0, 240)).map(
        lambda when: when[0] * _DAY + when[1] * _MINUTE
    ),
)
INSTANTS = _MOMENTS.map(lambda at: START + timedelta(milliseconds=at))
"""Instants of a history, to the millisecond."""

_SIZES = st.integers(0, 15)
_NAME = st.sampled_from(NAMES)
_TRUST = st.sampled_from((Trust.PUBLIC, Trust.TRUSTED))
_LATE = st.sampled_from([timedelta(hours=hours) for hours in (0, 0, 0, 1, 20 * 24)])
_CONTEXT = st.sampled_from(({}, {"campaign": {"name": "spring", "medium": "mail"}}))
_SENT: Mapping[str, st.SearchStrategy[Any]] = {
    "kind": st.sampled_from(("e-book", "whitepaper", "vacancy")),
    "title": st.sampled_from(("E-invoicing", "Purchasing", 1, "1", True, 1.5, None)),
    "source": st.sampled_from(({"name": "fair"}, {"name": "mail"}, "fair", {})),
    "minutes": st.one_of(
        st.integers(0, 120),
        st.floats(-10, 200, allow_nan=False),
        st.sampled_from(("30", True, None, 1e300, -(10**40))),
    ),
    "form": st.sampled_from(("contact", "newsletter")),
    "path": st.sampled_from(("/", "/pricing/firms", "/demo", "/demo/now")),
    "unknown": st.just("what no model asks for"),
}
_TOLD: Mapping[str, st.SearchStrategy[Any]] = {
    "country": st.sampled_from(("DE", "AT", "US")),
    "employees": st.sampled_from((5, 49, 50, 400, "400")),
    "group.employees": st.sampled_from((10, 5000)),
    "jobTitle": st.sampled_from(("Head of IT", "cto", "Student")),
    "consent": st.booleans(),
}
_PROPERTIES = st.fixed_dictionaries({}, optional=dict(_SENT))
_TRAITS = st.one_of(st.just({}), st.just({}), st.fixed_dictionaries({}, optional=dict(_TOLD)))
_GIVEN = st.integers(-60_000, 60_000)


@st.composite
def histories(draw: Draw, model: Model, *, size: int | None = None) -> list[Interaction]:
    """Draw what one lead did, in the order of arrival.

    Most of it is what some rule of the model pays for; some comes late, much on the same few days;
    traits change; our own people give and take points.
    """
    number = draw(_SIZES) if size is None else size
    acts = [_act(draw, f"m-{index}", model) for index in range(number)]
    return sorted(acts, key=lambda act: (act.received_at, act.message_id))


def _act(draw: Draw, message_id: str, model: Model) -> Interaction:
    occurred_at = draw(INSTANTS)
    if draw(_ONE_IN[12]):
        return _adjustment(draw, message_id, model, occurred_at)
    properties, name = draw(_PROPERTIES), draw(_NAME)
    if not draw(_ONE_IN[4]):
        rule: Rule = draw(st.sampled_from(model.rules))
        name = draw(st.sampled_from(rule.names)) if rule.names else name
        properties |= {
            **({"form": "contact"} if rule.form else {}),
            **({"path": "/demo"} if rule.page else {}),
        }
    return Interaction(
        message_id=message_id,
        identity=Identity.of_email(str(LEAD.email)),
        name=name,
        occurred_at=occurred_at,
        received_at=occurred_at + draw(_LATE),
        trust=draw(_TRUST),
        fingerprint=message_id,
        properties=properties,
        traits=draw(_TRAITS),
        context=draw(_CONTEXT),
    )


def _adjustment(draw: Draw, message_id: str, model: Model, at: datetime) -> Interaction:
    """Draw points given or taken by hand; where points expire, none can be taken."""
    dimension = draw(st.sampled_from(sorted(model.dimensions)))
    points = draw(_GIVEN) / 1000
    if model.dimensions[dimension].expires_months:
        points = abs(points)
    return Interaction(
        message_id=message_id,
        identity=None,
        name="Adjusted",
        occurred_at=at,
        received_at=at,
        trust=Trust.STAFF,
        fingerprint=message_id,
        properties={"points": points, "dimension": dimension, "reason": "met at the fair"},
    )


# What comes of them


def paid(history: Iterable[Interaction], model: Model) -> list[Entry]:
    """Return the ledger of these interactions, paid one after another within their limits."""
    return Tally(model).cut_all([scoring.enter(act, model) for act in history])


def end(history: Sequence[Interaction]) -> datetime:
    """Return when the last interaction had arrived."""
    return max((act.received_at for act in history), default=START)
