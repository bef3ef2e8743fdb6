"""Results again: waiting for them, and asking for them by their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from .. import errors
from ..wire import messages
from ._call import Call
from .asyncresult import AsyncResult

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from .client import Client

KEPT_RESULTS = 64  # of the latest calls, for get_result, whoever else holds them


class Results:
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

    def get_result(self, indices_or_msg_ids: Any = None, block: bool | None = None, **_: Any) -> Any:
        """A result again, by its id or its index in `history` (by default the latest).

        Of one id, of what ran on one engine, it is that engine's value; else a list.

        Raises
        ------
        ResultExpired
            When it is not kept any more.
        """
        if indices_or_msg_ids is None:
            indices_or_msg_ids = -1
        if isinstance(indices_or_msg_ids, AsyncResult):
            indices_or_msg_ids = indices_or_msg_ids.msg_ids
        several = isinstance(indices_or_msg_ids, (list, tuple, set))
        wanted = list(indices_or_msg_ids) if several else [indices_or_msg_ids]
        calls, engines = [], set()
        for item in wanted:
            id = self.history[item] if isinstance(item, int) else item
            call = self._known.get(request_id(id)) or self._recall(request_id(id))
            calls.append(call)
            engines.update([int(id.rpartition(":")[2])] if ":" in id else call.targets)
        calls = list(dict.fromkeys(calls))
        single = not several and len(engines) == 1
        result = AsyncResult(
            cast("Client", self), calls, method=calls[0].method, targets=sorted(engines), single=single
        )
        if self.block if block is None else block:
            result.wait()
        return result

    def hub_history(self) -> list[str]:
        """The ids of requests of clients that are away, with results that wait here or are still to come."""
        return self._query("history", [])

    def _recall(self, id: str) -> Call:
        """Ask the controller for the results of another client's request."""
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
