"""The queues of balanced requests: one for each client; the clients take turns."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from itertools import islice

from ..sessions.session import Session
from .balanced_request import BalancedRequest

MAX_CANDIDATES = 8  # maximum number of requests of a client that are considered for an engine

EngineGroup = frozenset[int]  # engines that tasks may run on; empty for all engines


class _ClientQueue:
    """The requests of a client with waiting tasks, by the engines that may run them."""

    def __init__(self) -> None:
        self.groups: dict[EngineGroup, OrderedDict[str, BalancedRequest]] = {}

    def add(self, request: BalancedRequest) -> None:
        self.groups.setdefault(request.allowed, OrderedDict())[request.id] = request

    def discard(self, request: BalancedRequest) -> None:
        group = self.groups.get(request.allowed)
        if group is not None:
            group.pop(request.id, None)
            if not group:
                del self.groups[request.allowed]

    def candidates(self, engine: int) -> Iterator[BalancedRequest]:
        """Yield the first requests of each group that contains the engine."""
        for group, requests in list(self.groups.items()):
            if not group or engine in group:
                yield from list(islice(requests.values(), MAX_CANDIDATES))


class ClientQueues:
    """The queues of all clients."""

    def __init__(self) -> None:
        self._queues: dict[Session, _ClientQueue] = {}
        self.turns: deque[Session] = deque()  # the clients with requests, in the order of their turns

    def add(self, request: BalancedRequest) -> None:
        """Add a request whose tasks wait for an engine."""
        queue = self._queues.get(request.client)
        if queue is None:
            queue = self._queues[request.client] = _ClientQueue()
            self.turns.append(request.client)
        queue.add(request)

    def discard(self, request: BalancedRequest) -> None:
        """Remove a request without waiting tasks."""
        queue = self._queues.get(request.client)
        if queue is not None:
            queue.discard(request)
            if not queue.groups:
                del self._queues[request.client]
                self.turns.remove(request.client)

    def candidates(self, engine: int) -> Iterator[BalancedRequest]:
        """Yield the requests whose tasks an engine may take; each client in it then goes to the end."""
        for client in list(self.turns):
            self.turns.rotate(-1)
            yield from self._queues[client].candidates(engine)
