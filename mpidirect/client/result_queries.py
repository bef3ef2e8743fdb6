"""The part of `Client` that waits for results, and returns results of earlier calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

from .. import errors
from ..protocol import messages
from ..serialize.cell_result import CellResult
from .base import BaseClient
from .calls.balanced_call import BalancedCall, is_balanced
from .calls.call import Call
from .display.report import report
from .results.asyncresult import AsyncResult
from .results.hubresult import kind_of_result
from .results.outputs import ExecuteReply
from .results.pending import limit_of
from .session.calls import KEPT_CALLS


class ResultQueries(BaseClient):
    """The methods of `Client` on results: of its own calls, and of other clients' calls."""

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Wait for results.

        Parameters
        ----------
        jobs : AsyncResult, id, index to `history`, or a collection of them; optional
            The calls to wait for; by default all that are under way.
        timeout : float, optional
            Seconds; -1 or None: without limit.

        Returns
        -------
        bool
            Whether all these calls have ended.

        Examples
        --------
        >>> ar = dview.apply_async(time.sleep, 1)
        >>> rc.wait(ar, timeout=10)
        True
        """
        return self._session.wait(self._completion_of(jobs), limit_of(timeout))

    def _completion_of(self, jobs: Any) -> Callable[[], bool]:
        """Return a function that tells whether all these calls have ended."""
        registry = self._session.calls
        if jobs is None:
            calls = list(registry.under_way.values())
            return lambda: all(call.ready for call in calls)
        if isinstance(jobs, (str, int, AsyncResult)) or not isinstance(jobs, Iterable):
            jobs = [jobs]
        tests: list[Callable[[], bool]] = []
        for job in jobs:
            if hasattr(job, "add_done_callback"):
                tests.append(job.done)
                continue
            call = registry.known.get(request_id(self.history[job] if isinstance(job, int) else job))
            if call is not None:
                tests.append(partial(getattr, call, "ready"))
        return lambda: all(has_ended() for has_ended in tests)

    def wait_interactive(
        self, jobs: Any = None, interval: float = 1.0, timeout: float | None = -1, widget: bool | None = None
    ) -> bool:
        """Wait for results with a progress bar, on a terminal or in a notebook.

        Parameters
        ----------
        jobs : AsyncResult, id, index to `history`, or a list of them; optional
            The calls to wait for; by default all that are under way.
        interval : float
            Seconds between two updates of the bar.
        timeout : float, optional
            Seconds; -1 or None: without limit.
        widget : bool, optional
            Accepted for ipyparallel; the bar chooses its form by itself.

        Returns
        -------
        bool
            Whether all these calls have ended.

        Examples
        --------
        >>> many = [dview.apply_async(time.sleep, 1) for _ in range(10)]
        >>> rc.wait_interactive()
        True
        """
        jobs = list(self._session.calls.under_way) if jobs is None else jobs
        if isinstance(jobs, list) and not jobs:
            return True
        return self.get_result(jobs, block=False).wait_interactive(interval, timeout, widget)

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write a report of this client's calls as one HTML file.

        The report shows the calls over the engines and time, the bytes, and the load imbalance: by how much
        the busiest engine computes longer than the mean. Of long sessions it has the latest calls.

        Parameters
        ----------
        path : str or path
            The file; an earlier file is replaced.

        Returns
        -------
        Path
            The path of the file.

        Examples
        --------
        >>> rc.report("report.html")
        """
        file = Path(path).expanduser()
        file.write_text(report(self._session.calls.log, repr(self).strip("<>")), encoding="utf-8")
        return file

    def get_result(
        self, indices_or_msg_ids: Any = None, block: bool | None = None, owner: bool = True
    ) -> AsyncResult:
        """Return the results of earlier calls, as one `AsyncResult`.

        Parameters
        ----------
        indices_or_msg_ids : str, int, AsyncResult, or a list of them; optional
            Ids, or indices to `history`; by default the latest call.
        block : bool, optional
            Whether to wait for the results; by default as `block` of the client.
        owner : bool
            Accepted for ipyparallel; a result lives as long as a user holds it.

        Returns
        -------
        AsyncResult
            For one id of a call on one engine, that engine's value; else a list.

        Raises
        ------
        ResultExpired
            When the result is no longer kept.
        IndexError
            When `history` has no such entry.

        Examples
        --------
        >>> rc.get_result([ar1, ar2]).get()  # on two engines
        [1, 1, 2, 2]
        """
        wanted = -1 if indices_or_msg_ids is None else indices_or_msg_ids
        several = isinstance(wanted, (list, tuple, set, AsyncResult))
        known = set(self._session.calls.known)
        slots: dict[tuple[Call, int], None] = {}  # a set that keeps its order
        for item in wanted if isinstance(wanted, (list, tuple, set)) else [wanted]:
            for id in item.msg_ids if isinstance(item, AsyncResult) else [item]:
                slots.update(dict.fromkeys(self._slots_of(self._id_of(id))))
        calls = list(dict.fromkeys(call for call, _ in slots))
        if not calls:
            raise ValueError("get_result() was given no ids")
        single = (not several and len(slots) == 1) or (isinstance(wanted, AsyncResult) and wanted._single)
        kind = kind_of_result(calls, known.issuperset(call.id for call in calls), single)
        result = kind(self._session, calls, method=calls[0].method, slots=list(slots), single=single)
        if self.block if block is None else block:
            result.wait()
        return result

    def _id_of(self, index: Any) -> str:
        """Return the id that an index to `history` means; an id is returned as it is."""
        if not isinstance(index, int):
            return cast("str", index)
        try:
            return self.history[index]
        except IndexError:
            raise IndexError(f"there is no call {index}: {len(self.history)} were made") from None

    def _ids_of(self, jobs: Any) -> list[str]:
        """Return the ids that a user's `jobs` mean."""
        single = isinstance(jobs, (str, int, AsyncResult)) or not isinstance(jobs, Iterable)
        ids: list[str] = []
        for job in [jobs] if single else jobs:
            ids += job.msg_ids if isinstance(job, AsyncResult) else [self._id_of(job)]
        return ids

    def _slots_of(self, id: str) -> list[tuple[Call, int]]:
        """Return the parts that an id means: all parts of a call, or the part of one engine."""
        request = request_id(id)
        call = self._session.calls.known.get(request) or self._recall(request)
        _, _, engine = id.partition(":")
        if engine and not (engine.isdigit() and int(engine) in call.targets):
            raise errors.ResultExpired(f"{id!r} is no id: that call was not made on an engine {engine!r}")
        return [(call, int(engine))] if engine else [(call, engine) for engine in call.targets]

    def hub_history(self) -> list[str]:
        """Return the ids of the requests of absent clients whose results the controller keeps or awaits.

        Examples
        --------
        >>> rc.hub_history()
        ['5ad41f0c6b1f2e03-7']
        """
        ids: list[str] = self._session.query("history", [])
        return ids

    def _recall(self, id: str) -> Call:
        """Ask the controller for the results of another client's request."""
        session = self._session
        call: Call
        if is_balanced(id):
            call = BalancedCall(id, "apply", 0, session.engines.live, session.release_result)
        else:
            call = Call(
                id, "apply", [], session.engines.live, _recalled_value, release=session.release_result
            )
        session.calls.add(call)
        try:
            call.expect(session.query("recall", [], id) or [])
        finally:
            if not call.targets:
                session.calls.drop(id)
        if not call.targets or any(_has_expired(call, key) for key in call.targets):
            raise errors.ResultExpired(
                f"The result {id} is not kept any more. Of this client's calls whose AsyncResult nobody "
                f"holds, the last {KEPT_CALLS} are; of other clients', what they did not get before they "
                "left, as long as there is room."
            )
        session.calls.finish(call)
        return call


def _recalled_value(reply: messages.Reply, value: Any) -> Any:
    """Return the user's value of a part of another client's call."""
    return ExecuteReply(reply, value) if isinstance(value, CellResult) else value


def _has_expired(call: Call, key: int) -> bool:
    """Return whether the controller has dropped this part of a call."""
    reply = call.replies.get(key)
    return reply is not None and reply.failure is not None and reply.failure.ename == "ResultExpired"


def request_id(id: str) -> str:
    """Return the id of the request that the id of one engine's part belongs to."""
    if not isinstance(id, str):
        raise TypeError(f"Invalid msg_id type {id!r}, expected str")
    return id.partition(":")[0]
