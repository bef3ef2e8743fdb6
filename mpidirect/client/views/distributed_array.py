"""An array whose blocks are on engines: `DirectView.array`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from ...arrays import blocks
from ...arrays.lazy_numpy import np
from ...serialize import calls
from ...serialize.reference import Reference
from ..results.asyncmapresult import AsyncMapResult
from ..results.asyncresult import AsyncResult
from .requests import RequestView


class DistributedArray:
    """An array whose blocks are on engines under one name; an index moves only the selected items.

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

    def _refuse(self, *_: Any) -> NoReturn:
        """Refuse to compute here with data that lies on the engines."""
        raise TypeError(
            f"{self.name!r} lies on the engines, which compute with it: dv.execute('B = {self.name} > 0'), "
            f"then dv.array('B'). To compute here, bring it: dv.array({self.name!r})[:]"
        )

    def __getitem__(self, key: Any) -> Any:
        """Return the selected items.

        Parameters
        ----------
        key : int, slice, Ellipsis, mask, list of int or tuple
            As for numpy. Beside a mask or a list on the first axis, the other axes take ints and slices.

        Returns
        -------
        array or scalar

        Raises
        ------
        TypeError
            When the engines can't select the items by themselves.
        IndexError
            When there is no such item, or a mask has another shape.
        """
        shapes = self._shapes()
        lengths = [shape[0] for shape in shapes]
        first, others = blocks.first_and_others(key, blocks.full_shape(shapes))
        if isinstance(first, int):
            position, index = blocks.owner_of(first, lengths)
            return self._call(blocks.select, [self._engines[position]], [(index, *others)]).get()[0]
        if isinstance(first, slice):
            keys = [(part, *others) for part in blocks.slices_of_parts(first, lengths)]
            whole = self._gather([part if part[0].start < part[0].stop else None for part in keys], keys[0])
            return whole[::-1] if (first.step or 1) < 0 else whole
        return self._choose(first, others, lengths)

    def _choose(self, rows: np.ndarray, others: tuple[Any, ...], lengths: list[int]) -> Any:
        """Return the items of some indices of the first axis; `others` are their other indices."""
        parts, places = blocks.indices_of_parts(rows.ravel(), lengths)
        keys = [
            (part, *(item[at] if isinstance(item, np.ndarray) else item for item in others))
            for part, at in zip(parts, places, strict=True)
        ]
        whole = self._gather([key if len(key[0]) else None for key in keys], keys[0])
        order = np.argsort(np.concatenate(places))
        return whole[order].reshape(*rows.shape, *whole.shape[1:])

    def _gather(self, keys: list[Any], empty: Any) -> Any:
        """Return the items that the keys select on their engines, joined; the key None skips its engine."""
        chosen = [k for k, key in enumerate(keys) if key is not None]
        engines, asked = [self._engines[k] for k in chosen], [keys[k] for k in chosen]
        if not chosen:
            engines, asked = self._engines[:1], [empty]
        return self._call(blocks.select, engines, asked, kind=AsyncMapResult, gathers=True).get()

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


_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")
for _name in (*_COMPARISONS, *_BINARY, *(f"r{name}" for name in _BINARY), "neg", "invert", "abs"):
    setattr(DistributedArray, f"__{_name}__", DistributedArray._refuse)
