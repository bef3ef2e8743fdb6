"""What can go wrong, said so that the next step is clear.

Every error of this package derives from `MPIDirectError`.  The names that ipyparallel
users know (`CompositeError`, `RemoteError`, `TaskAborted`, …) mean the same here.
"""

from __future__ import annotations

import builtins
import concurrent.futures
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from . import _prompt

__all__ = [
    "MPIDirectError",
    "TimeoutError",
    "RemoteError",
    "CompositeError",
    "TaskAborted",
    "EngineError",
    "ResultExpired",
    "NoEnginesRegistered",
    "UnmetDependency",
    "UnmetDependencyError",
    "InvalidDependency",
    "ImpossibleDependency",
    "TaskTimeout",
    "DependencyTimeout",
    "IPythonError",
    "KernelError",
    "AlreadyDisplayedError",
    "TaskRejectError",
    "SerializationError",
    "CollectiveError",
    "ClusterNotFound",
    "ClusterRunning",
    "NeverStarts",
    "ConnectionFailed",
    "AuthenticationFailed",
    "VersionMismatch",
    "ControllerLost",
    "ClientClosed",
    "ConfigError",
    "Untrusted",
    "LaunchError",
]


class MPIDirectError(Exception):
    """The base of all errors of this package."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it: the user's code without ours, and what engines raised."""
        return _prompt.format_error(self)


IPythonError = KernelError = MPIDirectError  # ipyparallel's names


class AlreadyDisplayedError(MPIDirectError):
    """Nothing raises it: a name for ``except`` clauses that were written for ipyparallel."""


class TaskRejectError(MPIDirectError):
    """Nothing raises it, as `AlreadyDisplayedError`."""


class Interrupted(KeyboardInterrupt):
    """A Ctrl-C while a call was waited for; the text says what became of the call."""

    _render_traceback_ = MPIDirectError._render_traceback_


# One class on Python 3.11 and later, two on 3.10: both `except` clauses must catch ours.
_TIMEOUTS = tuple(dict.fromkeys([builtins.TimeoutError, concurrent.futures.TimeoutError]))


class TimeoutError(MPIDirectError, *_TIMEOUTS):  # type: ignore[misc]
    """A wait ran out of time; what was waited for may still come."""


class NoEnginesRegistered(MPIDirectError):
    """A call had no engine to go to."""


class SerializationError(MPIDirectError, TypeError):
    """An object could not be pickled, so nothing was sent."""


class CollectiveError(MPIDirectError):
    """A collective between engines did not take place: the message names the engine that it failed on."""


class ResultExpired(MPIDirectError, KeyError):
    """A result is not known here: dropped for lack of room, delivered before, or never asked for."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class ClientClosed(MPIDirectError):
    """The client was closed before the call ended."""


class ConfigError(MPIDirectError, ValueError):
    """A setting is wrong; the message names the file, the line and what would be right."""


class Untrusted(ConfigError):
    """A directory or a file that others can change: nothing in it is used. The message says whose it is."""


class LaunchError(MPIDirectError):
    """A cluster did not start; the message carries the tail of its log."""


class ClusterRunning(LaunchError):
    """A cluster of this profile runs already."""


class NeverStarts(LaunchError):
    """A job waits in a queue for what will not come; it is still there."""


class ConnectionFailed(MPIDirectError, builtins.ConnectionError):
    """No controller answered."""


class ClusterNotFound(ConnectionFailed, FileNotFoundError):
    """There is no cluster to connect to: no connection file."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class AuthenticationFailed(ConnectionFailed):
    """A controller answered and refused this client's key."""


class VersionMismatch(ConnectionFailed):
    """Client, controller and engines do not speak the same protocol."""


class ControllerLost(ConnectionFailed):
    """The controller, and with it the cluster, is gone."""


class EngineFailure(NamedTuple):
    """One engine's exception: the entries of `CompositeError.elist`."""

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
        ``engine_id``, ``host``, ``pid`` and ``method`` of the engine and the call; ``hint`` if there
        is one.
    hint : str
        What to do about it, where this is known, as for a name that only the prompt has.
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
        parts = [f"{self.ename}({self.evalue})", self.traceback, *_hints([self.engine_info])]
        return "\n".join(part for part in parts if part)

    @property
    def hint(self) -> str:
        return self.engine_info.get("hint", "")

    def render_traceback(self) -> list[str]:
        """The remote traceback as lines."""
        return (self.traceback or f"{self.ename}: {self.evalue}").splitlines()

    def print_traceback(self, excid: int | None = None) -> None:
        """Print the remote traceback."""
        print("\n".join(self.render_traceback()))

    print_tracebacks = print_traceback


class TaskAborted(RemoteError):
    """A task was taken out of its engine's queue before it began."""


class EngineError(RemoteError):
    """An engine died while a task was on it or in its queue."""


class InvalidDependency(RemoteError):
    """A task was to wait for what the cluster does not know."""


class ImpossibleDependency(RemoteError):
    """A task can't run: what it needs has failed, or no engine meets its conditions."""


class TaskTimeout(RemoteError):
    """What a task needs to have ended did not end in time."""


DependencyTimeout = TaskTimeout


class ExpiredResult(RemoteError, ResultExpired):
    """A result that was dropped while its client was away: there was no more room."""


class UnmetDependency(MPIDirectError):
    """What `require` asks for could not be had on the engine; the function did not run."""


UnmetDependencyError = UnmetDependency  # the document's spelling


def engine_label(info: dict[str, Any]) -> str:
    """``[3:apply]: `` for an engine and the call that it answered."""
    if not info:
        return ""
    engine, method = info.get("engine_id", "?"), info.get("method", "apply")
    return f"[{method}]: " if engine is None else f"[{engine}:{method}]: "


class CompositeError(RemoteError):
    """The exceptions of one call on several engines.

    As a `RemoteError`, it has the message as its ``evalue``, and is of no engine in particular.

    Parameters
    ----------
    message : str
        What was called.
    elist : sequence of EngineFailure
        One ``(ename, evalue, traceback, engine_info)`` for each engine that failed.

    Examples
    --------
    >>> try:
    ...     dview.execute("1/0", block=True)
    ... except CompositeError as e:
    ...     e.print_tracebacks()
    ...     e.raise_exception(0)  # the first engine's, as a RemoteError
    """

    tb_limit = 4  # engines whose errors are shown one by one

    def __init__(self, message: str, elist: Sequence[Any] = ()) -> None:
        super().__init__("CompositeError", message)
        self.msg = message
        self.elist = [EngineFailure(*entry) for entry in elist]
        self._notes: list[str] | None = None
        if sys.version_info < (3, 11):  # which shows no notes
            self.__cause__ = _Tracebacks(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.msg, self.elist)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.elist)})"

    def __str__(self) -> str:
        return "\n".join([self.msg, *self._summary(), *_hints(f.engine_info for f in self.elist)])

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        """The engines' tracebacks: Python shows notes below the text of an error that nobody catches."""
        if self._notes is None:
            tracebacks = self._tracebacks()
            self._notes = ["\n".join(["", *tracebacks])] if tracebacks else []
        return self._notes

    def _render_traceback_(self) -> list[str]:
        return _prompt.format_error(self, self._tracebacks())

    def _tracebacks(self) -> list[str]:
        """The tracebacks as lines, of equal ones the first; of an interrupt the user's line alone."""
        groups: dict[Any, list[EngineFailure]] = {}
        interrupted: dict[str, list[EngineFailure]] = {}
        for failure in self.elist:
            if failure.ename == "KeyboardInterrupt":
                interrupted.setdefault(_place(failure.traceback), []).append(failure)
            elif failure.traceback:
                groups.setdefault((failure.ename, failure.evalue, failure.traceback), []).append(failure)
        lines: list[str] = []
        for failures in list(groups.values())[: self.tb_limit]:
            lines += ["", _label(failures)] if lines else [_label(failures)]
            lines += failures[0].traceback.splitlines()
        if len(groups) > self.tb_limit:
            lines += ["", f"… and {len(groups) - self.tb_limit} other tracebacks: see elist"]
        lines += [f"{_label(those)}KeyboardInterrupt{place}" for place, those in interrupted.items()]
        return lines

    def _summary(self, skipped: int = 0) -> list[str]:
        """A line per engine; beyond `tb_limit`, or of several lines, a text per distinct error."""
        groups: dict[Any, list[EngineFailure]] = {}
        for k, failure in enumerate(self.elist[skipped:], skipped):
            apart = k < self.tb_limit and "\n" not in failure.evalue
            groups.setdefault(k if apart else (failure.ename, failure.evalue), []).append(failure)
        return [_line(failures) for failures in groups.values()]

    def render_traceback(self, excid: int | None = None) -> list[str]:
        """The tracebacks as lines: all (the first `tb_limit`), or that of entry `excid`."""
        chosen = self.elist[: self.tb_limit] if excid is None else [self._entry(excid)]
        if not any(failure.traceback for failure in chosen):  # as when the cluster is gone
            texts = self._summary() if excid is None else [_line(chosen)]
            return [*"\n".join(texts).splitlines(), "", f"{type(self).__name__}: {self.msg}"]
        lines: list[str] = []
        for failure in chosen:
            lines.append(engine_label(failure.engine_info))
            lines.extend((failure.traceback or f"{failure.ename}: {failure.evalue}").splitlines())
            lines.append("")
        hidden = self._summary(len(chosen)) if excid is None else []
        return lines + hidden + ([f"{type(self).__name__}: {self.msg}"] if hidden else [])

    def print_tracebacks(self, excid: int | None = None) -> None:
        """Print the engines' tracebacks, or only that of entry `excid`."""
        print("\n".join(self.render_traceback(excid)))

    print_traceback = print_tracebacks

    def raise_exception(self, excid: int = 0) -> None:
        """Raise entry `excid` as the `RemoteError` that it was."""
        failure = self._entry(excid)
        raise remote_error(failure)

    def _entry(self, excid: int) -> EngineFailure:
        try:
            return self.elist[excid]
        except (IndexError, TypeError):
            raise IndexError(f"an exception with index {excid} does not exist") from None


class _Tracebacks(Exception):
    """The engines' tracebacks as the cause of an error, where Python shows no notes."""

    def __str__(self) -> str:
        return "\n".join(self.args[0].__notes__)


def _line(failures: Sequence[EngineFailure]) -> str:
    """What one engine, or several alike, failed with."""
    said = f"{failures[0].ename}: {failures[0].evalue}"
    count = "" if "\n" in said or len(failures) == 1 else f" ({len(failures)} engines)"
    return f"{_label(failures)}{said}{count}"


def _label(failures: Sequence[EngineFailure]) -> str:
    info = failures[0].engine_info
    if len(failures) > 1:
        info = {**info, "engine_id": compact([f.engine_info.get("engine_id", "?") for f in failures])}
    return engine_label(info)


def _hints(infos: Iterable[dict[str, Any]]) -> list[str]:
    """Different hints, each once."""
    return list(dict.fromkeys(f"Hint: {info['hint']}" for info in infos if info.get("hint")))


def _place(traceback: str) -> str:
    """The innermost line of the user's in a traceback, in words."""
    lines = traceback.splitlines()
    frames = [k for k, line in enumerate(lines) if _FRAME.match(line) and not _LIBRARY.search(line)]
    if not frames:
        return ""
    k = frames[-1]
    source = lines[k + 1].strip() if k + 1 < len(lines) and lines[k + 1].startswith("    ") else ""
    return f" in{lines[k][1:]}{': ' if source else ''}{source}"


_FRAME = re.compile(r"  \S.*, line \d+")  # of a traceback
_LIBRARY = re.compile(r"/lib(64)?/python3|[\"/]mpi4py/|<frozen ")


def compact(ids: Sequence[Any]) -> str:
    """``[0, 1, 2, 5]`` as ``0-2,5``."""
    runs: list[list[Any]] = []
    for i in ids:
        if runs and isinstance(i, int) and runs[-1][1] == i - 1:
            runs[-1][1] = i
        else:
            runs.append([i, i])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def remote_error(failure: EngineFailure) -> RemoteError:
    """The exception object for one engine's failure: its own class where we have one."""
    kinds: dict[str, type[RemoteError]] = {
        "TaskAborted": TaskAborted,
        "EngineError": EngineError,
        "InvalidDependency": InvalidDependency,
        "ImpossibleDependency": ImpossibleDependency,
        "TaskTimeout": TaskTimeout,
        "ResultExpired": ExpiredResult,
    }
    return kinds.get(failure.ename, RemoteError)(*failure)


def said(error: BaseException) -> str:
    """The class and the text of any error, which may fail to say it."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:
        return type(error).__name__
