"""What all views have: flags, calls, and results again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..executor import ViewExecutor
from ..interface import ClientInterface
from ..results.asyncmapresult import AsyncMapResult
from ..results.asyncresult import AsyncResult
from ..session.engines import is_single_target

if TYPE_CHECKING:
    from typing_extensions import Self

    from .remotefunction import ParallelFunction

ATTRIBUTES = frozenset({"client", "history", "_session"})
ALIKE = 0.75  # of two names, from where on one may be a slip for the other


class View:
    """Engines of a cluster, and how calls on them are made.

    The base of `DirectView` and `LoadBalancedView`.
    """

    FLAGS: tuple[str, ...] = ("block", "track", "label", "targets")

    def __init__(self, client: ClientInterface, targets: Any = None, **flags: Any) -> None:
        self.client = client
        self._session = client._session
        self.targets = targets
        self.block = client.block
        self.track = False
        self.label: str | None = None
        self.history: list[str] = []
        self.set_flags(**flags)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.FLAGS and name not in ATTRIBUTES:
            there = self._there(name)
            raise AttributeError(f"a view has no attribute {name!r} to set{there and there + ' = …'}")
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        hint = ""
        if not name.startswith("_"):
            import difflib

            public = [known for known in dir(self) if not known.startswith("_")]
            alike = difflib.get_close_matches(name, public, 1, ALIKE)
            hint = f"; did you mean {alike[0]!r}?" if alike else self._there(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def __repr__(self) -> str:
        text = str(self.targets)
        return f"<{type(self).__name__} {text if len(text) <= 16 else text[:12] + '...]'}>"

    def __len__(self) -> int:
        targets = self.targets
        if targets is None or isinstance(targets, (str, slice)):
            targets = self._session.engines.resolve(targets)
        return 1 if is_single_target(targets) else len(targets)

    def _there(self, name: str) -> str:
        """Where else to look for a name."""
        return ""

    # -- flags ------------------------------------------------------------------------------------------

    def set_flags(self, **flags: Any) -> Self:
        """Set ``block``, ``track``, ``targets``, ``label`` together."""
        for name, value in flags.items():
            if name not in self.FLAGS:
                raise KeyError(f"Invalid name: {name!r}")
            setattr(self, name, value)
        return self

    @contextmanager
    def temp_flags(self, **flags: Any) -> Iterator[Self]:
        """Set flags for the length of a ``with`` block.

        Examples
        --------
        >>> with dview.temp_flags(block=True):
        ...     dview.apply(f)
        """
        before = {name: getattr(self, name) for name in self.FLAGS}
        self.set_flags(**flags)
        try:
            yield self
        finally:
            self.set_flags(**before)

    if TYPE_CHECKING:

        def _apply(
            self,
            f: Callable[..., Any],
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
            block: bool | None = None,
        ) -> Any: ...

        def map(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> Any: ...

        def _parallel(self, f: ParallelFunction, items: list[Any], length: int) -> Any: ...

        def _map_parallel(self, f: ParallelFunction, sequences: Sequence[Any]) -> Any: ...

    def _result(self, result: AsyncResult, block: bool | None) -> Any:
        return result.get() if (self.block if block is None else block) else result

    # -- functions ---------------------------------------------------------------------------------------

    def apply(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``f(*args, **kwargs)`` on the engines.

        At a prompt, where `block` is set, what the engines print and display is shown.

        Parameters
        ----------
        f : callable or Reference
            A function, or the name of one that the engines have.

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
        """Call ``f(*args, **kwargs)`` on the engines; returns at once."""
        return self._apply(f, args, kwargs, block=False)

    def apply_sync(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``f(*args, **kwargs)`` on the engines; returns the results."""
        return self._apply(f, args, kwargs, block=True)

    def map_async(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> AsyncMapResult:
        """`map` that returns at once."""
        return self.map(f, *sequences, **{**options, "block": False})

    def map_sync(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> list[Any]:
        """`map` that returns the list."""
        return self.map(f, *sequences, **{**options, "block": True})

    def remote(self, block: bool | None = None, **flags: Any) -> Callable[[Callable[..., Any]], Any]:
        """Decorator: a function that runs on the engines when it is called.

        Examples
        --------
        >>> @dview.remote(block=True)
        ... def getpid():
        ...     import os
        ...     return os.getpid()
        >>> getpid()
        [12345, 12346, 12347, 12348]
        """
        from .remotefunction import remote

        return remote(self, self.block if block is None else block, **flags)

    def parallel(
        self, dist: str = "b", block: bool | None = None, ordered: bool = True, **flags: Any
    ) -> Callable[[Callable[..., Any]], Any]:
        """Decorator: a function that is called on each engine with its part of the sequences.

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
        from .remotefunction import parallel

        return parallel(
            self, dist=dist, block=self.block if block is None else block, ordered=ordered, **flags
        )

    @property
    def executor(self) -> ViewExecutor:
        """A `concurrent.futures.Executor` on this view."""
        return ViewExecutor(self)

    # -- results and queues -------------------------------------------------------------------------------

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Wait for results: AsyncResults, ids or indices to `history`; by default all of this view."""
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
        """A result of this view again, by id or index to `history`; by default the latest.

        See `Client.get_result`.
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
        """The results that are here, by the ids of their parts; see `Client.results`."""
        return self.client.results

    def purge_results(self, jobs: Any = (), targets: Any = ()) -> None:
        """Forget results; see `Client.purge_results`."""
        self.client.purge_results(jobs, targets)

    def abort(self, jobs: Any = None, targets: Any = None, block: bool | None = None) -> None:
        """Take tasks that have not begun out of the queues; see `Client.abort`."""
        jobs = list(self.outstanding) if jobs is None else jobs
        self.client.abort(jobs, self.targets if targets is None else targets)

    def queue_status(self, targets: Any = None, verbose: bool = False) -> dict[Any, Any]:
        """How long the engines' queues are; see `Client.queue_status`."""
        return self.client.queue_status(self.targets if targets is None else targets, verbose)

    def shutdown(
        self, targets: Any = None, restart: bool = False, hub: bool = False, block: bool | None = None
    ) -> None:
        """End the cluster; see `Client.shutdown`."""
        self.client.shutdown(self.targets if targets is None else targets, restart, hub, block)

    def spin(self) -> None:
        """Take in what has come (nothing needs it)."""
        self.client.spin()
