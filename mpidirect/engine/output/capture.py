"""What goes to descriptors 1 and 2: into two files, whoever writes it, and read from there.

Python's streams, C code, threads and child processes all write to the same two files, so what one engine
writes stays in its order, and nobody waits for a reader.  A pipe would have to be read by a thread of this
process, which can't run while C code that prints holds Python's lock; and what is in a pipe ends with its
reader, while a file tells what a process has written before it died.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...protocol.messages import OUTPUT_LIMIT as MOST

BUFFERED = 8 * 1024  # characters of a line that is not complete
FREED = 16 * 1024 * 1024  # bytes of a file after which those that were told are given back

_libc = ctypes.CDLL(None, use_errno=True)
_IN_MODIFY = 2
_PUNCH = 1 | 2  # keep the size, and make a hole


class CapturedFile:
    """The file behind a descriptor, and how far it has been read.

    Parameters
    ----------
    path : Path
        The file; what it contains is removed.
    descriptor : int
        1 or 2: from now on, what is written to it goes to the file.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self.path = path
        self.file = os.open(path, flags, 0o600)
        self.start = 0  # where the text of the task begins
        self.sent = 0  # up to where it was sent while the task ran
        self.at = 0  # how many characters that were
        self._freed = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        os.dup2(self.file, descriptor)

    @property
    def end(self) -> int:
        """How many bytes there are."""
        end = os.lseek(self.file, 0, os.SEEK_END)
        if end < self.start:  # a program has opened it anew, as the shell does for "> /dev/stderr"
            self._begin(0)
        return end

    def _begin(self, start: int) -> None:
        self.start = self.sent = start
        self.at = 0
        self._decoder.reset()

    def following(self, most: int, until: int | None = None) -> tuple[int, str]:
        """What was not sent yet, `most` bytes of it: after how many characters it comes, and the text."""
        end = min(self.end if until is None else until, self.start + MOST)
        data = os.pread(self.file, min(end - self.sent, most), self.sent) if end > self.sent else b""
        at, text = self.at, self._decoder.decode(data)
        self.sent += len(data)
        self.at += len(text)
        return at, text

    def length(self) -> int:
        """How many characters there are since the start, as far as they are kept."""
        size = min(self.end - self.start, MOST)
        return len(os.pread(self.file, size, self.start).decode("utf-8", "replace")) if size else 0

    def take(self) -> tuple[str, int]:
        """The text since the start, as far as it is kept, and how many bytes more there were.

        What is written from now on is the text of another task.
        """
        end = self.end
        if end == self.start:
            return "", 0
        data = os.pread(self.file, min(end - self.start, MOST), self.start)
        dropped = end - self.start - len(data)
        self._begin(end)
        if end - self._freed > FREED:
            self._free(0, end)
        return data.decode("utf-8", "replace"), dropped

    def thin(self) -> None:
        """Give back the room of what will not be kept: a program may print without end."""
        end = self.end
        if end - max(self.start + MOST, self._freed) > FREED:
            self._free(self.start + MOST, end)

    def _free(self, start: int, end: int) -> None:
        _libc.fallocate(self.file, _PUNCH, ctypes.c_int64(start), ctypes.c_int64(end - start))
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
        self.dropped = 0  # characters
        self.problem = ""  # why some could not be written
        self.used = False  # whether the task has written anything
        self.notify: Callable[[], None] | None = None  # called then, where nobody notices otherwise
        self._descriptor = descriptor
        self._room = MOST
        self._line: list[str] = []
        self._length = 0
        self._lock = threading.RLock()  # a handler of a signal may print in the middle of a print
        os.register_at_fork(before=self.flush, after_in_child=self._forked)

    def _forked(self) -> None:
        self._lock = threading.RLock()

    def begin(self) -> None:
        """There is room for another task's output."""
        self._room, self.dropped, self.problem, self.used = MOST, 0, "", False

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            self._line.append(text)
            self._length += len(text)
            if "\n" in text or self._length > BUFFERED:
                self.flush()
        return len(text)

    def flush(self) -> None:
        if self._line:
            with self._lock:
                text, self._line, self._length = "".join(self._line), [], 0
                self.put(text.encode("utf-8", "replace"))

    def put(self, data: bytes) -> None:
        """Write it, as far as there is room: who prints without end shall not fill the disk."""
        self.used = True
        rest = data[: self._room]
        self._room -= len(rest)
        self.dropped += len(data) - len(rest)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError as e:  # the disk is full, or user code has closed it: no reason to fail
                self.dropped += len(rest)
                self.problem = str(e.strerror)
                return
        if self.notify is not None:
            self.notify()

    def writable(self) -> bool:
        return True

    def reconfigure(self, **options: Any) -> None:
        """As with Python's own; there is nothing to choose."""
        self.flush()

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        self.flush()


class _Bytes(io.RawIOBase):
    """The same for bytes: ``sys.stdout.buffer``."""

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
    """C's own ``stdout``, whose lines shall come as they are printed, as on a terminal."""

    def __init__(self) -> None:
        self._stream: Any = None
        with contextlib.suppress(ValueError, AttributeError):  # a C library that names it otherwise
            self._stream = ctypes.c_void_p.in_dll(_libc, "stdout")
            _libc.setvbuf(self._stream, None, 1, ctypes.c_size_t(0))
        self._flush = _libc.fflush
        self._flush.argtypes = [ctypes.c_void_p]
        os.register_at_fork(before=self.flush)  # or the child would write it as well

    def flush(self) -> None:
        """Have it write what is no line yet."""
        if self._stream:
            self._flush(self._stream)


def watch(*paths: Path) -> int:
    """A descriptor that becomes readable when one of these files is written to; -1 if there is none.

    The system has a limit for them.
    """
    try:
        descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    except AttributeError:  # not Linux
        return -1
    if descriptor >= 0 and any(
        _libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_MODIFY) < 0 for path in paths
    ):
        os.close(descriptor)
        return -1
    return descriptor
