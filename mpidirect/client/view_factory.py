"""The part of `Client` that makes views of engines, and what runs on views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .control import EngineControl
from .executor import ViewExecutor
from .hub import HubQueries
from .integrations import dask
from .session.engines import is_single_target
from .views.balancedview import LoadBalancedView
from .views.directview import BroadcastView, DirectView
from .views.split import Groups, groups_of


class ViewFactory(HubQueries, EngineControl):
    """The methods of `Client` that return views."""

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[DirectView]:
        for engine in self.ids:
            yield self.direct_view(engine)

    def __getitem__(self, key: int | slice | Sequence[int]) -> DirectView:
        if not isinstance(key, (slice, tuple, list, range)) and not hasattr(key, "__index__"):
            raise TypeError(f"key by int/slice/iterable of ints only, not {type(key)}")
        return self.direct_view(key)

    def direct_view(self, targets: Any = "all", **flags: Any) -> DirectView:
        """A view of some engines.

        Parameters
        ----------
        targets : 'all', int, slice or sequence of int
            Engine ids; a slice is taken of `ids`. With 'all', those that live when the view is used.
        **flags
            ``block``, ``track``.
        """
        chosen = self._session.engines.resolve(targets)
        if isinstance(targets, str):  # all that there are when it is used
            return DirectView(self, "all", **flags)
        return DirectView(self, chosen[0] if is_single_target(targets) else chosen, **flags)

    def load_balanced_view(self, targets: Any = None, **flags: Any) -> LoadBalancedView:
        """A view whose tasks each get an engine that is free.

        Parameters
        ----------
        targets : optional
            The engines that may run them; by default all that live when a task begins.
        **flags
            ``block``, ``retries``, ``after``, ``follow``, ``timeout``, ``label``.

        Examples
        --------
        >>> lview = rc.load_balanced_view()
        >>> lview.map_sync(abs, range(-2, 2))
        [2, 1, 0, 1]
        """
        if targets is None or (isinstance(targets, str) and targets == "all"):
            return LoadBalancedView(self, None, **flags)
        return LoadBalancedView(self, self._session.engines.resolve(targets), **flags)

    def broadcast_view(
        self, targets: Any = "all", is_coalescing: bool = False, **flags: Any
    ) -> BroadcastView:
        """A direct view: here each one sends what engines share once.

        Parameters
        ----------
        targets : optional
            Engine ids.
        is_coalescing : bool
            As in ipyparallel; answers of engines come together in any case.
        **flags
            ``block``, ``track``.
        """
        chosen = self._session.engines.resolve(targets)
        return BroadcastView(self, chosen[0] if is_single_target(targets) else chosen, **flags)

    def executor(self, targets: Any = None) -> ViewExecutor:
        """A `concurrent.futures.Executor` whose workers are engines.

        Parameters
        ----------
        targets : optional
            Which engines; by default all that live.

        Examples
        --------
        >>> with rc.executor() as pool:
        ...     list(pool.map(abs, range(-2, 2)))
        [2, 1, 0, 1]
        """
        return self.load_balanced_view(targets).executor

    def split(self, how: int | Sequence[int] | str) -> Groups:
        """Split the engines into groups, each with a communicator of its own.

        All engines take part, so it waits until they are free.

        Parameters
        ----------
        how : int, sequence of int or 'node'
            The size of each group, the sizes of all, or one group for each node.

        Returns
        -------
        Groups
            The views of the groups; its `map` runs each task on a whole group, on the next that is free.

        Examples
        --------
        >>> pool = rc.split(2)
        >>> pool
        <Groups [[0, 1], [2, 3]]>
        >>> pool[1].apply_sync(lambda: (rank, size, comm.allreduce(1)))
        [(0, 2, 2), (1, 2, 2)]
        >>> pool.map(lambda x: comm.allreduce(x), [1, 2, 3])
        [2, 4, 6]
        """
        return Groups(self, groups_of(self, how))

    def become_dask(
        self,
        targets: Any = "all",
        port: int = 0,
        nanny: bool = False,
        scheduler_args: dict[str, Any] | None = None,
        **worker_args: Any,
    ) -> Any:
        """Start dask.distributed on engines: a scheduler on the first, a worker on each.

        Dask's tasks run in threads of the engines, which go on with what they are asked here as well. They
        can't use MPI: an engine's main thread alone does.

        Parameters
        ----------
        targets : optional
            Which engines.
        port : int
            Of the scheduler; by default any.
        nanny : bool
            Have workers as processes of their own.
        scheduler_args : dict, optional
            Further arguments of ``distributed.Scheduler``.
        **worker_args
            Further arguments of ``distributed.Worker``; ``nthreads`` is 1 by default.

        Returns
        -------
        distributed.Client

        Examples
        --------
        >>> dask = rc.become_dask()
        >>> dask.submit(pow, 2, 10).result()
        1024
        >>> rc.stop_dask()
        """
        return dask.become(self, targets, port, nanny, dict(scheduler_args or {}), worker_args)

    def stop_dask(self, targets: Any = "all") -> None:
        """End what `become_dask` has started: the workers first, then the scheduler."""
        engines = self._session.engines.resolve(targets)
        for some in (engines[1:], engines[:1]):
            if some:
                self.direct_view(some).apply_sync(dask.stop)

    become_distributed = become_dask
    stop_distributed = stop_dask

    def activate(self, targets: Any = "all", suffix: str = "") -> DirectView:
        """Make a view of `targets`, and IPython's magics ``%px``, … for it."""
        view = self.direct_view(targets)
        view.block = True
        view.activate(suffix)
        return view

    def clear(self, targets: Any = None, block: bool | None = None) -> Any:
        """Clear the namespaces of engines; the names that an engine begins with stay."""
        return self.direct_view("all" if targets is None else targets).clear(block=block)
