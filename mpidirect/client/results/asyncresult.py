"""Results that may still be on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, Future, InvalidStateError
from concurrent.futures._base import RUNNING
from copy import copy
from functools import partial
from typing import Any

from ...errors import CompositeError, ControllerLost, Interrupted, MPIDirectError, RemoteError, TimeoutError
from ..calls.call import Call
from ..display import html
from ..display.progress import wait_with_bar
from ..display.show import display_outputs
from ..display.tracebacks import trim_tracebacks
from ..session import queries
from ..session.session import Session
from . import callbacks, waiting
from .metadata import METADATA, CallMetadata


@trim_tracebacks
class AsyncResult(CallMetadata, Future):
    """The result of a call on engines, now or later.

    A `concurrent.futures.Future`, with all of `multiprocessing.pool.AsyncResult`, and what is known of each
    engine's part: ``submitted``, ``started``, ``completed``, ``received``, ``engine_id``, ``status``,
    ``stdout``, ``stderr`` are lists with an entry for each engine (or that entry, where the call was on a
    single engine given as an int).

    Examples
    --------
    >>> ar = dv.apply_async(time.sleep, 1)
    >>> ar.ready()
    False
    >>> ar.get()
    [None, None, None, None]
    """

    def __init__(
        self,
        session: Session,
        calls: Sequence[Call],
        *,
        method: str = "unknown",
        slots: list[tuple[Call, int]] | None = None,
        single: bool = False,
        return_exceptions: bool = False,
        label: str | None = None,
    ) -> None:
        super().__init__()
        self._session = session
        self._calls = list(calls)
        self._method = method
        whole = [(c, e) for c in self._calls for e in c.targets]
        self._whole = slots is None or slots == whole
        self._slots = whole if slots is None else slots
        self._single = single and len(self._slots) == 1
        self._return_exceptions = return_exceptions
        self._label = label
        self._final: list[Any] = []
        self._ready = False  # the future's own state, without its lock
        self._state = RUNNING  # at once: nobody waits for that
        for call in self._calls:
            call.holders += 1
            if not call.ready:
                call.watch(self._progressed, each=not self._whole)
        self._progressed()

    def __del__(self) -> None:
        for call in self.__dict__.get("_calls", ()):
            call.let_go()

    def _progressed(self, call: Call | None = None) -> None:
        if self._whole:  # no look at each engine: there may be thousands, and this comes with each reply
            done = self._calls[0].ready if len(self._calls) == 1 else all(c.ready for c in self._calls)
        else:
            done = all(e in c.replies for c, e in self._slots)
        if done and not self._ready:
            self._ready = True
            try:
                super().set_result(None)  # the value is made when it is asked for, by who asks
            except InvalidStateError:  # the thread that reads has seen the last reply as well
                pass

    def add_done_callback(self, fn: Callable[[Any], Any]) -> None:
        """Have ``fn(result)`` called when all engines have answered, in another thread."""
        super().add_done_callback(fn if self._ready else partial(callbacks.later, fn))

    # -- waiting ------------------------------------------------------------------------------------

    def done(self) -> bool:
        """Whether all engines have answered."""
        return self._ready

    def ready(self) -> bool:
        """Whether all engines have answered."""
        return self._ready

    def wait(self, timeout: float | None = None, return_when: str | None = None) -> Any:
        """Wait until the result is there, or `timeout` seconds have passed (None or -1: without end).

        Parameters
        ----------
        timeout : float, optional
            Seconds.
        return_when : {ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION}, optional
            The constants of `concurrent.futures`: until when to wait.

        Returns
        -------
        bool
            Whether it is ready.
        (set, set)
            With `return_when`: the results that are done and those that are pending, one for each engine.

        Examples
        --------
        >>> done, pending = ar.wait(return_when=FIRST_EXCEPTION)
        """
        limit = limit_of(timeout)
        if return_when is None:
            return self.ready() or self._session.wait(self.ready, limit)
        _check(return_when, ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION)
        self._session.wait(partial(self._settled, return_when), limit)
        parts = self.split()
        done = {part for part in parts if part.ready()}
        return done, set(parts) - done

    def _settled(self, return_when: str) -> bool:
        """Whether a wait that is to end then ends now."""
        if self.ready() or return_when == ALL_COMPLETED:
            return self.ready()
        answered = [c.replies[e] for c, e in self._slots if e in c.replies]
        if return_when == FIRST_COMPLETED:
            return bool(answered)
        return any(reply.status != "ok" for reply in answered)

    def get(
        self,
        timeout: float | None = None,
        return_exceptions: bool | None = None,
        return_when: str | None = None,
        *,
        interrupt: bool = False,
    ) -> Any:
        """Wait for the result and return it.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; None or -1: without end.
        return_exceptions : bool, optional
            Return exceptions in the place of results instead of raising.
        return_when : {ALL_COMPLETED, FIRST_EXCEPTION}, optional
            Raise at the first error, while other engines still run.
        interrupt : bool
            After `timeout` seconds, find out where the engines are, and interrupt them.

        Returns
        -------
        object or list
            A list in the order of the targets; a single object if the target was an int.

        Raises
        ------
        TimeoutError
            ``Result not ready.``; with `interrupt` it tells where the engines were.
        CompositeError
            When engines failed; a `RemoteError` if the target was an int.
        """
        if return_when is not None:
            _check(return_when, ALL_COMPLETED, FIRST_EXCEPTION)
        if return_when == FIRST_EXCEPTION:
            done, _ = self.wait(timeout, return_when)
            for part in done:
                part.get()
        try:
            if not self._ready and limit_of(timeout) is None:
                self._wait_in_line()
            ready = self.wait(timeout)
        except KeyboardInterrupt:
            raise Interrupted(f"{self._state_in_words()}; its interrupt() ends it") from None
        if not ready:
            raise waiting.given_up(self, timeout) if interrupt else TimeoutError("Result not ready.")
        keep = self._return_exceptions if return_exceptions is None else return_exceptions
        # The attribute is Future's own, where the exception of a finished one is.  A debugger that is
        # called after an error lands on the line that raises it.
        values = self._values()
        self._exception = None if keep else self._failure(values)
        if self._exception is not None:
            raise self._exception
        return self._value(keep, values)

    def _wait_in_line(self) -> None:
        """Wait; if that takes long, and others are why, say so."""
        waiting.wait_in_line(self)

    def _state_in_words(self) -> str:
        """What has failed, and who still runs."""
        return waiting.state(self)

    def result(self, timeout: float | None = None) -> Any:
        """The result, as `get`."""
        return self.get(timeout)

    def exception(self, timeout: float | None = None) -> Any:
        """The exception that `get` would raise, or None."""
        if not self.wait(timeout):
            raise TimeoutError("Result not ready.")
        return None if self._return_exceptions else self._failure(self._values())

    @property
    def r(self) -> Any:
        """The result: waits for it."""
        return self.get()

    def _values(self) -> list[Any]:
        if self._whole and len(self._calls) == 1:
            return self._calls[0].values(self._calls[0].targets)
        return [call.value(engine) for call, engine in self._slots]

    def _value(self, return_exceptions: bool, values: list[Any]) -> Any:
        if not self._final or return_exceptions != self._return_exceptions:
            final = values[0] if self._single else self._finish(values)
            if return_exceptions != self._return_exceptions:
                return final
            self._final = [final]
        return self._final[0]

    def _finish(self, values: list[Any]) -> Any:
        """The value, of the engines' values."""
        return values

    def _failure(self, values: Sequence[Any]) -> MPIDirectError | None:
        """The exception for those of `values` that are exceptions: a new one each time that it is raised."""
        failures = [v for v in values if isinstance(v, RemoteError) and v.engine_info]
        if not failures:
            return None
        others = [f for f in failures if f.ename != ControllerLost.__name__]
        if len(others) < len(failures):
            lost = ControllerLost(next(f.evalue for f in failures if f not in others))
            lost.__cause__ = self._composite(others) if others else None  # they failed before
            return lost
        return copy(failures[0]) if self._single else self._composite(failures)

    def _composite(self, failures: Sequence[RemoteError]) -> CompositeError:
        return CompositeError(
            f"one or more exceptions from call to method: {self._method}",
            [(f.ename, f.evalue, f.traceback, f.engine_info) for f in failures],
        )

    def _raise(self, values: Sequence[Any]) -> None:
        error = self._failure(values)
        if error is not None:
            raise error

    def successful(self) -> bool:
        """Whether it ended without an exception.

        Raises
        ------
        ValueError
            When it is not ready yet (as `multiprocessing.pool.AsyncResult`).
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        for call in self._calls:
            call.mark_seen()
        return self._succeeded()

    def _succeeded(self) -> bool:
        return not any(call.replies[engine].status != "ok" for call, engine in self._slots)

    def get_dict(self, timeout: float | None = None) -> dict[int, Any]:
        """The results as a dict, keyed by engine id."""
        if not self.wait(timeout):
            raise TimeoutError("Result not ready.")
        values = self._values()
        self._raise(values)
        return {engine: value for (_, engine), value in zip(self._slots, values, strict=True)}

    @property
    def result_dict(self) -> dict[int, Any]:
        """The results keyed by engine id: waits for them."""
        return self.get_dict()

    # -- parts -----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Any]:
        """Each engine's result, in order, as soon as it is there."""
        for call, engine in self._slots:
            self._session.wait(lambda c=call, e=engine: e in c.replies, None)  # type: ignore[misc]
            value = call.value(engine)
            if not self._return_exceptions:
                self._raise([value])
            yield value

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in METADATA:
                raise KeyError(key)
            values = [entry[key] for entry in self._metadata()]
            return values[0] if self._single else values
        if not isinstance(key, (int, slice)):
            raise TypeError(f"Invalid key type {type(key)!r}, must be 'int','slice', or 'str'")
        if not self.ready():
            raise TimeoutError("Result not ready.")
        values = self._values()
        chosen = values[key] if isinstance(key, slice) else [values[key]]
        if not self._return_exceptions:
            self._raise(chosen)
        return chosen if isinstance(key, slice) else chosen[0]

    def split(self) -> tuple[AsyncResult, ...]:
        """One AsyncResult for each engine."""
        if self._single:
            return (self,)
        return tuple(
            AsyncResult(self._session, [slot[0]], method=self._method, slots=[slot], single=True)
            for slot in self._slots
        )

    @classmethod
    def join(cls, *results: AsyncResult) -> AsyncResult:
        """One AsyncResult for several."""
        if not results:
            raise ValueError("Must be given at least one AsyncResult to join")
        slots = list(dict.fromkeys(slot for result in results for slot in result._slots))
        calls = list(dict.fromkeys(call for call, _ in slots))
        return cls(results[0]._session, calls, method=results[0]._method, slots=slots)

    def _retrieval(self, call_id: str) -> str:
        """Return what to append to this object's name to get a call's result; empty if it is not here."""
        return ".get()" if any(call.id == call_id for call in self._calls) else ""

    # -- what is known of it ---------------------------------------------------------------------------

    @property
    def msg_ids(self) -> list[str]:
        """An id for each engine's part; `Client.get_result` takes them."""
        return [f"{call.id}:{engine}" for call, engine in self._slots]

    # -- doing something about it ------------------------------------------------------------------------

    def abort(self) -> None:
        """Take what has not begun out of the queues; what runs goes on (see `Client.interrupt`)."""
        targets = self._session.engines.resolve(None)
        queries.abort(self._session, {call.id for call in self._calls}, targets)

    def cancel(self) -> bool:
        """Abort it; whether nothing of it runs or has run."""
        if self.ready():
            return False
        self.abort()
        self.wait(1)
        return self.cancelled()

    def cancelled(self) -> bool:
        """Whether it was aborted before any of it began."""
        return self.ready() and all(c.replies[e].status == "aborted" for c, e in self._slots)

    def interrupt(self, timeout: float = 10.0) -> None:
        """Raise KeyboardInterrupt in the parts that run, abort those that have not begun, and wait for it.

        Raises
        ------
        TimeoutError
            When engines are not back by then: see `Client.interrupt`.
        """
        queries.interrupt(self._session, waiting.pending(self), [call.id for call in self._calls], timeout)

    @property
    def failures(self) -> dict[int, RemoteError]:
        """The errors so far, by engine, while others may still run."""
        failed = [(c, e) for c, e in self._slots if e in c.replies and c.replies[e].status == "error"]
        return {engine: call.value(engine) for call, engine in failed}

    @property
    def sent(self) -> bool:
        """Whether the buffers of the call have left, so that they can be changed."""
        return all(call.buffers is None for call in self._calls)

    def wait_for_send(self, timeout: float | None = None) -> None:
        """Wait until the buffers of the call can be changed.

        Raises
        ------
        TimeoutError
            When that takes longer.
        """
        if not self._session.wait(lambda: self.sent, limit_of(timeout)):
            raise TimeoutError("Still waiting to be sent")

    def wait_for_output(self, timeout: float | None = None) -> bool:
        """What was printed comes with the result, so this waits for the result."""
        return self.wait(timeout)

    def display_outputs(self, groupby: str = "type", result_only: bool = False) -> None:
        """Show what the engines printed and displayed, by engine.

        Parameters
        ----------
        groupby : {'type', 'engine', 'order'}
            All printed text first, then displays, then results; or engine by engine.
        result_only : bool
            Only the results.
        """
        self.wait()
        display_outputs(self._metadata(), groupby, result_only)

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
            Seconds between looks.
        timeout : float, optional
            Seconds to wait; None or -1: without end.
        widget : bool, optional
            As in ipyparallel; the bar suits itself to where it is shown.
        return_when : {ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION}
            End the wait earlier.

        Returns
        -------
        bool
            Whether what was waited for has come.
        """
        _check(return_when, ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION)
        settled = partial(self._settled, return_when)
        limit = limit_of(timeout)
        return wait_with_bar(self._session, settled, limit, interval, self._method, self._done, len(self))

    def __repr__(self) -> str:
        state = "pending" if not self.ready() else "finished" if self._succeeded() else "failed"
        if state == "pending" and self.failures:
            state = self._state_in_words()
        return f"<{type(self).__name__}({self._method}): {state}>"

    def _repr_html_(self) -> str:
        return html.timeline(repr(self), self._slots)

    def __await__(self) -> Iterator[Any]:
        import asyncio

        return asyncio.wrap_future(self).__await__()


def _check(return_when: Any, *known: str) -> None:
    if return_when not in known:
        raise ValueError(f"Unrecognized return_when={return_when!r}, must be one of {', '.join(known)}")


def limit_of(timeout: float | None) -> float | None:
    return None if timeout is None or timeout < 0 else timeout
