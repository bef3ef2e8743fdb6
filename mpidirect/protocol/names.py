"""Names that both sides must know: of an engine's connections, and of what its namespace begins with."""

from __future__ import annotations

import struct
from pathlib import Path

# of each engine's namespace
INITIAL_NAMES = ("comm", "rank", "size", "local_rank", "local_size", "node", "MPI")

# In the place of an engine's id: the anchor, which is the rank that spawns the engines.  On other hosts there
# are more, which can end processes there; their numbers are the next lower ones.
ANCHOR = 2**32 - 1
_ANCHORS = 2**31

_NAME = struct.Struct(">cI")
_TASKS, _CONTROL = b"T", b"C"


def output_files(directory: Path, engine: int) -> list[Path]:
    """Where an engine's output is while its task runs: of descriptors 1 and 2, beside its log."""
    return [directory / f"engine-{engine}.{kind}" for kind in ("out", "err")]


def task_name(engine: int) -> bytes:
    """The routing id of an engine's task connection: read by its main thread."""
    return _NAME.pack(_TASKS, engine)


def control_name(engine: int) -> bytes:
    """The routing id of an engine's control connection: read while user code runs."""
    return _NAME.pack(_CONTROL, engine)


def is_anchor(engine: int) -> bool:
    """Whether this is no engine's id, but an anchor's."""
    return engine >= _ANCHORS


def engine_of(name: bytes) -> int:
    """Which engine has this routing id."""
    return _NAME.unpack(name)[1]


PUBLISHED = "application/x-mpidirect-data"  # the format of what a task publishes, among what it displays
