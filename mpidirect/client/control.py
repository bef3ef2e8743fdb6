"""The part of `Client` that observes engines, and aborts or interrupts what they do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from signal import Signals
from typing import Any

from .. import errors
from ..serialize import pickles
from .base import BaseClient
from .display.stacks import Stacks
from .result_queries import request_id
from .results.asyncresult import AsyncResult
from .session import queries
from .session.engines import is_single_target
from .type_variables import EngineSelection

SHUTDOWN_TIMEOUT = 10.0  # seconds to wait for the end of the controller


class EngineControl(BaseClient):
    """The methods of `Client` on what engines do."""

    def abort(self, jobs: Any = None, targets: EngineSelection = None, block: bool | None = None) -> None:
        """Remove tasks that have not begun from the engines' queues: their results raise `TaskAborted`.

        Running calls continue: `interrupt` ends them. If a call runs on some of these engines and is aborted
        on others, the engines that run it are interrupted, because they may wait for the others.

        Parameters
        ----------
        jobs : AsyncResult, id, or a list of them; optional
            The calls; by default all of this client.
        targets : optional
            Abort the calls on these engines only.
        block : bool, optional
            Accepted for ipyparallel; this always waits for the controller's answer.

        Raises
        ------
        TypeError
            When a job is neither an id nor an AsyncResult.

        Examples
        --------
        >>> rc.abort(ar)
        """
        if jobs is None:
            jobs = list(self._session.calls.under_way)
        if isinstance(jobs, (str, AsyncResult)) or not isinstance(jobs, Iterable):
            jobs = [jobs]
        ids: set[str] = set()
        for job in jobs:
            if isinstance(job, AsyncResult):
                ids.update(call.id for call in job._calls)
            elif isinstance(job, str):
                ids.add(request_id(job))
            else:
                raise TypeError(f"Invalid msg_id type {job!r}, expected str or AsyncResult")
        if ids:
            queries.abort(self._session, ids, self._session.engines.resolve(targets))

    def queue_status(self, targets: EngineSelection = None, verbose: bool = False) -> dict[Any, Any]:
        """Return the lengths of the engines' queues.

        Parameters
        ----------
        targets : optional
            Engine ids; by default all.
        verbose : bool
            Accepted for ipyparallel; not used.

        Returns
        -------
        dict
            By engine the numbers of tasks that wait (``queue``), are handed out (``tasks``) and are done
            (``completed``); and ``unassigned``, the number of load-balanced tasks that wait for an engine.
            If `targets` is an int, the dict of that engine.

        Examples
        --------
        >>> rc.queue_status(0)
        {'queue': 0, 'tasks': 1, 'completed': 12}
        """
        single = isinstance(targets, int)
        engines = self._session.engines.resolve(targets)
        lengths = queries.queue_lengths(self._session, engines)
        return lengths[engines[0]] if single else lengths

    def interrupt(self, targets: EngineSelection = None, timeout: float = 10.0) -> None:
        """Raise KeyboardInterrupt in the code that engines run, and wait until they have left it.

        Engines that are stuck in MPI leave it too. Their communicator is revoked; if it is ``comm``, all
        engines get a new one. The engines then begin the next tasks in their queues: `abort` removes those.

        Parameters
        ----------
        targets : optional
            Engine ids; by default all.
        timeout : float
            Seconds that the engines have to leave the code.

        Raises
        ------
        TimeoutError
            When an engine has not left the code in time; the error names the place and a remedy.

        Examples
        --------
        >>> rc.interrupt(targets=[0, 1])
        """
        queries.interrupt(self._session, self._session.engines.resolve(targets), None, timeout)

    def where(self, targets: EngineSelection = None) -> dict[int, str]:
        """Return what each engine is doing.

        Parameters
        ----------
        targets : optional
            Engine ids; by default all.

        Returns
        -------
        dict of int to str
            The call of ``comm`` that an engine is in, and the line; empty for an idle engine.

        Examples
        --------
        >>> rc.where()
        {0: 'in comm.allreduce (solve.py:41)', 1: ''}
        """
        return queries.places(self._session, self._session.engines.resolve(targets))

    def stacks(self, targets: EngineSelection = None, *, native: bool = False) -> Stacks:
        """Return the stacks of the engines' user code at once, even while that code runs.

        An engine whose C code holds Python's lock is made to write its stack by a signal, which ends a sleep
        in C early.

        Parameters
        ----------
        targets : optional
            Engine ids; by default all.
        native : bool
            With the frames of C code. This takes seconds, in which the engines stand still for moments. It
            needs py-spy or gdb where the engines run, and a host that permits it; else the text says what is
            missing.

        Returns
        -------
        Stacks
            A dict of texts by engine. When it is printed, engines with equal stacks are shown together, the
            smallest group first. Its ``summary`` is one line.

        Examples
        --------
        >>> rc.stacks()
        engine 2 in open at io.py:12
          File "solve.py", line 80, in main
            write(u)
          File "io.py", line 12, in write
            with open(path, "wb") as file:
        <BLANKLINE>
        engines 0-1,3 in comm.allreduce at solve.py:41
          File "solve.py", line 41, in main
            total = comm.allreduce(part)
        """
        engines = self._session.engines.resolve(targets)
        found = Stacks(queries.stacks(self._session, engines, signals=True))
        busy = [engine for engine in engines if found[engine]]
        return found.with_native(queries.native_stacks(self._session, busy)) if native and busy else found

    def peek(
        self, names: str | list[str], targets: EngineSelection = None, every: float | None = None
    ) -> Any:
        """Return the values of names on engines, even while their code runs.

        Another thread of the engine reads the value, so it may change meanwhile. Values of more than 1 MiB
        are refused: your code can keep a small part of an array under a name of its own.

        Parameters
        ----------
        names : str or list of str
            Names or attributes, as ``"residual"`` or ``"solver.step"``.
        targets : optional
            Engine ids; by default all.
        every : float, optional
            Return an iterator that reads again every so many seconds, while one of the engines is busy.

        Returns
        -------
        object or list
            A value for each engine; if `targets` is an int, the value of that engine. For several names, each
            value is a list.

        Raises
        ------
        RemoteError
            When an engine has no such name, or its value can't be read.

        Examples
        --------
        >>> ar = dview.run("solve.py")
        >>> rc.peek("residual", targets=0)
        0.0173
        >>> for residual in rc.peek("residual", targets=0, every=1):
        ...     print(residual)
        """
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
                raise ValueError(f"{name!r} is no name, and no attribute like 'solver.step'")
        if every is not None:
            return self._peek_repeatedly(names, wanted, targets, float(every))
        return self._peek_once(names, wanted, targets)[0]

    def _peek_repeatedly(
        self, names: Any, wanted: list[str], targets: EngineSelection, every: float
    ) -> Iterator[Any]:
        busy = True
        while busy:
            began = time.monotonic()
            value, busy = self._peek_once(names, wanted, targets)
            yield value
            time.sleep(max(0.0, began + every - time.monotonic()))

    def _peek_once(self, names: Any, wanted: list[str], targets: EngineSelection) -> tuple[Any, bool]:
        """Return the values, and whether an engine is busy."""
        found: dict[int, Any] = self._session.query("peek", self._session.engines.resolve(targets), wanted)
        values = []
        for engine, (_, value, problem) in found.items():
            if problem:
                ename, _, evalue = problem.partition(": ")
                info = {"engine_id": engine, "method": "peek"}
                raise errors.RemoteError(ename, evalue, "", info)
            read = pickles.loads_without_mpi([value])
            values.append(read[0] if isinstance(names, str) else read)
        busy = any(busy for busy, _, _ in found.values())
        return (values[0] if is_single_target(targets) else values), busy

    def send_signal(self, sig: int | str, targets: EngineSelection = None, block: bool | None = None) -> None:
        """Send a signal to engines.

        Parameters
        ----------
        sig : int or str
            The signal's number or name.
        targets : optional
            Engine ids; by default all.
        block : bool, optional
            Accepted for ipyparallel; not used.

        Raises
        ------
        ValueError
            When there is no signal of that name.

        Examples
        --------
        >>> rc.send_signal("SIGUSR1", targets=0)
        """
        if isinstance(sig, str):
            name = sig if sig.startswith("SIG") else f"SIG{sig}"
            if name not in Signals.__members__:
                raise ValueError(f"there is no signal {sig!r}")
            sig = Signals[name]
        queries.send_signal(self._session, int(sig), self._session.engines.resolve(targets))

    def shutdown(
        self,
        targets: EngineSelection = "all",
        restart: bool = False,
        hub: bool = False,
        block: bool | None = None,
    ) -> None:
        """End the cluster: the engines and the controller are one MPI job.

        Parameters
        ----------
        targets : 'all'
            All engines end together.
        restart : bool
            Not supported: see `restart`.
        hub : bool
            Accepted for ipyparallel; the controller always ends with its engines.
        block : bool, optional
            Whether to wait until the controller has ended; by default as `block` of the client.

        Raises
        ------
        NotImplementedError
            When `restart` is set, or `targets` are not all engines.

        Examples
        --------
        >>> rc.shutdown(block=True)
        """
        if restart:
            raise NotImplementedError("rc.restart() starts the engines anew; the controller goes on")
        if targets not in ("all", None) and set(self._session.engines.resolve(targets)) != set(self.ids):
            raise NotImplementedError("the engines are ranks of one MPI job, which ends as a whole")
        self._session.query("shutdown", [])
        if block or (block is None and self.block):
            # the condition never holds: this waits until the controller is gone
            self._session.connection.wait(bool, SHUTDOWN_TIMEOUT)
