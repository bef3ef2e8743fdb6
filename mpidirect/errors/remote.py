"""The errors that engines report for one task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from .html import as_html
from .local import MPIDirectError, ResultExpired

DEATH = "EngineError"  # the traceback of this error is the end of a log, which does not say what happened


class EngineFailure(NamedTuple):
    """One engine's exception: an entry of `CompositeError.elist`."""

    ename: str
    evalue: str
    traceback: str
    engine_info: dict[str, Any]


class RemoteError(MPIDirectError):
    """An exception that was raised on an engine.

    Attributes
    ----------
    ename, evalue : str
        The exception's class name and its text.
    traceback : str
        The traceback as the engine formatted it.
    engine_info : dict
        ``engine_id``, ``host``, ``pid`` and ``method``; ``hint`` if there is one.
    hint : str
        The remedy, if one is known.
    """

    def __init__(
        self, ename: str, evalue: str, traceback: str = "", engine_info: dict[str, Any] | None = None
    ) -> None:
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback
        self.engine_info = engine_info or {}
        super().__init__(ename, evalue)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.ename, self.evalue, self.traceback, self.engine_info)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}:{engine_label(self.engine_info)}{self.ename}({self.evalue})>"

    def __str__(self) -> str:
        is_named = type(self).__name__ == self.ename  # Python shows the class already
        text = self.evalue if is_named else f"{self.ename}({self.evalue})"
        remedy = hints([self.engine_info])
        parts = [text, *remedy, self.traceback] if self.ename == DEATH else [text, self.traceback, *remedy]
        return "\n".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        line = f"{engine_label(self.engine_info)}{self.ename}: {self.evalue}"
        return as_html(type(self).__name__, [(line, self.traceback)])

    @property
    def hint(self) -> str:
        return str(self.engine_info.get("hint", ""))

    def render_traceback(self) -> list[str]:
        """Return the remote traceback as lines."""
        return traceback_lines(EngineFailure(self.ename, self.evalue, self.traceback, self.engine_info))

    def print_traceback(self, excid: int | None = None) -> None:
        """Print the remote traceback."""
        print("\n".join(self.render_traceback()))

    print_tracebacks = print_traceback


class TaskAborted(RemoteError):
    """A task was removed from its engine's queue before it began."""


class EngineError(RemoteError):
    """An engine died while a task was on it or in its queue."""


class InvalidDependency(RemoteError):
    """A task depends on a request that the cluster does not know."""


class ImpossibleDependency(RemoteError):
    """A task can't run: a prerequisite has failed, or no engine meets its conditions."""


class TaskTimeout(RemoteError):
    """The prerequisites of a task did not end in time."""


class ExpiredResult(RemoteError, ResultExpired):
    """A result was dropped for lack of memory while its client was away."""


def engine_label(info: dict[str, Any]) -> str:
    """Return ``[3:apply]: `` for an engine and the method of a call."""
    if not info:
        return ""
    engine, method = info.get("engine_id", "?"), info.get("method", "apply")
    return f"[{method}]: " if engine is None else f"[{engine}:{method}]: "


def remote_error(failure: EngineFailure) -> RemoteError:
    """Return the exception for one engine's failure."""
    kinds: dict[str, type[RemoteError]] = {
        "TaskAborted": TaskAborted,
        "EngineError": EngineError,
        "InvalidDependency": InvalidDependency,
        "ImpossibleDependency": ImpossibleDependency,
        "TaskTimeout": TaskTimeout,
        "ResultExpired": ExpiredResult,
    }
    return kinds.get(failure.ename, RemoteError)(*failure)


def traceback_lines(failure: EngineFailure) -> list[str]:
    """Return the traceback of a failure as lines; before the end of a log, what happened and the remedy."""
    lines = failure.traceback.splitlines()
    if lines and failure.ename != DEATH:
        return lines
    return [*f"{failure.ename}: {failure.evalue}".splitlines(), *hints([failure.engine_info]), *lines]


def hints(infos: Iterable[dict[str, Any]]) -> list[str]:
    """Return the lines of the hints, each once."""
    return list(dict.fromkeys(f"Hint: {info['hint']}" for info in infos if info.get("hint")))
