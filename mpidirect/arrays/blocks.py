"""Index an array that engines hold in blocks: each engine selects its items, and only these move."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from . import kinds
from .lazy_numpy import np

_CHOICE = "a mask or a list of ints"
_ARRAYS_APART = "arrays of indices on other axes must stand side by side"
_REMEDY = "gather the array for other indices"


def describe(part: Any) -> tuple[tuple[int, ...], str]:
    """Return shape and element type of an engine's part.

    Raises
    ------
    TypeError
        When the part is no array with a first axis.
    """
    if not (isinstance(part, np.ndarray) or kinds.of(part)) or not part.ndim:
        raise TypeError(f"{kinds.form_of(part)} is no part of an array: arrays with a first axis are")
    return tuple(part.shape), str(part.dtype).removeprefix("torch.")


def select(key: Any, part: Any) -> Any:
    """Return the selected items of an engine's part, as an array that is sent without another copy."""
    items = part[key]
    return np.ascontiguousarray(items) if isinstance(items, np.ndarray) and items.ndim else items


def full_shape(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape of the whole array.

    Raises
    ------
    ValueError
        When the parts differ in an axis other than the first.
    """
    if len({shape[1:] for shape in shapes}) > 1:
        raise ValueError(f"the parts of the engines do not form one array: their shapes are {list(shapes)}")
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def first_and_others(key: Any, shape: Sequence[int]) -> tuple[int | slice | np.ndarray, tuple[Any, ...]]:
    """Return the key for the first axis, and the key for the other axes.

    A mask becomes the indices of its items, for each axis that it covers.

    Raises
    ------
    TypeError
        When engines can't select the items by themselves.
    IndexError
        When a mask has another shape than the array.
    """
    first, *others = (key if isinstance(key, tuple) else (key,)) or (slice(None),)
    if first is Ellipsis:
        covered = len(shape) - sum(map(_covered_axes, others))
        if not covered and others:
            return first_and_others(tuple(others), shape)
        first, others = slice(None), [*[slice(None)] * (covered - 1), *others]
    if isinstance(first, slice):
        if not _selects_in_place(others):
            raise TypeError(f"{_ARRAYS_APART}: {_REMEDY}")
        return first, tuple(others)
    if isinstance(first, (list, tuple, range, np.ndarray)):
        if any(_is_array(item) for item in others):
            raise TypeError(f"beside {_CHOICE} on the first axis, the others take ints and slices: {_REMEDY}")
        rows, *columns = _indices(np.asarray(first), shape)
        return rows, (*columns, *others)
    if isinstance(first, (bool, np.bool_)) or not hasattr(first, "__index__"):
        kind = type(first).__name__
        raise TypeError(
            f"the first axis of a distributed array takes an int, a slice, {_CHOICE}, not {kind}: {_REMEDY}"
        )
    return first.__index__(), tuple(others)


def _covered_axes(item: Any) -> int:
    is_mask = _is_array(item) and np.asarray(item).dtype == bool
    return np.ndim(item) if is_mask else int(item is not None)


def _is_array(item: Any) -> bool:
    return not (item is None or item is Ellipsis or isinstance(item, slice) or np.ndim(item) == 0)


def _selects_in_place(others: Sequence[Any]) -> bool:
    """Return whether the first axis stays the first axis: numpy moves the axes of separate index arrays."""
    if not any(map(_is_array, others)):
        return True
    places = [k for k, item in enumerate(others) if _is_array(item) or hasattr(item, "__index__")]
    return places[-1] - places[0] == len(places) - 1


def _indices(items: np.ndarray, shape: Sequence[int]) -> Sequence[np.ndarray]:
    """Return the indices that an array or a mask selects, for each axis that it covers."""
    if items.dtype == bool:
        if items.shape != tuple(shape[: items.ndim]):
            raise IndexError(
                f"the mask has the shape {items.shape}, and the array the shape {tuple(shape)}: "
                "a mask covers all engines, and the first axes as a whole"
            )
        return np.nonzero(items)
    if items.size and items.dtype.kind not in "iu":
        raise TypeError(f"indices are ints or bools, not {items.dtype}")
    return [items.astype(np.intp)]


def owner_of(index: int, lengths: Sequence[int]) -> tuple[int, int]:
    """Return the position of the part that contains an item, and the item's index in that part.

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
    """Return for each part the slice of the items that `key` selects there, in ascending order.

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


def indices_of_parts(
    indices: np.ndarray, lengths: Sequence[int]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return for each part the indices of its items in it, and the positions of these items in `indices`.

    Examples
    --------
    >>> indices_of_parts(np.array([5, 0, -4]), [4, 4])
    ([array([0]), array([1, 0])], [array([1]), array([0, 2])])
    """
    total = sum(lengths)
    wrong = indices[(indices < -total) | (indices >= total)]
    if wrong.size:
        raise IndexError(f"index {wrong[0]} is out of bounds for axis 0 with size {total}")
    whole = np.where(indices < 0, indices + total, indices)
    ends = np.cumsum(lengths)
    owners = np.searchsorted(ends, whole, side="right")
    places = [np.flatnonzero(owners == part) for part in range(len(lengths))]
    return [whole[at] - ends[k] + lengths[k] for k, at in enumerate(places)], places
