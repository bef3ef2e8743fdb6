"""Tracebacks of our errors show the user's code: the way from there to the engines tells a user nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from .. import _prompt
from .._tracebacks import entries, file_of, is_ours
from ..errors import CompositeError, Interrupted, MPIDirectError, RemoteError

_F = TypeVar("_F", bound=Callable[..., Any])
_C = TypeVar("_C", bound=type)

_SPECIAL = ("__getitem__", "__setitem__", "__delitem__", "__call__")
_NEVER_FAIL = ("ready", "done", "wait", "spin")  # and are called often


def quiet(kind: _C) -> _C:
    """Class decorator: errors that leave a public method do so without our frames."""
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        public = not name.startswith("_") and name not in _NEVER_FAIL
        if (public or name in _SPECIAL) and function.__module__.startswith("mpidirect."):
            setattr(kind, name, quietly(function))
    return kind


def quietly(function: _F) -> _F:
    """Decorator: the same for one function."""
    if hasattr(function, "_is_quiet") or inspect.isgeneratorfunction(function):
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (MPIDirectError, Interrupted) as error:
            __tracebackhide__ = True  # for IPython's debugger, and pytest
            raise error.with_traceback(_users(error))  # noqa: B904 (the same error)

    call._is_quiet = True  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def _users(error: BaseException) -> TracebackType | None:
    """The user's frames; for IPython's ``%debug`` also that which raises what engines have raised."""
    frames = entries(error.__traceback__)
    debugged = isinstance(error, (CompositeError, RemoteError)) and _prompt.shell() is not None
    last = frames[-1] if frames and debugged else None
    kept: TracebackType | None = None
    for entry in reversed(frames):
        if entry is last or not is_ours(file_of(entry)):
            kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept
