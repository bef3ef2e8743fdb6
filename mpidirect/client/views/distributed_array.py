"""An array whose parts the engines hold: `DirectView.array`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...arrays import blocks
from ...arrays.lazy_numpy import np
from ...serialize import calls
from ...serialize.reference import Reference
from ..results.asyncmapresult import AsyncMapResult
from ..results.asyncresult import AsyncResult
from .requests import RequestView


class DistributedArray:
    """An array whose blocks lie on engines under one name; an index moves only the items that it selects.

    The object holds no data: each use reads the present values of the engines.

    Parameters
    ----------
    view : RequestView
        The engines, in the order of their blocks.
    name : str
        The name or expression of the blocks. They lie side by side along the first axis.

    Attributes
    ----------
    name : str
        The name of the blocks.

    Examples
    --------
    >>> dview.scatter("A", np.arange(1000))
    >>> A = dview.array("A")
    >>> A.shape
    (1000,)
    >>> A[::250]
    array([  0, 250, 500, 750])
    """

    def __init__(self, view: RequestView, name: str) -> None:
        self.name = name
        self._view = view
        self._engines = view._session.engines.resolve(view.targets)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole array."""
        return blocks.full_shape(self._shapes())

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> str:
        """The name of the type of the elements."""
        return str(self._describe()[0][1])

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        described = self._describe()
        shape = blocks.full_shape([shape for shape, _ in described])
        engines = f"{len(self._engines)} engine{'s' * (len(self._engines) != 1)}"
        return f"<DistributedArray {self.name!r}: {described[0][1]}{list(shape)} on {engines}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)

    def __getitem__(self, key: Any) -> Any:
        """Return the selected items.

        Parameters
        ----------
        key : int, slice, Ellipsis or tuple
            As for numpy; on the first axis an int or a slice.

        Returns
        -------
        array or scalar

        Raises
        ------
        TypeError
            When the first axis is indexed by something else.
        IndexError
            When there is no such item.
        """
        shapes = self._shapes()
        lengths = [shape[0] for shape in shapes]
        first, others = blocks.first_and_others(key, len(blocks.full_shape(shapes)))
        if isinstance(first, int):
            position, index = blocks.owner_of(first, lengths)
            return self._call(blocks.select, [self._engines[position]], [(index, *others)]).get()[0]
        slices = blocks.slices_of_parts(first, lengths)
        chosen = [k for k, part in enumerate(slices) if part.start < part.stop] or [0]
        engines, keys = [self._engines[k] for k in chosen], [(slices[k], *others) for k in chosen]
        whole = self._call(blocks.select, engines, keys, kind=AsyncMapResult, gathers=True).get()
        return whole[::-1] if (first.step or 1) < 0 else whole

    def _shapes(self) -> list[tuple[int, ...]]:
        return [shape for shape, _ in self._describe()]

    def _describe(self) -> list[tuple[tuple[int, ...], str]]:
        described: list[tuple[tuple[int, ...], str]] = self._call(blocks.describe, self._engines).get()
        return described

    def _call(
        self, f: Callable[..., Any], engines: list[int], keys: list[Any] | None = None, **options: Any
    ) -> AsyncResult:
        """Call a function of an engine's key, if there are keys, and of its block; wait for the result."""
        return self._view._request(
            "apply",
            f"array({self.name!r})",
            frames=calls.dumps(f, (Reference(self.name),), {}),
            parts_for=None if keys is None else lambda n: [(key,) for key in keys],
            targets=engines,
            block=True,
            single=False,
            **options,
        )
