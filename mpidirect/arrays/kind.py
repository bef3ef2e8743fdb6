"""The kind of numpy's arrays: how an array becomes bytes, and how bytes become an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .dtypes import dtype_of, dtype_text, is_numpy_dtype
from .lazy_numpy import np


class Kind:
    """The kind of numpy's arrays, and the base of the other kinds.

    The bytes of an array, here called *flat*, are an array of one dimension and type uint8: numpy's if numpy
    can use the array's memory, else the library's own.

    Attributes
    ----------
    name : str
        The name of the kind, equal in all processes.
    on_device : bool
        Whether numpy can't use the array's memory: then `get` and `put` copy pieces of it.
    """

    name = "numpy"
    on_device = False

    @property
    def functions(self) -> Any:
        """The module whose functions take these arrays and have numpy's names."""
        return np

    def dtype(self, array: Any) -> str:
        """Return the type of the elements as text; empty if bytes can't represent them."""
        return dtype_text(array.dtype)

    def numpy_dtype(self, text: str) -> np.dtype | None:
        """Return numpy's dtype for a text; None if numpy has none."""
        return dtype_of(text) if is_numpy_dtype(text) else None

    def itemsize(self, text: str) -> int:
        """Return the bytes of one element."""
        return dtype_of(text).itemsize if is_numpy_dtype(text) else self._itemsize(text)

    def _itemsize(self, name: str) -> int:
        raise TypeError(f"numpy has no dtype {name!r}")

    def can_hold(self, array: Any) -> bool:
        """Whether a write to the flat bytes changes the array."""
        return bool(array.flags.c_contiguous and array.flags.writeable)

    def flat(self, array: Any) -> Any:
        """Return the bytes of an array: its own memory if that is contiguous, else a copy."""
        if not array.nbytes:
            return np.empty(0, np.uint8)
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def empty(self, size: int, like: Any = None) -> Any:
        """Return flat bytes to receive into, on the device of the array `like` if one is given."""
        return np.empty(size, np.uint8)

    def shaped(self, flat: Any, text: str, shape: Sequence[int]) -> Any:
        """Return the array that has these flat bytes as its memory."""
        dtype = dtype_of(text)
        return flat.view(dtype).reshape(shape) if flat.size else np.empty(shape, dtype)

    def overlap(self, a: Any, b: Any) -> bool:
        """Whether two flat arrays share memory."""
        return bool(np.may_share_memory(a, b))

    # Arrays on a device

    @property
    def platform(self) -> str:
        """MPI's name of the devices: cuda, rocm; empty for others."""
        return ""

    def get(self, flat: Any, into: np.ndarray) -> None:
        """Copy bytes from the device to the host."""
        raise NotImplementedError

    def put(self, flat: Any, source: np.ndarray) -> None:
        """Copy bytes from the host to the device; on return `source` may change."""
        raise NotImplementedError

    def pinned(self, size: int) -> np.ndarray:
        """Return memory of the host for fast copies from and to the device."""
        return np.empty(size, np.uint8)

    def synchronize(self) -> None:
        """Wait until the device has done its work."""
