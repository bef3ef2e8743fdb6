"""Reports of failures whose results no user has looked at; each is reported once.

IPython reports them before its next prompt. Plain Python reports them when the last `AsyncResult` of the call
is gone, and at its exit.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import Any, Protocol
from weakref import WeakSet

from ... import _prompt
from ...errors import CompositeError, EngineFailure, MPIDirectError, format_ids
from ...protocol.messages import Failure
from .hints import hint_for
from .source_lines import completed

MAX_FAILURES = 1000  # kept for the next prompt
MAX_TEXT = 160  # characters of an error's text
MAX_SOURCE = 60  # characters of a cell's source
GRACE_PERIOD = 0.02  # seconds that the latest calls get to fail before the prompt is printed
KNOWN_TO_USER = ("KeyboardInterrupt", "ClientClosed")  # errors that the user has caused: not reported
_CLIENT_PACKAGE = __name__.partition(".calls")[0]


class FailureSource(Protocol):
    """A session whose calls may fail."""

    def wait_for_fresh_calls(self, seconds: float) -> None:
        """Wait for the calls of the last `seconds` to end, at most `seconds`."""


class UnseenFailure:
    """The failure of a call whose result no user has looked at.

    Parameters
    ----------
    call_id : str
        The call's id.
    method : str
        The name of the called method or function.
    cell : int
        The number of the IPython cell that made the call; 0 in plain Python.
    failures : list of (dict, Failure)
        For each failed engine: what an error says of the engine, and the failure.
    """

    def __init__(
        self, call_id: str, method: str, cell: int, failures: list[tuple[dict[str, Any], Failure]]
    ) -> None:
        self.settled = False  # whether it was reported, or a user has looked at the result
        self._call_id, self._method, self._cell = call_id, method, cell
        self._failures = failures

    @property
    def group(self) -> tuple[int, str]:
        """The key of the failures that share one line at the prompt."""
        return self._cell, self.summary

    @property
    def summary(self) -> str:
        """The first error, in one line."""
        first = self._failures[0][1]
        text = f"{first.ename}: {first.evalue}".partition("\n")[0]
        others = len({(failure.ename, failure.evalue) for _, failure in self._failures}) - 1
        suffix = f" (and {others} other errors)" if others else ""
        return (text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…") + suffix

    @property
    def engines(self) -> set[int]:
        """The failed engines that are known: a task may fail before it has an engine."""
        return {info["engine_id"] for info, _ in self._failures if info["engine_id"] is not None}

    def line(self, engines: set[int], calls: int) -> str:
        """Return the line for IPython: for this call and for others of the same cell with the same error."""
        cell = f"In [{self._cell}]" if calls == 1 else f"In [{self._cell}]: {calls} calls"
        where = (
            f" on engine{'s' if len(engines) > 1 else ''} {format_ids(sorted(engines))}" if engines else ""
        )
        return f"{cell} failed{where}: {self.summary} — {self._retrieval()} shows the traceback"

    def _retrieval(self) -> str:
        """Return the expression that yields the result at the prompt."""
        found = []
        for name, value in _watched_shell.user_ns.items():
            if not name.startswith("_") and type(value).__module__.startswith(_CLIENT_PACKAGE):
                retrieval = getattr(type(value), "_retrieval", None)
                if retrieval is not None and (suffix := retrieval(value, self._call_id)):
                    found.append((name, suffix))
        name, suffix = min(found, key=lambda pair: len(pair[1]), default=("rc", ""))
        return name + (suffix or f".get_result({self._call_id!r}).get()")

    def lose_holders(self) -> None:
        """In plain Python, report the failure: the last `AsyncResult` of the call is gone."""
        if not self.settled and _watched_shell is None:
            self.print_tracebacks()

    def discard(self) -> None:
        """Do not report the failure: a user has looked at the result."""
        self.settled = True
        _held.pop(self, None)

    def print_tracebacks(self) -> None:
        """Report the failure in plain Python."""
        self.discard()
        entries = []
        for info, failure in self._failures:
            hint = hint_for(failure)
            info = {**info, "hint": hint} if hint else info
            text = completed(failure.traceback)
            entries.append(EngineFailure(failure.ename, failure.evalue, text, info))
        error = CompositeError(f"the call {self._method!r} failed, and nobody looked at its result", entries)
        _print("\n".join([f"mpidirect: {error}", *error.__notes__]))


_sources: WeakSet[FailureSource] = WeakSet()
_for_next_prompt: list[UnseenFailure] = []
_held: dict[UnseenFailure, None] = {}  # failures whose results a user still holds; in plain Python only
os.register_at_fork(after_in_child=_held.clear)  # the parent process reports them
_watched_shell: Any = None  # the IPython shell that reports failures before its prompt


def watch(source: FailureSource) -> None:
    """Report the failures of this session's calls from now on."""
    global _watched_shell
    if not _sources:
        atexit.unregister(_report_at_exit)
        atexit.register(_report_at_exit)  # after the connection's exit function, so it runs before that one
    _sources.add(source)
    shell = _prompt.ipython_shell()
    if shell is not _watched_shell:
        _watched_shell = shell
        if shell is not None:
            shell.events.register("post_run_cell", _report_before_prompt)


def current_cell() -> int:
    """Return the number of the IPython cell that runs; 0 in plain Python."""
    return 0 if _watched_shell is None else _watched_shell.displayhook.prompt_count


def cell_source(cell: int) -> str:
    """Return a cell's source if it is short, else the beginning; an empty text if there are no cells."""
    inputs = getattr(getattr(_watched_shell, "history_manager", None), "input_hist_raw", [])
    lines = inputs[cell].strip().splitlines() if 0 < cell < len(inputs) else []
    text = lines[0] if lines else ""
    return text if len(lines) < 2 and len(text) <= MAX_SOURCE else f"{text[:MAX_SOURCE].rstrip()} …"


def report(
    call_id: str, method: str, cell: int, failures: list[tuple[dict[str, Any], Failure]], is_held: bool
) -> UnseenFailure | None:
    """Have a call's failure reported when it is due; return the report, unless there is nothing to report.

    Parameters
    ----------
    call_id, method, cell, failures
        See `UnseenFailure`.
    is_held : bool
        Whether a user holds an `AsyncResult` of the call.
    """
    failures = [(info, failure) for info, failure in failures if failure.ename not in KNOWN_TO_USER]
    if not failures:
        return None
    unseen = UnseenFailure(call_id, method, cell, failures)
    if _watched_shell is not None:
        if len(_for_next_prompt) < MAX_FAILURES:
            _for_next_prompt.append(unseen)
    elif is_held:
        _held[unseen] = None
    else:
        unseen.print_tracebacks()
    return unseen


def _report_before_prompt(result: Any = None) -> None:
    with contextlib.suppress(Exception):
        _wait_for_fresh_calls()
        groups: dict[tuple[int, str], list[UnseenFailure]] = {}
        for unseen in [_for_next_prompt.pop(0) for _ in range(len(_for_next_prompt))]:
            if not unseen.settled:
                groups.setdefault(unseen.group, []).append(unseen)
        for group in groups.values():
            engines: set[int] = set().union(*(unseen.engines for unseen in group))
            _print(group[0].line(engines, len(group)))


def _wait_for_fresh_calls() -> None:
    for source in list(_sources):
        with contextlib.suppress(MPIDirectError):  # the client may be closed
            source.wait_for_fresh_calls(GRACE_PERIOD)


def _report_at_exit() -> None:
    with contextlib.suppress(Exception):
        if _watched_shell is None:
            _wait_for_fresh_calls()
        for unseen in list(_held):
            unseen.print_tracebacks()


def _print(text: str) -> None:
    with contextlib.suppress(Exception):  # at exit, standard error may be closed
        print(text, file=sys.stderr)
