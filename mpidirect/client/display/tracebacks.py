"""Tracebacks of public methods show the user's code, without the frames of this package."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from ... import _prompt
from ..._tracebacks import copied, entries, file_of, is_internal, is_standard
from ...errors import CompositeError, Interrupted, RemoteError

_F = TypeVar("_F", bound=Callable[..., Any])
_C = TypeVar("_C", bound=type)

_ITEMS = ("__getitem__", "__setitem__", "__delitem__", "__contains__")
_SPECIAL = (*_ITEMS, "__getattr__", "__setattr__", "__call__")
_EXCLUDED = ("ready", "done", "wait", "spin")  # these never fail, and are called often


def trim_tracebacks(kind: _C) -> _C:
    """Class decorator: trim the traceback of an error that leaves a public method."""
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        public = not name.startswith("_") and name not in _EXCLUDED
        if (public or name in _SPECIAL) and function.__module__.startswith("mpidirect."):
            setattr(kind, name, trim_traceback(function))
    return kind


def trim_traceback(function: _F) -> _F:
    """Trim the traceback of an error that leaves the decorated function."""
    if hasattr(function, "_trims_traceback") or inspect.isgeneratorfunction(function):
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (Exception, Interrupted) as error:
            __tracebackhide__ = True  # IPython and pytest hide this frame
            trimmed = _trimmed(error)
            if (
                trimmed is None
                and _prompt.ipython_shell() is not None
                and not hasattr(error, "_render_traceback_")
            ):
                vars(error)["_render_traceback_"] = _prompt.format_last_error
            raise error.with_traceback(trimmed)  # noqa: B904 (the same error)

    call._trims_traceback = True  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def _trimmed(error: BaseException) -> TracebackType | None:
    """Return the frames of user code, and the frames that user code has called.

    Frames of the standard library are removed if only this package has called them.  IPython's ``%debug``
    needs a frame, so the frame that raises a remote error stays.
    """
    frames = entries(error.__traceback__)
    external = [entry for entry in frames if not is_internal(file_of(entry))]
    if all(is_standard(file_of(entry)) for entry in external):
        external = []
    is_remote = isinstance(error, (CompositeError, RemoteError)) and _prompt.ipython_shell() is not None
    last = frames[-1] if frames and is_remote else None
    kept: TracebackType | None = None
    for entry in reversed(frames):
        if entry is last or entry in external:
            kept = copied(entry, kept)
    return kept
