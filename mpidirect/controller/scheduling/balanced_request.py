"""A request for any engines: its waiting tasks, and how many tasks an engine gets together."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from ...protocol import messages
from ...protocol.messages import BULK
from ..sessions.session import Session
from ..sessions.uploads import Upload

BATCH_TIME = 0.002  # seconds of short tasks that an engine gets together
MIN_BATCH_TIME = 0.0002  # the same near the end of a request: to send a batch costs about as much
BATCH_BYTES = BULK // 2  # bytes of results that an engine returns together


class TaskRange(NamedTuple):
    """Consecutive tasks of a request, by their numbers."""

    first: int
    stop: int


class BalancedRequest:
    """Tasks for any engines, until all of them have ended.

    Parameters
    ----------
    header : messages.BalancedTasks
        The header of the request.
    client : Session
        The session of the client.
    upload : Upload
        The function (the shared group), and the items in blocks (one group for each block).

    Attributes
    ----------
    needs : list of Prerequisites
        The tasks that must have ended before these tasks begin.
    prerequisites : set of str
        The ids of the requests in `needs`.
    pace : float or None
        Seconds that one item takes on average, if known.

    Raises
    ------
    ValueError
        When the blocks differ from the header.
    """

    def __init__(self, header: messages.BalancedTasks, client: Session, upload: Upload) -> None:
        counts = header.counts or [1]
        if len(counts) != max(1, len(header.parts)) or min(counts) < 1 or header.chunk < 0:
            raise ValueError("the blocks are not those that the header announces")
        self.id = header.id
        self.client = client
        self.followers: Sequence[Session] = ()  # other clients that have asked for the result
        self.method = header.method
        self.header = header
        self.upload = upload
        self.bulk = upload.bulk
        self.allowed = frozenset(header.targets)  # engines that may run the tasks; empty for all
        self.chunk = header.chunk
        self.unit = header.chunk or 1  # items of one task
        self.follow = header.follow
        self.needs = [need for need in (header.after, header.follow) if need is not None]
        self.prerequisites = {id.partition(":")[0] for need in self.needs for id in need.ids}
        self.deadline = time.monotonic() + header.timeout if header.timeout > 0 else None
        self.total = sum(counts)
        self.unanswered = self.total  # tasks that have not ended
        self.pace: float | None = None
        self.item_bytes = 0.0  # bytes of the result of one item: the largest mean of a batch
        self.function_holders: set[int] = set()  # engines that have the function
        self.end_reason = ""  # why no more tasks begin
        self._block_starts = [0, *accumulate(counts)][:-1]
        self._items_left = list(counts)  # the number of items of each block that have not ended
        self._ready: deque[TaskRange] = deque([TaskRange(0, self.total)])
        self._restricted: list[TaskRange] = []  # tasks that some engines must not get
        # the engines that must not get a range of tasks, by the range's first task
        self._excluded: dict[int, set[int]] = {}
        self._failures: dict[int, int] = {}
        self._batches = 0
        self._timed_items = 0  # the number of items whose time is in `pace`

    @property
    def targets(self) -> Sequence[int]:
        """Return the numbers of the tasks, because a client's result has a part for each task."""
        return range(self.total)

    @property
    def complete(self) -> bool:
        """Return whether all tasks have ended."""
        return not self.unanswered

    @property
    def has_waiting(self) -> bool:
        """Return whether tasks wait for an engine."""
        return bool(self._ready or self._restricted)

    @property
    def waiting(self) -> int:
        """Return the number of tasks that wait."""
        return sum(stop - first for first, stop in (*self._ready, *self._restricted))

    def may_run_on(self, engine: int) -> bool:
        """Return whether an engine may run the tasks."""
        return not self.allowed or engine in self.allowed

    # -- tasks for an engine ----------------------------------------------------------------------

    def take(self, engine: int, engine_count: int) -> TaskRange | None:
        """Return the next tasks for an engine, which is one of `engine_count`; None if it may get none."""
        return self._take_restricted(engine) or self._take_ready(engine_count)

    def _take_restricted(self, engine: int) -> TaskRange | None:
        for k, (first, _) in enumerate(self._restricted):
            if engine not in self._excluded.get(first, ()):
                return self._restricted.pop(k)
        return None

    def _take_ready(self, engine_count: int) -> TaskRange | None:
        if not self._ready:
            return None
        first, stop = self._ready.popleft()
        end_of_block = self._block_end(self.block_of(first))
        last = min(stop, end_of_block, first + self._batch_size(engine_count))
        if last < stop:
            self._ready.appendleft(TaskRange(last, stop))
        return TaskRange(first, last)

    def _batch_size(self, engine_count: int) -> int:
        """Return how many items an engine gets: `BATCH_TIME` of them, but some remain for all engines."""
        if self.pace is None:
            return self.unit
        pace = max(self.pace, 1e-9)
        share = max(self.unanswered / (2 * engine_count), MIN_BATCH_TIME / pace)
        items = min(BATCH_TIME / pace, share, BATCH_BYTES / max(self.item_bytes, 1.0))
        return max(1, int(items) // self.unit) * self.unit

    def next_batch_id(self) -> str:
        """Return a new task id for tasks that an engine gets together."""
        self._batches += 1
        return f"{self.id}/{self._batches}"

    def block_of(self, task: int) -> int:
        """Return the block of items that contains a task."""
        return bisect_right(self._block_starts, task) - 1

    def block_start(self, block: int) -> int:
        """Return the number of the first task of a block."""
        return self._block_starts[block]

    def _block_end(self, block: int) -> int:
        return self._block_starts[block + 1] if block + 1 < len(self._block_starts) else self.total

    # -- tasks that begin again -------------------------------------------------------------------

    def give_back(self, tasks: TaskRange) -> None:
        """Return tasks that have not begun to the waiting ones."""
        self._ready.appendleft(tasks)

    def retry(self, tasks: TaskRange, engine: int, counts: bool) -> bool:
        """Let tasks that failed on an engine begin again on another one.

        Parameters
        ----------
        tasks : TaskRange
            The tasks.
        engine : int
            The engine on which they failed.
        counts : bool
            Whether the failure uses up one of the request's retries.

        Returns
        -------
        bool
            False if no retry is left.
        """
        if counts:
            failures = self._failures.get(tasks.first, 0)
            if failures >= self.header.retries:
                return False
            self._failures[tasks.first] = failures + 1
        self._excluded.setdefault(tasks.first, set()).add(engine)
        self._restricted.append(tasks)
        return True

    def take_impossible(self, engines: Sequence[int]) -> list[TaskRange]:
        """Remove and return the tasks that none of these engines may get."""
        possible: list[TaskRange] = []
        impossible: list[TaskRange] = []
        for tasks in self._restricted:
            excluded = self._excluded[tasks.first]
            (impossible if all(engine in excluded for engine in engines) else possible).append(tasks)
        self._restricted = possible
        return impossible

    def lift_restrictions(self, engines: Sequence[int]) -> None:
        """Let any engine run the tasks that have failed on all these engines."""
        for tasks in self.take_impossible(engines):
            self._excluded.pop(tasks.first)
            self._ready.append(tasks)

    # -- the end of tasks -------------------------------------------------------------------------

    def take_all(self) -> list[TaskRange]:
        """Remove and return all waiting tasks."""
        waiting = [*self._ready, *self._restricted]
        self._ready.clear()
        self._restricted.clear()
        return waiting

    def took(self, seconds: float, items: int) -> None:
        """Note the time that some items took."""
        known = min(self._timed_items, items)  # earlier items count at most as much as these items
        self.pace = ((self.pace or 0.0) * known + seconds) / (known + items)
        self._timed_items = known + items

    def ended(self, first: int, count: int) -> None:
        """Note that tasks have ended; release the blocks that no engine needs any more."""
        self.unanswered -= count
        block = self.block_of(first)
        while count > 0:
            in_block = min(count, self._block_end(block) - first)
            self._items_left[block] -= in_block
            if not self._items_left[block] and self.header.parts:
                self.upload.release(block + 1)
            first, count, block = first + in_block, count - in_block, block + 1
