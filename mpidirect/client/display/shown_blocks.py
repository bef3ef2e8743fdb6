"""The output of engines in a notebook's cell: if an engine clears its output, that of others stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from .folding import Block

KEPT = 10_000  # maximum number of blocks; the latest remain after an engine has cleared its output


class _Entry:
    """A block, and the id by which its engines can update the block; empty if they can't."""

    def __init__(self, block: Block, id: str) -> None:
        self.block = block
        self.id = id


class ShownBlocks:
    """The blocks in a cell, in order.

    Attributes
    ----------
    stale : bool
        Whether the cell shows blocks that are no longer here.
    """

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque(maxlen=KEPT)
        self._by_id: dict[str, list[_Entry]] = {}
        self._waiting: set[int] = set()  # engines whose next output takes the place of their former output
        self.stale = False

    def clear(self, engines: Collection[int], wait: bool) -> None:
        """Remove the output of engines; with `wait`, only when they print or display again."""
        if wait:
            self._waiting.update(engines)
        else:
            self._remove(engines)

    def add(self, block: Block, id: str) -> list[Block]:
        """Add a block, or update the blocks of its engines with this id; return what the cell is to show."""
        if due := self._waiting.intersection(block.engines):
            self._waiting -= due
            self._remove(due)
        new, updated = set(block.engines), []
        for entry in [entry for entry in self._by_id.get(id, ()) if not new.isdisjoint(entry.block.engines)]:
            engines = entry.block.engines
            if rest := tuple(engine for engine in engines if engine not in block.engines):
                self._split(entry, rest)
            entry.block = block._replace(engines=tuple(e for e in engines if e in block.engines))
            new.difference_update(engines)
            updated.append(entry.block)
        if new:
            updated.append(self._append(block._replace(engines=tuple(sorted(new))), id))
        return updated

    @property
    def is_complete(self) -> bool:
        """Whether all blocks of the cell are here."""
        return len(self._entries) < KEPT

    def take(self) -> list[Block]:
        """Return the remaining blocks, which will be shown in an empty cell."""
        self.stale = False
        return [entry.block for entry in self._entries]

    def fold(self) -> None:
        """Join blocks of several engines with one id that have become equal."""
        for entries in self._by_id.values():
            equal: dict[object, _Entry] = {}
            for entry in entries:
                first = equal.setdefault(entry.block.lines[0].content, entry)
                if first is not entry:
                    engines = tuple(sorted(first.block.engines + entry.block.engines))
                    first.block = first.block._replace(engines=engines)
                    entry.block = entry.block._replace(engines=())
        self._drop_empty()

    def _append(self, block: Block, id: str) -> Block:
        entry = _Entry(block, id)
        self._entries.append(entry)
        if id:
            self._by_id.setdefault(id, []).append(entry)
        return block

    def _split(self, entry: _Entry, rest: tuple[int, ...]) -> None:
        """Give some engines of an entry an entry of their own, as only the others update theirs."""
        own = _Entry(entry.block._replace(engines=rest), entry.id)
        self._by_id[entry.id].append(own)
        entries = [each for old in self._entries for each in ((old, own) if old is entry else (old,))]
        self._entries = deque(entries, KEPT)
        self.stale = True

    def _remove(self, engines: Collection[int]) -> None:
        self.stale = True
        for entry in self._entries:
            remaining = tuple(engine for engine in entry.block.engines if engine not in engines)
            entry.block = entry.block._replace(engines=remaining)
        self._drop_empty()

    def _drop_empty(self) -> None:
        kept = [entry for entry in self._entries if entry.block.engines]
        self.stale = self.stale or len(kept) < len(self._entries)
        self._entries = deque(kept, KEPT)
        for id, entries in self._by_id.items():
            self._by_id[id] = [entry for entry in entries if entry.block.engines]
