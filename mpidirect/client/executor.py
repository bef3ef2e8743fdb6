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

CANCEL_TIMEOUT = 0.1  # seconds that an engine has to confirm that it had not begun a task


class ExecutorView(Protocol):
    """The part of a view that an executor uses: see `LoadBalancedView` and `DirectView`."""

    client: Any

    def __len__(self) -> int:
        """Return the number of engines."""

    def apply_async(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult:
        """Call a function on the engines."""

    def map_async(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> AsyncResult:
        """Map a function over sequences."""


class ViewExecutor(Executor):
    """An executor on a view: its functions run on free engines.

    An exception of a function is raised here, as with the executors of Python; the engine's traceback is the
    exception's ``__cause__``. After a shutdown of the executor, the engines go on.

    Parameters
    ----------
    view : LoadBalancedView or DirectView
        The engines. On a direct view a function runs on each engine, and a result is a list.

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
            The sequences of its arguments; they are read completely at once.
        timeout : float, optional
            Seconds until all results must have arrived.
        chunksize : int
            The number of items of a task. With 1, the engines' speed decides how many tasks travel together.

        Raises
        ------
        TimeoutError
            By the iterator, when a result has not arrived in time.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        self._check()
        if options:  # options such as `buffersize` are for the implementation of Python, which uses `submit`
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
        """Accept no more functions; other users can use the engines.

        Parameters
        ----------
        wait : bool
            Wait for the functions under way.
        cancel_futures : bool
            Cancel the functions that have not begun.
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
    """Yield the values of a map in order; cancel the remaining tasks when the caller stops."""
    try:
        if not result._calls:
            return
        yield from _of_map(result, until)
    finally:
        if not result.ready():
            result.abort()


def _of_map(result: Any, until: float | None) -> Iterator[Any]:
    session, work = result._session, result._calls[0]
    if not hasattr(work, "pop"):  # the result of a direct view
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
    """Return the value of a function, or raise its exception."""
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
        The result of the call.
    """

    def __init__(self, result: AsyncResult) -> None:
        super().__init__()
        self.result_ = result
        self._settling = threading.Lock()
        self._settled = False
        result.add_done_callback(self._settle)

    def _settle(self, done: Any) -> None:
        """Take over the outcome. A waiting thread may call this before the result's callback does."""
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
            if self.result_.wait(CANCEL_TIMEOUT):
                self._settle(self.result_)
        return self.cancelled()

    def result(self, timeout: float | None = None) -> Any:
        """Return the value of the function, or raise its exception."""
        self._wait(timeout)
        return super().result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception of the function, or None."""
        self._wait(timeout)
        return super().exception()

    def _wait(self, timeout: float | None) -> None:
        """Wait by reading messages in this thread: a hop through another thread would take longer."""
        if not self.done():
            if not self.result_.wait(timeout):
                raise errors.TimeoutError("Result not ready.")
            self._settle(self.result_)
