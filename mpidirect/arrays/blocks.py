"""Index an array that engines hold in blocks: each engine selects its items, and only these move."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from . import kinds
from .lazy_numpy import np


def describe(part: Any) -> tuple[tuple[int, ...], str]:
    """Return shape and type of the elements of an engine's part.

    Raises
    ------
    TypeError
        When the part is no array with a first axis.
    """
    if not (isinstance(part, np.ndarray) or kinds.of(part)) or not part.ndim:
        raise TypeError(f"{kinds.form_of(part)} is no part of an array: arrays with a first axis are")
    return tuple(part.shape), str(part.dtype).removeprefix("torch.")


def select(key: Any, part: Any) -> Any:
    """Return the items of an engine's part, as an array that travels without another copy."""
    items = part[key]
    return np.ascontiguousarray(items) if isinstance(items, np.ndarray) and items.ndim else items


def full_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape of the whole.

    Raises
    ------
    ValueError
        When the parts differ in an axis other than the first.
    """
    if len({shape[1:] for shape in shapes}) > 1:
        raise ValueError(f"the parts of the engines do not form one array: their shapes are {list(shapes)}")
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def first_and_others(key: Any, ndim: int) -> tuple[int | slice, tuple[Any, ...]]:
    """Return what a key selects on the first axis, and what the key selects on the others.

    Raises
    ------
    TypeError
        When the first axis is indexed by something else than an int or a slice.
    """
    first, *others = (key if isinstance(key, tuple) else (key,)) or (slice(None),)
    if first is Ellipsis:
        named = sum(item is not None for item in others)
        return slice(None), (*[slice(None)] * (ndim - 1 - named), *others)
    if isinstance(first, slice):
        return first, tuple(others)
    if isinstance(first, bool) or not hasattr(first, "__index__"):
        raise TypeError(
            f"the first axis of a distributed array takes an int or a slice, not {type(first).__name__}: "
            "gather the array for other indices"
        )
    return first.__index__(), tuple(others)


def owner_of(index: int, lengths: Sequence[int]) -> tuple[int, int]:
    """Return the position of the part that has an item, and the item's index there.

    Raises
    ------
    IndexError
        When there is no such item.
    """
    total = sum(lengths)
    if not -total <= index < total:
        raise IndexError(f"index {index} is out of bounds for axis 0 with size {total}")
    index %= total
    for position, end in enumerate(accumulate(lengths)):
        if index < end:
            return position, index - end + lengths[position]
    raise AssertionError


def slices_of_parts(key: slice, lengths: Sequence[int]) -> list[slice]:
    """Return for each part the slice of its items among those that `key` selects, in ascending order.

    Examples
    --------
    >>> slices_of_parts(slice(1, None, 3), [4, 4])
    [slice(1, 4, 3), slice(3, 4, 3)]
    """
    chosen = range(*key.indices(sum(lengths)))
    if chosen.step < 0:
        chosen = chosen[::-1]
    slices = []
    for end, length in zip(accumulate(lengths), lengths, strict=True):
        begin = end - length
        skipped = max(0, -(-(begin - chosen.start) // chosen.step))
        first = chosen.start + skipped * chosen.step - begin
        slices.append(slice(first, max(first, min(length, chosen.stop - begin)), chosen.step))
    return slices
