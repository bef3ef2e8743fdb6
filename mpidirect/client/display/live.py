"""Showing what engines print while they print it.

A thread does it, started by the first thing that comes: whoever reads the connection must not wait for a
terminal, and a call that prints nothing costs nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .folding import OutputFolder
from .show import Printer

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..calls.call import Call

LONGEST = 3600.0


class LiveDisplay:
    """Shows the output of calls, inside a ``with`` block and as it comes.

    Parameters
    ----------
    slots : sequence of (Call, int)
        The parts: each engine's, or each task's.
    """

    def __init__(self, slots: Sequence[tuple[Call, int]]) -> None:
        self._slots = dict.fromkeys(slots, 0)  # and how much of it has been shown
        self._calls = {call: None for call, _ in slots}
        self._ended: set[tuple[Call, int]] = set()
        self._changed: dict[tuple[Call, int], None] = {}
        self._news = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._over = False
        self._folding: Any = None
        self._status = ""
        self._printer = Printer()

    def __enter__(self) -> Self:
        for call in self._calls:
            call.listeners.append(self._came)
        for call, engine in self._slots:
            if engine in call.replies or call.has_output(engine):
                self._came(call, engine)
        return self

    def _came(self, call: Call, engine: int) -> None:
        """An engine has printed something, or ended; called with the connection's lock held."""
        slot = call, engine
        if slot not in self._slots:
            return
        with self._news:
            self._changed[slot] = None
            if self._thread is not None or (not self._over and call.has_output(engine)):
                self._start()

    def status(self, text: str) -> None:
        """Show a line below all that is printed, in the place of the one before."""
        with self._news:
            self._status = text
            self._start()

    def _start(self) -> None:
        """Wake the thread, or start it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mpidirect-output", daemon=True)
            self._thread.start()
        else:
            self._news.notify()

    def __exit__(self, *_: object) -> None:
        with self._news:
            self._over = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()
        for call in self._calls:
            call.listeners.remove(self._came)
        self._take()
        if self._folding is not None:
            self._printer.show(self._folding.due(time.monotonic(), final=True))
        self._printer.close()

    def _run(self) -> None:
        wait: float | None = None
        shown = ""
        while True:
            with self._news:
                if not self._over and not self._changed and self._status == shown:
                    self._news.wait(LONGEST if wait is None else wait)
                if self._over:
                    return
                status = self._status
            if status != shown:
                shown = status
                self._printer.status(status)
            self._take()
            now = time.monotonic()
            if self._folding is not None:
                blocks = self._folding.due(now)
                if blocks:
                    self._printer.show(blocks)
                wait = self._folding.wait(now)

    def _take(self) -> None:
        """Take over what has come."""
        with self._news:
            changed, self._changed = self._changed, {}
        now = time.monotonic()
        for call, part in changed:
            engine = call.engine_of(part)
            if engine is None:  # a task that no engine has run
                continue
            heard = call.heard(part)
            reply = call.told(part)  # first: what comes after it is not in it
            for kind, content in heard.items[self._slots[call, part] :]:
                self._slots[call, part] += 1
                if content:
                    self._add(engine, kind, content, now)
            if reply is not None and (call, part) not in self._ended:
                self._ended.add((call, part))
                for kind, content in heard.rest(reply):
                    self._add(engine, kind, content, now)
                if self._folding is not None:
                    self._folding.running.discard(engine)

    def _add(self, engine: int, kind: int, content: Any, now: float) -> None:
        if self._folding is None:
            self._folding = OutputFolder(self._engines(self._slots))
            self._folding.running -= self._engines(self._ended)
        self._folding.add(engine, kind, content, now)

    @staticmethod
    def _engines(slots: Iterable[tuple[Call, int]]) -> set[int]:
        """Whose parts these are, as far as that is known."""
        return {engine for call, part in slots if (engine := call.engine_of(part)) is not None}
