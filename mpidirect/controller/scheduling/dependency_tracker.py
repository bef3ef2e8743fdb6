"""Requests that wait until tasks of other requests have ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from .balanced_request import BalancedRequest
from .task_outcomes import RequestOutcomes, State


class DependencyTracker:
    """Knows how tasks have ended, and which requests wait for these tasks.

    A request whose dependencies are met begins. A request that can never begin is refused, with an error name
    and a text.
    """

    def __init__(
        self,
        begin: Callable[[BalancedRequest], None],
        refuse: Callable[[BalancedRequest, str, str], None],
    ) -> None:
        self._begin = begin
        self._refuse = refuse
        self._outcomes = RequestOutcomes()
        # waiting requests, by the request that they wait for
        self._blocked: dict[str, set[BalancedRequest]] = {}
        self._with_deadline: set[BalancedRequest] = set()

    def register(self, request: str, total: int) -> None:
        """Note the arrival of a request with `total` tasks."""
        self._outcomes.begin(request, total)

    def submit(self, request: BalancedRequest) -> None:
        """Begin a request when its dependencies are met, or refuse it."""
        unknown = [id for need in request.needs for id in self._outcomes.unknown(need)]
        self.register(request.id, request.total)
        if unknown:
            text = f"this cluster knows no task {unknown[0]!r} (any more)"
            self._refuse(request, "InvalidDependency", text)
        elif not request.needs:
            self._begin(request)
        elif not self._decide(request):
            self._block(request)

    def note(self, request: str, first: int, count: int, engine: int, ok: bool) -> None:
        """Note that tasks of a request have ended; begin or refuse the requests that waited for them."""
        self._outcomes.note(request, first, count, engine, ok)
        if self._blocked:
            for waiting in list(self._blocked.get(request, ())):
                self._decide(waiting)

    def _decide(self, request: BalancedRequest) -> bool:
        """Begin or refuse a request if its dependencies decide it; return whether they do."""
        states = [self._outcomes.state(need) for need in request.needs]
        if State.UNREACHABLE in states:
            text = "what the task needs to have ended well has failed, or the reverse"
            self._refuse(request, "ImpossibleDependency", text)
            return True
        if State.WAITING in states:
            return False
        self.withdraw(request)
        if request.follow is not None:
            ran_on = self._outcomes.engines(request.follow)
            chosen = ran_on & request.allowed if request.allowed else ran_on
            if not chosen:
                self._refuse(request, "ImpossibleDependency", _nowhere_to_follow(ran_on))
                return True
            request.allowed = chosen
        self._begin(request)
        return True

    def _block(self, request: BalancedRequest) -> None:
        for other in request.prerequisites:
            self._blocked.setdefault(other, set()).add(request)
        if request.deadline is not None:
            self._with_deadline.add(request)

    def is_blocked(self, request: BalancedRequest) -> bool:
        """Return whether a request waits for other requests."""
        return any(request in self._blocked.get(other, ()) for other in request.prerequisites)

    def withdraw(self, request: BalancedRequest) -> None:
        """Stop watching the dependencies of a request."""
        for other in request.prerequisites:
            blocked = self._blocked.get(other)
            if blocked is not None:
                blocked.discard(request)
                if not blocked:
                    del self._blocked[other]
        self._with_deadline.discard(request)

    def look(self) -> None:
        """Refuse the requests whose deadline has passed."""
        if self._with_deadline:
            now = time.monotonic()
            for request in [r for r in self._with_deadline if r.deadline is not None and now > r.deadline]:
                text = "what the task needs had not ended in time (timeout)"
                self._refuse(request, "TaskTimeout", text)

    def wait_limit(self) -> int:
        """Return the milliseconds until the next deadline, 1000 at most."""
        deadlines = [r.deadline for r in self._with_deadline if r.deadline is not None]
        if not deadlines:
            return 1000
        return max(1, min(1000, int((min(deadlines) - time.monotonic()) * 1000) + 1))


def _nowhere_to_follow(ran_on: frozenset[int]) -> str:
    if not ran_on:
        return "no one engine has run all that the task is to follow"
    return f"no engine has run all that the task is to follow (they ran on {sorted(ran_on)})"
