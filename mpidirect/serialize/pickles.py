"""Pickles whose large buffers stay where they are.

An object becomes a head (a pickle, protocol 5) and the buffers that it refers to, which travel
as frames of their own without a copy.  In front of the pickle, in the head, stands what it needs
where it arrives: names of the prompt that its functions refer to (`lending`).
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

from ..protocol.messages import BULK
from . import module_importer, prompt_names, received_names, source_lines
from .functions import namespace, refuse_mpi
from .pickler import Pickler
from .plain_types import PLAIN_TYPES
from .unpicklable import refusal

Buffer = Any  # bytes, bytearray, memoryview: whatever has the buffer protocol

DEEPEST = 32_000  # levels of the pickler, of 160 bytes each, for which a stack of 8 MiB is large enough
_MPI = re.compile(rb"mpi4py|mpidirect\.engine")
_SHORT = 10  # bytes in which no module can be named
_FEW = 16  # items of a dict that is looked through
_SOME = 1024  # the same of a list or a tuple
_PREAMBLE = b"need"  # a pickle begins otherwise
_PREFIX = struct.Struct(">4sI")  # that, and how many bytes follow before the pickle


def dumps(obj: Any) -> list[Buffer]:
    """Pickle `obj`.

    Parameters
    ----------
    obj : object
        Anything that cloudpickle can pickle.

    Returns
    -------
    list of buffers
        The head, then each buffer of at least `BULK` bytes, not copied.

    Raises
    ------
    SerializationError
        When `obj` cannot be pickled; the message names its type.
    """
    if type(obj) in PLAIN_TYPES or _is_simple(obj):
        return [pickle.dumps(obj, 5)]  # at a fifth of the cost
    frames: list[Buffer] = [b""]

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < BULK:
            return True  # a small one is cheaper inside the head
        frames.append(raw)
        return False

    file = io.BytesIO()
    pickler = Pickler(file, keep)
    try:
        with _within_the_stack():
            pickler.dump(obj)
    except MemoryError:
        raise
    except Exception as e:
        raise refusal(obj, e, _attempt)  # noqa: B904 (it has its cause, where that tells the user something)
    frames[0] = in_front(prompt_names.ReferencedNames(pickler.references), file.getvalue())
    return frames


class _within_the_stack:
    """Have what is nested too deeply raise an error, and not end the process, if user code has allowed more.

    Before Python 3.12 the pickler, which is C code, heeds the limit that user code may have raised.
    """

    before = 0

    def __enter__(self) -> None:
        limit = sys.getrecursionlimit()
        if sys.version_info < (3, 12) and limit > DEEPEST:
            try:
                sys.setrecursionlimit(DEEPEST)
            except RecursionError:  # Python code, which needs no stack, is deeper already
                return
            self.before = limit

    def __exit__(self, *_: object) -> None:
        if self.before:
            sys.setrecursionlimit(self.before)


def in_front(needs: prompt_names.ReferencedNames, head: bytes) -> bytes:
    """A head with what it needs in front of it."""
    encoded = needs.encode()
    return _PREFIX.pack(_PREAMBLE, len(encoded)) + encoded + head if encoded else head


def loads(frames: Sequence[Buffer]) -> Any:
    """Make the object again from what `dumps` returned.

    Arrays use the memory of `frames`, so they are writable if that is.
    """
    head = frames[0]
    if bytes(head[: len(_PREAMBLE)]) != _PREAMBLE:
        return pickle.loads(head, buffers=frames[1:])
    table, head = _opened(head)
    with received_names.opening(table):
        return pickle.loads(head, buffers=frames[1:])


def _opened(head: Buffer) -> tuple[received_names.Table, memoryview]:
    """The names that stand in front of a pickle, and the pickle; what else stands there is taken."""
    view = memoryview(head)
    start = _PREFIX.size
    end = start + _PREFIX.unpack_from(view)[1]
    table, texts, modules = pickle.loads(view[start:end])
    source_lines.install(texts)
    module_importer.install(modules)
    return table, view[end:]


def loads_without_mpi(frames: Sequence[Buffer]) -> Any:
    """The same where MPI must not be loaded: on some login nodes that ends a client's process.

    Raises
    ------
    SerializationError
        When the object needs MPI, and the user has not imported it here himself.
    """
    if len(frames[0]) < _SHORT or _MPI.search(frames[0]) is None:
        return loads(frames)  # without a copy, and at a third of the cost
    head = frames[0]
    table: received_names.Table = {}
    if bytes(head[: len(_PREAMBLE)]) == _PREAMBLE:
        table, head = _opened(head)
    with received_names.opening(
        {name: blob for name, blob in table.items() if not (blob and _MPI.search(blob))}
    ):
        return _Unpickler(io.BytesIO(head), buffers=frames[1:]).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        refuse_mpi(module)
        found = super().find_class(module, name)
        return _subimport if found is _cloudpickle.subimport else found


def _subimport(name: str) -> types.ModuleType:
    refuse_mpi(name)
    return _cloudpickle.subimport(name)


def _is_simple(obj: Any) -> bool:
    """Whether it is a few things that every pickler pickles in the same way."""
    kind = type(obj)
    if kind is dict:
        return len(obj) <= _FEW and all(type(k) is str and type(v) in PLAIN_TYPES for k, v in obj.items())
    return (kind is tuple or kind is list) and len(obj) <= _SOME and PLAIN_TYPES.issuperset(map(type, obj))


def _attempt(obj: Any) -> None:
    """Pickle it, for nothing but the errors."""
    with _within_the_stack():
        Pickler(io.BytesIO(), lambda buffer: False).dump(obj)


def evaluate(expression: str) -> Any:
    """The value of `expression` in this process's `namespace`: how a reference arrives."""
    scope = namespace()
    return scope[expression] if expression in scope else eval(expression, scope)
