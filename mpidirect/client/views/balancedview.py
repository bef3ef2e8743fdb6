"""The load-balanced view: each task runs on a free engine."""

from __future__ import annotations

import numbers
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from ...arrays import partition
from ...serialize import calls
from ...serialize.dependency import Dependency
from ..display.tracebacks import trim_tracebacks
from ..interface import ClientInterface
from ..results.balancedresult import BalancedMapResult, BalancedResult
from ..results.outputs import at_prompt
from ..session.balanced_tasks import submit
from ..type_variables import EngineSelection, Item
from .base import View
from .functions import check_callable, function_name
from .lazy_map import LazyMap
from .remotefunction import ParallelFunction

if TYPE_CHECKING:
    from typing_extensions import Self

_OUTSTANDING_PER_ENGINE = 16  # tasks that `imap` has under way by default


@trim_tracebacks
class LoadBalancedView(View[int]):
    """Engines of a cluster; each task runs on one that is free.

    Parameters
    ----------
    client : Client
        The client.
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
        Seconds that these tasks may take; after that the task fails with ``TaskTimeout``.

    Examples
    --------
    >>> lview = rc.load_balanced_view()
    >>> lview.map_sync(lambda x: x**2, range(8))
    [0, 1, 4, 9, 16, 25, 36, 49]
    >>> with lview.temp_flags(retries=2):
    ...     ar = lview.apply_async(simulate, 0.5)
    """

    FLAGS = ("targets", "block", "track", "follow", "after", "timeout", "retries", "label")

    def __init__(self, client: ClientInterface, targets: EngineSelection = None, **flags: Any) -> None:
        self.after: Any = None
        self.follow: Any = None
        self.timeout: float | None = None
        self.retries = 0
        super().__init__(client, targets, **flags)

    def set_flags(self, **flags: Any) -> Self:
        """Set flags: ``block``, ``targets``, ``after``, ``follow``, ``timeout``, ``retries``, ``label``.

        Parameters
        ----------
        **flags
            The new values.

        Returns
        -------
        LoadBalancedView
            The view itself.

        Raises
        ------
        ValueError, TypeError
            When a value is invalid.

        Examples
        --------
        >>> lview.set_flags(retries=2, timeout=60)
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

    def __len__(self) -> int:
        return len(self._session.engines.resolve(self.targets))

    # -- requests -----------------------------------------------------------------------------------------

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
        progress: bool = False,
        **options: Any,
    ) -> BalancedResult:
        """Send tasks; wait for the result if calls block.

        Parameters
        ----------
        f, args, kwargs
            The function and its arguments.
        items : list of sequences, optional
            The sequences that the function is mapped over; None for one task.
        chunk : int
            The number of items of a task: see `session.balanced_tasks.submit`.
        block : bool, optional
            Whether to wait; by default the view's ``block``.
        label : str, optional
            A name for the call, kept in its metadata; by default the view's ``label``.
        progress : bool
            While waiting, show a progress bar.
        **options
            Arguments of the result.
        """
        session, method = self._session, function_name(f)
        session.engines.resolve("all")  # raises where the cluster has no engine
        targets = [] if self.targets is None else session.engines.resolve(self.targets)
        call = submit(
            session,
            method,
            targets,
            calls.dumps(f, args, kwargs or {}),
            items,
            chunk,
            self.retries,
            Dependency.of(self.after),
            Dependency.of(self.follow),
            float(self.timeout or 0),
        )
        self.history.append(call.id)
        kind: type[BalancedResult[Any]] = BalancedResult if items is None else BalancedMapResult
        label = self.label if label is None else label
        result = kind(session, [call], method=method, single=items is None, label=label, **options)
        call.holders -= 1
        if self.block if block is None else block:
            with result.stream_output() if at_prompt() else nullcontext():
                result._wait_in_call(progress)
        return result

    # -- functions ----------------------------------------------------------------------------------------

    def _apply(
        self,
        f: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        block: bool | None = None,
    ) -> Any:
        check_callable(f)
        return self._values_if_blocking(self._submit(f, args, kwargs, block=block), block)

    def map(
        self,
        f: Callable[..., Any],
        *sequences: Any,
        block: bool | None = None,
        chunksize: int | str = "auto",
        ordered: bool = True,
        return_exceptions: bool = False,
        label: str | None = None,
        progress: bool = False,
    ) -> Any:
        """Map a function over sequences like the builtin `map`, each item on a free engine.

        Parameters
        ----------
        f : callable
            Called with an item of each sequence.
        *sequences : sequences or iterables
            As with the builtin, the shortest decides.
        block : bool, optional
            Whether to wait.
        chunksize : int or 'auto'
            The number of items of a task: they run one after the other on one engine, and fail together. With
            'auto' each item is a task, and an engine gets several short tasks at once.
        ordered : bool
            Iterate over the results in their order, not as they arrive.
        return_exceptions : bool
            Put exceptions in the place of results, instead of raising a `CompositeError`.
        label : str, optional
            A name for the call, kept in its metadata.
        progress : bool
            Where it waits, show a bar of the items that are done.

        Returns
        -------
        AsyncMapResult, or a list.

        Examples
        --------
        >>> for value in lview.map(simulate, parameters, ordered=False):
        ...     print(value)
        """
        check_callable(f)
        items, length = partition.to_map(sequences)
        if not length:
            empty: BalancedMapResult[Any] = BalancedMapResult(
                self._session, [], method=function_name(f), length=0
            )
            return self._values_if_blocking(empty, block)
        size = _parse_chunksize(chunksize)
        result = self._submit(
            f,
            items=items,
            # 0: the session decides how many tasks of one item travel together
            chunk=0 if size == 1 else size,
            block=block,
            label=label,
            progress=progress,
            length=length,
            ordered=ordered,
            return_exceptions=return_exceptions,
        )
        return self._values_if_blocking(result, block)

    def imap(
        self,
        f: Callable[..., Item],
        *sequences: Iterable[Any],
        ordered: bool = True,
        max_outstanding: int | str = "auto",
        return_exceptions: bool = False,
    ) -> LazyMap[Item]:
        """`map` over iterables of any length: an item is taken when an engine becomes free.

        Parameters
        ----------
        f : callable
            Called with an item of each iterable.
        *sequences : iterables
            Of any length, also infinite.
        ordered : bool
            Yield the results in their order, not as they arrive.
        max_outstanding : int or 'auto'
            The number of tasks that may be under way; 0 without limit. By default, sixteen for each engine.
        return_exceptions : bool
            Yield exceptions instead of raising.

        Returns
        -------
        LazyMap
            An iterator over the results.

        Examples
        --------
        >>> for value in islice(lview.imap(simulate, itertools.count()), 100):
        ...     print(value)
        """
        check_callable(f)
        if not sequences:
            raise TypeError("imap() must have at least two arguments.")
        if max_outstanding == "auto":
            limit = _OUTSTANDING_PER_ENGINE * len(self)
        elif isinstance(max_outstanding, int) and max_outstanding >= 0:
            limit = max_outstanding
        else:
            raise ValueError(f"max_outstanding must be 'auto' or a number, not {max_outstanding!r}")
        items = zip(*sequences, strict=False)
        submit_group = partial(self.map, f, block=False, ordered=ordered, return_exceptions=return_exceptions)
        wait = partial(self._session.wait, timeout=None)
        return LazyMap(submit_group, wait, items, limit or sys.maxsize, ordered)

    def _apply_to_parts(self, f: ParallelFunction, items: list[Any], length: int) -> Any:
        """Call a function with parts of the sequences, each on a free engine."""
        size = _parse_chunksize(f.chunksize or 1) or 1
        parts = [[partition._slice(item, at, at + size) for at in range(0, length, size)] for item in items]
        if items and isinstance(items[0], range):
            parts = [[list(part) for part in sequence] for sequence in parts]
        result = self.map(
            f.func, *parts, block=False, ordered=f.ordered, return_exceptions=f.return_exceptions
        )
        result._joins = True
        return self._values_if_blocking(result, None)

    def _map_with_options(self, f: ParallelFunction, sequences: Sequence[Any]) -> Any:
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
            Use the backend unless the user names another one.

        Examples
        --------
        >>> lview.register_joblib_backend(make_default=True)
        >>> joblib.Parallel(n_jobs=-1)(joblib.delayed(abs)(x) for x in (-1, -2))
        [1, 2]
        """
        from ..integrations.joblib import register

        register(name, make_default, self)


def _parse_chunksize(chunksize: Any) -> int:
    """Return the number of items of a task; 0 for 'auto'."""
    if isinstance(chunksize, str) and chunksize == "auto":
        return 0
    if hasattr(chunksize, "__index__") and not isinstance(chunksize, bool) and chunksize >= 1:
        return int(chunksize)
    raise ValueError(f"chunksize must be 'auto' or a positive number, not {chunksize!r}")
