"""A `concurrent.futures.Executor` whose workers are engines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from typing import Any, Protocol

from .. import errors
from ..serialize.outcome import CatchingFunction, Outcome
from .results.asyncresult import AsyncResult
from .type_variables import Item, Params

CANCELLING = 0.1  # seconds that an engine has to say that it had not begun a task


class ExecutorView(Protocol):
    """A view of engines, as an executor uses it: see `LoadBalancedView` and `DirectView`."""

    client: Any

    def __len__(self) -> int:
        """Return the number of engines."""

    def apply_async(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult:
        """Call a function on the engines."""

    def map_async(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> AsyncResult:
        """Map a function over sequences."""


class ViewExecutor(Executor):
    """An executor on a view: its functions run on engines that are free.

    What a function raises is raised here, as with the executors of Python; the engine's traceback is its
    ``__cause__``. When it is shut down, the engines go on.

    Parameters
    ----------
    view : LoadBalancedView or DirectView
        Where. On a direct view a function runs on each engine, and a result is a list.

    Examples
    --------
    >>> with rc.executor() as pool:
    ...     list(pool.map(pow, range(4), [2] * 4))
    [0, 1, 4, 9]
    """

    def __init__(self, view: ExecutorView) -> None:
        self.view = view
        self._max_workers = len(view)
        self._open: dict[Future[Any], None] = {}
        self._maps: dict[AsyncResult, None] = {}
        self._shut = False

    def submit(
        self, fn: Callable[Params, Item], /, *args: Params.args, **kwargs: Params.kwargs
    ) -> Future[Item]:
        """Call ``fn(*args, **kwargs)`` on an engine.

        Raises
        ------
        RuntimeError
            When the executor was shut down.
        """
        self._check()
        future = ViewFuture(self.view.apply_async(CatchingFunction(fn), *args, **kwargs))
        self._open[future] = None
        future.add_done_callback(self._forget)
        return future

    def map(
        self,
        fn: Callable[..., Item],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **options: Any,
    ) -> Iterator[Item]:
        """Map a function over sequences on the engines, like the builtin `map`.

        Parameters
        ----------
        fn : callable
            The function.
        *iterables : iterables
            What it is called with; all of it is read at once.
        timeout : float, optional
            Seconds until all results must be there.
        chunksize : int
            How many items are one task. With 1, as many as suit go together.

        Raises
        ------
        TimeoutError
            By the iterator, when a result is not there in time.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        self._check()
        if options:  # buffersize: Python's own way through `submit`
            return super().map(fn, *iterables, timeout=timeout, chunksize=chunksize, **options)
        until = None if timeout is None else time.monotonic() + timeout
        size: dict[str, Any] = (
            {"chunksize": chunksize} if chunksize > 1 and hasattr(self.view, "after") else {}
        )
        result = self.view.map_async(CatchingFunction(fn), *map(list, iterables), **size)
        self._maps[result] = None
        result.add_done_callback(self._forget_map)
        return _values(result, until)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more functions; the engines are there for others.

        Parameters
        ----------
        wait : bool
            Wait for what is under way.
        cancel_futures : bool
            Cancel what has not begun.
        """
        self._shut = True
        pending = [*self._open, *self._maps]
        if cancel_futures and pending:
            results = [f.result_ if isinstance(f, ViewFuture) else f for f in pending]
            self.view.client.abort(results)
        if wait:
            for future in pending:
                _until_done(future)

    def _check(self) -> None:
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _forget_map(self, result: Any) -> None:
        self._maps.pop(result, None)

    def _forget(self, future: Future[Any]) -> None:
        self._open.pop(future, None)


def _until_done(future: Any) -> None:
    result = future.result_ if isinstance(future, ViewFuture) else future
    result.wait()
    if future is not result:
        try:
            future.exception()
        except CancelledError:
            pass


def _values(result: AsyncResult, until: float | None) -> Iterator[Any]:
    """Yield the values of a map one after the other; the rest is cancelled when the caller stops."""
    try:
        if not result._calls:
            return
        yield from _of_map(result, until)
    finally:
        if not result.ready():
            result.abort()


def _of_map(result: Any, until: float | None) -> Iterator[Any]:
    session, work = result._session, result._calls[0]
    if not hasattr(work, "pop"):  # of a direct view
        for value in result.get(None if until is None else max(0.0, until - time.monotonic())):
            yield _opened(value)
        return
    for key in work.targets:
        if key not in work.replies:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not session.wait(lambda k=key: k in work.replies, left):
                raise errors.TimeoutError("Result not ready.")
        yield _opened(work.pop(key))


def _opened(value: Any) -> Any:
    """Return what a function returned; raise what the function raised."""
    if isinstance(value, errors.RemoteError) and value.engine_info:
        raise value
    if not isinstance(value, Outcome):
        return value
    if value.raised is None:
        return value.value
    error = value.raised.exception()
    try:
        raise error
    finally:
        del error, value  # the traceback refers to this frame


class ViewFuture(Future[Any]):
    """What a function will have come to on an engine.

    Parameters
    ----------
    result : AsyncResult
        Of the call.
    """

    def __init__(self, result: AsyncResult) -> None:
        super().__init__()
        self.result_ = result
        self._settling = threading.Lock()
        self._settled = False
        result.add_done_callback(self._settle)

    def _settle(self, done: Any) -> None:
        """Take over what has come: who waits for it may be here before the callback is."""
        with self._settling:
            if self._settled:
                return
            self._settled = True
        if done.cancelled():
            super().cancel()
        if not self.set_running_or_notify_cancel():
            return
        try:
            value = done.get()
            several = isinstance(value, list) and not done._single
            value = [_opened(each) for each in value] if several else _opened(value)
        except BaseException as e:
            self.set_exception(e.with_traceback(None))
        else:
            self.set_result(value)

    def cancel(self) -> bool:
        """Cancel the call, if no engine has begun it."""
        if not self.done():
            self.result_.abort()
            if self.result_.wait(CANCELLING):
                self._settle(self.result_)
        return self.cancelled()

    def result(self, timeout: float | None = None) -> Any:
        """Return what the function returned; raise what the function raised."""
        self._wait(timeout)
        return super().result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the function raised, or None."""
        self._wait(timeout)
        return super().exception()

    def _wait(self, timeout: float | None) -> None:
        """Wait by reading what comes: a hop through another thread would take longer."""
        if not self.done():
            if not self.result_.wait(timeout):
                raise errors.TimeoutError("Result not ready.")
            self._settle(self.result_)
