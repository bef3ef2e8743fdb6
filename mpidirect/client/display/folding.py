"""Shows equal lines of several engines once; the order of each engine's lines does not change."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Collection
from typing import NamedTuple

from ...protocol.messages import DISPLAY

WINDOW = 0.05  # seconds that a line waits for equal lines


class Line(NamedTuple):
    """A line with its newline, the beginning of a line, or a display."""

    kind: int
    content: str | bytes
    continues: bool = False  # whether the beginning of the line was shown before


class Block(NamedTuple):
    """Lines of one kind that several engines have printed."""

    engines: tuple[int, ...]
    kind: int
    lines: list[Line]


class OutputFolder:
    """Lines and displays of engines that have not been shown.

    Parameters
    ----------
    engines : collection of int
        The engines that may print. A line that all of them have printed is shown without a wait.

    Attributes
    ----------
    running : set of int
        The engines that may still print.
    """

    def __init__(self, engines: Collection[int]) -> None:
        self.running = set(engines)
        self._queues: dict[int, deque[Line]] = defaultdict(deque, {engine: deque() for engine in engines})
        self._arrivals: dict[int, deque[float]] = defaultdict(deque)  # the times of the queued lines
        self._heads: dict[Line, set[int]] = {}  # the engines whose next line is the key
        self._counts: dict[Line, dict[int, int]] = {}  # how often each engine's queue has the key
        self._order: list[tuple[float, int]] = []  # heap: the arrival of an engine's next line, the engine
        self._partial: dict[int, int] = {}  # kind of the line whose beginning was shown, by engine
        self._last: tuple[int, ...] = ()  # the engines of the last block

    def add(self, engine: int, kind: int, content: str | bytes, now: float) -> None:
        """Queue text or a display of an engine."""
        if isinstance(content, bytes):
            self._append(engine, Line(kind, content), now)
            return
        queue = self._queues[engine]
        if queue and queue[-1].kind == kind != DISPLAY and not _is_complete(queue[-1]):
            line, arrival = queue[-1], self._arrivals[engine][-1]
            self._pop_last(engine)
            content, now = f"{line.content!s}{content}", arrival
        for text in _split_lines(content):
            continues = not queue and self._partial.get(engine) == kind
            self._append(engine, Line(kind, text, continues), now)

    def pop_due(self, now: float, final: bool = False) -> list[Block]:
        """Return the blocks to show now, and remove their lines; `final` returns all lines."""
        blocks: list[Block] = []
        self._last = ()
        while (line := self._next(now, final)) is not None:
            engines = tuple(sorted(self._heads[line]))
            for engine in engines:
                self._pop_first(engine)
                if line.kind != DISPLAY and not _is_complete(line):
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

    def seconds_until_due(self, now: float) -> float | None:
        """Return the seconds until a line is due; None if no line waits."""
        self._drop_stale_entries()
        return max(0.0, self._order[0][0] + WINDOW - now) if self._order else None

    # -- the next line ------------------------------------------------------------------------------

    def _next(self, now: float, final: bool) -> Line | None:
        """Return the line to show next. A line that other engines have queued waits for them if possible."""
        self._drop_stale_entries()
        if not self._order:
            return None
        until = now if final or not self.running or len(self._queues) == 1 else now - WINDOW
        if self._order[0][0] > until:
            line, engines = next(iter(self._heads.items()))
            # all engines have the line
            return line if len(self._heads) == 1 and engines >= self.running else None
        if self._last and (queue := self._queues[self._last[0]]):  # continue the last block if possible
            line = queue[0]
            if self._heads[line] == set(self._last) and not self._is_queued_elsewhere(line):
                return line
        waiting = [engine for engine, queue in self._queues.items() if queue]
        waiting.sort(key=lambda engine: (self._arrivals[engine][0] > until, engine))
        lines = [self._queues[engine][0] for engine in waiting]
        return next((line for line in lines if not self._is_queued_elsewhere(line)), lines[0])

    def _is_queued_elsewhere(self, line: Line) -> bool:
        """Return whether an engine has this line after its next line."""
        return len(self._counts[line]) > len(self._heads[line])

    # -- queues -------------------------------------------------------------------------------------

    def _append(self, engine: int, line: Line, now: float) -> None:
        queue = self._queues[engine]
        queue.append(line)
        self._arrivals[engine].append(now)
        counts = self._counts.setdefault(line, {})
        counts[engine] = counts.get(engine, 0) + 1
        if len(queue) == 1:
            self._add_head(engine)

    def _add_head(self, engine: int) -> None:
        self._heads.setdefault(self._queues[engine][0], set()).add(engine)
        heapq.heappush(self._order, (self._arrivals[engine][0], engine))

    def _pop_first(self, engine: int) -> None:
        line = self._queues[engine].popleft()
        self._arrivals[engine].popleft()
        self._remove_head(engine, line)
        self._decrement(engine, line)
        if self._queues[engine]:
            self._add_head(engine)

    def _pop_last(self, engine: int) -> None:
        queue = self._queues[engine]
        line = queue.pop()
        self._arrivals[engine].pop()
        if not queue:
            self._remove_head(engine, line)
        self._decrement(engine, line)

    def _remove_head(self, engine: int, line: Line) -> None:
        engines = self._heads[line]
        engines.discard(engine)
        if not engines:
            del self._heads[line]

    def _decrement(self, engine: int, line: Line) -> None:
        counts = self._counts[line]
        counts[engine] -= 1
        if not counts[engine]:
            del counts[engine]
        if not counts:
            del self._counts[line]

    def _drop_stale_entries(self) -> None:
        """Remove the entries of shown lines from the top of the heap."""
        order = self._order
        while order:
            arrival, engine = order[0]
            arrivals = self._arrivals[engine]
            if arrivals and arrivals[0] == arrival:
                return
            heapq.heappop(order)


def _split_lines(text: str) -> list[str]:
    """Return the lines with their newlines; no other character ends a line."""
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines


def _is_complete(line: Line) -> bool:
    return str(line.content).endswith("\n")
