"""The error for an object that can't be pickled: the part that causes it, its kind, and a remedy."""

from __future__ import annotations

import functools
import os
import pickle
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import cloudpickle

from ..errors import SerializationError

_MAX_DEPTH = 12  # levels of the search
_MAX_TRIED = 200  # objects
_MAX_SECONDS = 2.0
_FILE = "an open file", "open files stay where they are; send the path or the contents"
_LOCK = "a lock", "make it where it is used"
_THREAD = "a thread", "start it where it is to run"
_KNOWN_TYPES = {
    "builtins.generator": ("a generator", "list(...) first"),
    "builtins.async_generator": ("an asynchronous generator", "make a list first"),
    "builtins.coroutine": ("a coroutine", "call the function on the engines: asyncio.run(f()) in a function"),
    "builtins.frame": ("a frame", ""),
    "builtins.traceback": ("a traceback", "send its text: traceback.format_exc()"),
    "_io._IOBase": _FILE,
    "tempfile._TemporaryFileWrapper": _FILE,
    "socket.socket": ("a socket", "sockets stay where they are; connect where it is used"),
    "_thread.lock": _LOCK,
    "_thread.RLock": _LOCK,
    "threading.Condition": _LOCK,
    "threading.Event": _LOCK,
    "threading.Semaphore": _LOCK,
    "threading.Thread": _THREAD,
    "_contextvars.ContextVar": ("a context variable", "make it where it is used"),
    "weakref.ReferenceType": ("a weak reference", "send the object"),
    "subprocess.Popen": ("a process", "start it where it is to run"),
    "multiprocessing.process.BaseProcess": ("a process", "start it where it is to run"),
    "concurrent.futures._base.Executor": ("an executor", "make it where it is used"),
    "sqlite3.Connection": ("a connection to a database", "connect where it is used"),
    "mpidirect.client.client.Client": ("a Client", "clients stay here"),
    "mpidirect.client.views.directview.DirectView": ("a DirectView", "views stay here"),
    "mpidirect.client.results.asyncresult.AsyncResult": ("an AsyncResult", "send what its get() returns"),
    "concurrent.futures._base.Future": ("a future", "send its result()"),
    "mpidirect.cluster.cluster.Cluster": ("a Cluster", "clusters stay here"),
}
_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_PICKLERS = (_PACKAGE, str(Path(cloudpickle.__file__).parent) + os.sep, pickle.__file__)

PickleAttempt = Callable[[Any], Any]  # pickles an object, or raises an error


def reduce_file(file: Any) -> tuple[Any, ...]:
    """Raise an error for an open file; cloudpickle would read the file and send its text."""
    for name in ("stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise TypeError("cannot pickle an open file")


def refusal(obj: Any, error: BaseException, attempt: PickleAttempt) -> SerializationError:
    """Return the error to raise for `obj`, which could not be pickled.

    Parameters
    ----------
    obj : object
        The object that should be sent.
    error : Exception
        The error of the pickler.
    attempt : callable
        Pickles an object, or raises an error.
    """
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return _too_deeply_nested(obj)
    try:
        path, culprit = _find_culprit(obj, attempt)
        path = path.lstrip(", ")
    except Exception:  # objects may run any code when their attributes are read
        path, culprit = "", obj
    what, remedy = next(
        (_KNOWN_TYPES[name] for name in _type_names(culprit) if name in _KNOWN_TYPES), ("", "")
    )
    known = bool(what)
    if not known:
        name = getattr(culprit, "__qualname__", "") if type(culprit) is types.FunctionType else ""
        kind = type(culprit)
        module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
        what = f"the function {name!r}" if name else f"an object of type '{module}{kind.__qualname__}'"
        remedy = f"{type(error).__name__}: {error}"
    refused = SerializationError(
        f"{path}{': ' if path else ''}{what} can't be pickled, so nothing was sent"
        + (f" ({remedy})" if remedy else "")
    )
    refused.__cause__ = error if not known and _is_from_user_code(error.__traceback__) else None
    refused.__suppress_context__ = True
    return refused


def _too_deeply_nested(obj: Any) -> SerializationError:
    what = f"an object of type '{type(obj).__qualname__}'"
    if _is_call(obj):
        what = f"an argument of {getattr(obj[0], '__name__', type(obj[0]).__name__)!r}"
    refused = SerializationError(
        f"{what} is nested too deeply to be pickled, or holds something that is, so nothing was sent "
        "(keep things that refer to each other in a list, and refer to them by their index)"
    )
    refused.__suppress_context__ = True
    return refused


def _find_culprit(obj: Any, attempt: PickleAttempt) -> tuple[str, Any]:
    """Return the innermost object that can't be pickled, and the path to that object."""
    path, tried, deadline = "", 0, time.monotonic() + _MAX_SECONDS
    for depth in range(_MAX_DEPTH):
        if any(name in _KNOWN_TYPES for name in _type_names(obj)):
            break
        parts = _call_parts(obj) if depth == 0 and _is_call(obj) else _parts_of(obj, path)
        for part_path, part in parts:
            tried += 1
            if tried > _MAX_TRIED or time.monotonic() > deadline:
                return path, obj
            if not _succeeds(attempt, part):
                path, obj = part_path, part
                break
        else:
            break
    return path, obj


def _succeeds(attempt: PickleAttempt, obj: Any) -> bool:
    try:
        attempt(obj)
    except Exception:
        return False
    return True


def _is_call(obj: Any) -> bool:
    """Return whether `obj` is a function with its arguments."""
    return type(obj) is tuple and len(obj) == 3 and callable(obj[0]) and isinstance(obj[2], dict)


def _call_parts(call: Any) -> Iterator[tuple[str, Any]]:
    """Yield a function and its arguments, each with its description."""
    f, args, kwargs = call
    called = repr(getattr(f, "__name__", type(f).__name__))
    yield f"the function {called}", f
    for k, argument in enumerate(args, 1):
        yield f"argument {k} of {called}", argument
    for name, argument in kwargs.items():
        yield f"argument {name} of {called}", argument


def _parts_of(obj: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the parts of an object, each with its path."""
    prefix = f"{path}, at " if path.endswith("'") else path  # the path ends with the name of a function
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield (f"{prefix}[{key!r}]" if path else str(key)), value
    elif isinstance(obj, (list, tuple)):
        for k, value in enumerate(obj):
            yield f"{prefix}[{k}]", value
    elif isinstance(obj, (set, frozenset)):
        for value in obj:
            yield f"an item of {path or 'a set'}", value
    elif isinstance(obj, types.FunctionType):
        yield from _function_parts(obj, path)
    elif isinstance(obj, types.MethodType):
        yield f"{path}, its object", obj.__self__
    elif isinstance(obj, functools.partial):
        yield f"{path}, its function", obj.func
        yield from ((f"{path}, its argument {k}", value) for k, value in enumerate(obj.args, 1))
        yield from ((f"{path}, its argument {name}", value) for name, value in obj.keywords.items())
    elif not isinstance(obj, type):
        slots = (name for kind in type(obj).__mro__ for name in getattr(kind, "__slots__", ()))
        for name in [*getattr(obj, "__dict__", ()), *slots]:
            if name != "__dict__" and hasattr(obj, name):
                yield f"{prefix}.{name}".removeprefix("."), getattr(obj, name)


def _function_parts(f: types.FunctionType, path: str) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
        try:
            yield f"{path}, its variable {name!r}", cell.cell_contents
        except ValueError:  # the variable has no value yet
            continue
    for value in f.__defaults__ or ():
        yield f"{path}, a default", value


def _type_names(obj: Any) -> list[str]:
    """Return the full names of an object's type and of its base classes."""
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in type(obj).__mro__]


def _is_from_user_code(trace: TracebackType | None) -> bool:
    """Return whether a frame outside of the picklers is part of the traceback."""
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_PICKLERS):
            return True
        trace = trace.tb_next
    return False
