"""Results that are one sequence, put together from the engines' parts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, overload

from ...arrays import joining, partition
from ...errors import MPIDirectError, RemoteError
from ..session import queries
from ..type_variables import Item
from .asyncresult import AsyncResult
from .state import unanswered_engines

COUNT_INTERVAL = 0.5  # seconds between two questions to engines how far they are


class ItemCounter:
    """Counts the items of a map that are done, also in parts that are under way: those now and then.

    Parameters
    ----------
    answered, under_way : callable
        Return the number of items in the parts that have been answered, and in the others.
    """

    def __init__(self, answered: Callable[[], int], under_way: Callable[[], int]) -> None:
        self._answered = answered
        self._under_way = under_way
        self._count = 0
        self._due = time.monotonic() + COUNT_INTERVAL

    def __call__(self) -> int:
        """Return the number of items that are known to be done."""
        under_way = 0
        if time.monotonic() >= self._due:
            with contextlib.suppress(MPIDirectError):  # the connection may be down for a moment
                under_way = self._under_way()
            self._due = time.monotonic() + COUNT_INTERVAL
        self._count = max(self._count, self._answered() + under_way)
        return self._count


class AsyncMapResult(AsyncResult[list[Item]]):
    """The result of a map: one sequence, joined from the engines' parts."""

    _kind = "AsyncMapResult"

    def __init__(
        self,
        *args: Any,
        dist: str = "b",
        ordered: bool = True,
        length: int | None = None,
        axis: int | str = 0,
        **kwargs: Any,
    ) -> None:
        self._dist = dist
        self._length = length  # number of items, if known
        self._axis = axis
        self.ordered = ordered
        super().__init__(*args, **kwargs)

    def __len__(self) -> int:
        return super().__len__() if self._length is None else self._length

    @overload  # type: ignore[override]
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: int) -> Item: ...
    @overload
    def __getitem__(self, key: slice) -> list[Item]: ...
    def __getitem__(self, key: Any) -> Any:
        """Return an item, or a slice of the items."""
        if isinstance(key, str):
            return super().__getitem__(key)
        if not isinstance(key, (int, slice)):
            raise TypeError(f"Invalid key type {type(key)!r}, must be 'int','slice', or 'str'")
        return self.get(0)[key]

    def _done(self) -> int:
        if self._length is None:
            return super()._done()
        parts = partition.split(range(self._length), len(self._slots), self._dist, listed=False)
        return sum(len(part) for part, (c, e) in zip(parts, self._slots, strict=True) if e in c.replies)

    def _counter(self) -> Callable[[], int]:
        return ItemCounter(self._done, self._items_under_way)

    def _items_under_way(self) -> int:
        """Ask the engines that have not answered how many items they have done."""
        ids = {call.id for call in self._calls}
        running = unanswered_engines(self._slots)
        found = queries.usage(self._session, running) if running and self._length is not None else {}
        return sum(use.items for use in found.values() if use is not None and use.id in ids)

    def _finish(self, values: list[Any]) -> Any:
        """Return one sequence, joined from the engines' parts."""
        values = [[v] if isinstance(v, RemoteError) and v.engine_info else v for v in values]
        whole = self._calls[0].gathered if len(self._calls) == 1 else None
        return joining.join(values, self._dist, whole, self._axis)

    def __iter__(self) -> Iterator[Item]:  # type: ignore[override]
        """Yield the items as the engines' parts arrive."""
        if self._dist == "r" or self._axis != 0:
            yield from self.get()
            return
        for part in self._parts():
            if hasattr(part, "__iter__"):
                yield from part
            else:
                yield part

    def _parts(self) -> Iterator[Any]:
        if self.ordered:
            yield from super().__iter__()
            return
        pending = list(self.split())
        while pending:
            self._session.wait(lambda: any(p.ready() for p in pending), None)
            for part in [p for p in pending if p.ready()]:
                pending.remove(part)
                yield part.get(return_exceptions=self._return_exceptions)


class AsyncGatherResult(AsyncMapResult[Item]):
    """The result of a gather whose parts the engines may have joined: each engine returns a list of parts."""

    def _finish(self, values: list[Any]) -> Any:
        parts = [[value] if isinstance(value, RemoteError) else value for value in values]
        return super()._finish(list(chain.from_iterable(parts)))

    def __iter__(self) -> Iterator[Item]:  # type: ignore[override]
        """Yield the items of the whole."""
        yield from self.get()
