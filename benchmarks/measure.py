"""The run: all systems side by side, each case on one after the other, again and again."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from . import processes
from .cases import Case, Subject
from .floor import BareStart, Floor
from .results import Results, Row, Tell, machine
from .time_limit import TooLong, time_limit
from .ways import System, Unsupported
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
STEP = 180.0  # seconds for one measurement


class Run:
    """Measures.

    Parameters
    ----------
    cases : list of Case
        What.
    repeat : int
        How often each is measured.
    limit : float
        Seconds for everything: what comes later is left out.
    tell : callable
        Called with each row when it is complete.
    """

    def __init__(self, cases: Sequence[Case], repeat: int, limit: float, tell: Tell) -> None:
        self.cases = cases
        self.repeat = repeat
        self.tell = tell
        self.results = Results(machine())
        self._end = time.monotonic() + limit
        self._subjects: dict[str, Subject] = {}
        self._absent: dict[str, str] = {}  # ways that can't be had, and why

    def starts(self, n: int) -> None:
        """The time from nothing to `n` engines that are ready."""
        row = Row(START, "start until all engines are ready", "s", n)
        for _ in range(min(self.repeat, 3)):
            for column, kind in STARTED.items():
                if column not in row.notes:
                    self._sample(row, column, lambda kind=kind: _start(kind, n))
        self._add(row)

    def calls(self, n: int) -> None:
        """All cases, on clusters of `n` engines that are started once."""
        self._subjects, self._absent = {}, {}
        with contextlib.ExitStack() as stack:
            for kind in SYSTEMS:
                self._start(kind, n, stack)
            gc.collect()
            gc.freeze()  # packages and systems live as long as the run
            stack.callback(gc.unfreeze)
            for case in self.cases:
                self._case(case, n)

    def _start(self, kind: type[System], n: int, stack: contextlib.ExitStack) -> None:
        before = processes.children()
        try:
            system = kind()
            born: set[psutil.Process] = set()
            stack.callback(lambda: processes.end(born))
            stack.callback(_quietly, system.stop)
            try:
                with time_limit(STEP):
                    system.start(n)
            finally:
                born |= processes.children() - before
            for name in system.ways:
                with time_limit(STEP):
                    way = system.open(name)
                stack.callback(_quietly, way.close)
                self._subjects[name] = Subject(system, name, way, born)
        except Exception as e:
            self._absent.update(dict.fromkeys(kind.ways, _reason(e)))

    def _case(self, case: Case, n: int) -> None:
        row = Row(case.key, case.title, case.unit, n)
        there = {column: self._subjects.get(name) for column, name in case.ways.items()}
        for column, subject in there.items():
            if subject is None:
                row.notes[column] = self._absent.get(case.ways[column], "gave up before")
            else:
                self._step(row, column, lambda s=subject: case.prepare(s))
            for _ in range(case.warm if self.repeat > 1 else 0):
                if column not in row.notes:
                    self._step(row, column, lambda s=subject: case.measure(s))
        for _ in range(min(self.repeat, case.repeat)):
            for column, subject in there.items():
                if column not in row.notes:
                    self._sample(row, column, lambda s=subject: case.measure(s))
        for column, subject in there.items():
            if column not in row.notes:
                self._step(row, column, lambda s=subject: case.check(s))
        for subject in there.values():
            if subject is not None and subject.name in self._subjects:
                with contextlib.suppress(Exception), time_limit(STEP):
                    subject.way.forget()
        self._add(row)

    def _sample(self, row: Row, column: str, measure: Callable[[], float]) -> None:
        gc.collect()  # not within the measurement
        value = self._step(row, column, measure)
        if value is not None:
            row.samples.setdefault(column, []).append(value)

    def _step(self, row: Row, column: str, action: Callable[[], Any]) -> Any:
        """Do something in bounded time; what goes wrong is noted in the row, instead of its figures."""
        left = self._end - time.monotonic()
        if left <= 0:
            row.notes[column] = "no time left"
            return None
        try:
            with time_limit(min(STEP, left)):
                return action()
        except Exception as e:
            row.notes[column] = _reason(e)
            row.samples.pop(column, None)
            if isinstance(e, TooLong):
                self._give_up(column)
            return None

    def _give_up(self, column: str) -> None:
        """A system that did not answer in time is not asked again."""
        subject = self._subjects.get(column)
        if subject is not None:
            lost = [name for name, other in self._subjects.items() if other.system is subject.system]
            for name in lost:
                del self._subjects[name]

    def _add(self, row: Row) -> None:
        self.results.rows.append(row)
        self.tell(row)


def _start(kind: type[System], n: int) -> float:
    system = kind()
    before = processes.children()
    begun = time.perf_counter()
    try:
        system.start(n)
        return time.perf_counter() - begun
    finally:
        born = processes.children() - before
        try:
            system.stop()
        finally:
            processes.end(born)


def _quietly(close: Callable[[], None]) -> None:
    """Close what may be broken."""
    with contextlib.suppress(Exception), time_limit(60):
        close()


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    told = text[0][:100] if text else ""
    return told if isinstance(error, (Unsupported, TooLong)) else f"{type(error).__name__}: {told}"
