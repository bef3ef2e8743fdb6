"""The part of `Client` that makes views, and objects that use views."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, SupportsIndex, overload

from .control import EngineControl
from .executor import ViewExecutor
from .hub import HubQueries
from .integrations import dask
from .session.engines import is_single_target
from .type_variables import EngineSelection
from .views.balancedview import LoadBalancedView
from .views.directview import BroadcastView, DirectView
from .views.groups import Groups, groups_of


class ViewFactory(HubQueries, EngineControl):
    """The methods of `Client` that return views."""

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[DirectView[int]]:
        for engine in self.ids:
            yield self.direct_view(engine)

    @overload
    def __getitem__(self, key: SupportsIndex) -> DirectView[int]: ...
    @overload
    def __getitem__(self, key: slice | Sequence[int]) -> DirectView[list[int]]: ...
    def __getitem__(self, key: SupportsIndex | slice | Sequence[int]) -> DirectView[Any]:
        if not isinstance(key, (slice, tuple, list, range)) and not hasattr(key, "__index__"):
            raise TypeError(f"key by int/slice/iterable of ints only, not {type(key)}")
        return self.direct_view(key)

    @overload
    def direct_view(self, targets: SupportsIndex, **flags: Any) -> DirectView[int]: ...
    @overload
    def direct_view(
        self, targets: str | slice | Collection[SupportsIndex] | None = "all", **flags: Any
    ) -> DirectView[list[int]]: ...
    @overload
    def direct_view(self, targets: EngineSelection, **flags: Any) -> DirectView[Any]: ...
    def direct_view(self, targets: EngineSelection = "all", **flags: Any) -> DirectView[Any]:
        """Return a view of some engines.

        Parameters
        ----------
        targets : 'all', int, slice or sequence of int
            Engine ids; a slice selects from `ids`. 'all' means the engines that live when the view is used.
        **flags
            ``block``, ``track``.

        Returns
        -------
        DirectView
            Its methods call functions on each of these engines.

        Examples
        --------
        >>> rc.direct_view([0, 2]).apply_sync(pow, 2, 10)
        [1024, 1024]
        """
        if isinstance(targets, str) and targets == "all":  # resolved at each use: engines may still start
            return DirectView(self, "all", **flags)
        engines = self._session.engines.resolve(targets)
        return DirectView(self, engines[0] if is_single_target(targets) else engines, **flags)

    def debug(self, targets: EngineSelection = "all") -> None:
        """Debug engines at the prompt: where they wait in ``breakpoint()``, else the last error of one.

        See `DirectView.debug`.

        Parameters
        ----------
        targets : optional
            Engine ids; by default all.

        Examples
        --------
        >>> ar = dview.apply_async(solve)
        engine 2 waits in breakpoint() at solve.py:41: rc.debug(), or get() of the result, gives it a prompt
        >>> rc.debug()
        engine 2 stopped in breakpoint() at solve.py:41
        > solve.py(42)solve()
        -> x = a / b
        (Pdb 2) p b
        0
        (Pdb 2) c
        """
        self.direct_view(targets).debug()

    def load_balanced_view(self, targets: EngineSelection = None, **flags: Any) -> LoadBalancedView:
        """Return a view whose tasks run on any free engine.

        Parameters
        ----------
        targets : optional
            The engines that may run the tasks; by default all that live when a task begins.
        **flags
            ``block``, ``retries``, ``after``, ``follow``, ``timeout``, ``label``.

        Returns
        -------
        LoadBalancedView
            Its methods call a function once, on one engine.

        Examples
        --------
        >>> lview = rc.load_balanced_view()
        >>> lview.map_sync(abs, range(-2, 2))
        [2, 1, 0, 1]
        """
        if targets is None or (isinstance(targets, str) and targets == "all"):
            return LoadBalancedView(self, None, **flags)
        return LoadBalancedView(self, self._session.engines.resolve(targets), **flags)

    @overload
    def broadcast_view(
        self, targets: SupportsIndex, is_coalescing: bool = False, **flags: Any
    ) -> BroadcastView[int]: ...
    @overload
    def broadcast_view(
        self,
        targets: str | slice | Sequence[int] | None = "all",
        is_coalescing: bool = False,
        **flags: Any,
    ) -> BroadcastView[list[int]]: ...
    def broadcast_view(
        self, targets: EngineSelection = "all", is_coalescing: bool = False, **flags: Any
    ) -> BroadcastView[Any]:
        """Return a direct view: every direct view sends the data that engines share once.

        Parameters
        ----------
        targets : optional
            Engine ids.
        is_coalescing : bool
            Accepted for ipyparallel; replies of engines are joined in any case.
        **flags
            ``block``, ``track``.

        Returns
        -------
        BroadcastView
            A `DirectView`.

        Examples
        --------
        >>> rc.broadcast_view().apply_sync(pow, 2, 10)
        [1024, 1024, 1024, 1024]
        """
        engines = self._session.engines.resolve(targets)
        flags = {"is_coalescing": is_coalescing, **flags}
        return BroadcastView(self, engines[0] if is_single_target(targets) else engines, **flags)

    def executor(self, targets: EngineSelection = None) -> ViewExecutor:
        """Return a `concurrent.futures.Executor` whose workers are engines.

        Parameters
        ----------
        targets : optional
            The engines; by default all that live.

        Returns
        -------
        ViewExecutor
            Its functions run on free engines.

        Examples
        --------
        >>> with rc.executor() as pool:
        ...     list(pool.map(abs, range(-2, 2)))
        [2, 1, 0, 1]
        """
        return self.load_balanced_view(targets).executor

    def split(self, how: int | Sequence[int] | str) -> Groups:
        """Split the engines into groups, each with a communicator of its own.

        All engines take part, so this waits until they are free.

        Parameters
        ----------
        how : int, sequence of int or 'node'
            The size of each group, the sizes of all groups, or one group for each node.

        Returns
        -------
        Groups
            The views of the groups. Its `map` runs each task on a whole group, on the next free one.

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
        targets: EngineSelection = "all",
        port: int = 0,
        nanny: bool = False,
        scheduler_args: dict[str, Any] | None = None,
        **worker_args: Any,
    ) -> Any:
        """Start dask.distributed on engines: a scheduler on the first, a worker on each.

        Dask's tasks run in threads of the engines. The engines still serve calls of this client. Dask's tasks
        can't use MPI: only an engine's main thread calls MPI.

        Parameters
        ----------
        targets : optional
            The engines.
        port : int
            The scheduler's port; 0 for any free port.
        nanny : bool
            Whether workers are processes of their own.
        scheduler_args : dict, optional
            Further arguments of ``distributed.Scheduler``.
        **worker_args
            Further arguments of ``distributed.Worker``; ``nthreads`` is 1 by default.

        Returns
        -------
        distributed.Client
            Dask's client of this scheduler.

        Examples
        --------
        >>> dask = rc.become_dask()
        >>> dask.submit(pow, 2, 10).result()
        1024
        >>> rc.stop_dask()
        """
        return dask.become(self, targets, port, nanny, dict(scheduler_args or {}), worker_args)

    def stop_dask(self, targets: EngineSelection = "all") -> None:
        """End the dask workers and the scheduler that `become_dask` has started, the workers first.

        Parameters
        ----------
        targets : optional
            The engines, as given to `become_dask`.

        Examples
        --------
        >>> rc.stop_dask()
        """
        engines = self._session.engines.resolve(targets)
        for group in (engines[1:], engines[:1]):
            if group:
                self.direct_view(group).apply_sync(dask.stop)

    become_distributed = become_dask
    stop_distributed = stop_dask

    def activate(self, targets: EngineSelection = "all", suffix: str = "") -> DirectView:
        """Make a blocking view, and register IPython's magics ``%px``, … for it.

        Parameters
        ----------
        targets : optional
            Engine ids.
        suffix : str
            Ends the names of the magics, for a second view beside the first.

        Returns
        -------
        DirectView
            The view that the magics use.

        Examples
        --------
        >>> rc.activate([0, 1], suffix="2")  # %px2 runs on two engines
        <DirectView [0, 1]>
        """
        view = self.direct_view(targets)
        view.block = True
        view.activate(suffix)
        return view

    def clear(self, targets: EngineSelection = None, block: bool | None = None) -> Any:
        """Clear the namespaces of engines; the names that an engine starts with stay.

        Parameters
        ----------
        targets : optional
            Engine ids; by default all.
        block : bool, optional
            Whether to wait; by default as `block` of the client.

        Returns
        -------
        AsyncResult, or None where `block` is set.

        Examples
        --------
        >>> rc.clear([0, 1], block=True)
        """
        return self.direct_view("all" if targets is None else targets).clear(block=block)
