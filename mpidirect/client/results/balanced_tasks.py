"""Tasks for any engine, on their way there and back: what a client knows of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ... import errors
from ...arrays import partition
from ...errors import EngineFailure, remote_error
from ...memory import process_memory
from ...protocol import messages
from ...serialize import pickles
from ..connection.receiver import Answer
from ..display.source_lines import completed
from . import unseen_failures
from .bulk_frames import materialised
from .call import Call
from .hints import hint_for

if TYPE_CHECKING:
    from ..client import Client

BLOCK = 16 * 1024  # bytes of items that are pickled together, roughly
MANY = 1024  # items that are pickled together at most
LONGEST = 200  # characters of a function's name
MARK = "t"  # in the ids of such requests


class BalancedCall(Call):
    """Tasks that ran where an engine was free, or will; its parts are tasks, by their numbers.

    Parameters
    ----------
    id, method, known, release
        As of each `Call`.
    total : int
        How many tasks there are.
    """

    def __init__(
        self,
        id: str,
        method: str,
        total: int,
        known: dict[int, messages.EngineInfo],
        release: Callable[[str, int], None] | None = None,
    ) -> None:
        super().__init__(id, method, list(range(total)), known, None, False, release)
        self.order: list[int] = []  # the first tasks of the answers, as they came

    def replied(self, answers: list[Answer]) -> None:
        """Tasks have ended."""
        read: list[Answer] = []
        for reply, frames in answers:
            if reply.index in self.replies:
                continue
            try:
                read.append((reply, materialised(frames, ())))
            except MemoryError:
                text = f"a result of {sum(reply.frames)} bytes finds no room here"
                read.append((reply, self._unread(reply, "MemoryError", text)))
        self._arrived(read)

    def _arrived(self, answers: list[Answer]) -> None:
        now = time.time()
        for reply, frames in answers:
            index = reply.index
            self._frames[index] = frames
            self.order.append(index)
            self.size += sum(reply.frames)
            if reply.status == "error":
                self.failed = True
            if reply.count == 1:  # at half the cost
                self.received[index] = now
                self.replies[index] = reply
                continue
            keys = range(index, index + reply.count)
            self.received.update(dict.fromkeys(keys, now))
            self.replies.update(dict.fromkeys(keys, reply))
        self._came([reply.index for reply, _ in answers])

    def abandon(self, ename: str, evalue: str) -> None:
        """No more answers will come."""
        now = time.time()
        failure = messages.Failure(ename, evalue, "")
        missing = [key for key in self.targets if key not in self.replies]
        replies = [
            messages.Reply(self.id, -1, "error", [], now, now, failure=failure, index=key) for key in missing
        ]
        self._arrived([(reply, []) for reply in replies])

    def values(self, engines: list[int]) -> list[Any]:
        """What tasks returned, or their errors."""
        if engines is not self.targets:
            return super().values(engines)
        if self.failed:
            unseen_failures.looked_at(self)
        with self._lock:
            whole: list[Any] = []
            for first in sorted(self.order):
                whole += self._range(first)
            return whole

    def pop(self, key: int) -> Any:
        """The value of a task, which is not kept here."""
        value = self.value(key)
        first = self.replies[key].index
        self._values[first][key - first] = None
        return value

    def _value(self, engine: int) -> Any:
        first = self.replies[engine].index
        return self._range(first)[engine - first]

    def _range(self, first: int) -> list[Any]:
        """The values of an answer."""
        if first not in self._values:
            self._values[first] = self._open(first)
            self._frames.pop(first, None)
        return self._values[first]

    def _open(self, engine: int) -> list[Any]:
        reply = self.replies[engine]
        failure = reply.failure
        if failure is not None:
            info = self.info(engine, failure.method)
            if hint := hint_for(failure.ename, failure.evalue):
                info["hint"] = hint
            evalue = f"{failure.evalue} ({self.mismatch})" if self.mismatch else failure.evalue
            error = remote_error(EngineFailure(failure.ename, evalue, completed(failure.traceback), info))
            return [error] * reply.count
        value = self._unpickled(reply, self._frames[engine])
        if isinstance(value, errors.RemoteError) and value.engine_info:
            return [value] * reply.count
        return value

    def info(self, engine: int, method: str) -> dict[str, Any]:
        """What errors tell of a task: where it ran."""
        reply = self.replies.get(engine)
        engine = -1 if reply is None else reply.engine
        return {"engine_id": None, "method": method} if engine < 0 else super().info(engine, method)

    def told(self, engine: int) -> messages.Reply | None:
        """The reply with what a task has printed: that of the first, where some were answered together."""
        reply = self.replies.get(engine)
        return reply if reply is not None and reply.index == engine else None

    def engine_of(self, key: int) -> int | None:
        """Where a task ran."""
        reply = self.replies.get(key)
        return None if reply is None or reply.engine < 0 else reply.engine


def is_work(id: str) -> bool:
    """Whether an id is of tasks for any engine."""
    return id.rpartition("-")[2].startswith(MARK)


def submit(
    client: Client,
    method: str,
    targets: Sequence[int],
    shared: Sequence[Any],
    items: Sequence[Any] | None,
    chunk: int = 0,
    retries: int = 0,
    after: messages.Prerequisites | None = None,
    follow: messages.Prerequisites | None = None,
    timeout: float = 0.0,
) -> BalancedCall:
    """Send tasks: `shared` is the pickled call, `items` the sequences over which it is mapped."""
    client._connection.check()
    length = 1 if items is None else len(items[0])
    method = method[:LONGEST]
    counts, parts = ([], []) if items is None else blocks(items, chunk)
    id = f"{client._connection.name}-{MARK}{next(client._numbers)}"
    work = BalancedCall(id, method, length, client._engines, client._release)
    work.mismatch = client._mismatch
    frames = [*shared]
    for part in parts:
        frames += part
    bulk = [frame for frame in frames if len(frame) >= messages.BULK]
    inline = [frame for frame in frames if len(frame) < messages.BULK] if bulk else frames
    work.buffers = bulk or None
    addresses = [process_memory.address(frame) for frame in bulk] if client._connection.direct else []
    client._calls[id] = client._known[id] = work
    sizes, own = list(map(len, shared)), [list(map(len, part)) for part in parts]
    try:
        client._connection.post(
            messages.BalancedTasks,
            id,
            list(targets),
            "apply" if items is None else "map",
            method,
            sizes,
            own,
            counts,
            chunk,
            retries,
            after,
            follow,
            timeout,
            addresses,
            inline=inline,
            bulk=bulk,
        )
    except BaseException:
        client._calls.pop(id, None)
        raise
    client.history.append(id)
    if not bulk:
        work.again = partial(submit, client, method, targets, shared, items, chunk, retries)
    return work


def blocks(items: Sequence[Any], chunk: int) -> tuple[list[int], list[list[Any]]]:
    """The items in blocks that are pickled together: how many each has, and its frames."""
    length, unit = len(items[0]), chunk or 1
    counts: list[int] = []
    parts: list[list[Any]] = []
    at, size = 0, unit
    while at < length:
        size = min(size, length - at)
        part = pickles.dumps([partition._slice(item, at, at + size) for item in items])
        weight = sum(map(len, part))
        if weight > 4 * BLOCK and size > unit:
            size = max(1, size * BLOCK // weight // unit) * unit
            continue
        counts.append(size)
        parts.append(part)
        at += size
        tasks = max(1, min(MANY, size * BLOCK // max(weight, 1), 8 * size) // unit)
        size = tasks * unit
    return counts, parts
