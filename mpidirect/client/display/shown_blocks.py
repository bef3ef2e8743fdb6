"""What a notebook shows of engines: an engine that clears its output leaves that of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from .folding import Block

KEPT = 10_000  # blocks: of more, the latest stay when an engine clears its output


class ShownBlocks:
    """The blocks in a cell, in order.

    Attributes
    ----------
    stale : bool
        Whether the cell shows blocks that are no longer here.
    """

    def __init__(self) -> None:
        self._blocks: deque[Block] = deque(maxlen=KEPT)
        self._waiting: set[int] = set()  # engines whose next output takes the place of their former output
        self.stale = False

    def clear(self, engines: Collection[int], wait: bool) -> None:
        """Remove what engines have shown; with `wait` only when they show something else."""
        if wait:
            self._waiting.update(engines)
        else:
            self._remove(engines)

    def add(self, block: Block) -> None:
        """Add a block that the cell is to show."""
        if due := self._waiting.intersection(block.engines):
            self._waiting -= due
            self._remove(due)
        self._blocks.append(block)

    def take(self) -> list[Block]:
        """Return the blocks that remain: they are to be shown in an empty cell."""
        self.stale = False
        return list(self._blocks)

    def _remove(self, engines: Collection[int]) -> None:
        self.stale = True
        remaining = [
            block._replace(engines=tuple(engine for engine in block.engines if engine not in engines))
            for block in self._blocks
        ]
        self._blocks = deque((block for block in remaining if block.engines), KEPT)
