"""The names of MPI's operations, and what else stands for them."""

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


def for_the_engines(op: Any) -> str | list[bytes]:
    """The name of an operation, or the frames of a pickled callable.

    Parameters
    ----------
    op : str or callable
        A name, also as ``'MPI.SUM'``; a function that stands for one, as `operator.add` or `numpy.maximum`;
        an operation of mpi4py; or any function of two values.

    Examples
    --------
    >>> for_the_engines("MPI.SUM"), for_the_engines(np.maximum)
    ('sum', 'max')
    """
    if isinstance(op, str):
        name = op.removeprefix("MPI.").lower()
        if name not in NAMES:
            raise ValueError(f"there is no operation {op!r}: use one of {', '.join(NAMES)}, or a callable")
        return name
    if type(op).__module__ == "mpi4py.MPI":  # its predefined ones are pickled as their names
        given = op.__reduce__()
        return for_the_engines(given if isinstance(given, str) else str(op))
    if not callable(op):
        raise TypeError(f"op must be a name or a callable, not {op!r}")
    for name, functions in _FUNCTIONS.items():
        if any(op is function for function in functions):
            return name
    return [bytes(frame) for frame in pickles.dumps(op)]
