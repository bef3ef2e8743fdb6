"""Names that both sides must know: of an engine's connections, and of what its namespace begins with."""

from __future__ import annotations

import struct

# of each engine's namespace
INITIAL_NAMES = ("comm", "rank", "size", "local_rank", "local_size", "node", "MPI")

ANCHOR = 2**32 - 1  # in the place of an engine's id: the rank that spawns the engines

_NAME = struct.Struct(">cI")
_TASKS, _CONTROL = b"T", b"C"


def task_name(engine: int) -> bytes:
    """The routing id of an engine's task connection: read by its main thread."""
    return _NAME.pack(_TASKS, engine)


def control_name(engine: int) -> bytes:
    """The routing id of an engine's control connection: read while user code runs."""
    return _NAME.pack(_CONTROL, engine)


def engine_of(name: bytes) -> int:
    """Which engine has this routing id."""
    return _NAME.unpack(name)[1]


PUBLISHED = "application/x-mpidirect-data"  # the format of what a task publishes, among what it displays
