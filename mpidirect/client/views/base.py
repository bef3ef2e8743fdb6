"""The base of all views: calls, and the results of earlier calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..executor import ViewExecutor
from ..results.asyncmapresult import AsyncMapResult
from ..results.asyncresult import AsyncResult
from .flags import FlaggedView
from .remotefunction import ParallelFunction, parallel, remote


class View(FlaggedView):
    """Engines of a cluster, and how calls on them are made.

    The base of `DirectView` and `LoadBalancedView`.

    Parameters
    ----------
    client : Client
        The client.
    targets : int, list of int or slice, optional
        The engines.
    **flags
        Other attributes that `FLAGS` names.
    """

    # -- what the kinds of views implement ----------------------------------------------------------------

    def _apply(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        block: bool | None = None,
    ) -> Any:
        """Call a function on the engines; return the result, or the values where calls block."""
        raise NotImplementedError

    def map(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> Any:
        """Call a function with each item of the sequences, as the builtin `map`."""
        raise NotImplementedError

    def _apply_to_parts(self, f: ParallelFunction, items: list[Any], length: int) -> Any:
        """Call a function on each engine with a part of each sequence."""
        raise NotImplementedError

    def _map_with_options(self, f: ParallelFunction, sequences: Sequence[Any]) -> Any:
        """Call a function with each item of the sequences, with the options of a parallel function."""
        raise NotImplementedError

    def _values_if_blocking(self, result: AsyncResult, block: bool | None) -> Any:
        """Return the values where the call blocks, else the result."""
        return result.get() if (self.block if block is None else block) else result

    # -- functions ---------------------------------------------------------------------------------------

    def apply(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``f(*args, **kwargs)`` on the engines.

        At a prompt, where `block` is set, what the engines print and display is shown.

        Parameters
        ----------
        f : callable or Reference
            A function, or the name of one that the engines have.
        *args, **kwargs
            The arguments.

        Returns
        -------
        AsyncResult, or the results where `block` is set.

        Examples
        --------
        >>> dview.apply(pow, 2, 10)
        [1024, 1024, 1024, 1024]
        """
        return self._apply(f, args, kwargs)

    def apply_async(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult:
        """Call ``f(*args, **kwargs)`` on the engines; return at once.

        Parameters
        ----------
        f, *args, **kwargs
            As for `apply`.

        Examples
        --------
        >>> ar = dview.apply_async(pow, 2, 10)
        >>> ar.get()
        [1024, 1024, 1024, 1024]
        """
        result: AsyncResult = self._apply(f, args, kwargs, block=False)
        return result

    def apply_sync(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``f(*args, **kwargs)`` on the engines; return the results.

        Parameters
        ----------
        f, *args, **kwargs
            As for `apply`.

        Examples
        --------
        >>> dview.apply_sync(pow, 2, 10)
        [1024, 1024, 1024, 1024]
        """
        return self._apply(f, args, kwargs, block=True)

    def map_async(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> AsyncMapResult:
        """Do as `map`; return at once.

        Parameters
        ----------
        f, *sequences, **options
            As for `map`.

        Examples
        --------
        >>> for value in dview.map_async(abs, range(-2, 3)):
        ...     print(value)
        """
        result: AsyncMapResult = self.map(f, *sequences, **{**options, "block": False})
        return result

    def map_sync(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> list[Any]:
        """Do as `map`; return the list.

        Parameters
        ----------
        f, *sequences, **options
            As for `map`.

        Examples
        --------
        >>> dview.map_sync(abs, range(-2, 3))
        [2, 1, 0, 1, 2]
        """
        values: list[Any] = self.map(f, *sequences, **{**options, "block": True})
        return values

    def remote(self, block: bool | None = None, **flags: Any) -> Callable[[Callable[..., Any]], Any]:
        """Make a function run on the engines when it is called: a decorator.

        Parameters
        ----------
        block : bool, optional
            Whether to wait; by default the view's present ``block``.
        **flags
            Other flags of the view, for these calls.

        Returns
        -------
        callable
            The decorator.

        Examples
        --------
        >>> @dview.remote(block=True)
        ... def getpid():
        ...     import os
        ...     return os.getpid()
        >>> getpid()
        [12345, 12346, 12347, 12348]
        """
        return remote(self, self.block if block is None else block, **flags)

    def parallel(
        self, dist: str = "b", block: bool | None = None, ordered: bool = True, **flags: Any
    ) -> Callable[[Callable[..., Any]], Any]:
        """Make each engine call a function with its part of the sequences: a decorator.

        Parameters
        ----------
        dist : {'b', 'r'}
            Cut sequences into contiguous blocks, or deal the items out round robin.
        block : bool, optional
            Whether to wait; by default the view's present ``block``.
        ordered : bool
            Iterate over results in their order, not as they arrive.
        **flags
            ``return_exceptions``, ``chunksize``, and other flags of the view.

        Returns
        -------
        callable
            The decorator.

        Examples
        --------
        >>> @dview.parallel(block=True)
        ... def echo(x):
        ...     return str(x)
        >>> echo(range(5))
        ['[0, 1]', '[2]', '[3]', '[4]']
        >>> echo.map(range(5))
        ['0', '1', '2', '3', '4']
        """
        return parallel(
            self, dist=dist, block=self.block if block is None else block, ordered=ordered, **flags
        )

    @property
    def executor(self) -> ViewExecutor:
        """A `concurrent.futures.Executor` on this view."""
        return ViewExecutor(self)

    # -- results and queues -------------------------------------------------------------------------------

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Wait for results.

        Parameters
        ----------
        jobs : AsyncResult, str, int or a list of these, optional
            Results, ids or indices to `history`; by default all calls of this view.
        timeout : float, optional
            Seconds to wait at most; -1 or None without limit.

        Returns
        -------
        bool
            Whether all of them are done.

        Examples
        --------
        >>> dview.wait(timeout=10)
        True
        """
        if jobs is None:
            jobs = list(self.history)
        if isinstance(jobs, int):
            jobs = self.history[jobs]
        elif isinstance(jobs, (list, tuple)):
            jobs = [self.history[job] if isinstance(job, int) else job for job in jobs]
        return self.client.wait(jobs, timeout)

    def get_result(
        self, indices_or_msg_ids: Any = None, block: bool | None = None, owner: bool = True
    ) -> AsyncResult:
        """Return a result of this view again; see `Client.get_result`.

        Parameters
        ----------
        indices_or_msg_ids : int, str or a list of these, optional
            Indices to `history`, or ids; by default the latest call.
        block : bool, optional
            Whether to wait.
        owner : bool
            Whether the result is removed from the cluster when it is deleted here.

        Examples
        --------
        >>> dview.get_result(-1).get()
        """
        index = -1 if indices_or_msg_ids is None else indices_or_msg_ids
        if isinstance(index, int):
            index = self.history[index]
        elif isinstance(index, (list, tuple, set)):
            index = [self.history[item] if isinstance(item, int) else item for item in index]
        return self.client.get_result(index, block=block, owner=owner)

    @property
    def outstanding(self) -> set[str]:
        """The ids of this view's calls that are not done."""
        return self.client.outstanding & set(self.history)

    @property
    def results(self) -> Any:
        """The results that have arrived, by the ids of their parts; see `Client.results`."""
        return self.client.results

    def purge_results(self, jobs: Any = (), targets: Any = ()) -> None:
        """Forget results; see `Client.purge_results`."""
        self.client.purge_results(jobs, targets)

    def abort(self, jobs: Any = None, targets: Any = None, block: bool | None = None) -> None:
        """Take tasks that have not begun out of the queues; see `Client.abort`."""
        jobs = list(self.outstanding) if jobs is None else jobs
        self.client.abort(jobs, self.targets if targets is None else targets)

    def queue_status(self, targets: Any = None, verbose: bool = False) -> dict[Any, Any]:
        """Return the lengths of the engines' queues; see `Client.queue_status`."""
        return self.client.queue_status(self.targets if targets is None else targets, verbose)

    def shutdown(
        self, targets: Any = None, restart: bool = False, hub: bool = False, block: bool | None = None
    ) -> None:
        """End the cluster; see `Client.shutdown`."""
        self.client.shutdown(self.targets if targets is None else targets, restart, hub, block)

    def spin(self) -> None:
        """Take in the messages that have arrived; nothing requires this call."""
        self.client.spin()
