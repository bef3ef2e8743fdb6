"""Results that stay in their engines' memory until their client has read them there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from copy import copy

from ...protocol import messages
from .session import Session, expired


class RetainedResult:
    """One such result."""

    __slots__ = ("addresses", "owner", "readers", "size")

    def __init__(self, owner: Session, addresses: list[int], size: int) -> None:
        self.owner = owner
        self.addresses = addresses
        self.size = size
        self.readers: list[Session] = []  # other clients that were told of it


class RetainedResults:
    """All of them, by task and engine.

    Parameters
    ----------
    forget : callable
        Tells an engine to let go of the result of a task.
    """

    def __init__(self, forget: Callable[[str, int], None]) -> None:
        self._forget = forget
        self._entries: dict[tuple[str, int], RetainedResult] = {}

    def add(self, task: str, engine: int, owner: Session, addresses: list[int], size: int) -> None:
        """An engine holds a result."""
        self._entries[task, engine] = RetainedResult(owner, addresses, size)

    def shown_to(self, reader: Session, reply: messages.Reply) -> messages.Reply:
        """The reply as another client than the owner gets it."""
        if not reply.addresses:
            return reply
        entry = self._entries.get((reply.id, reply.engine))
        if entry is None:
            return expired(reply)
        if not reader.process:
            return expired(reply, "it waits in the memory of its engine: get it on the cluster's own host")
        entry.readers.append(reader)
        changed = copy(reply)
        changed.addresses = entry.addresses
        return changed

    def moved(self, task: str, engine: int, addresses: list[int]) -> list[Session]:
        """The result is elsewhere; returns who has to know."""
        entry = self._entries.get((task, engine))
        if entry is None:
            return []
        entry.addresses = addresses
        return [entry.owner, *entry.readers]

    def release(self, task: str, engine: int, reader: Session | None = None) -> None:
        """It was read by `reader`; others than its owner leave it to the owner, who may yet come."""
        entry = self._entries.get((task, engine))
        if entry is not None and reader not in (None, entry.owner):
            if reader in entry.readers:
                entry.readers.remove(reader)
            return
        self._entries.pop((task, engine), None)
        self._forget(task, engine)  # unknown here, it may be shared memory, which has no entry

    def engine_lost(self, engine: int) -> None:
        """What it held is gone."""
        for key in [key for key in self._entries if key[1] == engine]:
            del self._entries[key]

    def orphans(self) -> Iterable[tuple[tuple[str, int], RetainedResult]]:
        """The results whose client will not come back, the oldest first, as long as nobody reads them."""
        for key, entry in list(self._entries.items()):
            owner = entry.owner
            gone = owner.listener is None and (owner.left or not _alive(owner.process))
            if gone and not any(reader.listener for reader in entry.readers):
                yield key, entry


def _alive(process: int) -> bool:
    """Whether this process of our user, on this host, is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
