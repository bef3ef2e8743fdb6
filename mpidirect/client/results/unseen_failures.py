"""Failures that nobody has looked at are told, once: by IPython before its next prompt, else by Python.

In plain Python that is when the last `AsyncResult` of the call is gone, and at the end.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ... import _prompt
from ...errors import CompositeError, EngineFailure, MPIDirectError, compact
from ..display.source_lines import completed
from .hints import hint_for

if TYPE_CHECKING:
    from ...protocol.messages import Failure
    from ..client import Client
    from .call import Call

MOST = 1000  # failures that are kept for the next prompt
LINE = 160  # characters of an error's text
SOURCE = 60  # characters of a cell
MOMENT = 0.02  # seconds in which calls that were made just now may still fail
_CLIENT = __name__.rpartition(".")[0]
ASKED_FOR = ("KeyboardInterrupt", "ClientClosed")  # the user knows of these


class UnseenFailure:
    """What there is to tell of a call that failed, as long as nobody has looked at its result."""

    def __init__(self, call: Call, failures: list[tuple[int, Failure]]) -> None:
        self.told = False
        self._id, self._method, self._cell = call.id, call.method, call.cell
        self._failures = [(call.info(engine, failure.method), failure) for engine, failure in failures]

    @property
    def group(self) -> tuple[int, str]:
        """What is told in one line."""
        return self._cell, self.said

    @property
    def said(self) -> str:
        """The first error, in a line."""
        first = self._failures[0][1]
        text = f"{first.ename}: {first.evalue}".partition("\n")[0]
        others = len({(f.ename, f.evalue) for _, f in self._failures}) - 1
        more = f" (and {others} other errors)" if others else ""
        return (text if len(text) <= LINE else text[:LINE] + "…") + more

    @property
    def engines(self) -> set[int]:
        return {info["engine_id"] for info, _ in self._failures}

    def line(self, engines: set[int], calls: int) -> str:
        """For IPython, of this call and others of the same cell that failed alike."""
        where = f"In [{self._cell}]" if calls == 1 else f"In [{self._cell}]: {calls} calls"
        return (
            f"{where} failed on engine{'s' if len(engines) > 1 else ''} {compact(sorted(engines))}: "
            f"{self.said} — {self._handle()} shows the traceback"
        )

    def _handle(self) -> str:
        """How to get at the result at the prompt."""
        names = [(name, value) for name, value in _watched.user_ns.items() if not name.startswith("_")]
        ours = [(name, vars(value)) for name, value in names if type(value).__module__.startswith(_CLIENT)]
        for name, parts in ours:
            if any(call.id == self._id for call in parts.get("_calls") or () if hasattr(call, "id")):
                return f"{name}.get()"
        for name, parts in ours:
            if self._id in parts.get("_known", ()):  # a client, whose history only grows
                return f"{name}.get_result({parts['history'].index(self._id)}).get()"
        return f"rc.get_result({self._id!r}).get()"

    def tell(self) -> None:
        """For plain Python: with the tracebacks."""
        self.told = True
        _open.pop(self, None)
        entries = []
        for info, failure in self._failures:
            hint = hint_for(failure.ename, failure.evalue)
            info = {**info, "hint": hint} if hint else info
            text = completed(failure.traceback)
            entries.append(EngineFailure(failure.ename, failure.evalue, text, info))
        error = CompositeError(f"the call {self._method!r} failed, and nobody looked at its result", entries)
        _say("\n".join([f"mpidirect: {error}", *error.__notes__]))


_clients: WeakSet[Client] = WeakSet()
_next: list[UnseenFailure] = []  # for the next prompt
_open: dict[UnseenFailure, None] = {}  # of results that are still held, in plain Python
os.register_at_fork(after_in_child=_open.clear)  # they are the parent's
_watched: Any = None  # the shell that tells of them


def begin(client: Client) -> None:
    """Tell of this client's failures, from now on."""
    global _watched
    if not _clients:
        atexit.unregister(_at_the_end)
        atexit.register(_at_the_end)  # after the connection's, so that it comes before that
    _clients.add(client)
    shell = _prompt.ipython_shell()
    if shell is not _watched:
        _watched = shell
        if shell is not None:
            shell.events.register("post_run_cell", _before_the_prompt)


def cell() -> int:
    """The number of IPython's cell that runs; 0 in plain Python."""
    return 0 if _watched is None else _watched.displayhook.prompt_count


def source(number: int) -> str:
    """The text of a cell, if it is short, else how it begins; empty where there are no cells."""
    inputs = getattr(getattr(_watched, "history_manager", None), "input_hist_raw", [])
    lines = inputs[number].strip().splitlines() if 0 < number < len(inputs) else []
    text = lines[0] if lines else ""
    return text if len(lines) < 2 and len(text) <= SOURCE else f"{text[:SOURCE].rstrip()} …"


def ended(call: Call) -> None:
    """All engines have answered, and some of them have failed."""
    replies = [reply for engine in call.targets if (reply := call.replies[engine]).status == "error"]
    failures = [(r.engine, r.failure) for r in replies if r.failure and r.failure.ename not in ASKED_FOR]
    if call.seen or not failures:
        return
    call.news = news = UnseenFailure(call, failures)
    if _watched is not None:
        if len(_next) < MOST:
            _next.append(news)
    elif call.holders:
        _open[news] = None
    else:
        news.tell()


def let_go(call: Call) -> None:
    """Nobody holds the result of this call any more."""
    if call.news is not None and not call.news.told and _watched is None:
        call.news.tell()


def looked_at(call: Call) -> None:
    """Somebody has looked at the result, or at what has become of it."""
    call.seen = True
    if call.news is not None:
        call.news.told = True
        _open.pop(call.news, None)
        call.news = None


def _before_the_prompt(result: Any = None) -> None:
    with contextlib.suppress(Exception):
        _await()
        told: dict[tuple[int, str], list[UnseenFailure]] = {}
        for news in [_next.pop(0) for _ in range(len(_next))]:
            if not news.told:
                told.setdefault(news.group, []).append(news)
        for group in told.values():
            _say(group[0].line(set().union(*(news.engines for news in group)), len(group)))


def _await() -> None:
    """Calls that were made just now have a moment to fail."""
    now = time.time()
    for client in list(_clients):
        fresh = [call for call in list(client._calls.values()) if now - call.submitted < MOMENT]
        if fresh:
            with contextlib.suppress(MPIDirectError):  # the client may be closed
                client._wait(_ready(fresh), MOMENT)


def _ready(calls: list[Call]) -> Callable[[], bool]:
    return lambda: all(call.ready for call in calls)


def _at_the_end() -> None:
    with contextlib.suppress(Exception):
        if _watched is None:
            _await()
        for news in list(_open):
            news.tell()


def _say(text: str) -> None:
    with contextlib.suppress(Exception):  # at the end, there may be nowhere to say it
        print(text, file=sys.stderr)
