"""Results that stay in their engines' memory until their client has read them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from copy import copy

from ...protocol import messages
from .session import Session
from .undelivered import expired_reply


class RetainedResult:
    """A result in the memory of its engine."""

    __slots__ = ("addresses", "owner", "readers", "size")

    def __init__(self, owner: Session, addresses: list[int], size: int) -> None:
        self.owner = owner
        self.addresses = addresses
        self.size = size
        self.readers: list[Session] = []  # other clients that know the addresses


class RetainedResults:
    """All retained results, by task and engine."""

    def __init__(self, release_on_engine: Callable[[str, int], None]) -> None:
        self._release_on_engine = release_on_engine
        self._results: dict[tuple[str, int], RetainedResult] = {}

    def add(self, task: str, engine: int, owner: Session, addresses: list[int], size: int) -> None:
        """Note that an engine retains a result."""
        self._results[task, engine] = RetainedResult(owner, addresses, size)

    def shown_to(self, reader: Session, reply: messages.Reply) -> messages.Reply:
        """Return the reply for a client that is not the owner of the result."""
        if not reply.addresses:
            return reply
        result = self._results.get((reply.id, reply.engine))
        if result is None:
            return expired_reply(reply)
        if not reader.process:
            why = "it waits in the memory of its engine: get it on the cluster's own host"
            return expired_reply(reply, why)
        result.readers.append(reader)
        current = copy(reply)
        current.addresses = result.addresses
        return current

    def moved(self, task: str, engine: int, addresses: list[int]) -> list[Session]:
        """Note new addresses of a result; return the sessions that need them."""
        result = self._results.get((task, engine))
        if result is None:
            return []
        result.addresses = addresses
        return [result.owner, *result.readers]

    def release(self, task: str, engine: int, reader: Session | None = None) -> None:
        """Release a result that `reader` has read. Only the owner releases a result that it will read."""
        result = self._results.get((task, engine))
        if result is not None and reader not in (None, result.owner):
            if reader in result.readers:
                result.readers.remove(reader)
            return
        self._results.pop((task, engine), None)
        # also for memory of `push(shared=True)`, which is not in this table
        self._release_on_engine(task, engine)

    def engine_lost(self, engine: int) -> None:
        """Forget the results of a dead engine."""
        for key in [key for key in self._results if key[1] == engine]:
            del self._results[key]

    def orphans(self) -> Iterator[tuple[tuple[str, int], RetainedResult]]:
        """Yield the results that no client reads and whose owner will not return; the oldest first."""
        for key, result in list(self._results.items()):
            owner = result.owner
            gone = owner.listener is None and (owner.left or not _is_alive(owner.process))
            if gone and not any(reader.listener for reader in result.readers):
                yield key, result


def _is_alive(process: int) -> bool:
    """Return whether a process of this user exists on this host."""
    try:
        os.kill(process, 0)
    except OSError:  # no such process, or another user's process has the number now
        return False
    return True
