"""What can't be pickled, in words: where it is in the object, what it is, and what to do instead."""

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

DEEPEST = 12  # how far it is looked for
MOST = 200  # objects that are tried
LONGEST = 2.0  # seconds
_FILE = "an open file", "open files stay where they are; send the path or the contents"
_LOCK = "a lock", "make it where it is used"
_THREAD = "a thread", "start it where it is to run"
_KINDS = {
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
_OURS = str(Path(__file__).parents[1]) + os.sep
_PICKLERS = (_OURS, str(Path(cloudpickle.__file__).parent) + os.sep, pickle.__file__)

Attempt = Callable[[Any], Any]


def reduce_file(file: Any) -> tuple[Any, ...]:
    """In the place of cloudpickle's rule, which reads a file and sends its text."""
    for name in ("stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise TypeError("cannot pickle an open file")


def refusal(obj: Any, error: BaseException, attempt: Attempt) -> SerializationError:
    """The error for `obj`, which could not be pickled.

    Parameters
    ----------
    obj : object
        What was to be sent.
    error : Exception
        What it failed with.
    attempt : callable
        Pickles an object, or raises an error.
    """
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        what = f"an object of type '{type(obj).__qualname__}'"
        if _is_call(obj):
            what = f"an argument of {getattr(obj[0], '__name__', type(obj[0]).__name__)!r}"
        refused = SerializationError(
            f"{what} is nested too deeply to be pickled, or holds something that is, so nothing was sent "
            "(keep things that refer to each other in a list, and refer to them by their index)"
        )
        refused.__suppress_context__ = True
        return refused
    try:
        path, culprit = _found(obj, attempt)
        path = path.lstrip(", ")
    except Exception:  # objects may do anything when they are looked at
        path, culprit = "", obj
    what, remedy = next((_KINDS[name] for name in _names(culprit) if name in _KINDS), ("", ""))
    known = bool(what)
    if not known:
        name = getattr(culprit, "__qualname__", "") if type(culprit) is types.FunctionType else ""
        kind = type(culprit)
        where = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
        what = f"the function {name!r}" if name else f"an object of type '{where}{kind.__qualname__}'"
        remedy = f"{type(error).__name__}: {error}"
    refused = SerializationError(
        f"{path}{': ' if path else ''}{what} can't be pickled, so nothing was sent"
        + (f" ({remedy})" if remedy else "")
    )
    refused.__cause__ = error if not known and _is_users(error.__traceback__) else None
    refused.__suppress_context__ = True
    return refused


def _found(obj: Any, attempt: Attempt) -> tuple[str, Any]:
    """The innermost thing that can't be pickled, and the way to it."""
    path, tried, until = "", 0, time.monotonic() + LONGEST
    for depth in range(DEEPEST):
        if any(name in _KINDS for name in _names(obj)):
            break
        for step, part in _call(obj) if depth == 0 and _is_call(obj) else _parts(obj, path):
            tried += 1
            if tried > MOST or time.monotonic() > until:
                return path, obj
            if not _works(part, attempt):
                path, obj = step, part
                break
        else:
            break
    return path, obj


def _works(part: Any, attempt: Attempt) -> bool:
    try:
        attempt(part)
    except Exception:
        return False
    return True


def _is_call(obj: Any) -> bool:
    return type(obj) is tuple and len(obj) == 3 and callable(obj[0]) and isinstance(obj[2], dict)


def _call(obj: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a function and its arguments."""
    f, args, kwargs = obj
    called = repr(getattr(f, "__name__", type(f).__name__))
    yield f"the function {called}", f
    for k, argument in enumerate(args, 1):
        yield f"argument {k} of {called}", argument
    for name, argument in kwargs.items():
        yield f"argument {name} of {called}", argument


def _parts(obj: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What it consists of, and how that is written."""
    inside = f"{path}, at " if path.endswith("'") else path  # after the name of a function
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield (f"{inside}[{key!r}]" if path else str(key)), value
    elif isinstance(obj, (list, tuple)):
        for k, value in enumerate(obj):
            yield f"{inside}[{k}]", value
    elif isinstance(obj, (set, frozenset)):
        for value in obj:
            yield f"an item of {path or 'a set'}", value
    elif isinstance(obj, types.FunctionType):
        names = obj.__code__.co_freevars
        for name, cell in zip(names, obj.__closure__ or (), strict=True):
            try:
                yield f"{path}, its variable {name!r}", cell.cell_contents
            except ValueError:  # it has no value yet
                continue
        for value in obj.__defaults__ or ():
            yield f"{path}, a default", value
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
                yield f"{inside}.{name}".removeprefix("."), getattr(obj, name)


def _names(obj: Any) -> list[str]:
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in type(obj).__mro__]


def _is_users(trace: TracebackType | None) -> bool:
    """Whether code of the user has raised it."""
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_PICKLERS):
            return True
        trace = trace.tb_next
    return False
