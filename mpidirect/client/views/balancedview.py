"""The load-balanced view: each task runs on whichever engine is free."""

from __future__ import annotations

import numbers
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from ...arrays import partition
from ...serialize import calls
from ...serialize.dependency import Dependency
from ..display.tracebacks import quiet
from ..interface import ClientInterface
from ..results.balancedresult import BalancedMapResult, BalancedResult
from ..results.outputs import at_prompt
from ..session.balanced_tasks import submit
from .base import View
from .function import check, name_of

if TYPE_CHECKING:
    from .remotefunction import ParallelFunction

GROUP = 256  # of them are submitted together at most
AHEAD = 16  # tasks of each engine that `imap` takes out of an iterable before it waits


@quiet
class LoadBalancedView(View):
    """Engines of a cluster, of which each task gets the one that is free.

    Parameters
    ----------
    client : Client
        The connection.
    targets : int or list of int, optional
        The engines that may run tasks; by default all that live when a task begins.

    Attributes
    ----------
    block : bool
        Whether calls wait for their results.
    retries : int
        How many times a task that has failed, or whose engine has died, begins again on another engine.
    after, follow : AsyncResult, id, `Dependency`, or a collection of results and ids; optional
        Tasks that must have ended before a task begins; with `follow` it runs on the engine where they ran.
    timeout : float, optional
        Seconds that these may take; after that the task fails with ``TaskTimeout``.

    Examples
    --------
    >>> lview = rc.load_balanced_view()
    >>> lview.map_sync(lambda x: x**2, range(8))
    [0, 1, 4, 9, 16, 25, 36, 49]
    >>> with lview.temp_flags(retries=2):
    ...     ar = lview.apply_async(simulate, 0.5)
    """

    FLAGS = ("targets", "block", "track", "follow", "after", "timeout", "retries", "label")

    def __init__(self, client: ClientInterface, targets: Any = None, **flags: Any) -> None:
        self.after: Any = None
        self.follow: Any = None
        self.timeout: float | None = None
        self.retries = 0
        super().__init__(client, targets, **flags)

    def set_flags(self, **flags: Any) -> LoadBalancedView:
        """Set flags together: ``block``, ``targets``, ``after``, ``follow``, ``timeout``, ``retries``, ….

        Raises
        ------
        ValueError, TypeError
            When one has a value that can't be meant.
        """
        for name in ("after", "follow"):
            if name in flags:
                Dependency.of(flags[name])
        timeout = flags.get("timeout")
        if timeout is not None and not isinstance(timeout, numbers.Real):
            raise TypeError(f"Invalid type for timeout: {type(timeout)!r}")
        if timeout is not None and timeout < 0:
            raise ValueError(f"Invalid timeout: {timeout}")
        retries = flags.get("retries", 0)
        if not isinstance(retries, int):
            raise TypeError(f"retries must be int, not {type(retries)!r}")
        return super().set_flags(**flags)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'all' if self.targets is None else self.targets}>"

    # -- the one way to the engines --------------------------------------------------------------------------

    def _submit(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        items: list[Any] | None = None,
        chunk: int = 0,
        block: bool | None = None,
        label: str | None = None,
        **options: Any,
    ) -> BalancedResult:
        session = self._session
        session.engines.resolve("all")  # says what is wrong when there is no engine
        targets = [] if self.targets is None else session.engines.resolve(self.targets)
        work = submit(
            session,
            name_of(f),
            targets,
            calls.dumps(f, args, kwargs or {}),
            items,
            chunk,
            self.retries,
            Dependency.of(self.after),
            Dependency.of(self.follow),
            float(self.timeout or 0),
        )
        self.history.append(work.id)
        kind = BalancedResult if items is None else BalancedMapResult
        label = self.label if label is None else label
        result = kind(session, [work], method=name_of(f), single=items is None, label=label, **options)
        work.holders -= 1
        if self.block if block is None else block:
            with result.stream_output() if at_prompt() else nullcontext():
                result._wait_in_call()
        return result

    # -- functions -------------------------------------------------------------------------------------------

    def _apply(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        block: bool | None = None,
    ) -> Any:
        check(f)
        return self._result(self._submit(f, args, kwargs, block=block), block)

    def map(
        self,
        f: Callable[..., Any],
        *sequences: Any,
        block: bool | None = None,
        chunksize: int | str = "auto",
        ordered: bool = True,
        return_exceptions: bool = False,
        label: str | None = None,
    ) -> Any:
        """The builtin `map`, each item on an engine that is free.

        Parameters
        ----------
        f : callable
            Called with an item of each sequence.
        *sequences : sequences or iterables
            As with the builtin, the shortest decides.
        block : bool, optional
            Whether to wait.
        chunksize : int or 'auto'
            So many items are one task: they run one after the other on one engine, and fail together. With
            'auto' each item is a task, and as many go to an engine together as take a moment.
        ordered : bool
            Iterate over the results in their order, not as they arrive.
        return_exceptions : bool
            Exceptions in the place of results instead of a `CompositeError`.
        label : str, optional
            A name for the call, kept in its metadata.

        Returns
        -------
        AsyncMapResult, or a list.

        Examples
        --------
        >>> for value in lview.map(simulate, parameters, ordered=False):
        ...     print(value)
        """
        check(f)
        items, length = partition.to_map(sequences)
        if not length:
            nothing = BalancedMapResult(self._session, [], method=name_of(f), length=0)
            return self._result(nothing, block)
        result = self._submit(
            f,
            items=items,
            chunk=chunk_of(chunksize),
            block=block,
            label=label,
            length=length,
            ordered=ordered,
            return_exceptions=return_exceptions,
        )
        return self._result(result, block)

    def imap(
        self,
        f: Callable[..., Any],
        *sequences: Any,
        ordered: bool = True,
        max_outstanding: int | str = "auto",
        return_exceptions: bool = False,
    ) -> LazyMap:
        """`map` over iterables of any length: items are taken out of them as engines become free.

        Parameters
        ----------
        f : callable
            Called with an item of each iterable.
        *sequences : iterables
            They may be endless.
        ordered : bool
            Yield the results in their order, not as they arrive.
        max_outstanding : int or 'auto'
            How many tasks may be under way; 0: all at once. By default, sixteen for each engine.
        return_exceptions : bool
            Yield exceptions instead of raising.

        Examples
        --------
        >>> for value in islice(lview.imap(simulate, itertools.count()), 100):
        ...     print(value)
        """
        check(f)
        if not sequences:
            raise TypeError("imap() must have at least two arguments.")
        if max_outstanding == "auto":
            most = AHEAD * len(self)
        elif isinstance(max_outstanding, int) and max_outstanding >= 0:
            most = max_outstanding
        else:
            raise ValueError(f"max_outstanding must be 'auto' or a number, not {max_outstanding!r}")
        items = zip(*sequences, strict=False)
        return LazyMap(self, f, items, most or sys.maxsize, ordered, return_exceptions)

    def _parallel(self, f: ParallelFunction, items: list[Any], length: int) -> Any:
        """Call it with parts of the sequences, each on an engine that is free."""
        size = chunk_of(f.chunksize or 1)
        parts = [[partition._slice(item, at, at + size) for at in range(0, length, size)] for item in items]
        if items and isinstance(items[0], range):
            parts = [[list(part) for part in those] for those in parts]
        result = self.map(
            f.func, *parts, block=False, ordered=f.ordered, return_exceptions=f.return_exceptions
        )
        result._joins = True
        return self._result(result, None)

    def _map_parallel(self, f: ParallelFunction, sequences: Sequence[Any]) -> Any:
        return self.map(
            f.func,
            *sequences,
            chunksize=f.chunksize or "auto",
            ordered=f.ordered,
            return_exceptions=f.return_exceptions,
        )

    def register_joblib_backend(self, name: str = "mpidirect", make_default: bool = False) -> None:
        """Make joblib run on this view: ``with joblib.parallel_backend("mpidirect"): …``.

        Parameters
        ----------
        name : str
            The backend's name.
        make_default : bool
            Use it where no other is named.

        Examples
        --------
        >>> lview.register_joblib_backend(make_default=True)
        >>> joblib.Parallel(n_jobs=-1)(joblib.delayed(abs)(x) for x in (-1, -2))
        [1, 2]
        """
        from ..integrations.joblib import register

        register(name, make_default, self)

    # -- what else a pool is ---------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._session.engines.resolve(self.targets))


class LazyMap(Iterator[Any]):
    """The results of `LoadBalancedView.imap`."""

    def __init__(
        self,
        view: LoadBalancedView,
        f: Callable[..., Any],
        items: Iterable[tuple[Any, ...]],
        most: int,
        ordered: bool,
        return_exceptions: bool,
    ) -> None:
        self._items = iter(items)
        self._pending: deque[BalancedMapResult] = deque()
        self._view = view
        self._call = partial(view.map, f, block=False, ordered=ordered, return_exceptions=return_exceptions)
        self._most = most
        self._group = max(1, min(most // 4, GROUP))
        self._results = self._take(ordered)

    def __next__(self) -> Any:
        return next(self._results)

    def cancel(self) -> None:
        """Take no more items; what is under way can still be had."""
        self._items = iter(())

    def close(self) -> None:
        """Take no more items, and abort what has not begun."""
        self.cancel()
        self._results.close()
        for result in self._pending:
            if not result.ready():
                result.abort()
        self._pending.clear()

    def _fill(self) -> None:
        """Submit groups of items, as far as there is room for them."""
        under_way = sum(map(len, self._pending))
        while under_way + self._group <= self._most:
            some = list(islice(self._items, self._group))
            if not some:
                return
            self._pending.append(self._call(*map(list, zip(*some, strict=True))))
            under_way += len(some)

    def _take(self, ordered: bool) -> Generator[Any, None, None]:
        pending = self._pending
        while True:
            self._fill()
            if not pending:
                return
            if not ordered and not any(result.ready() for result in pending):
                self._view._session.wait(lambda: any(result.ready() for result in pending), None)
            chosen = pending[0] if ordered else next(result for result in pending if result.ready())
            yield from chosen
            pending.remove(chosen)


def chunk_of(chunksize: Any) -> int:
    """The number of items of a task; 0: as many go together as suits."""
    if isinstance(chunksize, str) and chunksize == "auto":
        return 0
    if hasattr(chunksize, "__index__") and not isinstance(chunksize, bool) and chunksize >= 1:
        return int(chunksize)
    raise ValueError(f"chunksize must be 'auto' or a positive number, not {chunksize!r}")
