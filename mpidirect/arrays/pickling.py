"""Arrays of other libraries than numpy in pickles."""

from __future__ import annotations

from typing import Any

from . import kinds
from .dtypes import is_numpy_dtype
from .kind import Kind
from .lazy_numpy import np


def reduce(array: Any) -> tuple[Any, ...] | None:
    """Return the pickle of an array of another library; None if the library's pickle is right."""
    kind = kinds.of(array)
    if kind is None or kind is kinds.NUMPY:
        return None
    gradient = False
    if kind.name.startswith("torch:"):
        if vars(array) or array._backward_hooks:
            return None
        gradient = array.requires_grad
    flat = kind.flat(array)
    if kind.on_device:
        host = np.empty(len(flat), np.uint8)
        kind.get(flat, host)
        flat = host
    arguments = (kind.name, kind.dtype(array), tuple(array.shape), flat)
    return unpickled, (*arguments, True) if gradient else arguments


def unpickled(name: str, text: str, shape: tuple[int, ...], flat: np.ndarray, gradient: bool = False) -> Any:
    """Return the unpickled array; numpy's if its library is missing, on the host if its device is missing."""
    kind = _nearest(name)
    if kind is kinds.NUMPY and not is_numpy_dtype(text):
        raise ImportError(f"an array of {name} with the dtype {text} came, which numpy does not have")
    if kind.on_device:
        buffer = kind.empty(len(flat))
        kind.put(buffer, flat)
        flat = buffer
    array = kind.shaped(flat, text, shape)
    return array.requires_grad_() if gradient and kind is not kinds.NUMPY else array


def _nearest(name: str) -> Kind:
    """Return the kind of this name, or the nearest kind that this process has."""
    package = name.partition(":")[0]
    host = f"{package}:cpu" if package in ("torch", "jax") else "numpy"
    for candidate in (name, host):
        try:
            return kinds.named(candidate)
        except ImportError:
            pass
    return kinds.NUMPY
