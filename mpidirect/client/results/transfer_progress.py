"""The progress of a call that moves data: bytes, and their rate."""

from __future__ import annotations

import time

from ..connection.traffic import traffic
from ..display.progress import bar_text
from ..display.units import size_in_words
from ..session.session import Session

REST = 1.0  # seconds without a change after which data does not move any more


class TransferProgress:
    """The data of a call on its way, both to the engines and back.

    Parameters
    ----------
    session : Session
        The session whose call was submitted a moment ago.
    name : str
        What the user called.
    """

    def __init__(self, session: Session, name: str) -> None:
        self._connection = session.connection
        self._name = name
        self._to_send = self._connection.unsent_bytes
        self._announced, self._received = traffic.announced, traffic.received
        self._moved = (0, time.monotonic())  # bytes, and the time of their last change
        self._start: tuple[int, float] | None = None  # the same when data began to move

    def is_moving(self) -> bool:
        """Return whether data has moved within the last second; call this repeatedly."""
        moved, now = self._sent + traffic.received - self._received, time.monotonic()
        if moved != self._moved[0]:
            self._start = self._start or self._moved
            self._moved = moved, now
        return self._start is not None and now - self._moved[1] < REST

    @property
    def _sent(self) -> int:
        return max(0, self._to_send - self._connection.unsent_bytes)

    def line(self) -> str:
        """Return a bar, the bytes that have moved, and their rate."""
        received, announced = traffic.received - self._received, traffic.announced - self._announced
        done, total = (received, announced) if received else (self._sent, self._to_send)
        start = self._start or self._moved
        rate = (self._moved[0] - start[0]) / max(1e-3, self._moved[1] - start[1])
        amount = f"{size_in_words(done)} of {size_in_words(total)}"
        return f"{self._name} {bar_text(done, total)} {amount}, {size_in_words(rate)}/s"
