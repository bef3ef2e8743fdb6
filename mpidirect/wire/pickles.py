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
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cloudpickle import cloudpickle as _cloudpickle

from ..errors import SerializationError
from . import borrowing, importing, lending, user_modules
from .functions import Pickler, namespace, refuse_mpi
from .messages import BULK, PLAIN

Buffer = Any  # bytes, bytearray, memoryview: whatever has the buffer protocol

_MPI = re.compile(rb"mpi4py|mpidirect\.engine")
_SHORT = 10  # bytes in which no module can be named
_FEW = 16  # items of a list or the like that is looked through
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
    if type(obj) in PLAIN or _is_simple(obj):
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
        pickler.dump(obj)
    except Exception as e:
        raise SerializationError(
            f"{_describe(obj)} cannot be pickled, so nothing was sent: {type(e).__name__}: {e}"
        ) from e
    frames[0] = preamble(pickler.names, pickler.modules) + file.getvalue()
    return frames


def preamble(names: Mapping[str, dict[str, Any]], modules: Iterable[str]) -> bytes:
    """What stands in front of a pickle whose code refers to these names and modules; it may be empty."""
    if not names and not modules:
        return b""
    needs = lending.needs(names, modules)
    sources = b"" if importing.importer is not None else user_modules.gather(needs.modules)
    if not (needs.table or sources):
        return b""
    body = pickle.dumps((needs.table, sources), 5)
    return _PREFIX.pack(_PREAMBLE, len(body)) + body


def loads(frames: Sequence[Buffer]) -> Any:
    """Make the object again from what `dumps` returned.

    Arrays use the memory of `frames`, so they are writable if that is.
    """
    head = frames[0]
    if bytes(head[: len(_PREAMBLE)]) != _PREAMBLE:
        return pickle.loads(head, buffers=frames[1:])
    table, sources, head = _opened(head)
    importing.install(sources)
    with borrowing.opening(table):
        return pickle.loads(head, buffers=frames[1:])


def _opened(head: Buffer) -> tuple[borrowing.Table, bytes, memoryview]:
    view = memoryview(head)
    start = _PREFIX.size
    end = start + _PREFIX.unpack_from(view)[1]
    return *pickle.loads(view[start:end]), view[end:]


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
    table: borrowing.Table = {}
    if bytes(head[: len(_PREAMBLE)]) == _PREAMBLE:
        table, _, head = _opened(head)
    with borrowing.opening({name: blob for name, blob in table.items() if not (blob and _MPI.search(blob))}):
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
        return len(obj) <= _FEW and all(type(k) is str and type(v) in PLAIN for k, v in obj.items())
    return (kind is tuple or kind is list) and len(obj) <= _FEW and all(type(item) in PLAIN for item in obj)


def _describe(obj: Any) -> str:
    if isinstance(obj, tuple) and len(obj) == 3 and callable(obj[0]):  # a call: name what is in it
        return f"the call of {getattr(obj[0], '__qualname__', obj[0])!r} with its arguments"
    return f"an object of type {type(obj).__qualname__!r}"


def evaluate(expression: str) -> Any:
    """The value of `expression` in this process's `namespace`: how a reference arrives."""
    scope = namespace()
    return scope[expression] if expression in scope else eval(expression, scope)
