"""Pickles whose large buffers stay where they are.

An object becomes a head (a pickle, protocol 5) and the buffers that it refers to, which travel
as frames of their own without a copy.  Functions of the prompt are pickled by value; where they
are made again, the namespace of that process is their globals.
"""

from __future__ import annotations

import builtins
import ctypes
import functools
import io
import marshal
import pickle
import re
import sys
import types
from collections.abc import Sequence
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as _cloudpickle

from ..errors import SerializationError
from ..lazy import np
from .messages import BULK

Buffer = Any  # bytes, bytearray, memoryview: whatever has the buffer protocol

PYTHON = sys.version_info[:2]  # what the code of functions is bound to
_MPI = re.compile(rb"mpi4py|mpidirect\.engine")
PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, range})
_SHORT = 10  # bytes in which no module can be named
_FEW = 16  # items of a list or the like that is looked through


def namespace() -> dict[str, Any]:
    """What functions of the prompt see as their globals in this process: ``__main__``."""
    return sys.modules["__main__"].__dict__


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
    try:
        _Pickler(file, protocol=5, buffer_callback=keep).dump(obj)
    except Exception as e:
        raise SerializationError(
            f"{_describe(obj)} cannot be pickled, so nothing was sent: {type(e).__name__}: {e}"
        ) from e
    frames[0] = file.getbuffer()
    return frames


def loads(frames: Sequence[Buffer]) -> Any:
    """Make the object again from what `dumps` returned.

    Arrays use the memory of `frames`, so they are writable if that is.
    """
    return pickle.loads(frames[0], buffers=frames[1:])


def loads_without_mpi(frames: Sequence[Buffer]) -> Any:
    """The same where MPI must not be loaded: on some login nodes that ends a client's process.

    Raises
    ------
    SerializationError
        When the object needs MPI, and the user has not imported it here himself.
    """
    if len(frames[0]) < _SHORT or _MPI.search(frames[0]) is None:
        return loads(frames)  # without a copy, and at a third of the cost
    return _Unpickler(io.BytesIO(frames[0]), buffers=frames[1:]).load()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        _refuse_mpi(module)
        found = super().find_class(module, name)
        return _subimport if found is _cloudpickle.subimport else found


def _subimport(name: str) -> types.ModuleType:
    _refuse_mpi(name)
    return _cloudpickle.subimport(name)


def _refuse_mpi(module: str) -> None:
    package = module.partition(".")[0]
    if module.startswith("mpidirect.engine") or (package == "mpi4py" and "mpi4py.MPI" not in sys.modules):
        raise SerializationError("it belongs to MPI, and stays on the engines")


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


class _Pickler(cloudpickle.Pickler):
    """cloudpickle, but functions sent by value find their names on the engine.

    A function of the prompt has the engine's namespace as its globals.  What it refers to at the prompt
    is sent along only where it is code (functions, classes, modules), for what the engine lacks: sending
    data would ship a scattered array again with each call.  A lambda or an inner function of an imported
    module keeps its module's names, and finds those that the module lacks on the engine.
    """

    def reducer_override(self, obj: Any) -> Any:
        if type(obj).__name__ == "ndarray" and _is_locked(obj):
            return _as_writable(obj).__reduce_ex__(5)  # whoever gets it has a copy of his own
        return super().reducer_override(obj)

    def _dynamic_function_reduce(self, func: types.FunctionType) -> tuple[Any, ...]:
        code, _, _, _, closure = self._function_getnewargs(func)
        state, slots = _cloudpickle._function_getstate(func)
        scope = slots.pop("__globals__")
        prompt = func.__module__ in ("__main__", None)
        if prompt:
            scope = {name: value for name, value in scope.items() if is_code(value)}
            layered = bool(scope)
        else:
            layered = len(scope) < len(_cloudpickle._extract_code_globals(code))
            scope["__name__"] = func.__module__
        made = marshal.dumps(code), PYTHON, closure, prompt, layered
        like = types.FunctionType(code, {"__name__": "__main__"} if prompt else {}, None, None, closure)
        slots = {name: value for name, value in slots.items() if value and value != getattr(like, name, None)}
        if like.__doc__ and not func.__doc__:
            slots["__doc__"] = func.__doc__
        if not state and not slots and not scope:
            return _make_function, made
        return _make_function, made, (state, slots, scope), None, None, _set_state


def _is_locked(obj: Any) -> bool:
    return type(obj) is np.ndarray and not obj.flags.writeable and obj.nbytes >= BULK


def _as_writable(array: np.ndarray) -> np.ndarray:
    """The same memory as an array that does not say that it is read-only: it is only to be pickled."""
    if array.dtype.hasobject or not (array.flags.c_contiguous or array.flags.f_contiguous):
        return array.copy()
    kind: Any = type("_Memory", (ctypes.c_char * array.nbytes,), {})  # has room for an attribute
    memory = kind.from_address(array.ctypes.data)
    memory.owner = array  # keeps it alive
    return np.ndarray(array.shape, array.dtype, memory, 0, array.strides)


def is_code(value: Any) -> bool:
    if isinstance(value, (types.FunctionType, types.ModuleType, type)):
        return True  # by reference, or small
    if type(value).__module__.startswith("mpidirect."):
        return callable(value)  # our decorators: sent as the function that they decorate
    return callable(value) and hasattr(value, "__name__") and getattr(value, "__module__", "") != "__main__"


_code = functools.lru_cache(256)(marshal.loads)  # what has run before runs faster


def _make_function(
    source: bytes, python: tuple[int, int], closure: tuple[Any, ...] | None, prompt: bool, layered: bool
) -> types.FunctionType:
    """A function whose names are looked up in two layers, if it needs both: its globals, then its builtins.

    The second layer is a dictionary of its own, which CPython takes from the globals at the moment when the
    function is made.
    """
    if python != PYTHON:
        theirs, ours = (".".join(map(str, version)) for version in (python, PYTHON))
        raise SerializationError(
            f"this function comes from Python {theirs} and can't be made in Python {ours}: "
            "use the same minor version for the client and the cluster"
        )
    code = _code(source)
    main = namespace()
    main.setdefault("__builtins__", builtins)  # where C code that imports something looks for that
    if not layered:
        scope = main if prompt else {"__builtins__": builtins}
        return types.FunctionType(code, scope, None, None, closure)
    layer = dict(vars(builtins))
    if not prompt:
        layer = {**layer, **main, "__builtins__": layer}
        return types.FunctionType(code, {"__builtins__": layer}, None, None, closure)
    before, main["__builtins__"] = main["__builtins__"], layer
    try:
        return types.FunctionType(code, main, None, None, closure)
    finally:
        main["__builtins__"] = before


def _set_state(func: Any, state: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]) -> None:
    attributes, slots, scope = state
    if attributes:
        func.__dict__.update(attributes)
    if func.__globals__ is not namespace():
        func.__globals__.update(scope)
    elif scope:
        func.__builtins__.update(scope)
    slots.pop("_cloudpickle_submodules", None)
    cells = slots.pop("__closure__", None) or ()
    for cell, theirs in zip(func.__closure__ or (), cells, strict=True):
        try:
            cell.cell_contents = theirs.cell_contents
        except ValueError:  # a name that has no value yet
            continue
    for name, value in slots.items():
        setattr(func, name, value)


def evaluate(expression: str) -> Any:
    """The value of `expression` in this process's `namespace`: how a reference arrives."""
    scope = namespace()
    return scope[expression] if expression in scope else eval(expression, scope)
