"""Displays the output of engines while they print.

A thread writes to the terminal, because the thread that reads the connection must not wait for a terminal.
The first output starts the thread, so a call that prints nothing costs nothing.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..calls.call import Call
from ..calls.engine_output import comparable
from .folding import OutputFolder
from .show import Printer

if TYPE_CHECKING:
    from typing_extensions import Self

_LONG = 3600.0  # seconds
FLUSH_TIMEOUT = 1.0  # seconds that a terminal has to take output before other text

Slot = tuple[Call, int]


class LiveDisplay:
    """Context manager: shows the output of calls as the output arrives.

    Parameters
    ----------
    slots : sequence of (Call, int)
        The parts: each engine's, or each task's.
    heading : str, optional
        What the notebook's cell has shown before; None if that is not known.
    """

    def __init__(self, slots: Sequence[Slot], heading: str | None = None) -> None:
        self._shown = dict.fromkeys(slots, 0)  # pieces of output that were shown, by slot
        self._calls = {call: None for call, _ in slots}
        self._ended: set[Slot] = set()
        self._changed: dict[Slot, None] = {}  # slots with new output
        self._condition = threading.Condition(threading.Lock())  # guards the fields below and `_changed`
        self._thread: threading.Thread | None = None
        self._closed = False
        self._status = ""
        self._flushes = False  # whether the thread must show all output at once
        self._folder: OutputFolder | None = None
        self._display_ids: dict[int, dict[str, str]] = defaultdict(dict)  # by engine, for `comparable`
        self._printer = Printer(heading)

    def __enter__(self) -> Self:
        for call in self._calls:
            call.listeners.append(self._on_output)
            call.displays.append(self.flush)
        for call, engine in self._shown:
            if engine in call.replies or call.has_output(engine):
                self._on_output(call, engine)
        return self

    def _on_output(self, call: Call, engine: int) -> None:
        """Note that a slot has new output, or has ended; the caller holds the connection's lock."""
        slot = call, engine
        if slot not in self._shown:
            return
        with self._condition:
            self._changed[slot] = None
            if self._thread is not None or (not self._closed and call.has_output(engine)):
                self._wake_thread()

    def status(self, text: str) -> None:
        """Show a status line below all output, in place of the former status."""
        with self._condition:
            self._status = text
            self._wake_thread()

    def flush(self) -> None:
        """Show all output so far, and remove the status, because another text follows."""
        with self._condition:
            if self._thread is not None and not self._closed:
                self._flushes, self._status = True, ""
                self._condition.notify()
                self._condition.wait_for(lambda: not self._flushes, FLUSH_TIMEOUT)

    def _wake_thread(self) -> None:
        """Wake the thread, or start the thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mpidirect-output", daemon=True)
            self._thread.start()
        else:
            self._condition.notify()

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()
        for call in self._calls:
            call.listeners.remove(self._on_output)
            call.displays.remove(self.flush)
        self._take_output()
        if self._folder is not None:
            self._printer.show(self._folder.pop_due(time.monotonic(), final=True))
        self._printer.close()

    def _run(self) -> None:
        timeout: float | None = None
        shown_status = ""
        while True:
            with self._condition:
                if not (self._closed or self._changed or self._flushes) and self._status == shown_status:
                    self._condition.wait(_LONG if timeout is None else timeout)
                if self._closed:
                    return
                status, flushes = self._status, self._flushes
            if status != shown_status:
                shown_status = status
                self._printer.status(status)
            self._take_output()
            now = time.monotonic()
            if self._folder is not None:
                blocks = self._folder.pop_due(now, final=flushes)
                if blocks:
                    self._printer.show(blocks)
                timeout = self._folder.seconds_until_due(now)
            if flushes:
                with self._condition:
                    self._flushes = False
                    self._condition.notify_all()

    def _take_output(self) -> None:
        """Hand new output to the folder."""
        with self._condition:
            changed, self._changed = self._changed, {}
        now = time.monotonic()
        for slot in changed:
            call, part = slot
            engine = call.engine_of(part)
            if engine is None:  # no engine has run the task
                continue
            output = call.engine_output(part)
            reply = call.reply_with_output(part)  # read before the items: later items are not in this reply
            for kind, content in output.items[self._shown[slot] :]:
                self._shown[slot] += 1
                if content:
                    self._add(engine, kind, content, now)
            if reply is not None and slot not in self._ended:
                self._ended.add(slot)
                for kind, content in output.rest(reply):
                    self._add(engine, kind, content, now)
                if self._folder is not None:
                    self._folder.running.discard(engine)

    def _add(self, engine: int, kind: int, content: str | bytes, now: float) -> None:
        if self._folder is None:
            self._folder = OutputFolder(_engines_of(self._shown))
            self._folder.running -= _engines_of(self._ended)
        if isinstance(content, bytes):
            content = comparable(content, self._display_ids[engine])
        self._folder.add(engine, kind, content, now)


def _engines_of(slots: Iterable[Slot]) -> set[int]:
    """Return the engines of slots; a load-balanced task that no engine has run yet has none."""
    return {engine for call, part in slots if (engine := call.engine_of(part)) is not None}
