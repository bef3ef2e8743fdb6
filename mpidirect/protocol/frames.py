"""The type of a message's frames."""

from __future__ import annotations

from typing import Any, Protocol


class Frame(Protocol):
    """Bytes in one piece of memory: bytes, a bytearray, a memoryview of bytes, or an array of bytes."""

    def __len__(self) -> int:
        """Return the number of bytes."""

    def __getitem__(self, part: slice, /) -> Any:
        """Return some of the bytes."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return the memory (PEP 688)."""
