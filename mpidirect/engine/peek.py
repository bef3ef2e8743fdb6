"""The values of names while user code runs: the control thread reads them between two bytecodes."""

from __future__ import annotations

import io
from typing import Any

from ..serialize import prompt_names
from ..serialize.pickler import Pickler
from ..serialize.pickles import with_preamble
from .tasks import lookup

SIZE_LIMIT = 1024 * 1024  # Bytes.


def peek(namespace: dict[str, Any], names: list[str]) -> tuple[bytes, str]:
    """Read the values of names.

    Parameters
    ----------
    namespace : dict
        The namespace of user code.
    names : list of str
        The names.

    Returns
    -------
    pickle : bytes
        The pickle of a list of the values; empty after an error.
    error : str
        The error; empty if there is none.
    """
    try:
        values = [lookup(namespace, name) for name in names]
        for name, value in zip(names, values, strict=True):
            _check_size(name, getattr(value, "nbytes", 0))
        buffer = _LimitedBuffer()
        pickler = Pickler(buffer, lambda buffer: True)
        pickler.dump(values)
        return with_preamble(prompt_names.ReferencedNames(pickler.references), buffer.getvalue()), ""
    except _TooLarge as e:
        return b"", f"ValueError: {e}"
    except Exception as e:  # Objects of user code may raise anything.
        return b"", f"{type(e).__name__}: {e}"


class _TooLarge(Exception):
    pass


class _LimitedBuffer(io.BytesIO):
    def write(self, data: Any) -> int:
        _check_size("it", self.tell() + len(data))
        return super().write(data)


def _check_size(name: str, size: Any) -> None:
    if isinstance(size, int) and size > SIZE_LIMIT:
        raise _TooLarge(
            f"{name} has {size:,} bytes, and at most {SIZE_LIMIT:,} are read while an engine is busy"
        )
