"""How tasks have ended: which tasks that depend on them may begin, and which never will."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from ...protocol import messages

MAX_REMEMBERED = 50_000  # ended tasks that are remembered, with some hundred bytes each


class RequestOutcome:
    """How the tasks of a request have ended so far."""

    __slots__ = ("failed", "succeeded", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.succeeded: dict[int, int] = {}  # the engine of each task
        self.failed: dict[int, int] = {}

    @property
    def complete(self) -> bool:
        """Return whether all tasks have ended."""
        return len(self.succeeded) + len(self.failed) >= self.total


class RequestOutcomes:
    """The outcomes of requests that are not complete, and of the latest complete ones."""

    def __init__(self) -> None:
        self._open: dict[str, RequestOutcome] = {}
        self._complete: OrderedDict[str, RequestOutcome] = OrderedDict()
        self._remembered = 0  # tasks of the complete requests

    def begin(self, request: str, total: int) -> None:
        """Note that a request of so many tasks has come."""
        self._open[request] = RequestOutcome(total)

    def note(self, request: str, first: int, count: int, engine: int, ok: bool) -> None:
        """Note that tasks of a request have ended on an engine."""
        outcome = self._open.get(request)
        if outcome is None:
            return
        tasks = range(first, first + count)
        (outcome.succeeded if ok else outcome.failed).update(dict.fromkeys(tasks, engine))
        if outcome.complete:
            self._complete[request] = self._open.pop(request)
            self._remembered += outcome.total
            while self._remembered > MAX_REMEMBERED and len(self._complete) > 1:
                _, oldest = self._complete.popitem(last=False)
                self._remembered -= oldest.total

    def unknown(self, needs: messages.Prerequisites) -> list[str]:
        """Return the ids that stand for no request or task."""
        return [id for id in needs.ids if self._find(id) is None]

    def met(self, needs: messages.Prerequisites) -> bool:
        """Return whether the prerequisites have ended as they should.

        A request that is not remembered has ended. With ``all`` it counts as met, else as not met.
        """
        forgotten = (1, 1) if needs.all else (0, 1)
        counts = (self._count(id, needs.success, needs.failure, forgotten) for id in needs.ids)
        if needs.all:
            return all(met == total for met, total in counts)
        return any(met for met, _ in counts)

    def unreachable(self, needs: messages.Prerequisites) -> bool:
        """Return whether the prerequisites can never end as they should."""
        forgotten = (0, 1) if needs.all else (1, 1)
        counts = (self._count(id, not needs.success, not needs.failure, forgotten) for id in needs.ids)
        if needs.all:
            return any(unmet for unmet, _ in counts)
        return bool(needs.ids) and all(unmet == total for unmet, total in counts)

    def engines(self, needs: messages.Prerequisites) -> frozenset[int]:
        """Return the engines on which all prerequisites ran; without ``all``, those on which one ran."""
        places: list[set[int]] = []
        for id in needs.ids:
            outcome, task = self._find(id) or (RequestOutcome(0), None)
            ways = [outcome.succeeded] * needs.success + [outcome.failed] * needs.failure
            for tasks in ways:
                if task is None:
                    places += [{engine} for engine in tasks.values()]
                elif task in tasks:
                    places.append({tasks[task]})
        if not places:
            return frozenset()
        return frozenset(set.intersection(*places) if needs.all else set.union(*places))

    def requests(self, *needs: messages.Prerequisites | None) -> set[str]:
        """Return the ids of the requests in these prerequisites."""
        ids: Iterable[str] = (id for need in needs if need is not None for id in need.ids)
        return {id.partition(":")[0] for id in ids}

    def _find(self, id: str) -> tuple[RequestOutcome, int | None] | None:
        """Return the outcome of a request, and the task in it if the id names one."""
        request, _, task = id.partition(":")
        outcome = self._open.get(request) or self._complete.get(request)
        if outcome is None or (task and not task.isdigit()):
            return None
        return outcome, int(task) if task else None

    def _count(self, id: str, succeeded: bool, failed: bool, forgotten: tuple[int, int]) -> tuple[int, int]:
        """Return how many tasks of an id have ended in one of these ways, and how many there are."""
        found = self._find(id)
        if found is None:
            return forgotten
        outcome, task = found
        ways = [outcome.succeeded] * succeeded + [outcome.failed] * failed
        if task is None:
            return sum(map(len, ways)), outcome.total
        return sum(task in way for way in ways), 1
