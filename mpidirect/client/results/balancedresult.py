"""Results of tasks that run on free engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION
from functools import partial
from typing import Any

from ... import errors
from ..calls.balanced_call import BalancedCall
from ..session import queries
from ..type_variables import Item, Value
from . import waiting
from .asyncmapresult import AsyncMapResult
from .asyncresult import AsyncResult


class BalancedResult(AsyncResult[Value]):
    """The result of a task that runs on a free engine; its `engine_id` tells which engine.

    Examples
    --------
    >>> ar = rc.load_balanced_view().apply_async(pow, 2, 10)
    >>> ar.get(), ar.engine_id
    (1024, 3)
    """

    _calls: list[BalancedCall]  # type: ignore[assignment]

    def _wait_in_queue(self) -> None:
        self.wait()

    def _wait_in_call(self, progress: bool) -> None:
        """Wait for a blocking call: the first Ctrl-C ends the work, the second gives the prompt back."""
        try:
            if progress:
                self.wait_interactive(return_when=FIRST_EXCEPTION)
            self.wait()
        except KeyboardInterrupt:
            waiting.interrupt_after_ctrl_c(self, "the tasks", "left running")
            raise errors.Interrupted(self._state_in_words()) from None

    def _state_in_words(self) -> str:
        ended = [c.replies[k] for c, k in self._slots if k in c.replies]
        failed = [reply for reply in ended if reply.status == "error"]
        aborted = sum(reply.status == "aborted" for reply in ended)
        parts = [f"{len(ended) - len(failed) - aborted} of {len(self._slots)} tasks are done"]
        if failed and failed[0].failure is not None:
            failure = failed[0].failure
            first = f"{failure.ename}: {failure.evalue}".partition("\n")[0]
            parts.append(f"{len(failed)} failed (the first: {first})")
        if aborted:
            parts.append(f"{aborted} were aborted")
        if len(ended) < len(self._slots):
            parts.append(f"{len(self._slots) - len(ended)} are to come")
        return ", ".join(parts)

    def interrupt(self, timeout: float = 10.0) -> None:
        """Raise KeyboardInterrupt in running tasks, abort tasks that have not begun, and wait for their end.

        Raises
        ------
        TimeoutError
            When engines have not left the tasks in time: see `Client.interrupt`.
        """
        session = self._session
        session.poll()
        for call in self._calls:
            session.withdraw(call)
        open_calls = [call.id for call in self._calls if not call.ready]
        queries.interrupt(session, session.engines.ids, open_calls, timeout)
        self.wait(timeout)

    def get_dict(self, timeout: float | None = None) -> dict[int, Any]:
        """Return the results as a dict, keyed by engine id.

        Raises
        ------
        ValueError
            When an engine has run several of the tasks.
        """
        if not self.wait(timeout):
            raise errors.TimeoutError("Result not ready.")
        values = self._values()
        self._raise_failure(values)
        engines = [call.engine_of(key) for call, key in self._slots]
        if len(set(engines)) < len(engines):
            raise ValueError("an engine has run several of these tasks, so there is no dict by engines")
        return dict(zip(engines, values, strict=True))  # type: ignore[arg-type]

    def split(self) -> tuple[AsyncResult[Any], ...]:
        """One AsyncResult for each task."""
        if self._single:
            return (self,)
        return tuple(
            BalancedResult(self._session, [slot[0]], method=self._method, slots=[slot], single=True)
            for slot in self._slots
        )


class BalancedMapResult(BalancedResult[list[Item]], AsyncMapResult[Item]):
    """The results of a map over free engines: a list, whose items are available when they arrive."""

    _kind = "AsyncMapResult"

    def _done(self) -> int:
        return len(self._calls[0].replies)

    def _counter(self) -> Callable[[], int]:
        return self._done

    _joins = False  # whether the values are parts of one sequence

    def _finish(self, values: list[Any]) -> Any:
        return super()._finish(values) if self._joins else values

    def __iter__(self) -> Iterator[Any]:
        """Yield the items, in their order or as they arrive."""
        work = self._calls[0] if self._calls else None
        if work is None:
            return
        for key in self._keys(work):
            value = work.value(key)
            if not self._return_exceptions:
                self._raise_failure([value])
            yield value

    def _keys(self, work: BalancedCall) -> Iterator[int]:
        if self.ordered:
            for key in work.targets:
                self._wait_for_part(work, key)
                yield key
            return
        at = 0
        while at < len(work.order) or not work.ready:
            if at == len(work.order):
                self._session.wait(partial(_has_more_than, work.order, at), None)
            first = work.order[at]
            yield from range(first, first + work.replies[first].count)
            at += 1


def _has_more_than(items: Sequence[Any], count: int) -> bool:
    return len(items) > count
