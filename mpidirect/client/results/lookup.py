"""Results again: waiting for them, and asking for them by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ... import errors
from ...protocol import messages
from .asyncresult import AsyncResult
from .balanced_tasks import BalancedCall, is_work
from .call import Call

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from ..client import Client

KEPT_RESULTS = 64  # of the latest calls, for get_result, whoever else holds them


class ResultQueries:
    """What a `Client` does with the results of its calls, and of other clients'."""

    block: bool
    history: list[str]
    _calls: dict[str, Call]
    _known: MutableMapping[str, Call]
    _engines: dict[int, messages.EngineInfo]

    if TYPE_CHECKING:

        def _wait(self, done: Callable[[], bool], timeout: float | None) -> bool: ...

        def _query(self, what: str, targets: list[int], value: Any = None, timeout: float = 10.0) -> Any: ...

        def _release(self, id: str, engine: int) -> None: ...

        def _ended(self, call: Call) -> None: ...

    @property
    def outstanding(self) -> set[str]:
        """The ids of the calls that are not done."""
        return set(self._calls)

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Wait for results.

        Parameters
        ----------
        jobs : AsyncResult, id, index to `history`, or a collection of them; optional
            By default all that are outstanding.
        timeout : float
            Seconds; -1 or None: without end.

        Returns
        -------
        bool
            Whether all are done.
        """
        if jobs is None:
            calls = list(self._calls.values())
            return self._wait(lambda: all(call.ready for call in calls), limit(timeout))
        if isinstance(jobs, (str, int, AsyncResult)) or not isinstance(jobs, Iterable):
            jobs = [jobs]
        pending: list[Callable[[], bool]] = []
        for job in jobs:
            if hasattr(job, "add_done_callback"):
                pending.append(job.done)
                continue
            call = self._known.get(request_id(self.history[job] if isinstance(job, int) else job))
            if call is not None:
                pending.append(partial(getattr, call, "ready"))
        return self._wait(lambda: all(ready() for ready in pending), limit(timeout))

    def wait_interactive(
        self, jobs: Any = None, interval: float = 1.0, timeout: float | None = -1, widget: bool | None = None
    ) -> bool:
        """`wait` with a progress bar, on a terminal or in a notebook.

        Parameters
        ----------
        jobs : AsyncResult, id, index to `history`, or a list of them; optional
            By default all that are outstanding.
        interval : float
            Seconds between looks.
        timeout : float, optional
            Seconds; -1 or None: without end.
        widget : bool, optional
            As in ipyparallel; the bar suits itself to where it is shown.

        Returns
        -------
        bool
            Whether all are done.

        Examples
        --------
        >>> many = [dview.apply_async(time.sleep, 1) for _ in range(10)]
        >>> rc.wait_interactive()
        True
        """
        jobs = list(self.outstanding) if jobs is None else jobs
        if isinstance(jobs, list) and not jobs:
            return True
        return self.get_result(jobs, block=False).wait_interactive(interval, timeout, widget)

    def get_result(
        self, indices_or_msg_ids: Any = None, block: bool | None = None, owner: bool = True
    ) -> AsyncResult:
        """Results again: one `AsyncResult` for all that is asked for.

        Parameters
        ----------
        indices_or_msg_ids : str, int, AsyncResult, or a list of them; optional
            Ids, or indices to `history`; by default the latest.
        block : bool, optional
            Whether to wait.
        owner : bool
            As in ipyparallel; here a result lives as long as somebody holds it.

        Returns
        -------
        AsyncResult
            Of one id, of what ran on one engine, it has that engine's value; else a list.

        Raises
        ------
        ResultExpired
            When it is not kept any more.
        IndexError
            When `history` has no such entry.

        Examples
        --------
        >>> rc.get_result([ar1, ar2]).get()  # on two engines
        [1, 1, 2, 2]
        """
        wanted = -1 if indices_or_msg_ids is None else indices_or_msg_ids
        several = isinstance(wanted, (list, tuple, set, AsyncResult))
        known = set(self._known)
        slots: dict[tuple[Call, int], None] = {}  # in order, each once
        for item in wanted if isinstance(wanted, (list, tuple, set)) else [wanted]:
            for id in item.msg_ids if isinstance(item, AsyncResult) else [item]:
                slots.update(dict.fromkeys(self._slots_of(self._id(id))))
        calls = list(dict.fromkeys(call for call, _ in slots))
        recalls = not known.issuperset(call.id for call in calls)
        if not calls:
            raise ValueError("get_result() was given no ids")
        single = (not several and len(slots) == 1) or (isinstance(wanted, AsyncResult) and wanted._single)
        kind = self._of_others() if recalls else AsyncResult
        result = kind(cast("Client", self), calls, method=calls[0].method, slots=list(slots), single=single)
        if self.block if block is None else block:
            result.wait()
        return result

    def _of_others(self) -> type[AsyncResult]:
        """The class of results of other clients' calls."""
        from ..hub import AsyncHubResult

        return AsyncHubResult

    def _id(self, index: Any) -> str:
        """The id that an index to `history` means, or that id."""
        if not isinstance(index, int):
            return index
        try:
            return self.history[index]
        except IndexError:
            raise IndexError(f"there is no call {index}: {len(self.history)} were made") from None

    def _slots_of(self, id: str) -> list[tuple[Call, int]]:
        """The engines' parts that an id means."""
        request = request_id(id)
        call = self._known.get(request) or self._recall(request)
        _, _, engine = id.partition(":")
        if engine and not (engine.isdigit() and int(engine) in call.targets):
            raise errors.ResultExpired(f"{id!r} is no id: that call was not made on an engine {engine!r}")
        return [(call, int(engine))] if engine else [(call, engine) for engine in call.targets]

    def hub_history(self) -> list[str]:
        """The ids of requests of clients that are away, with results that wait here or are still to come."""
        return self._query("history", [])

    def _recall(self, id: str) -> Call:
        """Ask the controller for the results of another client's request."""
        call: Call
        if is_work(id):
            call = BalancedCall(id, "apply", 0, self._engines, self._release)
        else:
            call = Call(id, "apply", [], self._engines, release=self._release)
        self._calls[id] = self._known[id] = call
        try:
            call.expect(self._query("recall", [], id) or [])
        finally:
            if not call.targets:
                self._calls.pop(id, None)
        if not call.targets or any(_expired(reply) for reply in call.replies.values()):
            raise errors.ResultExpired(
                f"The result {id} is not kept any more. Of this client's calls whose AsyncResult nobody "
                f"holds, the last {KEPT_RESULTS} are; of other clients', what they did not get before they "
                "left, as long as there is room."
            )
        self._ended(call)
        return call


def _expired(reply: messages.Reply) -> bool:
    return reply.failure is not None and reply.failure.ename == "ResultExpired"


def limit(timeout: float | None) -> float | None:
    return None if timeout is None or timeout < 0 else timeout


def request_id(id: str) -> str:
    """The request's id, of the id of one engine's part."""
    if not isinstance(id, str):
        raise TypeError(f"Invalid msg_id type {id!r}, expected str")
    return id.partition(":")[0]
