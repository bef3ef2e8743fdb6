"""How far a map is in this engine's part, for a client that watches the map."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

_running: tuple[Any, Iterator[Any]] | None = None  # The items of a map, and the iterator over them.


def begin(items: Any) -> Iterator[Any]:
    """Return an iterator over the items of a map; it knows how far it is, so no item costs more."""
    global _running
    iterator: Iterator[Any] = iter(items)
    _running = items, iterator
    return iterator


def end() -> None:
    """Note that the map has ended."""
    global _running
    _running = None


def items_done() -> int:
    """Return how many items are done: all that were taken, without the present one (control thread)."""
    running = _running
    if running is not None:
        with suppress(Exception):  # Types of users may raise anything.
            items, iterator = running
            return max(0, len(items) - operator.length_hint(iterator, len(items)) - 1)
    return 0
