"""Output to descriptors 1 and 2: written to two files, and read from there.

Python's streams, C code, threads and child processes all write to the same two files. So all output stays in
order, and no writer waits for a reader. A pipe would need a thread of this process as its reader, which can't
run while C code that prints holds Python's lock. And the data of a pipe is lost with its reader, while a file
keeps the output of a process that has died.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import io
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...protocol.messages import OUTPUT_LIMIT

LINE_DELAY = 0.05  # Seconds that an incomplete line waits for its end.
LINE_BUFFER = 8 * 1024  # Characters of an incomplete line that are buffered.
LINE_LIMIT = 400  # Maximum bytes of the last line of output.
FREE_SIZE = 16 * 1024 * 1024  # Bytes of a file after which the disk space of taken output is freed.

_libc = ctypes.CDLL(None, use_errno=True)
_IN_MODIFY = 2
_PUNCH_HOLE = 1 | 2  # For fallocate: make a hole, and keep the size.


class CapturedFile:
    """The file of a descriptor, and the position up to which it was read.

    Parameters
    ----------
    path : Path
        The file; it is emptied.
    descriptor : int
        1 or 2. All later output to the descriptor goes to the file.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self.path = path
        self.file = os.open(path, flags, 0o600)
        self.start = 0  # The position at which the output of the task begins.
        self.sent = 0  # The position up to which output was sent while the task ran.
        self.at = 0  # The number of characters that were sent.
        self._freed = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        os.dup2(self.file, descriptor)

    @property
    def end(self) -> int:
        """The size of the file in bytes."""
        end = os.lseek(self.file, 0, os.SEEK_END)
        if end < self.start:  # A program has emptied the file, as a shell does for "> /dev/stderr".
            self._begin(0)
        return end

    def _begin(self, start: int) -> None:
        self.start = self.sent = start
        self.at = 0
        self._decoder.reset()

    def next_text(self, size: int, until: int | None = None) -> tuple[int, str]:
        """Return the next output that was not sent yet.

        Parameters
        ----------
        size : int
            The maximum number of bytes.
        until : int, optional
            The position in the file where the output ends.

        Returns
        -------
        at : int
            The number of characters of the task's output before this text.
        text : str
            The text.
        """
        end = min(self.end if until is None else until, self.start + OUTPUT_LIMIT)
        data = os.pread(self.file, min(end - self.sent, size), self.sent) if end > self.sent else b""
        at, text = self.at, self._decoder.decode(data)
        self.sent += len(data)
        self.at += len(text)
        return at, text

    def length(self) -> int:
        """Return how many characters of the task's output are kept."""
        size = min(self.end - self.start, OUTPUT_LIMIT)
        return len(os.pread(self.file, size, self.start).decode("utf-8", "replace")) if size else 0

    def changed(self) -> int:
        """Return the time of the last write to the file, in nanoseconds."""
        status = os.fstat(self.file)
        return status.st_mtime_ns if status.st_size else 0

    def last_line(self) -> str:
        """Return the last line with text in the last bytes of the file; empty if there is none."""
        end = os.fstat(self.file).st_size
        data = os.pread(self.file, LINE_LIMIT, max(0, end - LINE_LIMIT))
        lines = data.strip(b"\0").decode("utf-8", "replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def take(self) -> tuple[str, int]:
        """Take the output of the task; later output belongs to another task.

        Returns
        -------
        text : str
            The part of the output that is kept.
        dropped : int
            The number of bytes that were not kept.
        """
        end = self.end
        if end == self.start:
            return "", 0
        data = os.pread(self.file, min(end - self.start, OUTPUT_LIMIT), self.start)
        dropped = end - self.start - len(data)
        self._begin(end)
        if end - self._freed > FREE_SIZE:
            self._free(0, end)
        return data.decode("utf-8", "replace"), dropped

    def free_dropped(self) -> None:
        """Free the disk space of output that is not kept: a program may print without end."""
        end = self.end
        if end - max(self.start + OUTPUT_LIMIT, self._freed) > FREE_SIZE:
            self._free(self.start + OUTPUT_LIMIT, end)

    def _free(self, start: int, end: int) -> None:
        _libc.fallocate(self.file, _PUNCH_HOLE, ctypes.c_int64(start), ctypes.c_int64(end - start))
        self._freed = end


class EngineStream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of an engine: writes lines to its descriptor.

    Parameters
    ----------
    descriptor : int
        1 or 2.
    """

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, descriptor: int) -> None:
        self.name = "<stdout>" if descriptor == 1 else "<stderr>"
        self.mode = "w"
        self.buffer = _Bytes(self, descriptor)
        self.dropped = 0  # The number of characters that were not written.
        self.problem = ""  # Why some characters could not be written.
        self.used = False  # Whether the task has written to the stream.
        # Called after each write, if the system has no inotify.
        self.notify: Callable[[], None] | None = None
        self._descriptor = descriptor
        self._limit = OUTPUT_LIMIT
        self.watch_line: Callable[[], object] = bool  # Called when an incomplete line waits for its end.
        self._line: list[str] = []
        self._length = 0
        self._line_began = 0.0
        self._is_watched = False  # Whether other code will call `flush_line`.
        self._lock = threading.RLock()  # A signal handler may print during a print.
        os.register_at_fork(before=self.flush, after_in_child=self._forked)

    def _forked(self) -> None:
        self._lock = threading.RLock()

    def begin(self) -> None:
        """Begin the output of another task."""
        self._limit, self.dropped, self.problem, self.used = OUTPUT_LIMIT, 0, "", False

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            if not self._line:
                self._line_began = time.monotonic()
            self._line.append(text)
            self._length += len(text)
            if "\n" in text or self._length > LINE_BUFFER:
                self.flush()
            elif not self._is_watched:
                self._is_watched = True
                self.watch_line()
        return len(text)

    def flush_line(self) -> float | None:
        """Write an incomplete line that has waited long enough (control thread).

        Returns
        -------
        float or None
            The seconds until this must be called again; None if no line waits.
        """
        with self._lock:
            if not self._is_watched:
                return None
            if self._line:
                seconds = self._line_began + LINE_DELAY - time.monotonic()
                if seconds > 0:
                    return seconds
                self.flush()
            self._is_watched = False
            return None

    def flush(self) -> None:
        if self._line:
            with self._lock:
                text, self._line, self._length = "".join(self._line), [], 0
                self.put(text.encode("utf-8", "replace"))

    def put(self, data: bytes) -> None:
        """Write bytes up to the limit of the task: an endless output must not fill the disk."""
        self.used = True
        rest = data[: self._limit]
        self._limit -= len(rest)
        self.dropped += len(data) - len(rest)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except (
                OSError
            ) as e:  # The disk is full, or user code has closed the descriptor: the task goes on.
                self.dropped += len(rest)
                self.problem = str(e.strerror)
                return
        if self.notify is not None:
            self.notify()

    def writable(self) -> bool:
        return True

    def reconfigure(self, **options: Any) -> None:
        """Flush, as Python's streams do; there are no options."""
        self.flush()

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        self.flush()


class _Bytes(io.RawIOBase):
    """The stream of bytes below a stream of text: ``sys.stdout.buffer``."""

    def __init__(self, stream: EngineStream, descriptor: int) -> None:
        self.raw = self
        self.name = descriptor
        self._stream = stream

    def write(self, data: Any) -> int:
        content = bytes(data)
        self._stream.flush()
        self._stream.put(content)
        return len(content)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        pass


class CStream:
    """The ``stdout`` of C, made line-buffered as on a terminal."""

    def __init__(self) -> None:
        self._stream: Any = None
        with contextlib.suppress(ValueError, AttributeError):  # The C library has another name for it.
            self._stream = ctypes.c_void_p.in_dll(_libc, "stdout")
            _libc.setvbuf(self._stream, None, 1, ctypes.c_size_t(0))
        self._flush = _libc.fflush
        self._flush.argtypes = [ctypes.c_void_p]
        os.register_at_fork(before=self.flush)  # Otherwise the child would write the buffer as well.

    def flush(self) -> None:
        """Write the incomplete line."""
        if self._stream:
            self._flush(self._stream)


def watch(*paths: Path) -> int:
    """Return a descriptor that becomes readable when one of the files is written to.

    Returns
    -------
    int
        -1 if the system has no inotify, or its limit of watches is reached.
    """
    try:
        descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    except AttributeError:  # Not on Linux.
        return -1
    if descriptor >= 0 and any(
        _libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_MODIFY) < 0 for path in paths
    ):
        os.close(descriptor)
        return -1
    return descriptor
