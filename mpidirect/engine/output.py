"""What user code prints: collected for the task that runs, else written to the engine's log."""

from __future__ import annotations

import io
import sys
import threading
from typing import Any, TextIO

MOST = 4 * 1024 * 1024  # characters kept of one task's output, of each stream


class Collector(io.TextIOBase):
    """A text stream that keeps what is written while a task runs."""

    def __init__(self, log: TextIO) -> None:
        self.log = log
        self.name = getattr(log, "name", "<output>")
        self._lock = threading.RLock()  # a handler of a signal may print in the middle of a print
        self._parts: list[str] | None = None
        self._size = 0
        self._dropped = 0

    encoding = "utf-8"
    errors = "replace"

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            if self._parts is None:
                self.log.write(text)
            elif self._size < MOST:
                kept = text[: MOST - self._size]
                self._parts.append(kept)
                self._size += len(kept)
                self._dropped += len(text) - len(kept)
            else:
                self._dropped += len(text)
        return len(text)

    def writable(self) -> bool:
        return True

    def flush(self) -> None:
        self.log.flush()

    def fileno(self) -> int:
        return self.log.fileno()

    def begin(self) -> None:
        """A task starts."""
        self._parts, self._size, self._dropped = [], 0, 0

    def end(self) -> str:
        """The task has ended: what it wrote."""
        with self._lock:
            parts, self._parts = self._parts, None
        if not parts:
            return ""
        text = "".join(parts)
        if self._dropped:
            text += f"\n[… {self._dropped} more characters were dropped: print less, or write to a file]\n"
        return text


def collect() -> tuple[Collector, Collector]:
    """Put collectors in the place of ``sys.stdout`` and ``sys.stderr``."""
    out, err = Collector(sys.stdout), Collector(sys.stderr)
    sys.stdout, sys.stderr = out, err
    return out, err


def mend(out: Collector, err: Collector) -> None:
    """Put the collectors back where user code has left nothing that can be written to."""
    if not _usable(getattr(sys, "stdout", None)):
        sys.stdout = out
    if not _usable(getattr(sys, "stderr", None)):
        sys.stderr = err


def _usable(stream: Any) -> bool:
    if type(stream) is Collector:
        return True
    try:
        return callable(stream.write) and not getattr(stream, "closed", False)
    except Exception:  # it is the user's, and may be anything
        return False
