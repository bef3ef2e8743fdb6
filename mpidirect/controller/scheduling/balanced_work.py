"""Tasks for whichever engines are free: which of them wait, and what goes to an engine of them."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from ...protocol import messages
from ..sessions.session import Session
from ..sessions.uploads import Upload
from .scheduler import ActiveRequest

SLICE = 0.002  # seconds of short tasks that go together


class TaskBatch(ActiveRequest):
    """Tasks of a work that an engine has been given together."""

    __slots__ = ("block", "first", "known", "seconds", "stop", "work")

    def __init__(
        self, id: str, work: BalancedRequest, engine: int, block: int, first: int, stop: int
    ) -> None:
        super().__init__(id, work.client, work.method, [engine], work.payload)
        self.request = work.id
        self.work = work
        self.block = block
        self.first = first
        self.stop = stop
        self.seconds = (stop - first) * (work.pace or 0.0)  # that it will take, as far as one knows
        self.known = engine in work.having
        if work.total > 1:
            work.having.add(engine)

    # what the controller sends of it, as of any task's payload

    direct = False

    def inline_for(self, engine: int) -> list[Any]:
        """The header and the small frames."""
        work, upload = self.work, self.work.payload
        request = upload.request
        start = self.first - work.starts[self.block]
        keep = work.total > 1
        batch = messages.ItemRange(
            work.id, self.first, start, start + self.stop - self.first, work.chunk, keep
        )
        task = messages.Task(
            self.id,
            request.op,
            request.op,
            [] if self.known else request.frames,
            bool(request.parts),
            directory=upload.directory,
            batch=batch,
        )
        frames = [messages.encode(task)]
        if request.parts:
            frames.append(messages.encode(messages.EngineFrames(request.parts[self.block])))
        if not self.known:
            frames += upload.small(0)
        if request.parts:
            frames += upload.small(self.block + 1)
        return frames

    def bulk_for(self, engine: int) -> list[Any]:
        """What goes by MPI."""
        upload = self.work.payload
        pieces = [] if self.known else upload.large(0)
        return [*pieces, *upload.large(self.block + 1)] if upload.request.parts else [*pieces]


class BalancedRequest:
    """A client's tasks, as long as one of them has not ended.

    Parameters
    ----------
    request : messages.Work
        The header.
    client : Session
        Who asks.
    payload : Upload
        The function, and the items in blocks.
    pace : float or None
        Seconds that such a task takes, as far as that is known.
    """

    balanced = True

    def __init__(
        self, request: messages.BalancedTasks, client: Session, payload: Upload, pace: float | None = None
    ) -> None:
        counts = request.counts or [1]
        if len(counts) != max(1, len(request.parts)) or min(counts) < 1 or request.chunk < 0:
            raise ValueError("the blocks are not those that the header announces")
        self.id = request.id
        self.client = client
        self.method = request.method
        self.payload = payload
        self.bulk: bool = payload.bulk
        self.followers: Sequence[Any] = ()
        self.fetching: set[int] = set()
        self.allowed = frozenset(request.targets)  # empty: all engines
        self.chunk = request.chunk
        self.retries = request.retries
        self.after = request.after
        self.follow = request.follow
        self.deadline = time.monotonic() + request.timeout if request.timeout > 0 else None
        self.starts = [0, *accumulate(counts)]
        self.total = self.starts.pop()
        self.open = self.total  # tasks that have not ended
        self.pace = pace
        self.alone = False  # whether each result is large, so that each task goes alone
        self.having: set[int] = set()  # engines that have the function
        self.ended = ""  # why no more of it begins
        self._ready: deque[tuple[int, int]] = deque([(0, self.total)])
        self._again: list[tuple[int, int]] = []  # what some engines must not get (any more)
        self._failures: dict[int, int] = {}
        self._excluded: dict[int, set[int]] = {}
        self._left = list(counts)  # of each block, the items that have not ended
        self._batches = 0

    @property
    def targets(self) -> list[int]:
        """The numbers of the tasks: a client's result has a part for each."""
        return list(range(self.total))

    @property
    def waits(self) -> bool:
        """Whether tasks wait for an engine."""
        return bool(self._ready or self._again)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(stop - first for first, stop in (*self._ready, *self._again))

    def may_run_on(self, engine: int) -> bool:
        """Whether its tasks may run there."""
        return not self.allowed or engine in self.allowed

    def take(self, engine: int, engines: int) -> TaskBatch | None:
        """The next tasks for an engine, one of so many; None if there are none that it may have."""
        found = self._another(engine) or self._next(engines)
        if found is None:
            return None
        first, stop = found
        block = bisect_right(self.starts, first) - 1
        self._batches += 1
        return TaskBatch(f"{self.id}/{self._batches}", self, engine, block, first, stop)

    def _another(self, engine: int) -> tuple[int, int] | None:
        for k, (first, _) in enumerate(self._again):
            if engine not in self._excluded.get(first, ()):
                return self._again.pop(k)
        return None

    def _next(self, engines: int) -> tuple[int, int] | None:
        if not self._ready:
            return None
        first, stop = self._ready.popleft()
        block = bisect_right(self.starts, first) - 1
        end = self.starts[block + 1] if block + 1 < len(self.starts) else self.total
        last = min(stop, end, first + self._size(engines))
        if last < stop:
            self._ready.appendleft((last, stop))
        return first, last

    def _size(self, engines: int) -> int:
        """How many items go together: as many as are done in a moment, and that nobody lacks in the end."""
        unit = self.chunk or 1
        if self.pace is None or self.alone:
            return unit
        tasks = int(min(SLICE / max(self.pace, 1e-9), self.open / (2 * engines))) // unit
        return max(1, tasks) * unit

    def took(self, seconds: float, items: int) -> None:
        """So many items took so long."""
        pace = seconds / items
        self.pace = pace if self.pace is None else (self.pace + pace) / 2

    # -- tasks that are to begin again --------------------------------------------------------------------

    def give_back(self, first: int, stop: int) -> None:
        """These tasks have not begun."""
        self._ready.appendleft((first, stop))

    def again(self, first: int, stop: int, engine: int, counts: bool) -> bool:
        """A task has failed on an engine: whether it begins again, on another one if there is one.

        `counts` tells whether it uses up one of its retries.
        """
        if counts:
            failures = self._failures.get(first, 0)
            if failures >= self.retries:
                return False
            self._failures[first] = failures + 1
        self._excluded.setdefault(first, set()).add(engine)
        self._again.append((first, stop))
        return True

    def impossible(self, engines: Sequence[int], living: bool) -> list[tuple[int, int]]:
        """Take out the tasks that none of these engines may have.

        With `living`, those that have failed on all of them may have any again.
        """
        kept, found = [], []
        for first, stop in self._again:
            if all(engine in self._excluded[first] for engine in engines):
                found.append((first, stop))
            else:
                kept.append((first, stop))
        self._again = kept
        if living:
            for first, stop in found:
                self._excluded.pop(first)
                self._ready.append((first, stop))
            return []
        return found

    def rest(self) -> list[tuple[int, int]]:
        """Take out all tasks that wait."""
        waiting = [*self._ready, *self._again]
        self._ready.clear()
        self._again.clear()
        return waiting

    def done(self, first: int, count: int) -> None:
        """These tasks have ended: they are answered next."""
        self.open -= count
        block = bisect_right(self.starts, first) - 1
        while count > 0:
            end = self.starts[block + 1] if block + 1 < len(self.starts) else self.total
            those = min(count, end - first)
            self._left[block] -= those
            if not self._left[block] and self.payload.request.parts:
                self.payload.let_go(block + 1)
            first, count, block = first + those, count - those, block + 1
