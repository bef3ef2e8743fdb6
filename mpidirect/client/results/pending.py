"""A call whose engines may not have replied yet: how to wait for it, and how to end it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, Future, InvalidStateError
from concurrent.futures._base import RUNNING
from functools import partial
from typing import Any, overload

from ...errors import RemoteError, TimeoutError
from ..calls.call import Call
from ..display.progress import wait_with_bar
from ..session import queries
from ..session.session import Session
from ..type_variables import Value
from . import callbacks
from .metadata import CallMetadata
from .state import Slot, failures_of, unanswered_engines


class PendingResult(CallMetadata, Future[Value]):
    """The future of a call on engines: the base of `AsyncResult`.

    Parameters
    ----------
    session, calls, slots, single, label
        See `CallMetadata`.
    method : str
        The name of the called method or function, for errors.
    """

    def __init__(
        self,
        session: Session,
        calls: Sequence[Call],
        *,
        method: str = "unknown",
        slots: list[Slot] | None = None,
        single: bool = False,
        label: str | None = None,
    ) -> None:
        Future.__init__(self)
        CallMetadata.__init__(self, session, calls, slots, single, label)
        self._method = method
        self._state = RUNNING  # the future's state, set without its lock, because no thread waits for it yet
        for call in self._calls:
            call.holders += 1
            if not call.ready:
                call.watch(self._update, each=not self._has_all_slots)
        self._update()

    def __del__(self) -> None:
        for call in self.__dict__.get("_calls", ()):
            call.drop_holder()

    def _update(self, call: Call | None = None) -> None:
        """Complete the future if all its parts have replies; called after replies."""
        if self._has_all_slots:  # without a check of each engine: there may be thousands
            done = self._calls[0].ready if len(self._calls) == 1 else all(c.ready for c in self._calls)
        else:
            done = all(engine in c.replies for c, engine in self._slots)
        if done and not self._ready:
            self._ready = True
            try:
                self.set_result(None)  # type: ignore[arg-type]  # whoever asks for the value makes it
            except InvalidStateError:  # the reading thread has seen the last reply at the same time
                pass

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        """Have ``fn(result)`` called when all engines have replied.

        Callbacks run in a thread of their own; if the result is ready already, in the calling thread, at
        once.

        Parameters
        ----------
        fn : callable
            Called with this result.

        Examples
        --------
        >>> ar.add_done_callback(lambda ar: print("done"))
        """
        super().add_done_callback(fn if self._ready else partial(callbacks.later, fn))

    def __len__(self) -> int:
        """Return the number of parts: of engines, or of items of a map."""
        return len(self._slots)

    # -- waiting -----------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Return whether all engines have replied."""
        return self._ready

    @overload
    def wait(self, timeout: float | None = None, return_when: None = None) -> bool: ...
    @overload
    def wait(self, timeout: float | None = None, *, return_when: str) -> tuple[set[Any], set[Any]]: ...
    @overload
    def wait(self, timeout: float | None, return_when: str) -> tuple[set[Any], set[Any]]: ...
    def wait(self, timeout: float | None = None, return_when: str | None = None) -> Any:
        """Wait until all engines have replied.

        Parameters
        ----------
        timeout : float, optional
            Seconds; None or -1: without limit.
        return_when : {ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION}, optional
            End the wait earlier; these are the constants of `concurrent.futures`.

        Returns
        -------
        bool
            Whether the result is ready.
        (set, set)
            With `return_when`: the results that are done and those that are pending, one for each engine.

        Examples
        --------
        >>> done, pending = ar.wait(return_when=FIRST_EXCEPTION)
        """
        limit = limit_of(timeout)
        if return_when is None:
            return self._ready or self._session.wait(self.ready, limit)
        check_return_when(return_when, ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION)
        self._session.wait(partial(self._is_settled, return_when), limit)
        parts = self.split()
        done = {part for part in parts if part.ready()}
        return done, set(parts) - done

    def split(self) -> tuple[PendingResult, ...]:
        """Return one result for each engine."""
        raise NotImplementedError

    def _is_settled(self, return_when: str) -> bool:
        """Return whether a wait with `return_when` ends now."""
        if self._ready or return_when == ALL_COMPLETED:
            return self._ready
        replies = [call.replies[engine] for call, engine in self._slots if engine in call.replies]
        if return_when == FIRST_COMPLETED:
            return bool(replies)
        return any(reply.status != "ok" for reply in replies)

    def wait_interactive(
        self,
        interval: float = 0.1,
        timeout: float | None = -1,
        widget: bool | None = None,
        return_when: str = ALL_COMPLETED,
    ) -> bool:
        """Wait with a progress bar, on a terminal or in a notebook.

        Parameters
        ----------
        interval : float
            Seconds between two updates of the bar.
        timeout : float, optional
            Seconds to wait; None or -1: without limit.
        widget : bool, optional
            Accepted for ipyparallel; the bar chooses its form by itself.
        return_when : {ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION}
            End the wait earlier.

        Returns
        -------
        bool
            Whether the condition of `return_when` came true.

        Examples
        --------
        >>> ar.wait_interactive()
        True
        """
        check_return_when(return_when, ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION)
        is_settled = partial(self._is_settled, return_when)
        limit = limit_of(timeout)
        return wait_with_bar(
            self._session, is_settled, limit, interval, self._method, self._counter(), len(self)
        )

    def _counter(self) -> Callable[[], int]:
        """Return what counts for a bar how much is done."""
        return self._done

    @property
    def sent(self) -> bool:
        """Whether the buffers of the call have been sent, so that they can be changed."""
        return all(call.buffers is None for call in self._calls)

    def wait_for_send(self, timeout: float | None = None) -> None:
        """Wait until the buffers of the call can be changed.

        Parameters
        ----------
        timeout : float, optional
            Seconds; None or -1: without limit.

        Raises
        ------
        TimeoutError
            When that takes longer.

        Examples
        --------
        >>> ar = dview.push({"a": array}, track=True)
        >>> ar.wait_for_send()
        >>> array[:] = 0
        """
        if not self._session.wait(lambda: self.sent, limit_of(timeout)):
            raise TimeoutError("Still waiting to be sent")

    def wait_for_output(self, timeout: float | None = None) -> bool:
        """Wait for the result, which contains the engines' output.

        Parameters
        ----------
        timeout : float, optional
            Seconds; None or -1: without limit.

        Returns
        -------
        bool
            Whether the result is ready.
        """
        return self.wait(timeout)

    @property
    def failures(self) -> dict[int, RemoteError]:
        """The errors that have arrived, by engine, while other engines may still run."""
        return failures_of(self._slots)

    # -- ending a call -----------------------------------------------------------------------------------

    def abort(self) -> None:
        """Remove the parts that have not begun from the queues.

        If all parts run, they continue: `interrupt` ends them. If some run and others are aborted, the
        running parts are interrupted, because they may wait for the others.

        Examples
        --------
        >>> ar.abort()
        """
        targets = self._session.engines.resolve("all")
        queries.abort(self._session, {call.id for call in self._calls}, targets)

    def cancel(self) -> bool:
        """Abort the call; return whether no part of it runs or has run."""
        if self._ready:
            return False
        self.abort()
        self.wait(1)
        return self.cancelled()

    def cancelled(self) -> bool:
        """Return whether the call was aborted before any part of it began."""
        return self._ready and all(c.replies[engine].status == "aborted" for c, engine in self._slots)

    def interrupt(self, timeout: float = 10.0) -> None:
        """Interrupt the call, and wait until its engines have left it.

        The running parts raise KeyboardInterrupt. The parts that have not begun are aborted.

        Parameters
        ----------
        timeout : float
            Seconds that the engines have to leave the call.

        Raises
        ------
        TimeoutError
            When an engine has not left the call in time: see `Client.interrupt`.

        Examples
        --------
        >>> ar.interrupt()
        """
        for call in self._calls:
            self._session.withdraw(call)
        ids = [call.id for call in self._calls]
        queries.interrupt(self._session, unanswered_engines(self._slots), ids, timeout)


def check_return_when(return_when: Any, *allowed: str) -> None:
    """Raise ValueError unless `return_when` is one of the `allowed` constants."""
    if return_when not in allowed:
        raise ValueError(f"Unrecognized return_when={return_when!r}, must be one of {', '.join(allowed)}")


def limit_of(timeout: float | None) -> float | None:
    """Return a timeout in seconds, or None for a timeout without limit, which may be negative."""
    return None if timeout is None or timeout < 0 else timeout
