"""The frames of messages: their type, their sizes, and the division of bulk frames into chunks."""

from __future__ import annotations

from typing import Any, Protocol

BULK = 64 * 1024  # minimum bytes of a bulk frame; bulk frames travel in chunks, and by MPI inside the job
CHUNK = 4 * 1024 * 1024  # bytes of bulk data in one message
INLINE_LIMIT = 256 * 1024 * 1024  # maximum bytes of all small frames of one client message


class Frame(Protocol):
    """Bytes in one piece of memory: bytes, a bytearray, a memoryview of bytes, or an array of bytes."""

    def __len__(self) -> int:
        """Return the number of bytes."""

    def __getitem__(self, part: slice, /) -> Any:
        """Return some of the bytes."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return the memory (PEP 688)."""


def chunks(size: int) -> list[tuple[int, int]]:
    """Return the (start, stop) pairs at which every side cuts a bulk frame of `size` bytes."""
    return [(start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]
