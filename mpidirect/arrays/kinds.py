"""The kind of an array by its value or by a name: numpy's, CuPy's, PyTorch's or JAX's, on host or device.

Arrays are sent as bytes. The kind of an array makes bytes of it, and makes an array of bytes on a device of
the same type. A library is imported only if one of its arrays arrives: a process that has such an array has
imported the library.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from typing import Any

from .dtypes import dtype_of, dtype_text, is_numpy_dtype
from .kind import Kind as Kind
from .lazy_numpy import np
from .libraries import CuPyKind, JaxKind, TorchKind

NAMES = frozenset({"ndarray", "Tensor", "ArrayImpl"})  # of the types that can be arrays
NUMPY = Kind()


@functools.cache
def named(name: str) -> Kind:
    """Return the kind of this name.

    Raises
    ------
    ImportError
        When this process has no such library or device.
    """
    package, _, device = name.partition(":")
    if package == "numpy":
        return NUMPY
    if package == "torch":
        return TorchKind(device)
    return JaxKind(device) if package == "jax" else CuPyKind(package)


def of(value: Any) -> Kind | None:
    """Return the kind of an array; None if bytes can't represent it, as of subclasses or object arrays."""
    cls = type(value)
    if cls.__name__ not in NAMES:
        return None
    if cls is np.ndarray:
        return NUMPY if dtype_text(value.dtype) else None
    package = str(cls.__module__).partition(".")[0]  # an extension type may have something else than a text
    if package == "torch":
        plain = cls is sys.modules["torch"].Tensor and value.layout is sys.modules["torch"].strided
        special = plain and (value.is_quantized or value.device.type == "meta")
        return named(f"torch:{value.device.type}") if plain and not special else None
    if package == "jaxlib":
        if not value.is_fully_addressable or value.weak_type or not value.dtype.name.isidentifier():
            return None
        return named(f"jax:{next(iter(value.devices())).platform}")
    if hasattr(cls, "__cuda_array_interface__") and hasattr(sys.modules.get(package), "asnumpy"):
        kind = named(package)
        return kind if kind.dtype(value) else None
    return None


def form_of(value: Any) -> str:
    """Return the form of a value for errors: ``float64[3, 4]``, ``cupy float64[3]``, or the name of its type.

    Examples
    --------
    >>> form_of(np.zeros((3, 4))), form_of([1, 2])
    ('float64[3, 4]', 'list')
    """
    kind = of(value)
    if kind is None and not isinstance(value, np.ndarray):
        return type(value).__name__
    library = "" if kind is None or kind is NUMPY else f"{kind.name} "
    dtype = str(value.dtype).removeprefix("torch.")
    return f"{library}{dtype}[{', '.join(map(str, value.shape))}]"


def functions(*values: Any) -> Any:
    """Return the module whose functions take these arrays by numpy's names; None if none is an array."""
    for value in values:
        if isinstance(value, np.ndarray):
            return np
        kind = of(value)
        if kind is not None:
            return kind.functions
    return None


def concatenated(parts: Sequence[Any], axis: int = 0) -> Any:
    """Return arrays of one kind side by side, on their device; arrays without dimensions become items."""
    module = functions(*parts)
    return module.concatenate(list(parts), axis) if parts[0].ndim else module.stack(list(parts))


def on_host(array: Any, kind: Kind) -> np.ndarray:
    """Return a numpy array with the content of `array`: the same memory if possible."""
    flat, text, shape = kind.flat(array), kind.dtype(array), tuple(array.shape)
    if kind.on_device:
        host = np.empty(math.prod(shape) * kind.itemsize(text), np.uint8)
        kind.get(flat, host)
        flat = host
    dtype = dtype_of(text) if is_numpy_dtype(text) else np.dtype(("V", kind.itemsize(text)))
    return flat.view(dtype).reshape(shape) if flat.size else np.empty(shape, dtype)
