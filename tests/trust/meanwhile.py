"""Something else happens right before any call that a function makes to the table or the topic."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from infra.local.stack import Function
from tests.life.world import World, clients

type Act = Callable[[], object]


class Meanwhile:
    """Interrupts the functions of a world; who acts meanwhile has containers of their own.

    `calls` are those that were made until then, the one that had to wait among them.
    """

    def __init__(self, world: World) -> None:
        self.calls: list[str] = []
        self.happened = False
        self._world = world
        self._act: tuple[int, Act] | None = None
        watched = dict(world.stack.functions)
        world.start_cold(*watched)
        self._others = world.stack.functions
        world.stack.functions = watched
        for function in watched.values():
            for client in clients(function.module):
                client.meta.events.register_first("before-send", self)

    @contextmanager
    def before(self, call: int, act: Act) -> Iterator[None]:
        """Let this happen before the n-th call from now on, if there are so many."""
        self.calls, self.happened, self._act = [], False, (call, act)
        try:
            yield
        finally:
            self._act = None

    def __call__(self, *, event_name: str, **_request: object) -> None:
        if self._act is None:
            return
        self.calls.append(event_name.rpartition(".")[2])
        call, act = self._act
        if len(self.calls) == call:
            self.happened, self._act = True, None
            with self._containers(self._others):
                act()

    @contextmanager
    def _containers(self, functions: dict[str, Function]) -> Iterator[None]:
        mine, self._world.stack.functions = self._world.stack.functions, functions
        try:
            yield
        finally:
            self._world.stack.functions = mine
