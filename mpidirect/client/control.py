"""The part of `Client` that observes engines, and aborts or interrupts what they do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from signal import Signals
from typing import Any

from .. import errors
from ..serialize import pickles
from .base import BaseClient
from .display.roll_call import Stacks
from .result_queries import request_id
from .results.asyncresult import AsyncResult
from .session import queries
from .session.engines import is_single_target

SHUTDOWN_TIMEOUT = 10.0  # seconds to wait for the end of the controller


class EngineControl(BaseClient):
    """The methods of `Client` on what engines do."""

    def abort(self, jobs: Any = None, targets: Any = None, block: bool | None = None) -> None:
        """Take tasks that have not begun out of the engines' queues: their results raise `TaskAborted`.

        What runs already goes on; `interrupt` ends it.

        Parameters
        ----------
        jobs : AsyncResult, id, or a list of them; optional
            By default all of this client.
        targets : optional
            Only on these engines.
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

    def queue_status(self, targets: Any = None, verbose: bool = False) -> dict[Any, Any]:
        """How many tasks wait (``queue``), are handed out (``tasks``) and were done (``completed``).

        ``unassigned`` are tasks of load-balanced views that wait for an engine.
        """
        single = isinstance(targets, int)
        engines = self._session.engines.resolve(targets)
        lengths = queries.queue_lengths(self._session, engines)
        return lengths[engines[0]] if single else lengths

    def interrupt(self, targets: Any = None, timeout: float = 10.0) -> None:
        """Raise KeyboardInterrupt in what the engines are running, and wait until they are back.

        Engines that are stuck in MPI come back too: the communicator that they were in is given up, and if
        that is ``comm``, all engines have a new one in its place. What waits in the queues is begun next;
        `abort` takes it out.

        Parameters
        ----------
        targets : optional
            By default all engines.
        timeout : float
            Seconds that they have.

        Raises
        ------
        TimeoutError
            When some are not back by then: it tells which, where they are, and what can be done.
        """
        queries.interrupt(self._session, self._session.engines.resolve(targets), None, timeout)

    def where(self, targets: Any = None) -> dict[int, str]:
        """What each engine is doing: the call of ``comm`` that it is in, and the line; empty when idle."""
        return queries.places(self._session, self._session.engines.resolve(targets))

    def stacks(self, targets: Any = None) -> Stacks:
        """The stacks of what engines run, from outside and at once, whatever they do.

        Parameters
        ----------
        targets : optional
            By default all engines.

        Returns
        -------
        Stacks
            A dict of texts by engine. Printed, engines that are at the same place are put together, those
            that are alone first; its ``summary`` is a line.

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
        return Stacks(queries.stacks(self._session, self._session.engines.resolve(targets)))

    def peek(self, names: str | list[str], targets: Any = None, every: float | None = None) -> Any:
        """The values of names on engines that may be busy: read while their code runs.

        A value may change while it is read, as another thread reads it: what is consistent is up to your
        code. Values of more than 1 MiB are refused; of an array, the code may keep a small part under a name.

        Parameters
        ----------
        names : str or list of str
            Names or attributes, as ``"residual"`` or ``"solver.step"``.
        targets : optional
            By default all engines.
        every : float, optional
            Look again after so many seconds, as long as one of the engines is busy, and return an iterator.

        Returns
        -------
        object or list
            A value for each engine, or, if `targets` is an int, that engine's; of several names, lists.

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
            return self._peeks(names, wanted, targets, float(every))
        return self._peek(names, wanted, targets)[0]

    def _peeks(self, names: Any, wanted: list[str], targets: Any, every: float) -> Iterator[Any]:
        busy = True
        while busy:
            began = time.monotonic()
            value, busy = self._peek(names, wanted, targets)
            yield value
            time.sleep(max(0.0, began + every - time.monotonic()))

    def _peek(self, names: Any, wanted: list[str], targets: Any) -> tuple[Any, bool]:
        """The values, and whether an engine is busy."""
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

    def send_signal(self, sig: int | str, targets: Any = None, block: bool | None = None) -> None:
        """Send a signal, by number or name, to engines."""
        if isinstance(sig, str):
            name = sig if sig.startswith("SIG") else f"SIG{sig}"
            if name not in Signals.__members__:
                raise ValueError(f"there is no signal {sig!r}")
            sig = Signals[name]
        queries.send_signal(self._session, int(sig), self._session.engines.resolve(targets))

    def shutdown(
        self, targets: Any = "all", restart: bool = False, hub: bool = False, block: bool | None = None
    ) -> None:
        """End the cluster: the engines and the controller are one MPI job.

        Parameters
        ----------
        targets : 'all'
            All engines end together.
        hub : bool
            As in ipyparallel; the controller always ends with its engines.
        block : bool, optional
            Wait until it is gone.
        """
        if restart:
            raise NotImplementedError("rc.restart() starts the engines anew; the controller goes on")
        if targets not in ("all", None) and set(self._session.engines.resolve(targets)) != set(self.ids):
            raise NotImplementedError("the engines are ranks of one MPI job, which ends as a whole")
        self._session.query("shutdown", [])
        if block or (block is None and self.block):
            self._session.connection.wait(bool, SHUTDOWN_TIMEOUT)  # never true: until the controller is gone
