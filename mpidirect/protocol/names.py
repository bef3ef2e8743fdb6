"""Names that several processes know: of an engine's connections, its files and its initial names."""

from __future__ import annotations

import signal
import struct
from pathlib import Path

# The names that each engine's namespace contains at the start.
INITIAL_NAMES = ("comm", "rank", "size", "local_rank", "local_size", "node", "MPI")

# The id of the anchor, the rank that spawns the engines.  Other hosts have anchors too, which can end
# processes there; their ids are the next lower numbers.
ANCHOR = 2**32 - 1
_ANCHORS = 2**31

_NAME = struct.Struct(">cI")
_TASKS, _CONTROL = b"T", b"C"


def output_files(directory: Path, engine: int) -> list[Path]:
    """Return the files of an engine's descriptors 1 and 2, which are beside its log."""
    return [directory / f"engine-{engine}.{kind}" for kind in ("out", "err")]


# The signal by which an engine writes its stack to a file, also while C code holds Python's lock.
STACK_SIGNAL = int(signal.SIGRTMAX) - 4


def stack_file(directory: Path, engine: int) -> Path:
    """Return the file to which an engine writes its stack, beside its log."""
    return directory / f"engine-{engine}.stack"


def task_name(engine: int) -> bytes:
    """Return the routing id of an engine's task connection, which its main thread reads."""
    return _NAME.pack(_TASKS, engine)


def control_name(engine: int) -> bytes:
    """Return the routing id of an engine's control connection, which its control thread reads."""
    return _NAME.pack(_CONTROL, engine)


def is_anchor(engine: int) -> bool:
    """Whether an id is the id of an anchor, not of an engine."""
    return engine >= _ANCHORS


def engine_of(name: bytes) -> int:
    """Return the id of the engine that has this routing id."""
    return int(_NAME.unpack(name)[1])


# Formats of a task's displays that are not shown: published data, and the order to clear the output.
PUBLISHED = "application/x-mpidirect-data"
CLEARED = "application/x-mpidirect-clear"
UNSHOWN = {PUBLISHED, CLEARED}
