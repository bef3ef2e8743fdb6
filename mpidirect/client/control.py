"""The queues and the engines themselves: abort, interrupt, signal, shut down."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from signal import Signals
from typing import TYPE_CHECKING, Any, cast

from .. import errors
from ..serialize import pickles
from .display.roll_call import Stacks
from .display.source_lines import placed
from .results import waiting
from .results.asyncresult import AsyncResult
from .results.lookup import request_id
from .views.targets import is_one

if TYPE_CHECKING:
    from .client import Client
    from .connection.connection import Connection
    from .results.call import Call
    from .saving import Saved
    from .views.directview import DirectView


STARTING = 60.0  # seconds that new engines may take, beyond the time for what the others do


class EngineControl:
    """What a `Client` does with its engines besides giving them work."""

    block: bool
    size: int
    _calls: dict[str, Call]
    _connection: Connection

    if TYPE_CHECKING:

        @property
        def ids(self) -> list[int]: ...

        def direct_view(self, targets: Any = "all", **flags: Any) -> DirectView: ...

        def _targets(self, targets: Any) -> list[int]: ...

        def _query(self, what: str, targets: list[int], value: Any = None, timeout: float = 10.0) -> Any: ...

    def clear(self, targets: Any = None, block: bool | None = None) -> Any:
        """Clear the namespaces of engines; the names that an engine begins with stay."""
        return self.direct_view("all" if targets is None else targets).clear(block=block)

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
            jobs = list(self._calls)
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
            self._query("abort", self._targets(targets), sorted(ids))
        for call in [call for id in ids if (call := self._calls.get(id)) is not None and call.together]:
            # a collective without one of its engines can't be completed: those that are in it leave too
            self._query("abort", call.targets, [call.id])
            self._signal(Signals.SIGINT, [e for e in call.targets if e not in call.replies], call.id)

    def queue_status(self, targets: Any = None, verbose: bool = False) -> dict[Any, Any]:
        """How many tasks wait (``queue``), are handed out (``tasks``) and were done (``completed``).

        ``unassigned`` are tasks of load-balanced views that wait for an engine.
        """
        single = isinstance(targets, int)
        status = self._query("queue_status", self._targets(targets))
        return status[self._targets(targets)[0]] if single else status

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
        waiting.interrupt(cast("Client", self), self._targets(targets), None, timeout)

    def where(self, targets: Any = None) -> dict[int, str]:
        """What each engine is doing: the call of ``comm`` that it is in, and the line; empty when idle."""
        found: dict[int, str] = self._query("where", self._targets(targets))
        return {engine: placed(text) for engine, text in found.items()}

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
        return Stacks(self._query("where", self._targets(targets), True))

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
        found: dict[int, Any] = self._query("peek", self._targets(targets), wanted)
        values = []
        for engine, (_, value, problem) in found.items():
            if problem:
                ename, _, evalue = problem.partition(": ")
                info = {"engine_id": engine, "method": "peek"}
                raise errors.RemoteError(ename, evalue, "", info)
            read = pickles.loads_without_mpi([value])
            values.append(read[0] if isinstance(names, str) else read)
        busy = any(busy for busy, _, _ in found.values())
        return (values[0] if is_one(targets) else values), busy

    def save(self, path: str | os.PathLike[str], names: Sequence[str] | None = None) -> Saved:
        """Save what the engines have, for a later job: `load` brings it back.

        Each engine writes a file of its own, at the same time; arrays are written as they are. An earlier
        save at the same place counts until this one is whole.

        Parameters
        ----------
        path : str or path
            A directory, as the engines see it; on a shared file system if engines are on several hosts.
        names : sequence of str, optional
            Which names; by default all that the user has set.

        Returns
        -------
        Saved
            What was saved, and what was not because it can't be pickled. That is also told in a warning. How
            objects of a type are pickled can be registered on the engines with `copyreg.pickle`.

        Examples
        --------
        >>> rc.save("~/run-17").names
        ['a', 'model']
        """
        from .saving import save

        return save(cast("Client", self), path, names)

    def load(self, path: str | os.PathLike[str]) -> list[str]:
        """Bring back what `save` has saved; returns the names.

        If there are as many engines as then, each gets what the one with its id had. Another number of
        engines shares out anew what was scattered, and all get what all had; a warning names the rest.

        Parameters
        ----------
        path : str or path
            The directory, as the engines see it.

        Examples
        --------
        >>> rc.load("~/run-17")
        ['a', 'model']
        """
        from .saving import load

        return load(cast("Client", self), path)

    def restart(self, targets: Any = None, timeout: float = 60.0) -> list[int]:
        """Start engines anew, with empty namespaces, and wait until they are there.

        By default all: they are ended, however they hang, and new ones take their ids, in about a second.
        What was asked of them before fails with `EngineError`.

        If only some of them are to be new, the others keep their namespaces: what was asked before is done
        first, what is asked meanwhile waits, and then ``comm`` is made anew. In C, ``MPI_COMM_WORLD`` can't
        be mended: for that, all must be started anew.

        Parameters
        ----------
        targets : int, sequence of int or 'dead', optional
            Which; 'dead' stands for all that have died. By default all.
        timeout : float
            If only some are to be new, the seconds that the others have to end what they do.

        Returns
        -------
        list of int
            The engines that are new.

        Raises
        ------
        TimeoutError
            When they have not: it tells which.
        MPIDirectError
            When it can't be done, and why. All is as it was then, but that engines that were to be ended are.

        Examples
        --------
        >>> rc[2].apply(os._exit, 1).wait()
        >>> rc.ids
        [0, 1, 3]
        >>> rc.restart("dead")
        [2]
        >>> rc.restart()
        [0, 1, 2, 3]
        """
        wanted = self._replaceable(targets)
        if not wanted:
            return []
        answer = self._query("restart", wanted, timeout, timeout + STARTING)
        if "busy" in answer:
            busy = waiting.named(answer["busy"])
            raise errors.TimeoutError(
                f"Nothing was replaced: {busy} did not end what was asked before within {timeout:g} s. "
                "rc.interrupt() ends it."
            )
        return answer["replaced"]

    def resize(self, n: int) -> list[int]:
        """End all engines and start `n` others, in the same job.

        All that the engines have in their namespaces is lost: save it before. What was asked of them before
        fails with `EngineError`, as after `restart`. Clients stay connected.

        Parameters
        ----------
        n : int
            How many engines there are then; on one host, any number.

        Returns
        -------
        list of int
            Their ids.

        Raises
        ------
        MPIDirectError
            When it can't be done, and why.

        Examples
        --------
        >>> rc.resize(2)
        [0, 1]
        >>> rc.resize(4)
        [0, 1, 2, 3]
        """
        n = operator.index(n)
        if n < 1:
            raise ValueError(f"a cluster has at least one engine, not {n}")
        answer: dict[str, list[int]] = self._query("resize", [], n, STARTING + STARTING)
        return answer["replaced"]

    def _replaceable(self, targets: Any) -> list[int]:
        if targets is None:
            return list(range(self.size))
        if targets == "dead":
            ids = self.ids
            return [engine for engine in range(self.size) if engine not in ids]
        chosen = [targets] if is_one(targets) else list(targets)
        for engine in chosen:
            if not hasattr(engine, "__index__") or not 0 <= engine.__index__() < self.size:
                raise IndexError(f"No such engine: {engine!r}. This cluster has engines 0 to {self.size - 1}")
        return [engine.__index__() for engine in chosen]

    def send_signal(self, sig: int | str, targets: Any = None, block: bool | None = None) -> None:
        """Send a signal, by number or name, to engines."""
        if isinstance(sig, str):
            name = sig if sig.startswith("SIG") else f"SIG{sig}"
            if name not in Signals.__members__:
                raise ValueError(f"there is no signal {sig!r}")
            sig = Signals[name]
        self._signal(int(sig), self._targets(targets), "")

    def _signal(self, number: int, targets: list[int], task: str) -> None:
        self._query("signal", targets, [int(number), task])

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
        if targets not in ("all", None) and set(self._targets(targets)) != set(self.ids):
            raise NotImplementedError("the engines are ranks of one MPI job, which ends as a whole")
        self._query("shutdown", [])
        if block or (block is None and self.block):
            self._connection.wait(bool, 10)  # never true: until it is gone
