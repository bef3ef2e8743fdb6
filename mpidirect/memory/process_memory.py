"""Bulk data between processes of one host: read straight out of the other one's memory.

Linux lets a process read the memory of another one of the same user (``process_vm_readv``; MPI
libraries move their own messages that way).  One copy, no segment that could be left behind, and
nobody else can look: it is the kernel that checks.  Where that is not possible, `can_read` says so,
and the data takes its other ways.
"""

from __future__ import annotations

import ctypes
import functools
import os
import socket
import sys
from pathlib import Path
from typing import Any

from ..arrays.lazy_numpy import np

PIECE = 64 * 1024 * 1024  # bytes of one call: between two, a Ctrl-C gets through
COOKIE = 16

_PR_SET_PTRACER = 0x59616D61
_PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)


class _Span(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("length", ctypes.c_size_t)]


@functools.cache
def _library() -> Any:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    try:
        call = library.process_vm_readv
    except AttributeError:
        return None
    call.restype = ctypes.c_ssize_t
    span = ctypes.POINTER(_Span)
    call.argtypes = [ctypes.c_int, span, ctypes.c_ulong, span, ctypes.c_ulong, ctypes.c_ulong]
    return library


def place() -> str:
    """A text that only processes share that may read each other's memory; empty where none may."""
    wanted = os.environ.get("MPIDIRECT_DIRECT_MEMORY", "1") != "0"
    return node() if wanted and _library() is not None else ""


@functools.cache
def node() -> str:
    """A text that processes on one node share: its present boot, its process numbers, the user."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()} {os.getuid()}"
    except OSError:
        return socket.gethostname()


def permit() -> None:
    """Let this user's other processes read this one's memory, where the kernel (Yama) asks for that."""
    try:
        restricted = Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip() == "1"
    except OSError:
        return
    if restricted and _library() is not None:
        _library().prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)


def address(buffer: Any) -> int:
    """Where the contents of `buffer` are."""
    return int(np.frombuffer(buffer, np.uint8).ctypes.data)


def read(pid: int, source: int, into: Any) -> None:
    """Fill the writable buffer `into` with what is at `source` in the memory of process `pid`.

    Raises
    ------
    OSError
        When the process is gone, or does not let itself be read.
    """
    view = np.frombuffer(into, np.uint8)
    _read(pid, source, view.ctypes.data, view.nbytes)


def _read(pid: int, source: int, start: int, size: int) -> None:
    done = 0
    while done < size:
        length = min(PIECE, size - done)
        here, there = _Span(start + done, length), _Span(source + done, length)
        got = _library().process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        if got <= 0:
            error = ctypes.get_errno()
            raise OSError(error, f"the memory of process {pid} can't be read: {os.strerror(error)}")
        done += got


def can_read(pid: int, source: int, cookie: bytes) -> bool:
    """Whether process `pid` has `cookie` at `source`: that is, whether it can be read at all."""
    if _library() is None or len(cookie) != COOKIE:
        return False
    found = ctypes.create_string_buffer(COOKIE)
    try:
        _read(pid, source, ctypes.addressof(found), COOKIE)
    except OSError:
        return False
    return found.raw == cookie
