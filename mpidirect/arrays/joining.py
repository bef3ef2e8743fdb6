"""Join the parts of engines to one whole: arrays, sequences, and objects of libraries."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from . import kinds
from .lazy_numpy import np

Join = Callable[[list[Any]], Any]

_registered: dict[type, Join] = {}
_associative: set[type] = set()  # the types whose parts the engines may join


def register_join(kind: type, join: Join, associative: bool = False) -> None:
    """Register how `DirectView.gather` joins objects of a type.

    Parameters
    ----------
    kind : type
        The type. Objects of subclasses are joined in the same way, unless a subclass is registered, too.
    join : callable
        Called with a list of objects of this type, in the order of their engines; returns the whole.
    associative : bool
        Whether the parts may be joined in groups first. If so, the engines join large parts by MPI, and one
        engine sends the whole to the client. This saves time when the whole is much smaller than all parts
        together: counters, statistics, meshes with common points. It costs time when the whole is as large.

    Raises
    ------
    TypeError
        When `kind` is no type, or `join` can't be called.

    Examples
    --------
    >>> from collections import Counter
    >>> mpidirect.register_join(Counter, lambda counters: sum(counters, Counter()), associative=True)
    >>> dview.gather("words", block=True)
    Counter({'to': 2, 'be': 2, 'or': 1, 'not': 1})
    """
    if not isinstance(kind, type) or not callable(join):
        raise TypeError("register_join takes a type and a function of the list of parts")
    _registered[kind] = join
    (_associative.add if associative else _associative.discard)(kind)


def joins_of_engines() -> dict[type, Join | None]:
    """Return the functions that engines may call, by registered type; empty if there are none."""
    if not _associative:
        return {}
    return {kind: join if kind in _associative else None for kind, join in _registered.items()}


def join_for(value: Any, joins: Mapping[type, Join | None]) -> Join | None:
    """Return the function that joins a value, by its class or the nearest base of its class."""
    return next((joins[kind] for kind in type(value).__mro__ if kind in joins), None)


def join(parts: Sequence[Any], dist: str = "b", whole: np.ndarray | None = None, axis: int | str = 0) -> Any:
    """Join parts to one whole.

    Arrays become an array, lists and tuples become a list. Objects of pandas, xarray and PyVista are joined
    by their library, and other types by the functions of `register_join`. All other parts are returned as a
    list of parts.

    Parameters
    ----------
    parts : sequence
        The parts, in the order of their engines.
    dist : {'b', 'r'}
        How the whole was cut: into contiguous blocks, or round robin.
    whole : numpy.ndarray, optional
        The memory in which the contents of the parts lie end to end.
    axis : int or str
        The axis along which the parts lie side by side; for xarray also the name of a dimension.

    Raises
    ------
    ValueError
        When the parts can't be joined along that axis.
    """
    if not parts:
        return []
    found = _registered_join(parts)
    if found is not None:
        _check_first_axis(axis, dist, type(parts[0]).__name__)
        return found(list(parts))
    kind = kinds.of(parts[0])
    if kind is not None and kind is not kinds.NUMPY and all(kinds.of(part) is kind for part in parts):
        return _join_library_arrays(parts, kind, dist, whole, _number(axis))
    if all(isinstance(part, np.ndarray) for part in parts):
        end_to_end = whole if dist == "b" and axis == 0 else None
        joined = None if end_to_end is None else _without_copy(parts, end_to_end)
        return _join_arrays(parts, dist, _number(axis)) if joined is None else joined
    if all(isinstance(part, (list, tuple, range)) for part in parts):
        _check_first_axis(axis, "b", "sequence")
        items = list(chain.from_iterable(parts))
        return [items[k] for k in _round_robin_order(len(items), len(parts))] if dist == "r" else items
    for library, join_objects in _LIBRARIES.items():
        module = sys.modules.get(library)  # a process with objects of a library has imported the library
        if module is not None:
            joined = join_objects(module, parts, dist, axis)
            if joined is not None:
                return joined
    return list(parts)


def _registered_join(parts: Sequence[Any]) -> Join | None:
    """Return the function that the user has registered for all parts, if any."""
    if not _registered:
        return None
    for kind in type(parts[0]).__mro__:
        if kind in _registered and all(isinstance(part, kind) for part in parts):
            return _registered[kind]
    return None


def _check_first_axis(axis: int | str, dist: str, kind: str) -> None:
    """Raise ValueError unless the parts are joined end to end."""
    if axis != 0 or dist != "b":
        wish = f"axis {axis!r}" if axis != 0 else "items dealt out round robin"
        raise ValueError(f"{kind} objects can't be joined along {wish}: gather them with axis=0, dist='b'")


def _number(axis: int | str) -> int:
    if isinstance(axis, str):
        raise ValueError(f"an array has no axis of the name {axis!r}: give the number of the axis")
    return axis


def _in_order(whole: Any, parts: int, axis: int = 0, order_as: Callable[[Any], Any] = lambda o: o) -> Any:
    """Return the items of a round robin in order; its parts lie end to end along `axis`."""
    axis %= whole.ndim
    order = order_as(_round_robin_order(whole.shape[axis], parts))
    return whole[(slice(None),) * axis + (order,)] if axis else whole[order]


def _round_robin_order(length: int, parts: int) -> np.ndarray:
    """Return the position of each item among the parts of a round robin that lie end to end."""
    return np.argsort(np.concatenate([np.arange(k, length, parts) for k in range(parts)]))


# -- arrays -------------------------------------------------------------------------------------------------


def _without_copy(parts: Sequence[np.ndarray], whole: np.ndarray) -> np.ndarray | None:
    """Return the arrays as one without a copy, if they fill `whole` in this order."""
    first = parts[0]
    address, length = whole.ctypes.data, 0
    for part in parts:
        plain = type(part) is np.ndarray and part.flags.c_contiguous and part.ndim > 0
        if not plain or part.dtype != first.dtype or part.shape[1:] != first.shape[1:]:
            return None
        if part.nbytes and part.ctypes.data != address:
            return None
        address += part.nbytes
        length += len(part)
    if first.dtype.hasobject or address != whole.ctypes.data + whole.nbytes:
        return None
    return whole.view(first.dtype).reshape(length, *first.shape[1:])


def _join_library_arrays(
    parts: Sequence[Any], kind: kinds.Kind, dist: str, whole: np.ndarray | None, axis: int
) -> Any:
    """Join arrays of another library: with numpy if they are on the host, else on their device."""
    text = kind.dtype(parts[0])
    if kind.on_device or any(kind.dtype(part) != text for part in parts):
        array = kinds.concatenated(parts, axis)
        return _in_order(array, len(parts), axis, kind.functions.asarray) if dist == "r" else array
    array = join([kinds.on_host(part, kind) for part in parts], dist, whole, axis)
    return kind.shaped(np.ascontiguousarray(array).reshape(-1).view(np.uint8), text, array.shape)


def _join_arrays(parts: Sequence[np.ndarray], dist: str, axis: int) -> np.ndarray:
    """Join numpy arrays; arrays without dimensions become items."""
    concatenate = (
        np.ma.concatenate if any(isinstance(p, np.ma.MaskedArray) for p in parts) else np.concatenate
    )
    if any(part.ndim == 0 for part in parts):
        return np.asarray(parts)
    whole = concatenate(parts, axis=axis)
    if all(part.dtype == parts[0].dtype for part in parts):
        whole = whole.astype(parts[0].dtype, copy=False)  # numpy's result has the machine's byte order
    return _in_order(whole, len(parts), axis) if dist == "r" else whole


# -- objects of libraries -----------------------------------------------------------------------------------


def _join_pandas(pandas: Any, parts: Sequence[Any], dist: str, axis: int | str) -> Any:
    if all(isinstance(part, (pandas.DataFrame, pandas.Series)) for part in parts):
        table = pandas.concat(parts, axis=axis)
        if dist == "r":
            _check_first_axis(axis, "b", "pandas")
            return table.iloc[_round_robin_order(len(table), len(parts))]
        return table
    if all(isinstance(part, pandas.Index) for part in parts):
        _check_first_axis(axis, "b", "pandas.Index")
        index = parts[0].append(list(parts[1:]))
        return index[_round_robin_order(len(index), len(parts))] if dist == "r" else index
    return None


def _join_xarray(xarray: Any, parts: Sequence[Any], dist: str, axis: int | str) -> Any:
    if not any(all(isinstance(p, kind) for p in parts) for kind in (xarray.DataArray, xarray.Dataset)):
        return None
    dimension = axis if isinstance(axis, str) else list(parts[0].sizes)[axis]
    whole = xarray.concat(parts, dim=dimension)
    if dist == "r":
        whole = whole.isel({dimension: _round_robin_order(whole.sizes[dimension], len(parts))})
    return whole


def _join_pyvista(pyvista: Any, parts: Sequence[Any], dist: str, axis: int | str) -> Any:
    if not all(isinstance(part, pyvista.DataSet) for part in parts):
        return None
    _check_first_axis(axis, dist, "pyvista.DataSet")
    return pyvista.merge(list(parts))


_LIBRARIES: dict[str, Callable[[Any, Sequence[Any], str, int | str], Any]] = {
    "pandas": _join_pandas,
    "xarray": _join_xarray,
    "pyvista": _join_pyvista,
}
