"""The small worlds that are searched. Together they reach every guard."""

from tests.protocol.actors import FALSE, TRUE, Actor, Message
from tests.protocol.search import Scope

_PROMOTE = Actor("promote", ("K",))
_ERASE = Actor("erase", ("K", 5))
_PART = Actor("part", ("K", "A"))

_FIRST = Message("first", "K")
_SECOND = Message("second", "K")
_ANONYMOUS = Message("anonymous", "A")
_NAMING = Message("naming", "K", also="A")
_OBJECTION = Message("objection", "K", at=3, consent=FALSE)
_OPT_IN = Message("opt-in", "K", at=6, consent=TRUE, trusted=True)

_AGREES = Message("agrees", "K", at=2, consent=TRUE)

SCOPES = (
    Scope(
        "one allowance",
        (_FIRST._replace(limited=True), _SECOND._replace(limited=True)),
        faults=2,
    ),
    Scope("consent given and withdrawn", (_FIRST, _AGREES, _OBJECTION), faults=1),
    Scope("a promotion", (_FIRST, _SECOND), ((_PROMOTE, 2),), relays=2, faults=1, at_once=3),
    Scope(
        "a promotion and an objection",
        (_OBJECTION,),
        ((_PROMOTE, 2),),
        relays=2,
        faults=1,
        at_once=3,
        already=(_FIRST, _SECOND),
    ),
    Scope(
        "a second cycle",
        (_FIRST,),
        ((_PROMOTE, 2), (Actor("reject", ("K", "r")), 2)),
        relays=1,
        faults=1,
        already=(_SECOND, Message("third", "K")),
    ),
    Scope("a join", (_ANONYMOUS, _NAMING), ((_PROMOTE, 1),), relays=2, faults=2),
    Scope("taken apart", (_ANONYMOUS, _NAMING), ((_PART, 2),), relays=1, faults=1),
    Scope(
        "people merge two",
        (_FIRST, Message("other", "B")),
        ((_PROMOTE, 1), (Actor("merge", ("K", "B")), 2), (Actor("promote", ("B",)), 1)),
        faults=1,
        already=(_SECOND, Message("one more", "B")),
    ),
    Scope(
        "three names",
        (_ANONYMOUS, _NAMING),
        ((Actor("merge", ("B", "K")), 1), (Actor("part", ("B", "K")), 1)),
        faults=1,
        already=(Message("other", "B"), _FIRST),
    ),
    Scope(
        "an erasure",
        (_FIRST, _SECOND),
        ((_PROMOTE, 1), (_ERASE, 1)),
        relays=2,
        faults=1,
        at_once=3,
    ),
    Scope("an erasure and a join", (_ANONYMOUS, _NAMING), ((_ERASE, 1),), relays=1, faults=1),
    Scope(
        "a new generation",
        (_FIRST, _OPT_IN),
        ((_ERASE, 1),),
        relays=2,
        faults=1,
    ),
    Scope(
        "erased twice",
        (Message("opt-in", "K", at=10, consent=TRUE, trusted=True),),
        ((_ERASE, 1), (Actor("erase", ("K", 9)), 1)),
        relays=3,
        faults=1,
        already=(_FIRST,),
    ),
    Scope(
        "erased after an opt-in",
        (_OPT_IN,),
        ((_ERASE, 1), (Actor("erase", ("K", 9)), 1)),
        relays=3,
        faults=1,
        already=(_FIRST,),
    ),
    Scope(
        "retention is over",
        (_SECOND, _ANONYMOUS),
        ((Actor("forget", ("K", 5)), 1),),
        relays=2,
        faults=0,
        at_once=3,
        already=(_NAMING,),
    ),
)
