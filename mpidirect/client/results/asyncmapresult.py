"""Results that are one sequence, put together from the engines' parts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, overload

from ...arrays import joining, partition
from ...errors import RemoteError
from ..type_variables import Item
from .asyncresult import AsyncResult


class AsyncMapResult(AsyncResult[list[Item]]):
    """The result of a map: one sequence, put together from the engines' parts."""

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
        self._length = length  # in items, where that is known
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

    def _finish(self, values: list[Any]) -> Any:
        """One sequence, of the engines' parts."""
        values = [[v] if isinstance(v, RemoteError) and v.engine_info else v for v in values]
        whole = self._calls[0].whole if len(self._calls) == 1 else None
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
