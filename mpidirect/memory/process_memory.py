"""Bulk data between processes of one host: each process can read the other process's memory.

Linux lets a process read the memory of another process of the same user (``process_vm_readv``; MPI libraries
move their messages in the same way). This takes one copy, leaves no memory segment behind, and the kernel
checks the permission. If the kernel refuses, `can_read` is false, and the data is sent in messages.
"""

from __future__ import annotations

import ctypes
import functools
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..arrays.lazy_numpy import np

_PIECE = 64 * 1024 * 1024  # bytes of one system call; a Ctrl-C is handled between two calls
COOKIE = 16  # bytes of a cookie

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


def domain() -> str:
    """Return a text that is equal for processes that may read each other's memory; empty if none may."""
    wanted = os.environ.get("MPIDIRECT_DIRECT_MEMORY", "1") != "0"
    return node() if wanted and _library() is not None else ""


@functools.cache
def node() -> str:
    """Return a text that is equal for processes of one user on one node: boot, PID namespace and user."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()} {os.getuid()}"
    except OSError:
        return socket.gethostname()


def permit() -> None:
    """Let other processes of this user read this process's memory, if the kernel (Yama) requires it."""
    try:
        restricted = Path("/proc/sys/kernel/yama/ptrace_scope").read_text().strip() == "1"
    except OSError:
        return
    if restricted and _library() is not None:
        _library().prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)


def address(buffer: Any) -> int:
    """Return the address of the contents of `buffer`."""
    return int(np.frombuffer(buffer, np.uint8).ctypes.data)


def read(pid: int, source: int, into: Any, moved: Callable[[int], object] | None = None) -> None:
    """Fill the writable buffer `into` from address `source` in the memory of process `pid`.

    `moved` is called with the size of each piece that has been read.

    Raises
    ------
    OSError
        When the process is gone, or the kernel refuses.
    """
    view = np.frombuffer(into, np.uint8)
    _read(pid, source, view.ctypes.data, view.nbytes, moved)


def _read(pid: int, source: int, start: int, size: int, moved: Callable[[int], object] | None = None) -> None:
    done = 0
    while done < size:
        length = min(_PIECE, size - done)
        here, there = _Span(start + done, length), _Span(source + done, length)
        got = _library().process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        if got <= 0:
            error = ctypes.get_errno()
            raise OSError(error, f"the memory of process {pid} can't be read: {os.strerror(error)}")
        done += got
        if moved is not None:
            moved(got)


def can_read(pid: int, source: int, cookie: bytes) -> bool:
    """Whether process `pid` has `cookie` at address `source`, and so whether its memory can be read."""
    if _library() is None or len(cookie) != COOKIE:
        return False
    found = ctypes.create_string_buffer(COOKIE)
    try:
        _read(pid, source, ctypes.addressof(found), COOKIE)
    except OSError:
        return False
    return found.raw == cookie
