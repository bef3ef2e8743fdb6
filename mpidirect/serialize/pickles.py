"""Pickles without copies of large buffers.

An object becomes a head and buffers. The head is a pickle of protocol 5. The buffers are sent as frames of
their own, without a copy. In the head, a preamble is before the pickle: the names of the prompt that
functions in the pickle refer to (`prompt_names`), the source lines of these functions, and the sources of the
user's modules.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
import sys
import types
from collections.abc import Sequence
from typing import Any

from cloudpickle import cloudpickle as _cloudpickle

from ..protocol.frames import Frame
from ..protocol.messages import BULK
from . import module_importer, received_names, source_lines
from .pickler import Pickler
from .plain_types import PLAIN_TYPES
from .prompt_names import ReferencedNames
from .reconstruction import refuse_mpi
from .unpicklable import refusal

_MAX_DEPTH = 32_000  # levels of the pickler; each takes 160 bytes of a stack of 8 MiB
_MPI = re.compile(rb"mpi4py|mpidirect\.engine")
_SHORTEST_NAME = 10  # bytes; a shorter pickle names no module
_MAX_SIMPLE_DICT = 16  # items
_MAX_SIMPLE_SEQUENCE = 1024  # items
_MARK = b"need"  # no pickle starts with these bytes
_PREFIX = struct.Struct(">4sI")  # the mark, and the length of the preamble


def dumps(obj: Any) -> list[Frame]:
    """Pickle `obj`.

    Parameters
    ----------
    obj : object
        Any object that cloudpickle can pickle.

    Returns
    -------
    list of buffers
        The head, then each buffer of at least `BULK` bytes, not copied.

    Raises
    ------
    SerializationError
        When `obj` can't be pickled; the message names its type.

    Examples
    --------
    >>> loads(dumps({"a": 1}))
    {'a': 1}
    >>> [memoryview(frame).nbytes for frame in dumps(np.zeros(100_000))[1:]]
    [800000]
    """
    if type(obj) in PLAIN_TYPES or _is_simple(obj):
        return [pickle.dumps(obj, 5)]  # a fifth of the cost
    frames: list[Frame] = [b""]

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < BULK:
            return True  # copying a small buffer costs less than a frame
        frames.append(raw)
        return False

    file = io.BytesIO()
    pickler = Pickler(file, keep_inside)
    try:
        with _limited_recursion():
            pickler.dump(obj)
    except MemoryError:
        raise
    except Exception as e:
        raise refusal(obj, e, _try_to_pickle)  # noqa: B904 (`refusal` sets the cause where it helps)
    frames[0] = with_preamble(ReferencedNames(pickler.references), file.getvalue())
    return frames


class _limited_recursion:
    """Context manager: deep nesting raises RecursionError instead of overflowing the stack.

    Before Python 3.12 the pickler, which is C code, obeys a recursion limit that user code may have raised.
    """

    former_limit = 0

    def __enter__(self) -> None:
        limit = sys.getrecursionlimit()
        if sys.version_info < (3, 12) and limit > _MAX_DEPTH:
            try:
                sys.setrecursionlimit(_MAX_DEPTH)
            except RecursionError:  # the Python frames, which need no C stack, are already deeper
                return
            self.former_limit = limit

    def __exit__(self, *_: object) -> None:
        if self.former_limit:
            sys.setrecursionlimit(self.former_limit)


def with_preamble(names: ReferencedNames, head: bytes) -> bytes:
    """Return a head with the preamble that its names need, if any."""
    preamble = names.encode()
    return _PREFIX.pack(_MARK, len(preamble)) + preamble + head if preamble else head


def loads(frames: Sequence[Frame]) -> Any:
    """Return the object whose frames `dumps` returned.

    Arrays use the memory of `frames`: an array is writable if its frame is.

    Parameters
    ----------
    frames : sequence of buffers
        The head and the buffers.

    Examples
    --------
    >>> loads(dumps([1, "two"]))
    [1, 'two']
    """
    head = frames[0]
    if bytes(head[: len(_MARK)]) != _MARK:
        return pickle.loads(head, buffers=frames[1:])
    table, head = _load_preamble(head)
    with received_names.unpickling_with(table):
        return pickle.loads(head, buffers=frames[1:])


def _load_preamble(head: Frame) -> tuple[received_names.NameTable, memoryview]:
    """Install the sources of a preamble; return its table of names, and the pickle after the preamble."""
    view = memoryview(head)
    start = _PREFIX.size
    end = start + _PREFIX.unpack_from(view)[1]
    table, cells, modules = pickle.loads(view[start:end])
    source_lines.install(cells)
    module_importer.install(modules)
    return table, view[end:]


def loads_without_mpi(frames: Sequence[Frame]) -> Any:
    """Call `loads` where MPI must not be loaded: on some login nodes its import ends the process.

    Raises
    ------
    SerializationError
        When the object needs MPI, and this process has not imported MPI.
    """
    if len(frames[0]) < _SHORTEST_NAME or _MPI.search(frames[0]) is None:
        return loads(frames)  # without a copy, and at a third of the cost
    head = frames[0]
    table: received_names.NameTable = {}
    if bytes(head[: len(_MARK)]) == _MARK:
        table, head = _load_preamble(head)
    with received_names.unpickling_with(
        {name: blob for name, blob in table.items() if not (blob and _MPI.search(blob))}
    ):
        return _UnpicklerWithoutMPI(io.BytesIO(head), buffers=frames[1:]).load()


class _UnpicklerWithoutMPI(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        refuse_mpi(module)
        found = super().find_class(module, name)
        return _subimport_without_mpi if found is _cloudpickle.subimport else found


def _subimport_without_mpi(name: str) -> types.ModuleType:
    refuse_mpi(name)
    module: types.ModuleType = _cloudpickle.subimport(name)
    return module


def _is_simple(obj: Any) -> bool:
    """Return whether every pickler makes the same pickle of `obj`: a short container of plain values."""
    kind = type(obj)
    if kind is dict:
        return len(obj) <= _MAX_SIMPLE_DICT and all(
            type(k) is str and type(v) in PLAIN_TYPES for k, v in obj.items()
        )
    return (
        (kind is tuple or kind is list)
        and len(obj) <= _MAX_SIMPLE_SEQUENCE
        and PLAIN_TYPES.issuperset(map(type, obj))
    )


def _try_to_pickle(obj: Any) -> None:
    """Pickle `obj` only to get the errors."""
    with _limited_recursion():
        Pickler(io.BytesIO(), lambda buffer: False).dump(obj)
