"""One request and what its engines have answered so far: shared by all results that look at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from ...errors import EngineFailure, RemoteError, error_text, remote_error
from ...protocol import messages
from ...serialize import pickles
from ..connection.bulk_frames import BulkFrame, RemoteFrame, changed, materialised, read_together, rooms
from ..connection.receiver import Answer
from . import unseen_failures
from .bulk_count import BulkCount
from .engine_output import EngineOutput, shown
from .hints import hint_for
from .source_lines import completed


class Call:
    """A request under way, or done.

    Parameters
    ----------
    id : str
        The request's id.
    method : str
        What was called, for errors.
    targets : list of int
        The engines that it went to.
    known : dict of int to EngineInfo
        The engines as they were known then.
    convert : callable, optional
        Makes of an engine's reply and what it returned what the user gets.
    gathers : bool
        Read the bulk of all engines into one piece of memory, when all have answered.
    release : callable
        Called with an engine when the result in its memory has been read.
    """

    def __init__(
        self,
        id: str,
        method: str,
        targets: list[int],
        known: dict[int, messages.EngineInfo],
        convert: Callable[[messages.Reply, Any], Any] | None = None,
        gathers: bool = False,
        release: Callable[[str, int], None] | None = None,
    ) -> None:
        self.id = id
        self.method = method
        self.targets = targets
        self.submitted = time.time()
        self.replies: dict[int, messages.Reply] = {}
        self.received: dict[int, float] = {}
        self.source: str | None = None  # the code, of an execution
        self.label: str | None = None  # the user's name for the call
        self.size = 0
        self.sent = 0  # bytes of the request
        self.bulk = BulkCount()
        self.ready = not targets  # whether every engine has answered
        self.failed = False  # whether an engine has answered with an error
        self.hopeless = False  # whether the engines that still run are being interrupted
        self.whole: np.ndarray | None = None  # the bulk of all engines, end to end, where it is gathered
        self.buffers: Any = None  # what must stay as it is until the cluster has read it
        self.again: Callable[[], Call] | None = None  # makes it once more, where its data is small
        self.mismatch = ""  # what differs between here and the engines, and may be why it failed
        self.together = False  # whether its engines wait for each other
        self.cell = unseen_failures.current_cell()  # in which it was made
        self.holders = 1  # AsyncResults of it, and whoever makes the first one
        self.seen = False  # whether anybody has looked at what has become of it
        self.unseen: unseen_failures.UnseenFailure | None = None  # what is reported while `seen` is False
        self.expected = frozenset(targets)  # of a list, the search takes time with thousands of engines
        self._gathers = gathers
        self._moving: dict[int, Answer] = {}
        self._waiting: list[Answer] = []
        self._release = release
        self._known = known
        self._convert = convert
        self._frames: dict[int, list[Any]] = {}
        self._values: dict[int, Any] = {}
        self.listeners: list[Callable[[Call, int], None]] = []  # called when an engine has printed something
        self.displays: list[Callable[[], None]] = []  # each shows at once what engines have printed
        self._heard: dict[int, EngineOutput] = {}
        self._watchers: list[Callable[[Call], None]] = []
        self._followers: list[Callable[[Call], None]] = []
        self._lock = threading.Lock()

    def distinct_replies(self) -> Collection[messages.Reply]:
        """Return each reply once: a reply may be the answer to several parts."""
        return self.replies.values()

    def watch(self, watcher: Callable[[Call], None], each: bool = False) -> None:
        """Have `watcher` called when every engine has answered, or at each answer."""
        (self._followers if each else self._watchers).append(watcher)

    def replied(self, answers: list[Answer]) -> None:
        """Engines have answered: often many together, so this is short."""
        expected, replies, small, large = self.expected, self.replies, [], []
        for answer in answers:
            reply = answer[0]
            if reply.engine in replies or (expected and reply.engine not in expected):
                continue
            if self._gathers and reply.status == "ok":
                self._waiting.append(answer)
            elif reply.addresses or max(reply.frames, default=0) >= messages.BULK:
                large.append(answer)
            else:
                small.append(answer)
        if small:
            self._arrived(small)
        if large:
            is_last = len(self.replies) + len(large) == len(self.targets)
            self.bulk.announce(sum(map(_bulk_size, large)), is_last)
            for answer in large:
                self._read(*answer)
        if self._waiting and len(self._waiting) + len(self.replies) == len(self.targets):
            self._gather()  # whoever was the last: the others wait for one that failed as well

    def _gather(self) -> None:
        """Read all answers, their bulk end to end in the order of the targets."""
        order = {engine: k for k, engine in enumerate(self.targets)}
        waiting = sorted(self._waiting, key=lambda pair: order[pair[0].engine])
        self._waiting = []
        bulks = [frame for _, frames in waiting for frame in frames if isinstance(frame, BulkFrame)]
        self.bulk.announce(sum(bulk.size for bulk in bulks), True)
        try:
            self.whole = rooms.buffer(sum(bulk.size for bulk in bulks))
        except MemoryError:  # each for itself, then: some of them may find room, and the others say so
            for answer in waiting:
                self._read(*answer)
            return
        ends = [0, *accumulate(bulk.size for bulk in bulks)]
        places = [self.whole[start:end] for start, end in pairwise(ends)]
        pairs = zip(bulks, places, strict=True)
        remote = [(bulk, room) for bulk, room in pairs if isinstance(bulk, RemoteFrame)]
        read_together(remote, self.bulk.receive)
        space = iter(places)
        for reply, frames in waiting:
            self._read(reply, frames, [next(space) for frame in frames if isinstance(frame, BulkFrame)])

    def _read(self, reply: messages.Reply, frames: list[Any], places: Sequence[np.ndarray] = ()) -> None:
        """Read the bulk of an answer; it counts when that is done."""
        try:
            read = materialised(frames, places, self.bulk.receive)
            torn = bool(reply.addresses) and changed(reply.pid, reply.addresses[0])
        except OSError as e:  # it is gone, or has given back memory whose content it has moved
            torn, read = _has_moved(reply), []
            if not torn:
                read = self._unread(reply, "EngineError", f"is gone, and its result with it: {e}")
        except MemoryError:
            text = f"has a result of {sum(reply.frames)} bytes, which finds no room here"
            read, torn = self._unread(reply, "MemoryError", text), False
        if torn:
            self._moving[reply.engine] = reply, frames
            self.bulk.discard(_bulk_size((reply, frames)))
            return
        if reply.addresses and self._release is not None:
            self._release(self.id, reply.engine)
        self._arrived([(reply, read)])

    def _unread(self, reply: messages.Reply, ename: str, what: str) -> list[Any]:
        reply.failure = messages.Failure(ename, f"engine {reply.engine} {what}", "")
        reply.status = "error"
        return []

    def moved(self, engine: int, addresses: list[int]) -> None:
        """Note that the result of this engine, which was not read in time, lies at other addresses now."""
        pairs = [self._moving.pop(engine, None), *(p for p in self._waiting if p[0].engine == engine)]
        for pair in pairs:
            if pair is None:
                continue
            reply, frames = pair
            reply.addresses = addresses
            fresh = iter(addresses[1:])
            for frame in frames:
                if isinstance(frame, RemoteFrame):
                    frame.address = next(fresh)
            if pair is pairs[0]:
                self._read(reply, frames)

    def _arrived(self, answers: list[Answer]) -> None:
        now = time.time()
        for reply, frames in answers:
            engine = reply.engine
            self._frames[engine] = frames
            self.received[engine] = now
            self.size += sum(reply.frames)
            if reply.status == "error":
                self.failed = True
            self.replies[engine] = reply
            if self._heard and engine in self._heard and not self.listeners:
                self._heard[engine].settle(reply)
        self._came([reply.engine for reply, _ in answers])

    def _came(self, parts: list[int]) -> None:
        """Answers of these parts are there: tell who listens and who waits."""
        for listener in tuple(self.listeners):
            for part in parts:
                listener(self, part)
        self.ready = len(self.replies) == len(self.targets)
        if self.ready:
            self.buffers = None
            self._tell(self._watchers)
        self._tell(self._followers)
        if self.ready:
            self._followers.clear()
            self._watchers.clear()

    def printed(self, engine: int, pieces: list[messages.OutputPiece]) -> None:
        """Take what an engine has printed or displayed."""
        heard = self.heard(engine)
        for piece in pieces:
            heard.take(piece)
        for listener in tuple(self.listeners):
            listener(self, engine)

    def heard(self, engine: int) -> EngineOutput:
        """Return what the engine has printed before its reply, and after the reply."""
        return self._heard.setdefault(engine, EngineOutput())

    def told(self, engine: int) -> messages.Reply | None:
        """Return the reply that has what the engine has printed."""
        return self.replies.get(engine)

    def has_output(self, engine: int) -> bool:
        """Whether the engine has printed or displayed anything."""
        reply = self.told(engine)
        replied = reply is not None and bool(reply.stdout or reply.stderr or reply.outputs)
        return replied or engine in self._heard

    def output(self, engine: int) -> tuple[str, str, list[bytes]]:
        """Return what the engine has printed on its two streams, and pickles of its displays."""
        reply = self.told(engine)
        heard = self._heard.get(engine)
        if heard is None:
            return ("", "", []) if reply is None else (reply.stdout, reply.stderr, shown(reply.outputs))
        return heard.whole(reply)

    def _tell(self, watchers: list[Callable[[Call], None]]) -> None:
        for watcher in tuple(watchers):
            watcher(self)

    def expect(self, targets: list[int]) -> None:
        """Set the engines that answer, where the engines were not known; some may have answered already."""
        self.targets = sorted({*targets, *self.replies})
        self.expected = frozenset(self.targets)
        self.ready = len(self.replies) == len(self.targets)
        if self.ready:
            self._followers.clear()
            self._watchers.clear()

    def abandon(self, ename: str, evalue: str) -> None:
        """No more answers will come: the engines that are missing count as failed."""
        now = time.time()
        for engine in self.targets:
            if engine not in self.replies:
                failure = messages.Failure(ename, evalue, "")
                reply = messages.Reply(self.id, engine, "error", [], now, now, "", "", failure)
                self._arrived([(reply, [])])

    def report_failure(self) -> None:
        """All engines have answered, and some with an error: have the user told, unless somebody looks."""
        if self.seen:
            return
        failures = [
            (self.info(key, failure.method), failure)
            for key in self.targets
            if (failure := self.replies[key].failure) is not None and self.replies[key].status == "error"
        ]
        self.unseen = unseen_failures.report(self.id, self.method, self.cell, failures, bool(self.holders))

    def mark_seen(self) -> None:
        """Somebody has looked at the result: its failure need not be reported."""
        self.seen = True
        if self.unseen is not None:
            self.unseen.discard()
            self.unseen = None

    def let_go(self) -> None:
        """One `AsyncResult` of this call is gone: with the last one, an unseen failure is reported."""
        self.holders -= 1
        if not self.holders and self.unseen is not None:
            self.unseen.lose_holders()

    def value(self, engine: int) -> Any:
        """Return what the engine returned, or the `RemoteError` that the engine ended with."""
        if self.failed:
            self.mark_seen()
        with self._lock:
            return self._value(engine)

    def values(self, engines: list[int]) -> list[Any]:
        """Return what several engines returned, or their errors."""
        if self.failed:
            self.mark_seen()
        with self._lock:
            return [self._value(engine) for engine in engines]

    def _value(self, engine: int) -> Any:
        values = self._values
        if engine not in values:
            values[engine] = self._open(engine)
        return values[engine]

    def _open(self, engine: int) -> Any:
        reply = self.replies[engine]
        failure = reply.failure
        if failure is not None:
            self._frames.pop(engine, None)
            info = self.info(engine, failure.method)
            if hint := hint_for(failure):
                info["hint"] = hint
            evalue = f"{failure.evalue} ({self.mismatch})" if self.mismatch else failure.evalue
            return remote_error(EngineFailure(failure.ename, evalue, completed(failure.traceback), info))
        value = self._unpickled(reply, self._frames[engine])
        self._frames.pop(engine, None)
        return value

    def _unpickled(self, reply: messages.Reply, frames: list[Any]) -> Any:
        """Return what an engine returned, or a `RemoteError` that says why the value can't be had."""
        try:
            value = pickles.loads_without_mpi(frames)
            return value if self._convert is None else self._convert(reply, value)
        except KeyboardInterrupt:  # a Ctrl-C: the result is still there
            raise
        except BaseException as e:  # whatever a class says when its object is made again
            text = f"the result of engine {reply.engine} can't be unpickled here: {error_text(e)}"
            text += f" ({self.mismatch})" if self.mismatch else ""
            return RemoteError("SerializationError", text, "", self.info(reply.engine, "apply"))

    def engine_of(self, key: int) -> int | None:
        """Return the engine of a part of the call."""
        return key

    @property
    def title(self) -> str:
        """What to call it: the cell that made it, or the method."""
        source = unseen_failures.cell_source(self.cell)
        return f"In [{self.cell}] {source}" if source else repr(self.method)

    def info(self, engine: int, method: str) -> dict[str, Any]:
        """Return what an error tells of an engine."""
        known = self._known.get(engine)
        info: dict[str, Any] = {"engine_id": engine, "method": method}
        if known is not None:
            info.update(host=known.host, pid=known.pid)
        return info


def _bulk_size(answer: Answer) -> int:
    return sum(frame.size for frame in answer[1] if isinstance(frame, BulkFrame))


def _has_moved(reply: messages.Reply) -> bool:
    """Whether a result in its engine's memory waits elsewhere by now."""
    try:
        return bool(reply.addresses) and changed(reply.pid, reply.addresses[0])
    except OSError:
        return False
