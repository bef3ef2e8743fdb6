"""One system with its clients, in a process of its own, so that the threads of clients do not delay others.

A client of dask has an event loop and a profiler in its process, and dask's scheduler also runs there. Other
clients in the same process would wait for Python's lock.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import psutil

from . import processes
from .cases import Subject, cases
from .interruption import end_by_signals
from .time_limit import TooLong, time_limit
from .ways import System, Unsupported

STEP = 180.0  # maximum seconds of one step
PATIENCE = 60.0  # seconds that the process has to end its system
GRACE = 30.0  # additional seconds until the process reports the end of its system


class StepFailed(Exception):
    """A step of a case has failed in the client's process; the text says why."""


class ClientProcess:
    """A process that starts a system, opens its clients, and does steps of cases with them.

    Parameters
    ----------
    kind : type of System
        The system.
    n : int
        The number of engines.
    quick : bool
        Whether the cases are those of a quick run.

    Raises
    ------
    Unsupported, TooLong, StepFailed
        When the system is not available.
    """

    def __init__(self, kind: type[System], n: int, quick: bool) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork would copy locks of this process's threads
        self._pipe, end = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(end, kind, n, quick))
        self._process.start()
        end.close()
        try:
            self._answer(len(kind.ways) * STEP + GRACE)
        except BaseException:
            self.stop()
            raise

    def step(self, case: str, step: str, way: str, limit: float = STEP) -> Any:
        """Run a step of a case (``prepare``, ``measure``, ``check``, ``forget``); return its value."""
        self._pipe.send((case, step, way, limit))
        return self._answer(limit + GRACE)

    def _answer(self, limit: float) -> Any:
        try:
            answer = self._pipe.recv() if self._pipe.poll(limit) else TooLong("the client does not answer")
        except EOFError:
            answer = StepFailed("the client's process has ended")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self) -> None:
        """End the system and the process."""
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        for end in (lambda: None, self._process.terminate, self._process.kill):
            family = processes.descendants(self._process.pid)
            end()
            self._process.join(PATIENCE)
            if not self._process.is_alive():
                break
        processes.end(family)
        self._pipe.close()


def _serve(pipe: Connection, kind: type[System], n: int, quick: bool) -> None:
    """In the process: run the steps that the pipe requests."""
    known = {case.key: case for case in cases(quick, minute=True)}
    end_by_signals()
    try:
        with _system(kind, n) as subjects:
            gc.collect()
            gc.freeze()  # packages and the system live as long as the process
            pipe.send(True)
            while (wanted := pipe.recv()) is not None:
                key, step, way, limit = wanted
                gc.collect()  # so that no collection runs within the measurement
                with time_limit(limit):
                    pipe.send(_done(subjects[way], known[key], step))
    except (EOFError, KeyboardInterrupt):  # the benchmark has ended, or is ending
        pass
    except Exception as e:
        with contextlib.suppress(OSError):
            pipe.send(_portable(e))


def _done(subject: Subject, case: Any, step: str) -> Any:
    """Run a step; return its value, or its error."""
    try:
        if step == "forget":
            subject.way.forget()
            return None
        return getattr(case, step)(subject)
    except Exception as e:
        return _portable(e)


def _portable(error: Exception) -> Exception:
    """Return an error whose class the benchmark's process can import, too."""
    return error if isinstance(error, (Unsupported, TooLong)) else StepFailed(reason(error))


def reason(error: Exception) -> str:
    """Return the first line of an error, with the type unless the line is clear without it."""
    line = next(iter(str(error).strip().splitlines()), "")[:100]
    is_clear = isinstance(error, (Unsupported, TooLong, StepFailed))
    return line if is_clear else f"{type(error).__name__}: {line}"


@contextlib.contextmanager
def _system(kind: type[System], n: int) -> Iterator[dict[str, Subject]]:
    """Start a system and open its clients; after an error, end what was started."""
    before = processes.children()
    system = kind()
    born = {psutil.Process(os.getpid())}
    subjects: dict[str, Subject] = {}
    try:
        try:
            with time_limit(STEP):
                system.start(n)
        finally:
            born |= processes.children() - before
        for name in system.ways:
            with time_limit(STEP):
                subjects[name] = Subject(
                    system, name, system.open(name), born | {psutil.Process(os.getpid())}
                )
        yield subjects
    finally:
        closings = [*(subject.way.close for subject in subjects.values()), system.stop]
        for close in closings:
            with contextlib.suppress(Exception), time_limit(60):
                close()
        processes.end(born - {psutil.Process(os.getpid())})
