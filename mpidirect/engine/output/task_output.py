"""What a task prints and displays: with its reply, and on the way while it runs."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any

from ...protocol import messages
from ...protocol.messages import AFTER_TASK, OutputPiece
from ...protocol.names import output_files
from . import displays
from .capture import CapturedFile, CStream, EngineStream, watch

WAITING = 256  # displays that wait to be sent: of more than that, the latest
PIECE = 64 * 1024  # bytes of each stream that are sent at once


class TaskOutput(displays.DisplayListener):
    """The output of an engine's tasks.

    The reply to a task has the whole of its output.  What is sent before, by the control thread, is for who
    watches: it may be lost, and is the beginning of the whole.  What threads and child processes write after
    their task has ended is sent as well, and belongs to that task.

    Parameters
    ----------
    directory : Path
        Where the files are made; on all hosts the same one, for who looks when this process has died.
    engine : int
        Whose output it is.
    """

    def __init__(self, directory: Path, engine: int) -> None:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # it stays sys.__stdout__
        sys.stderr.flush()
        self._log = os.dup(2)
        _log_to(self._log)
        self.streams = self._out, self._err = EngineStream(1), EngineStream(2)
        paths = output_files(directory, engine)
        self._captured = [CapturedFile(path, k + 1) for k, path in enumerate(paths)]
        self._c = CStream()
        self._task = ""  # the one that runs, or the last one
        self._running = False
        self._lock = threading.RLock()  # a handler of a signal may display something
        self._late: deque[messages.Output] = deque()
        self._displays: deque[tuple[list[int], OutputPiece]] = deque(maxlen=WAITING)  # and where they are
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        self._watch = watch(*paths)
        self.descriptors = [self._wake, self._watch]
        if self._watch < 0:  # too many are watched already
            self.descriptors = [self._wake]
            self._out.notify = self._err.notify = self._notify
        sys.stdout, sys.stderr = self.streams
        os.environ.setdefault("GFORTRAN_UNBUFFERED_PRECONNECTED", "1")
        displays.listener = self

    # -- the main thread ----------------------------------------------------------------------------

    def begin(self, task: str) -> None:
        """A task starts."""
        with self._lock:
            if self._has_more():
                self._end_last()
                self._notify()
            self._task, self._running = task, True

    def end(self) -> tuple[str, str, bytes]:
        """The task has ended: what it has printed on both streams, and displayed."""
        self.flush()
        with self._lock:
            self._running = False
            if self._displays:
                self._displays.clear()
            if not self._has_more() and not self._out.used and not self._err.used:  # as mostly: this is quick
                return "", "", displays.taken()
            out, err = (
                _noted(*captured.take(), stream)
                for captured, stream in zip(self._captured, self.streams, strict=True)
            )
            for stream in self.streams:
                stream.begin()
            return out, err, displays.taken()

    def printed(self) -> bool:
        """Whether the task has printed or displayed anything."""
        displays.show_figures()
        self.flush()
        return self._has_more() or displays.pending()

    def _has_more(self) -> bool:
        """Whether something was written since the last look."""
        out, err = self._captured
        return out.end != out.start or err.end != err.start

    @property
    def ends(self) -> tuple[int, int]:
        """Up to where the files have been taken for replies."""
        out, err = self._captured
        return out.start, err.start

    def flush(self) -> None:
        """Have all that was printed be in the files."""
        self._out.flush()
        self._err.flush()
        self._c.flush()

    def restore_streams(self) -> None:
        """Put the streams back where user code has left nothing that can be written to."""
        out, err = self.streams
        if not _usable(getattr(sys, "stdout", None)):
            sys.stdout = out
        if not _usable(getattr(sys, "stderr", None)):
            sys.stderr = err

    def place(self) -> list[int]:
        """How many characters the task has printed on each stream."""
        self.flush()
        return [captured.length() for captured in self._captured]

    def displayed(self, piece: OutputPiece) -> None:
        """Something is displayed: it comes after what was printed before it."""
        with self._lock:
            if self._running:
                self._displays.append(([captured.end for captured in self._captured], piece))
        self._notify()

    def _notify(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b"!")

    def release(self) -> None:
        """The engine ends: what is written from now on goes to its log."""
        self.flush()
        for descriptor in (1, 2):
            os.dup2(self._log, descriptor)
        self.discard()

    def discard(self) -> None:
        """Remove the files: nobody will look for them."""
        for captured in self._captured:
            captured.path.unlink(missing_ok=True)

    # -- the control thread ---------------------------------------------------------------------------

    def clear_notices(self) -> None:
        """Whoever waits for `descriptors` has noticed."""
        for descriptor in self.descriptors:
            with contextlib.suppress(BlockingIOError):
                os.read(descriptor, 64 * 1024)

    @property
    def unwatched(self) -> bool:
        """Whether somebody must look now and then, as no descriptor tells of what is written."""
        return self._watch < 0 and self._running

    def next(self) -> messages.Output | None:
        """What is to be sent next, if there is anything."""
        with self._lock:
            if not self._running:
                self._end_last()
            if self._late:
                return self._late.popleft()
            pieces = self._pieces() if self._running else []
            return messages.Output(self._task, pieces) if pieces else None

    def _pieces(self) -> list[OutputPiece]:
        for captured in self._captured:
            captured.thin()
        if not self._displays:
            return self._texts([None, None])
        places, piece = self._displays[0]
        pieces = self._texts(places)
        if not pieces:  # all that comes before it has been sent
            self._displays.popleft()
            pieces = [piece]
        return pieces

    def _texts(self, until: Any) -> list[OutputPiece]:
        pieces = []
        for kind, (captured, place) in enumerate(zip(self._captured, until, strict=True)):
            at, text = captured.following(PIECE, place)
            if text:
                pieces.append(OutputPiece(kind, at, text))
        return pieces

    def _end_last(self) -> None:
        """What has come since the last task ended, by its threads and processes, belongs to it."""
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


def _noted(text: str, dropped: int, stream: EngineStream) -> str:
    """The text, with how much was left out."""
    dropped += stream.dropped
    return text + _note(dropped, stream.problem) if dropped else text


def _note(dropped: int, problem: str = "") -> str:
    why = f"they could not be written ({problem})" if problem else "print less, or write to a file"
    return f"\n[… {dropped} more characters were dropped: {why}]\n"


def _log_to(descriptor: int) -> None:
    """Have this package's log, and what Python tells of a crash, go there."""
    log = os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    faulthandler.enable(log)
    for handler in logging.getLogger("mpidirect").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(log)


def _usable(stream: Any) -> bool:
    if type(stream) is EngineStream:
        return True
    try:
        return callable(stream.write) and not getattr(stream, "closed", False)
    except Exception:  # it is the user's, and may be anything
        return False
