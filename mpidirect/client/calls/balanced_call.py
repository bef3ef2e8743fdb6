"""Load-balanced tasks, as the client that submitted them knows them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ... import errors
from ...errors import EngineFailure, remote_error
from ...protocol import messages
from ..connection.bulk_frames import materialised
from ..connection.receiver import Answer
from .call import Call
from .hints import hint_for
from .source_lines import completed

ID_MARK = "t"  # in the ids of requests of load-balanced tasks


class BalancedCall(Call):
    """Load-balanced tasks of one request; the parts of the call are tasks, by their numbers.

    Parameters
    ----------
    id, method, known, release
        As for `Call`.
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
        self.is_map = False  # whether the tasks are items of a map
        self.order: list[int] = []  # the first task of each reply, in the order of arrival

    def distinct_replies(self) -> list[messages.Reply]:
        """Return each reply once."""
        return [self.replies[first] for first in self.order]

    def replied(self, answers: list[Answer]) -> None:
        """Take replies: tasks have ended."""
        read: list[Answer] = []
        for reply, frames in answers:
            if reply.index in self.replies:
                continue
            try:
                read.append((reply, materialised(frames, ())))
            except MemoryError:
                text = f"there is no room here for a result of {sum(reply.frames)} bytes"
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
            if reply.count == 1:  # the usual case, at half the cost of the other
                self.received[index] = now
                self.replies[index] = reply
                continue
            keys = range(index, index + reply.count)
            self.received.update(dict.fromkeys(keys, now))
            self.replies.update(dict.fromkeys(keys, reply))
        self._notify([reply.index for reply, _ in answers])

    def abandon(self, ename: str, evalue: str) -> None:
        """End the tasks without a reply with this error: no more replies will come."""
        now = time.time()
        failure = messages.Failure(ename, evalue, "")
        missing = [key for key in self.targets if key not in self.replies]
        replies = [
            messages.Reply(self.id, -1, "error", [], now, now, failure=failure, index=key) for key in missing
        ]
        self._arrived([(reply, []) for reply in replies])

    def values(self, engines: list[int]) -> list[Any]:
        """Return what the tasks returned, or their errors."""
        if engines is not self.targets:
            return super().values(engines)
        if self.failed:
            self.mark_seen()
        with self._lock:
            whole: list[Any] = []
            for first in sorted(self.order):
                whole += self._range(first)
            return whole

    def pop(self, key: int) -> Any:
        """Return the value of a task; the call does not keep the value."""
        value = self.value(key)
        first = self.replies[key].index
        self._values[first][key - first] = None
        return value

    def _value(self, engine: int) -> Any:
        first = self.replies[engine].index
        return self._range(first)[engine - first]

    def _range(self, first: int) -> list[Any]:
        """Return the values of all tasks of a reply, whose first task is `first`."""
        if first not in self._values:
            self._values[first] = self._open(first)
            self._frames.pop(first, None)
        values: list[Any] = self._values[first]
        return values

    def _open(self, engine: int) -> list[Any]:
        reply = self.replies[engine]
        failure = reply.failure
        if failure is not None:
            info = self.info(engine, failure.method)
            if hint := hint_for(failure):
                info["hint"] = hint
            evalue = f"{failure.evalue} ({self.mismatch})" if self.mismatch else failure.evalue
            error = remote_error(EngineFailure(failure.ename, evalue, completed(failure.traceback), info))
            return [error] * reply.count
        value = self._unpickled(reply, self._frames[engine])
        if isinstance(value, errors.RemoteError) and value.engine_info:
            return [value] * reply.count
        values: list[Any] = value
        return values

    def info(self, engine: int, method: str) -> dict[str, Any]:
        """Return what an error says of a task: the host and the process that ran the task."""
        reply = self.replies.get(engine)
        engine = -1 if reply is None else reply.engine
        return {"engine_id": None, "method": method} if engine < 0 else super().info(engine, method)

    def reply_with_output(self, engine: int) -> messages.Reply | None:
        """Return the reply that has the output of a task: the reply of the first task, if tasks share it."""
        reply = self.replies.get(engine)
        return reply if reply is not None and reply.index == engine else None

    def engine_of(self, key: int) -> int | None:
        """Return the engine that ran a task."""
        reply = self.replies.get(key)
        return None if reply is None or reply.engine < 0 else reply.engine


def is_balanced(id: str) -> bool:
    """Return whether a request id is that of load-balanced tasks."""
    return id.rpartition("-")[2].startswith(ID_MARK)
