"""The activity and the resources of an engine, for a client that watches engines."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from ..protocol import messages
from . import map_progress
from .main_thread import MainThread
from .output.task_output import TaskOutput
from .where import call_and_line

_PAGE = os.sysconf("SC_PAGE_SIZE")


def usage(main_thread: MainThread, output: TaskOutput) -> messages.Usage:
    """Return the present activity and resources of the engine (control thread)."""
    runs = bool(main_thread.task)
    return messages.Usage(
        main_thread.method if runs else "",
        call_and_line() if runs else "",
        time.monotonic() - main_thread.began if runs else 0.0,
        time.process_time(),
        _resident_memory(),
        _gpu_memory(),
        output.last_line(),
        main_thread.task,
        map_progress.items_done(),
    )


def _resident_memory() -> int:
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _gpu_memory() -> int:
    """Return the bytes that libraries have reserved on GPUs; a library is asked only if it is loaded."""
    size = 0
    for ask in (_memory_of_torch, _memory_of_cupy):
        try:
            size += ask()
        except Exception:  # A library that is being imported lacks functions.
            continue
    return size


def _memory_of_torch() -> int:
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return sum(int(torch.cuda.memory_reserved(device)) for device in range(torch.cuda.device_count()))


def _memory_of_cupy() -> int:
    cupy: Any = sys.modules.get("cupy")
    return 0 if cupy is None else int(cupy.get_default_memory_pool().total_bytes())
