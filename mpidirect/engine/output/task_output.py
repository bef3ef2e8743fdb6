"""The output of tasks: for the reply, and for the controller while the task runs."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...protocol import messages
from ...protocol.messages import AFTER_TASK, OutputPiece
from ...protocol.names import STACK_SIGNAL, output_files, stack_file
from . import displays
from .capture import CapturedFile, CStream, EngineStream, watch

DISPLAY_QUEUE = 256  # Maximum number of displays that wait to be sent; the latest are kept.
PIECE_SIZE = 64 * 1024  # Bytes of each stream in one message.


class TaskOutput(displays.DisplayListener):
    """The output of an engine's tasks.

    The reply to a task has its whole output. While the task runs, the control thread sends the beginning of
    the output, for live displays; this copy may be lost. Output of threads and child processes after the end
    of their task is sent as well, and belongs to that task.

    Parameters
    ----------
    directory : Path
        The directory of the files, which all hosts see: the controller reads the files after the death of
        this process.
    engine : int
        The engine's id.

    Attributes
    ----------
    descriptors : list of int
        Descriptors that become readable when there is output.
    line_descriptor : int
        Becomes readable when an incomplete line waits: see `flush_lines`.
    """

    def __init__(self, directory: Path, engine: int) -> None:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # It stays sys.__stdout__.
        sys.stderr.flush()
        self._log = os.dup(2)
        _log_to(self._log)
        self.streams = self._out, self._err = EngineStream(1), EngineStream(2)
        paths = output_files(directory, engine)
        self._captured = [CapturedFile(path, k + 1) for k, path in enumerate(paths)]
        self._c = CStream()
        self._task = ""  # The running task, or the last one.
        self._running = False
        self._lock = threading.RLock()  # A signal handler of user code may display something.
        self._late: deque[messages.Output] = deque()
        self._displays: deque[tuple[list[int], OutputPiece]] = deque(
            maxlen=DISPLAY_QUEUE
        )  # With the ends of the files.
        self._notice_reader, self._notice_writer = _pipe()
        self._watch = watch(*paths)
        self.descriptors = [self._notice_reader, self._watch]
        if self._watch < 0:  # The system's limit is reached.
            self.descriptors = [self._notice_reader]
            self._out.notify = self._err.notify = self.notify
        sys.stdout, sys.stderr = self.streams
        self.line_descriptor, self._line_writer = _pipe()
        self._out.watch_line = self._err.watch_line = self._watch_line
        os.environ.setdefault("GFORTRAN_UNBUFFERED_PRECONNECTED", "1")
        displays.listener = self
        self._stack = stack_file(directory, engine)
        descriptor = os.open(self._stack, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        faulthandler.register(STACK_SIGNAL, descriptor, all_threads=False)

    # -- the main thread ----------------------------------------------------------------------------

    def begin(self, task: str) -> None:
        """Begin the output of a task."""
        with self._lock:
            if self._has_more():
                self._end_last()
                self.notify()
            self._task, self._running = task, True

    def end(self) -> tuple[str, str, bytes]:
        """End the output of the task.

        Returns
        -------
        stdout, stderr : str
            The printed output of the task.
        displays : bytes
            The displays of the task.
        """
        self.flush()
        with self._lock:
            self._running = False
            if self._displays:
                self._displays.clear()
            # The usual case must be fast.
            if not self._has_more() and not self._out.used and not self._err.used:
                return "", "", displays.take()
            out, err = (
                _with_note(*captured.take(), stream)
                for captured, stream in zip(self._captured, self.streams, strict=True)
            )
            for stream in self.streams:
                stream.begin()
            return out, err, displays.take()

    def printed(self) -> bool:
        """Return whether the task has printed or displayed anything."""
        displays.show_figures()
        self.flush()
        return self._has_more() or displays.pending()

    def _has_more(self) -> bool:
        """Return whether anything was written since the output was taken."""
        out, err = self._captured
        return out.end != out.start or err.end != err.start

    @property
    def ends(self) -> tuple[int, int]:
        """The positions up to which replies have taken output: bytes of each file."""
        out, err = self._captured
        return out.start, err.start

    def flush(self) -> None:
        """Write all printed text to the files."""
        self._out.flush()
        self._err.flush()
        self._c.flush()

    def restore_streams(self) -> None:
        """Set the streams again if user code has replaced them by objects that can't be written to."""
        out, err = self.streams
        if not _usable(getattr(sys, "stdout", None)):
            sys.stdout = out
        if not _usable(getattr(sys, "stderr", None)):
            sys.stderr = err

    def printed_lengths(self) -> list[int]:
        """Return how many characters the task has printed on each stream."""
        self.flush()
        return [captured.length() for captured in self._captured]

    def displayed(self, piece: OutputPiece) -> None:
        """Queue a display, after the output that was printed before it."""
        with self._lock:
            if self._running:
                self._displays.append(([captured.end for captured in self._captured], piece))
        self.notify()

    def notify(self) -> None:
        """Wake the control thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._notice_writer, b"!")

    def _watch_line(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._line_writer, b"!")

    def release(self) -> None:
        """Send output to the log from now on, because the engine ends."""
        self.flush()
        for descriptor in (1, 2):
            os.dup2(self._log, descriptor)
        self.discard()

    def discard(self) -> None:
        """Remove the files."""
        for captured in self._captured:
            captured.path.unlink(missing_ok=True)
        self._stack.unlink(missing_ok=True)

    # -- the control thread ---------------------------------------------------------------------------

    def clear_notices(self) -> None:
        """Make `descriptors` wait for further output."""
        for descriptor in self.descriptors:
            with contextlib.suppress(BlockingIOError):
                os.read(descriptor, 64 * 1024)

    @property
    def unwatched(self) -> bool:
        """Whether no descriptor shows output, so that the control thread must check in intervals."""
        return self._watch < 0 and self._running

    def flush_lines(self) -> float:
        """Write incomplete lines that have waited long enough; return the seconds until the next is due."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.line_descriptor, 64)
        due = [seconds for stream in self.streams if (seconds := stream.flush_line()) is not None]
        return min(due, default=float("inf"))

    def last_line(self) -> str:
        """Return the last line of output, of this task or an earlier one; empty if there is none."""
        newest = max(self._captured, key=CapturedFile.changed)
        return newest.last_line()

    def next(self) -> messages.Output | None:
        """Return the next message; None if there is no output."""
        with self._lock:
            if not self._running:
                self._end_last()
            if self._late:
                return self._late.popleft()
            pieces = self._pieces() if self._running else []
            return messages.Output(self._task, pieces) if pieces else None

    def _pieces(self) -> list[OutputPiece]:
        for captured in self._captured:
            captured.free_dropped()
        if not self._displays:
            return self._texts([None, None])
        ends, piece = self._displays[0]
        pieces = self._texts(ends)
        if not pieces:  # All output before the display has been sent.
            self._displays.popleft()
            pieces = [piece]
        return pieces

    def _texts(self, ends: Sequence[int | None]) -> list[OutputPiece]:
        """Return the output up to these positions in the files, or all output."""
        pieces = []
        for kind, (captured, end) in enumerate(zip(self._captured, ends, strict=True)):
            at, text = captured.next_text(PIECE_SIZE, end)
            if text:
                pieces.append(OutputPiece(kind, at, text))
        return pieces

    def _end_last(self) -> None:
        """Queue the output that threads and child processes of the last task have written after its end."""
        pieces = []
        for kind, captured in enumerate(self._captured):
            text, dropped = captured.take()
            if text:
                if dropped:
                    text += _note(dropped)
                with contextlib.suppress(OSError):
                    os.write(self._log, text.encode("utf-8", "replace"))
                pieces.append(OutputPiece(kind, AFTER_TASK, text))
        if pieces and self._task:
            self._late.append(messages.Output(self._task, pieces))


def _with_note(text: str, dropped: int, stream: EngineStream) -> str:
    """Return the text, with a note on missing output."""
    dropped += stream.dropped
    return text + _note(dropped, stream.problem) if dropped else text


def _note(dropped: int, problem: str = "") -> str:
    reason = f"they could not be written ({problem})" if problem else "print less, or write to a file"
    return f"\n[… {dropped} more characters were dropped: {reason}]\n"


def _log_to(descriptor: int) -> None:
    """Send this package's log, and Python's report of a crash, to a descriptor."""
    log = os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    faulthandler.enable(log)
    for handler in logging.getLogger("mpidirect").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(log)


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer


def _usable(stream: Any) -> bool:
    if type(stream) is EngineStream:
        return True
    try:
        return callable(stream.write) and not getattr(stream, "closed", False)
    except Exception:  # The stream is an object of user code.
        return False
