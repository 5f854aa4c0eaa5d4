"""Prints what the model check finds: `python -m tests.protocol [--trace GUARD]`."""

import sys

from tests.protocol.guards import GUARDS
from tests.protocol.scopes import SCOPES
from tests.protocol.search import Search
from tests.protocol.telling import sentences

NAMED = {scope.name: scope for scope in SCOPES}


def main() -> int:
    """Search all scopes with all guards, then each guard's own scope without it."""
    if sys.argv[1:2] == ["--trace"]:
        (guard,) = (guard for guard in GUARDS if guard.name == " ".join(sys.argv[2:]))
        found = Search(NAMED[guard.shows], guard.name).run()
        print(f"without {guard.name!r}: {found.broken}")
        print(*(f"{i:4} {said}" for i, said in enumerate(sentences(found.trace), 1)), sep="\n")
        return 0
    whole = [Search(scope).run() for scope in SCOPES]
    for one in whole:
        print(
            f"{one.scope:30} states {one.states:7,}  transitions {one.transitions:8,}"
            f"  depth {one.depth:3}  {one.broken or 'nothing wrong'}"
        )
    violations = sum(one.broken is not None for one in whole)
    states, transitions = sum(one.states for one in whole), sum(one.transitions for one in whole)
    print(f"{'together':30} states {states:7,}  transitions {transitions:8,}")
    print(f"violations: {violations}\n")
    missed = 0
    for guard in GUARDS:
        found = Search(NAMED[guard.shows], guard.name).run()
        missed += found.broken != guard.breaks
        second = f"second lock: nothing in {found.states:,} states of {guard.shows!r}"
        said = f"{found.broken} ({found.depth} steps)" if found.broken else second
        print(f"without {guard.name:38} {said}")
    caught = sum(guard.breaks is not None for guard in GUARDS)
    print(f"\nguards {len(GUARDS)}: needed {caught}, second locks {len(GUARDS) - caught};", end=" ")
    print(f"other than expected: {missed}")
    return bool(violations or missed)


if __name__ == "__main__":
    sys.exit(main())
