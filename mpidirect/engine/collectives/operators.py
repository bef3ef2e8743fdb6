"""The operations of reductions, by their names in MPI: MPI's operations, and numpy's equivalents."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

from ...arrays import kinds

Combine = Callable[[Any, Any], Any]

_MPI: dict[str, MPI.Op] = {
    "sum": MPI.SUM,
    "prod": MPI.PROD,
    "max": MPI.MAX,
    "min": MPI.MIN,
    "land": MPI.LAND,
    "lor": MPI.LOR,
    "lxor": MPI.LXOR,
    "band": MPI.BAND,
    "bor": MPI.BOR,
    "bxor": MPI.BXOR,
}
_NUMPY: dict[str, np.ufunc] = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "land": np.logical_and,
    "lor": np.logical_or,
    "lxor": np.logical_xor,
    "band": np.bitwise_and,
    "bor": np.bitwise_or,
    "bxor": np.bitwise_xor,
}
# The equivalent logical operation for truth values; MPI has no others for them.
_LOGICAL = {"sum": "lor", "max": "lor", "bor": "lor", "prod": "land", "min": "land", "band": "land"}
_LOGICAL |= {"bxor": "lxor"}


def mpi_op(name: str, dtype: np.dtype) -> MPI.Op | None:
    """Return MPI's operation on arrays of this type, or None if MPI has none."""
    if not dtype.isnative or name not in _MPI:
        return None
    if dtype.kind == "b":
        return _MPI[_LOGICAL.get(name, name)]
    arithmetic = name in ("sum", "prod")
    if dtype.kind in "iu":
        return _MPI[name]
    if dtype.kind == "f" and dtype.itemsize in (4, 8):
        return _MPI[name] if arithmetic or name in ("max", "min") else None
    if dtype.kind == "c" and dtype.itemsize in (8, 16):
        return _MPI[name] if arithmetic else None
    return None


def check(name: str, dtype: np.dtype) -> None:
    """Raise TypeError if an operation is not defined for a type."""
    if name in _NUMPY:
        nothing = np.empty(0, dtype)
        try:
            _NUMPY[name](nothing, nothing)
        except TypeError:
            raise TypeError(f"{name!r} is not defined for {dtype}: give a callable") from None


def combine(name: str) -> Combine:
    """Return the operation as a function of two values: elementwise on arrays, else as MPI defines it."""
    if name in ("maxloc", "minloc"):
        return _best(operator.gt if name == "maxloc" else operator.lt)

    def combined(a: Any, b: Any) -> Any:
        module = kinds.functions(a, b)
        if module is None:
            return _MPI[name](a, b)
        result = getattr(module, _NUMPY[name].__name__)(a, b)
        if module is not np or type(a) is np.ndarray:
            # Keep the type: logical results are 0 and 1, the byte order stays.
            return module.asarray(result, dtype=a.dtype)
        return result

    return combined


def with_location(value: Any, engine: int) -> tuple[Any, Any]:
    """Return the operand of maxloc and minloc: a pair as it is, another value with its engine's id."""
    if isinstance(value, tuple) and len(value) == 2:
        return value
    module = kinds.functions(value)
    return value, engine if module is None else module.full_like(value, engine, dtype=int)


def _best(better: Combine) -> Combine:
    def best(a: Any, b: Any) -> Any:
        (x, i), (y, j) = a, b
        first = better(x, y) | ((x == y) & (i <= j))  # Of equal values the lowest location, as in MPI.
        module = kinds.functions(x)
        if module is not None:
            return module.where(first, x, y), module.where(first, i, j)
        return a if first else b

    return best
