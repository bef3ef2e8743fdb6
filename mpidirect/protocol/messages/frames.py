"""The sizes of frames, and the division of bulk frames into chunks."""

from __future__ import annotations

BULK = 64 * 1024  # minimum bytes of a bulk frame; bulk frames travel in chunks, and by MPI inside the job
CHUNK = 4 * 1024 * 1024  # bytes of bulk data in one message
INLINE_LIMIT = 256 * 1024 * 1024  # maximum bytes of all small frames of one client message


def chunks(size: int) -> list[tuple[int, int]]:
    """Return the (start, stop) pairs at which every side cuts a bulk frame of `size` bytes."""
    return [(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]
