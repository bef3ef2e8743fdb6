"""The pickles of mpidirect under the names of cloudpickle, so that cloudpickle's own tests run with them."""

from __future__ import annotations

import pickle as standard
import sys
import types
from typing import Any

import cloudpickle as theirs
from cloudpickle import cloudpickle

from mpidirect.errors import SerializationError
from mpidirect.serialize import pickles

DEFAULT_PROTOCOL = 5


class _Frames:
    """Put the parts of a pickle of mpidirect into one plain pickle."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = frames

    def __reduce__(self) -> tuple[Any, ...]:
        return pickles.loads, (self._frames,)


def dumps(obj: Any, protocol: int | None = None, buffer_callback: Any = None) -> bytes:
    try:
        frames = [bytes(frame) for frame in pickles.dumps(obj)]
    except SerializationError as e:
        raise (e.__cause__ or e.__context__ or e) from None  # the error that cloudpickle would raise
    if len(frames) == 1 and frames[0].startswith(standard.PROTO):
        return frames[0]
    return standard.dumps(_Frames(frames), 5)


def loads(data: bytes, **_: Any) -> Any:
    return pickles.loads([data])


def dump(obj: Any, file: Any, protocol: int | None = None, **_: Any) -> None:
    file.write(dumps(obj))


def load(file: Any, **_: Any) -> Any:
    return loads(file.read())


def cell_set(cell: types.CellType, value: Any) -> None:
    cell.cell_contents = value


cloudpickle_fast = cloudpickle
pickle = sys.modules["pickle_of_ours"] = types.ModuleType("pickle_of_ours")
pickle.__dict__.update({**vars(standard), "__name__": "pickle_of_ours", "loads": loads, "load": load})


def __getattr__(name: str) -> Any:
    return getattr(theirs if hasattr(theirs, name) else cloudpickle, name)
