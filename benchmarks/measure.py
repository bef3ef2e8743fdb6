"""The run: all systems start first; then each case is measured on one system after the other, repeatedly."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from . import processes
from .cases import Case
from .client_process import STEP, ClientProcess, reason
from .floor import BareStart, Floor
from .results import Results, Row, Tell, machine
from .time_limit import TooLong, time_limit
from .ways import System
from .with_dask import Dask
from .with_futures import Futures
from .with_ipyparallel import Ipyparallel
from .with_mpidirect import Mpidirect

START = "start"
SYSTEMS: tuple[type[System], ...] = (Mpidirect, Ipyparallel, Floor, Futures, Dask)
STARTED = {
    "mpidirect": Mpidirect,
    "direct": Ipyparallel,
    "floor": BareStart,
    "dask": Dask,
    "futures": Futures,
}


class Run:
    """Runs the measurements.

    Parameters
    ----------
    cases : list of Case
        The cases to measure.
    repeat : int
        The number of measurements of each case.
    limit : float
        Maximum seconds of the run; later cases are left out.
    tell : callable
        Called with each row when it is complete.
    quick : bool
        Whether the cases are those of a quick run.
    """

    def __init__(
        self, cases: Sequence[Case], repeat: int, limit: float, tell: Tell, quick: bool = False
    ) -> None:
        self.cases = cases
        self.repeat = repeat
        self.quick = quick
        self.tell = tell
        self.results = Results(machine())
        self._end = time.monotonic() + limit
        self._clients: dict[str, ClientProcess] = {}  # by the names of their ways
        self._absent: dict[str, str] = {}  # unavailable ways, and the reasons

    def starts(self, n: int) -> None:
        """Measure the time from nothing to `n` engines that are ready."""
        row = Row(START, "start until all engines are ready", "s", n)
        for _ in range(min(self.repeat, 3)):
            for column, kind in STARTED.items():
                if column not in row.notes:
                    self._sample(row, column, self._step(row, column, partial(_start, kind, n)))
        self._add(row)

    def calls(self, n: int) -> None:
        """Measure all cases, on clusters of `n` engines that are started once."""
        self._clients, self._absent = {}, {}
        with contextlib.ExitStack() as stack:
            for kind in SYSTEMS:
                try:
                    client = ClientProcess(kind, n, self.quick)
                except Exception as e:
                    self._absent.update(dict.fromkeys(kind.ways, reason(e)))
                    continue
                stack.callback(client.stop)
                self._clients |= dict.fromkeys(kind.ways, client)
            for case in self.cases:
                self._case(case, n)

    def _case(self, case: Case, n: int) -> None:
        row = Row(case.key, case.title, case.unit, n)

        def done(step: str, column: str) -> Any:
            return self._step(row, column, lambda limit: self._ask(case, step, column, limit))

        for column, way in case.ways.items():
            if way not in self._clients:
                row.notes[column] = self._absent.get(way, "gave up before")
                continue
            done("prepare", column)
            for _ in range(case.warm if self.repeat > 1 else 0):
                if column not in row.notes:
                    done("measure", column)
        for _ in range(min(self.repeat, case.repeat)):
            for column in case.ways:
                if column not in row.notes:
                    processes.await_idle()
                    self._sample(row, column, done("measure", column))
        for column in case.ways:
            if column not in row.notes:
                done("check", column)
        for way in case.ways.values():
            if way in self._clients:
                with contextlib.suppress(Exception):
                    self._clients[way].step(case.key, "forget", way)
        self._add(row)

    def _ask(self, case: Case, step: str, column: str, limit: float) -> Any:
        way = case.ways[column]
        try:
            return self._clients[way].step(case.key, step, way, limit)
        except TooLong:  # a system that has not answered in time is not asked again
            lost = self._clients[way]
            self._clients = {name: client for name, client in self._clients.items() if client is not lost}
            raise

    def _sample(self, row: Row, column: str, value: float | None) -> None:
        if value is not None and column not in row.notes:
            row.samples.setdefault(column, []).append(value)

    def _step(self, row: Row, column: str, action: Callable[[float], Any]) -> Any:
        """Run a step in bounded time; a row notes its error instead of its figures."""
        left = self._end - time.monotonic()
        if left <= 0:
            row.notes[column] = "no time left"
            return None
        try:
            return action(min(STEP, left))
        except Exception as e:
            row.notes[column] = reason(e)
            row.samples.pop(column, None)
            return None

    def _add(self, row: Row) -> None:
        self.results.rows.append(row)
        self.tell(row)


def _start(kind: type[System], n: int, limit: float) -> float:
    system = kind()
    before = processes.children()
    begun = time.perf_counter()
    try:
        with time_limit(limit):
            system.start(n)
        return time.perf_counter() - begun
    finally:
        born = processes.children() - before
        try:
            system.stop()
        finally:
            processes.end(born)
