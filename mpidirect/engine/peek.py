"""The values of names while user code runs: read between two bytecodes, by the control thread."""

from __future__ import annotations

import io
from typing import Any

from ..serialize import prompt_names
from ..serialize.pickler import Pickler
from ..serialize.pickles import with_preamble
from .tasks import lookup

MOST = 1024 * 1024  # bytes


def peek(namespace: dict[str, Any], names: list[str]) -> tuple[bytes, str]:
    """A pickle of a list of the values, or why there is none."""
    try:
        values = [lookup(namespace, name) for name in names]
        for name, value in zip(names, values, strict=True):
            _check(name, getattr(value, "nbytes", 0))
        room = _Room()
        pickler = Pickler(room, lambda buffer: True)
        pickler.dump(values)
        return with_preamble(prompt_names.ReferencedNames(pickler.references), room.getvalue()), ""
    except _TooLarge as e:
        return b"", f"ValueError: {e}"
    except Exception as e:  # whatever an object of the user's says
        return b"", f"{type(e).__name__}: {e}"


class _TooLarge(Exception):
    pass


class _Room(io.BytesIO):
    def write(self, data: Any) -> int:
        _check("it", self.tell() + len(data))
        return super().write(data)


def _check(name: str, size: Any) -> None:
    if isinstance(size, int) and size > MOST:
        raise _TooLarge(f"{name} has {size:,} bytes, and at most {MOST:,} are read while an engine is busy")
