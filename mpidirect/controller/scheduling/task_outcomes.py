"""How tasks have ended. This decides which tasks that depend on them begin or never begin."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from ...protocol import messages

MAX_REMEMBERED = 50_000  # maximum number of ended tasks that are remembered; each takes some hundred bytes


class State(Enum):
    """Whether prerequisites have ended as required."""

    WAITING = 0
    MET = 1
    UNREACHABLE = 2  # the prerequisites can never end as required


class RequestOutcome:
    """How the tasks of a request have ended so far."""

    __slots__ = ("failed", "succeeded", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.succeeded: dict[int, int] = {}  # the engine of each successful task
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
        self._remembered = 0  # the number of tasks of the complete requests

    def begin(self, request: str, total: int) -> None:
        """Note the arrival of a request with `total` tasks."""
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
        """Return the ids of unknown requests or tasks."""
        return [id for id in needs.ids if self._find(id) is None]

    def state(self, needs: messages.Prerequisites) -> State:
        """Return whether the prerequisites have ended as required.

        A request that is no longer remembered has ended. With ``all``, it counts as met, otherwise as not
        met.
        """
        all_met = all_unmet = True
        for id in needs.ids:
            met, unmet, total = self._count(id, needs)
            if needs.all and unmet:
                return State.UNREACHABLE
            if met and not needs.all:
                return State.MET
            all_met = all_met and met == total
            all_unmet = all_unmet and unmet == total
        if needs.all:
            return State.MET if all_met else State.WAITING
        return State.UNREACHABLE if needs.ids and all_unmet else State.WAITING

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

    def _find(self, id: str) -> tuple[RequestOutcome, int | None] | None:
        """Return the outcome of a request, and the task in it if the id names one."""
        request, _, task = id.partition(":")
        outcome = self._open.get(request) or self._complete.get(request)
        if outcome is None or (task and not task.isdigit()):
            return None
        return outcome, int(task) if task else None

    def _count(self, id: str, needs: messages.Prerequisites) -> tuple[int, int, int]:
        """Return how many tasks have ended as required, how many otherwise, and how many there are."""
        found = self._find(id)
        if found is None:
            return (1, 0, 1) if needs.all else (0, 1, 1)
        outcome, task = found
        if task is None:
            succeeded, failed, total = len(outcome.succeeded), len(outcome.failed), outcome.total
        else:
            succeeded, failed, total = task in outcome.succeeded, task in outcome.failed, 1
        met = succeeded * needs.success + failed * needs.failure
        return met, succeeded + failed - met, total
