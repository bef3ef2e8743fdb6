"""The progress of a call that moves data: bytes, and their rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from ..calls.call import Call
from ..connection.connection import Connection
from ..display.progress import bar_text
from ..display.units import size_in_words

REPORT_DELAY = 1.0  # seconds after which a transfer shows its progress
REPORT_INTERVAL = 0.2  # seconds between two reports
REST = 1.0  # seconds without a change after which a transfer counts as ended
TO_CONTROLLER = "to the controller"
STALL = 10.0  # the same while a known part of the data is missing, because a slow connection changes rarely


class _Leg(NamedTuple):
    """A part of the way of the data: to the controller, to the engines, or back."""

    name: str
    done: int
    total: int  # 0 if unknown


class TransferProgress:
    """Reports the progress of a call's data, both to the engines and back.

    Parameters
    ----------
    connection : Connection
        The connection by which the call was just sent.
    call : Call
        The call.
    name : str
        The name of the call, for the report.
    report : callable
        Called with a bar, the bytes that have moved, and their rate.
    """

    def __init__(self, connection: Connection, call: Call, name: str, report: Callable[[str], None]) -> None:
        self._connection = connection
        self._count = call.bulk
        self._to_send = 0 if connection.direct else sum(map(len, call.buffers or ()))
        self._last_message = call.last_message
        self._name = name
        self._report = report
        self._leg = _Leg("", 0, 0)
        self._changed = time.monotonic()  # when the last change was seen
        # bytes of the present leg, and the time, from which on the rate is measured
        self._began = 0, self._changed
        self._due = self._changed + REPORT_DELAY
        call.bulk.listener = self.look

    def look(self) -> bool:
        """Report the progress if a report is due; return whether data moves. Call this repeatedly."""
        leg, now = self._present_leg(), time.monotonic()
        if leg.name == self._leg.name:
            leg = leg._replace(done=max(leg.done, self._leg.done))  # bytes that come again do not count
        else:
            self._began = (leg.done, now) if leg.name == "back" else (0, self._changed)
        if leg != self._leg:
            self._leg, self._changed = leg, now
        if not leg.done or now - self._changed > (STALL if leg.done < leg.total else REST):
            return False
        if now >= self._due:
            self._due = now + REPORT_INTERVAL
            self._report(self._line())
        return True

    def _present_leg(self) -> _Leg:
        count = self._count
        if count.received:
            return _Leg("back", count.received, count.expected)
        unsent = self._to_send and self._connection.unsent_bytes(self._last_message)
        if unsent or not count.size:
            return _Leg(TO_CONTROLLER, max(0, self._to_send - unsent), self._to_send)
        return _Leg(f"{count.size} bytes", count.moved, count.size)

    def _line(self) -> str:
        leg, (first, began) = self._leg, self._began
        rate = (leg.done - first) / max(1e-3, self._changed - began)
        if not leg.total:
            return f"{self._name} {size_in_words(leg.done)}, {size_in_words(rate)}/s"
        done = min(leg.done, leg.total)
        amount = f"{size_in_words(done)} of {size_in_words(leg.total)}"
        text = f"{self._name} {bar_text(done, leg.total)} {amount}, {size_in_words(rate)}/s"
        if not self._to_send or leg.name == "back":
            return text
        return f"{text} → {'controller' if leg.name == TO_CONTROLLER else 'engines'}"
