"""Lines of many engines, put together where they are equal: no engine's own order changes."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Collection
from typing import NamedTuple

from ...protocol.messages import DISPLAY

WINDOW = 0.05  # seconds that a line waits for its equals


class Line(NamedTuple):
    """A line with its end, the beginning of one, or a display."""

    kind: int
    content: str | bytes
    continues: bool = False  # whether the line's beginning was shown before


class Block(NamedTuple):
    """Lines of one kind, of engines that all have them."""

    engines: tuple[int, ...]
    kind: int
    lines: list[Line]


class OutputFolder:
    """What engines have printed and displayed and was not shown yet.

    Parameters
    ----------
    engines : collection of int
        Those that may print: what all of them have need not wait for others.
    """

    def __init__(self, engines: Collection[int]) -> None:
        self.running = set(engines)  # others will print no more
        self._queues: dict[int, deque[Line]] = defaultdict(deque, {engine: deque() for engine in engines})
        self._arrivals: dict[int, deque[float]] = defaultdict(deque)
        self._heads: dict[Line, set[int]] = {}  # which engines have this line as their next one
        self._holders: dict[Line, dict[int, int]] = {}  # how often engines have it anywhere
        self._order: list[tuple[float, int]] = []  # a heap of when next lines came, and whose they are
        self._partial: dict[int, int] = {}  # of which kind the line is whose beginning was shown
        self._last: tuple[int, ...] = ()

    def add(self, engine: int, kind: int, content: str | bytes, now: float) -> None:
        """An engine has printed or displayed something."""
        if isinstance(content, bytes):
            self._append(engine, Line(kind, content), now)
            return
        queue = self._queues[engine]
        if queue and queue[-1].kind == kind != DISPLAY and not _is_whole(queue[-1]):
            line, came = queue[-1], self._arrivals[engine][-1]
            self._drop_last(engine)
            content, now = f"{line.content!s}{content}", came
        for text in _lines(content):
            continues = not queue and self._partial.get(engine) == kind
            self._append(engine, Line(kind, text, continues), now)

    def due(self, now: float, final: bool = False) -> list[Block]:
        """What is to be shown now; what comes is in order for each engine."""
        blocks: list[Block] = []
        self._last = ()
        while (line := self._next(now, final)) is not None:
            engines = tuple(sorted(self._heads[line]))
            for engine in engines:
                self._pop(engine)
                if line.kind != DISPLAY and not _is_whole(line):
                    self._partial[engine] = line.kind
                else:
                    self._partial.pop(engine, None)
            same = blocks and blocks[-1].engines == engines and blocks[-1].kind == line.kind
            if same and line.kind != DISPLAY and not line.continues:
                blocks[-1].lines.append(line)
            else:
                blocks.append(Block(engines, line.kind, [line]))
            self._last = engines
        return blocks

    def wait(self, now: float) -> float | None:
        """Seconds until something is due; None if nothing waits."""
        self._tidy()
        return max(0.0, self._order[0][0] + WINDOW - now) if self._order else None

    # -- which line is next -------------------------------------------------------------------------

    def _next(self, now: float, final: bool) -> Line | None:
        """The line to show next: one that others will have as well waits for them, if it can."""
        self._tidy()
        if not self._order:
            return None
        until = now if final or not self.running or len(self._queues) == 1 else now - WINDOW
        if self._order[0][0] > until:
            line, engines = next(iter(self._heads.items()))
            return line if len(self._heads) == 1 and engines >= self.running else None  # all have it
        if self._last and (queue := self._queues[self._last[0]]):  # a block goes on
            line = queue[0]
            if self._heads[line] == set(self._last) and not self._is_awaited(line):
                return line
        waiting = [engine for engine, queue in self._queues.items() if queue]
        waiting.sort(key=lambda engine: (self._arrivals[engine][0] > until, engine))
        lines = [self._queues[engine][0] for engine in waiting]
        return next((line for line in lines if not self._is_awaited(line)), lines[0])

    def _is_awaited(self, line: Line) -> bool:
        """Whether others have this line behind their next one."""
        return len(self._holders[line]) > len(self._heads[line])

    # -- bookkeeping --------------------------------------------------------------------------------

    def _append(self, engine: int, line: Line, now: float) -> None:
        queue = self._queues[engine]
        queue.append(line)
        self._arrivals[engine].append(now)
        holders = self._holders.setdefault(line, {})
        holders[engine] = holders.get(engine, 0) + 1
        if len(queue) == 1:
            self._is_head(engine)

    def _is_head(self, engine: int) -> None:
        self._heads.setdefault(self._queues[engine][0], set()).add(engine)
        heapq.heappush(self._order, (self._arrivals[engine][0], engine))

    def _pop(self, engine: int) -> None:
        line = self._queues[engine].popleft()
        self._arrivals[engine].popleft()
        self._no_head(engine, line)
        self._forget(engine, line)
        if self._queues[engine]:
            self._is_head(engine)

    def _drop_last(self, engine: int) -> None:
        queue = self._queues[engine]
        line = queue.pop()
        self._arrivals[engine].pop()
        if not queue:
            self._no_head(engine, line)
        self._forget(engine, line)

    def _no_head(self, engine: int, line: Line) -> None:
        engines = self._heads[line]
        engines.discard(engine)
        if not engines:
            del self._heads[line]

    def _forget(self, engine: int, line: Line) -> None:
        holders = self._holders[line]
        holders[engine] -= 1
        if not holders[engine]:
            del holders[engine]
        if not holders:
            del self._holders[line]

    def _tidy(self) -> None:
        """Take out of the heap what has been shown."""
        order = self._order
        while order:
            came, engine = order[0]
            arrivals = self._arrivals[engine]
            if arrivals and arrivals[0] == came:
                return
            heapq.heappop(order)


def _lines(text: str) -> list[str]:
    """The lines with their ends; only a newline ends one."""
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _is_whole(line: Line) -> bool:
    return str(line.content).endswith("\n")
