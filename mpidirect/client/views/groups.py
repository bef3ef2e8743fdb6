"""Groups of engines, each with a communicator of its own, for tasks that are MPI programs."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, overload

from ...errors import EngineError
from ...mpi import group_functions
from ..interface import ClientInterface
from ..results.asyncresult import AsyncResult
from ..type_variables import EngineSelection, Item
from .directview import DirectView
from .functions import check_callable

_TASKS_PER_GROUP = 2  # tasks of a group that are sent before the first one has ended

_numbers = itertools.count(1)


class GroupView(DirectView[list[int]]):
    """A direct view of a group of engines; functions that it calls see the group's ``comm``.

    Examples
    --------
    >>> first, second = rc.split(2)
    >>> first.apply_sync(lambda: comm.allreduce(rank))
    [1, 1]
    """

    FLAGS = (*DirectView.FLAGS, "group")

    def __init__(
        self, client: ClientInterface, targets: EngineSelection, group: str = "", **flags: Any
    ) -> None:
        self.group = group
        super().__init__(client, targets, **flags)

    def _apply(self, f: Any, *args: Any, **options: Any) -> Any:
        check_callable(f)
        return super()._apply(group_functions.GroupFunction(self.group, f), *args, **options)

    def map(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> Any:
        """Do as `DirectView.map`; the function sees the group's ``comm``.

        Examples
        --------
        >>> first.map(lambda x: comm.allreduce(x), [1, 2], block=True)
        [3, 3]
        """
        check_callable(f)
        return super().map(group_functions.GroupFunction(self.group, f), *sequences, **options)


class Groups(Sequence[GroupView]):
    """Views of groups of engines, and a pool of these groups: each task runs on a whole group.

    `Client.split` returns this object. As a context manager it frees the communicators at the end.

    Parameters
    ----------
    client : Client
        The client.
    groups : list of lists of int
        The engines of each group.

    Examples
    --------
    >>> with rc.split(2) as pool:
    ...     pool.map(lambda x: comm.allreduce(x), [1, 2, 3])
    [2, 4, 6]
    """

    def __init__(self, client: ClientInterface, groups: list[list[int]]) -> None:
        self._client = client
        session = client._session
        self._session = session
        self._name = f"{session.connection.name}/{next(_numbers)}"
        engine_of = {info.pid: id for id, info in session.engines.live.items()}
        DirectView(client, "all").apply_sync(group_functions.make, self._name, groups, engine_of)
        self._views = [GroupView(client, group, self._name) for group in groups]

    def __len__(self) -> int:
        return len(self._views)

    @overload
    def __getitem__(self, key: int) -> GroupView: ...
    @overload
    def __getitem__(self, key: slice) -> list[GroupView]: ...
    def __getitem__(self, key: Any) -> Any:
        return self._views[key]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {[view.targets for view in self._views]}>"

    @overload
    def map(
        self, f: Callable[..., Item], *sequences: Iterable[Any], whole: Literal[False] = False
    ) -> list[Item]: ...
    @overload
    def map(
        self, f: Callable[..., Item], *sequences: Iterable[Any], whole: Literal[True]
    ) -> list[list[Item]]: ...
    @overload
    def map(self, f: Callable[..., Any], *sequences: Iterable[Any], whole: bool) -> list[Any]: ...
    def map(self, f: Callable[..., Any], *sequences: Iterable[Any], whole: bool = False) -> list[Any]:
        """Call `f` with each item on a free group: all engines of the group call `f` together.

        Parameters
        ----------
        f : callable
            A function that sees ``comm``, ``rank`` and ``size`` of its group.
        *sequences : iterables
            As with the builtin `map`.
        whole : bool
            Return a list of the values of all engines of the group, not only the first engine's value.

        Returns
        -------
        list
            A value for each item.

        Raises
        ------
        CompositeError
            When `f` fails on an engine; running tasks go on.

        Examples
        --------
        >>> pool = rc.split(4)
        >>> pool.map(solve, parameters)
        """
        return list(self.imap(f, *sequences, whole=whole))

    @overload
    def imap(
        self, f: Callable[..., Item], *sequences: Iterable[Any], whole: Literal[False] = False
    ) -> Iterator[Item]: ...
    @overload
    def imap(
        self, f: Callable[..., Item], *sequences: Iterable[Any], whole: Literal[True]
    ) -> Iterator[list[Item]]: ...
    @overload
    def imap(self, f: Callable[..., Any], *sequences: Iterable[Any], whole: bool) -> Iterator[Any]: ...
    def imap(self, f: Callable[..., Any], *sequences: Iterable[Any], whole: bool = False) -> Iterator[Any]:
        """Do as `map` over iterables of any length; yield the results in order, as they arrive.

        If the iteration ends early, tasks that groups have been given go on: an engine that has begun
        waits in collectives for the others of its group.

        Parameters
        ----------
        f, *sequences, whole
            As for `map`.

        Examples
        --------
        >>> for value in pool.imap(solve, parameters):
        ...     print(value)
        """
        check_callable(f)
        if not sequences:
            raise TypeError("map() must have at least two arguments.")
        return self._results(f, zip(*sequences, strict=False), whole)

    def _results(self, f: Callable[..., Any], items: Iterator[tuple[Any, ...]], whole: bool) -> Iterator[Any]:
        free = deque(view for _ in range(_TASKS_PER_GROUP) for view in self._views)
        running: dict[AsyncResult, GroupView] = {}
        order: deque[AsyncResult] = deque()
        while True:
            while free and (item := next(items, None)) is not None:
                view = free.popleft()
                result = view.apply_async(f, *item)
                running[result] = view
                order.append(result)
            if not order:
                return
            self._session.wait(lambda: any(result.ready() for result in running), None)
            for result in [result for result in running if result.ready()]:
                view = running.pop(result)
                if any(isinstance(e, EngineError) for e in result.failures.values()):
                    free = deque(other for other in free if other is not view)  # an engine has died
                elif view.targets:
                    free.append(view)
            while order and order[0].ready():
                values = order.popleft().get()
                yield values if whole else values[0]

    def close(self) -> None:
        """Free the communicators.

        Examples
        --------
        >>> pool = rc.split(2)
        >>> pool.close()
        """
        for view in self._views:
            DirectView(self._client, view.targets).apply_sync(group_functions.free, [self._name])

    def __enter__(self) -> Groups:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def groups_of(client: ClientInterface, how: Any) -> list[list[int]]:
    """Return the engines of each group.

    Parameters
    ----------
    client : Client
        The client.
    how : int, sequence of int, or 'node'
        The size of all groups, the size of each group, or one group for each node.

    Raises
    ------
    ValueError
        When the engines can't be split in this way.
    """
    engines = client._session.engines
    ids = sorted(engines.resolve("all"), key=lambda id: (engines.live[id].node, id))
    if isinstance(how, str):
        if how != "node":
            raise ValueError(f"engines are split by a size, by sizes or by 'node', not by {how!r}")
        by_node = itertools.groupby(ids, lambda id: engines.live[id].node)
        return [list(group) for _, group in by_node]
    if hasattr(how, "__index__"):
        size = how.__index__()
        if size < 1 or len(ids) % size:
            raise ValueError(
                f"{len(ids)} engines can't be split into groups of {size}: "
                "give the sizes, as in rc.split([3, 1])"
            )
        sizes = [size] * (len(ids) // size)
    else:
        sizes = [each.__index__() for each in how]
        if not sizes or min(sizes) < 1 or sum(sizes) > len(ids):
            raise ValueError(f"there are {len(ids)} engines, which can't be split into groups of {sizes}")
    remaining = iter(ids)
    return [list(itertools.islice(remaining, size)) for size in sizes]
