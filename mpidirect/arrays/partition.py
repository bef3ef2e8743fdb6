"""Cut a sequence into parts for engines, and join the parts again."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import chain, pairwise
from typing import Any

from . import kinds
from .lazy_numpy import np

DISTRIBUTIONS = ("b", "r")  # blocks, round robin


def bounds(length: int, parts: int) -> list[tuple[int, int]]:
    """Return start and stop of each block: the first blocks have one item more if the parts are uneven.

    Examples
    --------
    >>> bounds(5, 4)
    [(0, 2), (2, 3), (3, 4), (4, 5)]
    """
    size, rest = divmod(length, parts)
    edges = [k * size + min(k, rest) for k in range(parts + 1)]
    return list(pairwise(edges))


def split(sequence: Any, parts: int, dist: str = "b", listed: bool = True) -> list[Any]:
    """Cut `sequence` along its first axis into `parts`.

    Parameters
    ----------
    sequence : sequence, array or iterable
        The parts of an array are views, of another sequence slices, of a range lists. An iterable without
        slices becomes a list first.
    parts : int
        The number of parts.
    dist : {'b', 'r'}
        Contiguous blocks, or round robin.
    listed : bool
        Whether the parts of a range are lists; else they are ranges.

    Raises
    ------
    TypeError
        When `sequence` can't be iterated over.
    ValueError
        When `dist` is no distribution.
    """
    check(dist)
    sequence = as_sequence(sequence)
    length = len(sequence)
    if dist == "r":
        blocks = [_slice(sequence, k, length, parts) for k in range(parts)]
    else:
        blocks = [_slice(sequence, start, stop) for start, stop in bounds(length, parts)]
    return [list(part) for part in blocks] if listed and isinstance(sequence, range) else blocks


def check(dist: str) -> None:
    """Raise ValueError if `dist` is no distribution."""
    if dist not in DISTRIBUTIONS:
        raise ValueError(f"dist must be 'b' (blocks) or 'r' (round robin), not {dist!r}")


def as_sequence(obj: Any) -> Any:
    """Return `obj` if it has a length and can be sliced, else the list of its items."""
    if isinstance(obj, (str, bytes, bytearray)):
        return obj
    if isinstance(obj, np.ndarray):
        if obj.ndim == 0:
            raise TypeError(
                "a 0-dimensional array can't be scattered: it has no first axis. Push it instead."
            )
        return obj
    if (
        isinstance(obj, (Set, Mapping, deque))
        or not hasattr(obj, "__getitem__")
        or not hasattr(obj, "__len__")
    ):
        if not isinstance(obj, Iterable):
            raise TypeError(
                f"{type(obj).__name__!r} object is not a sequence: it can't be split over engines"
            )
        return list(obj)
    return obj


def to_map(sequences: Sequence[Any]) -> tuple[list[Any], int]:
    """Return the sequences of a map, all as long as the shortest, and that length.

    Raises
    ------
    TypeError
        When there is no sequence, or an argument is none.
    """
    if not sequences:
        raise TypeError("map() must have at least two arguments.")
    items = [as_sequence(sequence) for sequence in sequences]
    length = min(map(len, items))
    return [item if len(item) == length else _slice(item, 0, length) for item in items], length


def _slice(sequence: Any, start: int, stop: int, step: int | None = None) -> Any:
    """Return a slice by position, of pandas objects too."""
    by_position = getattr(sequence, "iloc", None)  # pandas
    return (sequence if by_position is None else by_position)[slice(start, stop, step)]


def join(parts: Sequence[Any], dist: str = "b", whole: np.ndarray | None = None) -> Any:
    """Join parts: arrays to an array, lists and tuples to a list, pandas objects to one pandas object.

    Other parts are returned as a list of parts.  `whole`, if given, is the memory in which the contents of
    the parts lie end to end.
    """
    if not parts:
        return []
    kind = kinds.of(parts[0])
    if kind is not None and kind is not kinds.NUMPY and all(kinds.of(part) is kind for part in parts):
        return _join_library_arrays(parts, kind, dist, whole)
    if all(isinstance(part, np.ndarray) for part in parts):
        found = None if dist == "r" or whole is None else _without_copy(parts, whole)
        return _join_arrays(parts, dist) if found is None else found
    if all(isinstance(part, (list, tuple, range)) for part in parts):
        items = list(chain.from_iterable(parts))
        return [items[k] for k in _round_robin_order(len(items), len(parts))] if dist == "r" else items
    pandas = sys.modules.get("pandas")  # a process with pandas objects has imported pandas
    if pandas is not None:
        if all(isinstance(part, (pandas.DataFrame, pandas.Series)) for part in parts):
            table = pandas.concat(parts)
            return table.iloc[_round_robin_order(len(table), len(parts))] if dist == "r" else table
        if all(isinstance(part, pandas.Index) for part in parts):
            index = parts[0].append(list(parts[1:]))
            return index[_round_robin_order(len(index), len(parts))] if dist == "r" else index
    return list(parts)


def _round_robin_order(length: int, parts: int) -> np.ndarray:
    """Return the position of each item among the parts of a round robin that lie end to end."""
    return np.argsort(np.concatenate([np.arange(k, length, parts) for k in range(parts)]))


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


def _join_library_arrays(parts: Sequence[Any], kind: kinds.Kind, dist: str, whole: np.ndarray | None) -> Any:
    """Join arrays of another library: with numpy if they are on the host, else on their device."""
    text = kind.dtype(parts[0])
    if kind.on_device or any(kind.dtype(part) != text for part in parts):
        array = kinds.concatenated(parts)
        return (
            array[kind.functions.asarray(_round_robin_order(len(array), len(parts)))]
            if dist == "r"
            else array
        )
    array = join([kinds.on_host(part, kind) for part in parts], dist, whole)
    return kind.shaped(np.ascontiguousarray(array).reshape(-1).view(np.uint8), text, array.shape)


def _join_arrays(parts: Sequence[np.ndarray], dist: str) -> np.ndarray:
    """Join numpy arrays; arrays without dimensions become items."""
    concatenate = (
        np.ma.concatenate if any(isinstance(p, np.ma.MaskedArray) for p in parts) else np.concatenate
    )
    if any(part.ndim == 0 for part in parts):
        return np.asarray(parts)
    whole = concatenate(parts)
    if all(part.dtype == parts[0].dtype for part in parts):
        whole = whole.astype(parts[0].dtype, copy=False)  # numpy's result has the machine's byte order
    return whole[_round_robin_order(len(whole), len(parts))] if dist == "r" else whole
