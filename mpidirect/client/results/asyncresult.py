"""Results of calls, which may still be under way."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ALL_COMPLETED as ALL_COMPLETED
from concurrent.futures import FIRST_COMPLETED as FIRST_COMPLETED
from concurrent.futures import FIRST_EXCEPTION as FIRST_EXCEPTION
from copy import copy
from typing import TYPE_CHECKING, Any, overload

from ...errors import CompositeError, ControllerLost, Interrupted, MPIDirectError, RemoteError, TimeoutError
from ..calls.call import Call
from ..display import html
from ..display.bars import in_kernel
from ..display.show import display_outputs
from ..display.stacks import Stacks
from ..display.tracebacks import trim_tracebacks
from ..display.updating import display_until
from ..session import queries
from ..session.session import Session
from ..type_variables import Item, Value
from .metadata import METADATA
from .pending import PendingResult, check_return_when, limit_of
from .state import Slot, outcome_in_words, state_in_words, unanswered_engines, wait_in_queue

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@trim_tracebacks
class AsyncResult(PendingResult[Value]):
    """The result of a call on engines, now or later.

    A `concurrent.futures.Future` with all methods of `multiprocessing.pool.AsyncResult`. The attributes
    ``submitted``, ``started``, ``completed``, ``received``, ``engine_id``, ``status``, ``stdout`` and
    ``stderr`` are lists with an entry for each engine; if the target was an int, they are the entry itself.

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
        slots: list[Slot] | None = None,
        single: bool = False,
        return_exceptions: bool = False,
        label: str | None = None,
    ) -> None:
        self._return_exceptions = return_exceptions
        self._final_value: list[Any] = []  # the value in a list; empty until the value is requested
        super().__init__(session, calls, method=method, slots=slots, single=single, label=label)

    # -- the value ---------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        return_exceptions: bool | None = None,
        return_when: str | None = None,
        *,
        interrupt: bool = False,
    ) -> Value:
        """Wait for the result and return it.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; None or -1: without limit.
        return_exceptions : bool, optional
            Put exceptions in the place of results, instead of raising them.
        return_when : {ALL_COMPLETED, FIRST_EXCEPTION}, optional
            Raise at the first error, while other engines still run.
        interrupt : bool
            After `timeout` seconds, ask for the places of the engines, and interrupt the engines.

        Returns
        -------
        object or list
            A list in the order of the targets; a single object if the target was an int.

        Raises
        ------
        TimeoutError
            ``Result not ready.``; with `interrupt`, the error names the places of the engines.
        CompositeError
            When engines failed; a `RemoteError` if the target was an int.

        Examples
        --------
        >>> dv.apply_async(pow, 2, 10).get()
        [1024, 1024, 1024, 1024]
        """
        if return_when is not None:
            check_return_when(return_when, ALL_COMPLETED, FIRST_EXCEPTION)
        if return_when == FIRST_EXCEPTION:
            done, _ = self.wait(timeout, return_when)
            for part in done:
                part.get()
        try:
            if not self._ready and limit_of(timeout) is None:
                self._wait_in_queue()
            ready = self.wait(timeout)
        except KeyboardInterrupt:
            raise Interrupted(f"{self._state_in_words()}; its interrupt() ends it") from None
        if not ready:
            raise self._interrupt_late(timeout) if interrupt else TimeoutError("Result not ready.")
        keep = self._return_exceptions if return_exceptions is None else return_exceptions
        # As in Future, the attribute contains the exception of a finished future. A debugger that is
        # called after an error stops at the line that raises it.
        values = self._values()
        self._exception = None if keep else self._failure(values)
        if self._exception is not None:
            # No code of yours is here: DirectView.debug() goes to the line of the error, on its engine.
            raise self._exception
        value: Value = self._value(keep, values)
        return value

    def _wait_in_queue(self) -> None:
        """Wait; if that takes long because of other calls, print the other calls."""
        wait_in_queue(self._session, self._calls, self._slots, self.ready)

    def _interrupt_late(self, timeout: float | None) -> TimeoutError:
        """Interrupt a call whose time is over; return the error with the places of the engines."""
        running = unanswered_engines(self._slots)
        places = Stacks(queries.stacks(self._session, running, signals=True)).summary
        text = f"Result not ready after {timeout or 0.0:g} s: {places}."
        try:
            self.interrupt()
            self.wait(queries.ANSWER_TIMEOUT)
        except TimeoutError as e:
            return TimeoutError(f"{text} {e}")
        return TimeoutError(f"{text} It was interrupted ({outcome_in_words(self._slots)}).")

    def result(self, timeout: float | None = None) -> Value:
        """Wait for the result and return it, as `get` does.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; None or -1: without limit.
        """
        return self.get(timeout)

    def exception(self, timeout: float | None = None) -> MPIDirectError | None:
        """Wait for the result, and return the exception that `get` would raise, or None.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; None or -1: without limit.

        Examples
        --------
        >>> type(dv.apply_async(lambda: 1 / 0).exception())
        <class 'mpidirect.errors.CompositeError'>
        """
        if not self.wait(timeout):
            raise TimeoutError("Result not ready.")
        return None if self._return_exceptions else self._failure(self._values())

    @property
    def r(self) -> Value:
        """The result; this waits for it.

        Examples
        --------
        >>> dv.apply_async(pow, 2, 10).r
        [1024, 1024, 1024, 1024]
        """
        return self.get()

    @overload
    def get_dict(self: AsyncResult[list[Item]], timeout: float | None = None) -> dict[int, Item]: ...
    @overload
    def get_dict(self, timeout: float | None = None) -> dict[int, Value]: ...
    def get_dict(self, timeout: float | None = None) -> dict[int, Any]:
        """Wait for the results and return them by engine id.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; None or -1: without limit.

        Examples
        --------
        >>> rc[1:3].apply_async(pow, 2, 10).get_dict()
        {1: 1024, 2: 1024}
        """
        if not self.wait(timeout):
            raise TimeoutError("Result not ready.")
        values = self._values()
        self._raise_failure(values)
        return {engine: value for (_, engine), value in zip(self._slots, values, strict=True)}

    @property
    def result_dict(self) -> dict[int, Any]:
        """The results by engine id; this waits for them."""
        return self.get_dict()

    def successful(self) -> bool:
        """Return whether the call ended without an exception.

        Raises
        ------
        ValueError
            When the result is not ready yet (as `multiprocessing.pool.AsyncResult`).

        Examples
        --------
        >>> ar.successful()
        True
        """
        if not self._ready:
            raise ValueError(f"{self!r} not ready")
        for call in self._calls:
            call.mark_seen()
        return self._has_succeeded()

    def _has_succeeded(self) -> bool:
        return not any(call.replies[engine].status != "ok" for call, engine in self._slots)

    # -- how values are made -----------------------------------------------------------------------------

    def _values(self) -> list[Any]:
        """Return the values of all parts; a part that failed has an exception for its value."""
        if self._has_all_slots and len(self._calls) == 1:
            return self._calls[0].values(self._calls[0].targets)
        return [call.value(engine) for call, engine in self._slots]

    def _value(self, return_exceptions: bool, values: list[Any]) -> Any:
        """Return the user's value, which is made once."""
        if not self._final_value or return_exceptions != self._return_exceptions:
            final = values[0] if self._single else self._finish(values)
            if return_exceptions != self._return_exceptions:
                return final
            self._final_value = [final]
        return self._final_value[0]

    def _finish(self, values: list[Any]) -> Any:
        """Return the user's value for the engines' values; subclasses join the values."""
        return values

    def _failure(self, values: Sequence[Any]) -> MPIDirectError | None:
        """Return the exception for the failed parts; each raise needs a new one."""
        failures = [v for v in values if isinstance(v, RemoteError) and v.engine_info]
        if not failures:
            return None
        others = [f for f in failures if f.ename != ControllerLost.__name__]
        if len(others) < len(failures):
            lost = ControllerLost(next(f.evalue for f in failures if f not in others))
            lost.__cause__ = self._composite(others) if others else None  # engines that failed before
            return lost
        return copy(failures[0]) if self._single else self._composite(failures)

    def _composite(self, failures: Sequence[RemoteError]) -> CompositeError:
        return CompositeError(
            f"one or more exceptions from call to method: {self._method}",
            [(f.ename, f.evalue, f.traceback, f.engine_info) for f in failures],
        )

    def _raise_failure(self, values: Sequence[Any]) -> None:
        error = self._failure(values)
        if error is not None:
            raise error

    # -- parts -------------------------------------------------------------------------------------------

    @overload
    def __iter__(self: AsyncResult[list[Item]]) -> Iterator[Item]: ...
    @overload
    def __iter__(self) -> Iterator[Value]: ...
    def __iter__(self) -> Iterator[Any]:
        """Yield each engine's result, in order, as soon as it has arrived."""
        for call, engine in self._slots:
            self._wait_for_part(call, engine)
            value = call.value(engine)
            if not self._return_exceptions:
                self._raise_failure([value])
            yield value

    def _wait_for_part(self, call: Call, key: int) -> None:
        if key not in call.replies:
            self._session.wait(lambda: key in call.replies, None)

    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self: AsyncResult[list[Item]], key: int) -> Item: ...
    @overload
    def __getitem__(self: AsyncResult[list[Item]], key: slice) -> list[Item]: ...
    @overload
    def __getitem__(self, key: int) -> Value: ...
    @overload
    def __getitem__(self, key: slice) -> list[Value]: ...
    def __getitem__(self, key: Any) -> Any:
        """Return an entry of the metadata by its name, or results of parts by index or slice."""
        if isinstance(key, str):
            if key not in METADATA:
                raise KeyError(key)
            return self._metadata_values(key)
        if not isinstance(key, (int, slice)):
            raise TypeError(f"Invalid key type {type(key)!r}, must be 'int','slice', or 'str'")
        if not self._ready:
            raise TimeoutError("Result not ready.")
        values = self._values()
        selected = values[key] if isinstance(key, slice) else [values[key]]
        if not self._return_exceptions:
            self._raise_failure(selected)
        return selected if isinstance(key, slice) else selected[0]

    @overload
    def split(self: AsyncResult[list[Item]]) -> tuple[AsyncResult[Item], ...]: ...
    @overload
    def split(self) -> tuple[AsyncResult[Value], ...]: ...
    def split(self) -> tuple[AsyncResult[Any], ...]:
        """Return one AsyncResult for each engine.

        Examples
        --------
        >>> for part in ar.split():
        ...     print(part.engine_id, part.get())
        """
        if self._single:
            return (self,)
        return tuple(
            AsyncResult(self._session, [slot[0]], method=self._method, slots=[slot], single=True)
            for slot in self._slots
        )

    @classmethod
    def join(cls, *results: AsyncResult) -> AsyncResult:
        """Return one AsyncResult for several.

        Parameters
        ----------
        *results : AsyncResult
            The results; a part that several of them have is taken once.

        Examples
        --------
        >>> AsyncResult.join(rc[0].apply_async(abs, -1), rc[1].apply_async(abs, -2)).get()
        [1, 2]
        """
        if not results:
            raise ValueError("Must be given at least one AsyncResult to join")
        slots = list(dict.fromkeys(slot for result in results for slot in result._slots))
        calls = list(dict.fromkeys(call for call, _ in slots))
        return cls(results[0]._session, calls, method=results[0]._method, slots=slots)

    @property
    def msg_ids(self) -> list[str]:
        """The id of each engine's part; `Client.get_result` takes these ids."""
        return [f"{call.id}:{engine}" for call, engine in self._slots]

    # -- how it is shown ---------------------------------------------------------------------------------

    def display_outputs(self, groupby: str = "type", result_only: bool = False) -> None:
        """Wait for the result, and show what the engines printed and displayed.

        Parameters
        ----------
        groupby : {'type', 'engine', 'order'}
            All printed text first, then displays, then results; or engine by engine.
        result_only : bool
            Show only the results.

        Examples
        --------
        >>> rc[:2].execute("print(rank)").display_outputs()
        [stdout:0] 0
        [stdout:1] 1
        """
        self.wait()
        display_outputs(self._metadata(), groupby, result_only, self._single)

    def _state_in_words(self) -> str:
        """Return the failed engines, and those that still run, as text."""
        return state_in_words(self._slots)

    _kind = "AsyncResult"  # the name of the class for users

    def __repr__(self) -> str:
        state = "pending" if not self._ready else "finished" if self._has_succeeded() else "failed"
        if state == "pending" and self.failures:
            state = self._state_in_words()
        return f"<{self._kind}({self._method}): {state}>"

    def timeline(self) -> Figure:
        """Return a picture of the call: when each engine waited, ran and ended, as far as known now.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows the figure; ``savefig`` writes a file.

        Raises
        ------
        ImportError
            When matplotlib is not installed here.

        Examples
        --------
        >>> ar = dv.apply_async(time.sleep, 1)
        >>> ar.wait()
        >>> ar.timeline().savefig("timeline.png")
        """
        from ..display.timeline import timeline

        return timeline(repr(self), self._slots)

    def _repr_html_(self) -> str:
        return html.timeline(repr(self), self._slots, self._session.calls.under_way.copy().values())

    def _ipython_display_(self) -> None:
        """In a notebook, show a timeline that is updated until all engines have replied."""
        if self._ready or not in_kernel():
            raise NotImplementedError  # IPython shows this result like any other object
        ended = threading.Event()
        self.add_done_callback(lambda _: ended.set())
        display_until(ended, lambda: {"text/plain": repr(self), "text/html": self._repr_html_()})

    def _retrieval(self, call_id: str) -> str:
        """Return the text to append to this object's name to get a call's result; empty for other calls."""
        return ".get()" if any(call.id == call_id for call in self._calls) else ""

    def __await__(self) -> Generator[Any, None, Value]:
        import asyncio

        return asyncio.wrap_future(self).__await__()
