"""Cut a sequence into parts for engines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import pairwise
from typing import Any

from .lazy_numpy import np

DISTRIBUTIONS = ("b", "r")  # blocks, round robin


def bounds(length: int, parts: int) -> list[tuple[int, int]]:
    """Return start and stop of each block; if the blocks differ, the first ones have one item more.

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
