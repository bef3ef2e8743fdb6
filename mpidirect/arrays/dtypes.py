"""The types of elements as text, equal in all processes."""

from __future__ import annotations

import ast
import functools
from typing import Any

from .lazy_numpy import np


@functools.lru_cache(256)
def dtype_text(dtype: np.dtype) -> str:
    """Return a text from which `dtype_of` makes an equal dtype; empty if there is none.

    Equal dtypes have equal texts in all processes, but not equal pickles.
    """
    if dtype.hasobject or dtype.metadata or not getattr(type(dtype), "_legacy", True):
        return ""
    try:
        text = repr(np.lib.format.dtype_to_descr(dtype))
        return text if dtype_of(text) == dtype else ""
    except ValueError:  # fields that overlap
        return ""


@functools.lru_cache(256)
def dtype_of(text: str) -> np.dtype:
    """Return the dtype of a text of `dtype_text`."""
    dtype: np.dtype[Any] = np.lib.format.descr_to_dtype(ast.literal_eval(text))
    return dtype


def library_dtype_text(name: str) -> str:
    """Return the text of a library's dtype: numpy's text if numpy has it, else its name (``bfloat16``)."""
    try:
        return dtype_text(np.dtype(name)) or name
    except TypeError:
        return name


def is_numpy_dtype(text: str) -> bool:
    """Whether a text names a dtype of numpy."""
    return not text.isidentifier()
