"""The sizes of frames, and how bulk frames are cut into chunks."""

from __future__ import annotations

BULK = 64 * 1024  # bytes from which a frame is bulk: the frame travels in chunks, by MPI inside the job
CHUNK = 4 * 1024 * 1024  # bytes of bulk in one message
INLINE_LIMIT = 256 * 1024 * 1024  # bytes that the small frames of one client message may have in all


def chunks(size: int) -> list[tuple[int, int]]:
    """Return the (start, stop) pairs at which every side cuts a bulk frame of `size` bytes."""
    return [(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]
