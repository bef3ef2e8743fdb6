"""The names of MPI's operations, and the functions that mean the same."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ...serialize import pickles

NAMES = (
    *("sum", "prod", "max", "min", "maxloc", "minloc"),
    *("land", "lor", "lxor", "band", "bor", "bxor"),
)
_FUNCTIONS: dict[str, tuple[Callable[..., Any], ...]] = {
    "sum": (builtins.sum, operator.add, operator.iadd, np.add, np.sum),
    "prod": (operator.mul, operator.imul, np.multiply, np.prod),
    "max": (builtins.max, np.maximum, np.max),
    "min": (builtins.min, np.minimum, np.min),
    "land": (np.logical_and,),
    "lor": (np.logical_or,),
    "lxor": (np.logical_xor,),
    "band": (operator.and_, np.bitwise_and),
    "bor": (operator.or_, np.bitwise_or),
    "bxor": (operator.xor, np.bitwise_xor),
}


def encode_operation(op: Any) -> str | list[bytes]:
    """Return the name of an operation, or the frames of a pickled callable.

    Parameters
    ----------
    op : str or callable
        A name, also as ``'MPI.SUM'``; a function that means the same, as `operator.add` or `numpy.maximum`;
        an operation of mpi4py; or any function of two values.

    Raises
    ------
    ValueError
        When there is no operation of that name.
    TypeError
        When `op` is neither a name nor a callable.

    Examples
    --------
    >>> encode_operation("MPI.SUM"), encode_operation(np.maximum)
    ('sum', 'max')
    """
    if isinstance(op, str):
        name = op.removeprefix("MPI.").lower()
        if name not in NAMES:
            raise ValueError(f"there is no operation {op!r}: use one of {', '.join(NAMES)}, or a callable")
        return name
    if type(op).__module__ == "mpi4py.MPI":  # mpi4py pickles its predefined operations as their names
        reduced = op.__reduce__()
        return encode_operation(reduced if isinstance(reduced, str) else str(op))
    if not callable(op):
        raise TypeError(f"op must be a name or a callable, not {op!r}")
    for name, functions in _FUNCTIONS.items():
        if any(op is function for function in functions):
            return name
    return [bytes(frame) for frame in pickles.dumps(op)]
