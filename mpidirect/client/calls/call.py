"""One request and the replies of its engines; all results that show the request share the call."""

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
from ..connection.bulk_frames import BulkFrame, RemoteFrame, buffer_pool, changed, materialised, read_together
from ..connection.receiver import Answer
from . import unseen_failures
from .bulk_count import BulkCount
from .engine_output import EngineOutput, shown
from .hints import hint_for
from .source_lines import completed


class Call:
    """A request that is under way or has ended.

    Parameters
    ----------
    id : str
        The request's id.
    method : str
        The name of the called method or function, for errors.
    targets : list of int
        The engines that the request was sent to.
    known : dict of int to EngineInfo
        The engines that lived at that time.
    convert : callable, optional
        Called with a reply and the returned object; returns the user's value.
    gathers : bool
        Whether the bulk data of all engines is read into one buffer, when all engines have replied.
    release : callable
        Called with an engine when the result in the engine's memory has been read.
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
        self.source: str | None = None  # the code of an execution
        self.label: str | None = None  # the user's name for the call
        self.size = 0
        self.sent = 0  # bytes of the request
        self.bulk = BulkCount()
        self.ready = not targets  # whether every engine has replied
        self.failed = False  # whether an engine has replied with an error
        self.interrupting = False  # whether the engines that still run are being interrupted
        self.gathered: np.ndarray | None = None  # the bulk data of all engines, end to end, if `gathers`
        self.last_message = 0  # the number of the last message with its data
        # data of the request, which must not change until the cluster has read the data
        self.buffers: Any = None
        self.resubmit: Callable[[], Call] | None = None  # submits the request again, if its data is small
        # a difference between this Python and the engines' Python, which may explain a failure
        self.mismatch = ""
        self.is_collective = False  # whether the engines wait for each other
        self.cell = unseen_failures.current_cell()  # the IPython cell that made the call
        # the AsyncResults of this call, plus one for the caller that makes the first of them
        self.holders = 1
        self.seen = False  # whether a user has looked at the outcome
        # the report that follows while `seen` is False
        self.unseen: unseen_failures.UnseenFailure | None = None
        # a set: a search in `targets` takes time with thousands of engines
        self.expected = frozenset(targets)
        self._gathers = gathers
        self._moved_results: dict[int, Answer] = {}
        self._waiting: list[Answer] = []
        self._release = release
        self._known = known
        self._convert = convert
        self._frames: dict[int, list[Any]] = {}
        self._values: dict[int, Any] = {}
        self.listeners: list[Callable[[Call, int], None]] = []  # called when an engine has printed or replied
        self.displays: list[Callable[[], None]] = []  # each displays at once the output that has arrived
        self._outputs: dict[int, EngineOutput] = {}
        self._watchers: list[Callable[[Call], None]] = []
        self._followers: list[Callable[[Call], None]] = []
        self._lock = threading.Lock()

    def distinct_replies(self) -> Collection[messages.Reply]:
        """Return each reply once: load-balanced tasks may share a reply."""
        return self.replies.values()

    def watch(self, watcher: Callable[[Call], None], each: bool = False) -> None:
        """Have `watcher` called when every engine has replied, or at each reply if `each`."""
        (self._followers if each else self._watchers).append(watcher)

    def replied(self, answers: list[Answer]) -> None:
        """Take replies of engines. Often many arrive together, so this method is short."""
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
            # also when the last reply was an error: the gathered replies waited for all others
            self._gather()

    def _gather(self) -> None:
        """Read all replies; their bulk data goes end to end, in the order of the targets, into one buffer."""
        order = {engine: k for k, engine in enumerate(self.targets)}
        waiting = sorted(self._waiting, key=lambda pair: order[pair[0].engine])
        self._waiting = []
        bulks = [frame for _, frames in waiting for frame in frames if isinstance(frame, BulkFrame)]
        self.bulk.announce(sum(bulk.size for bulk in bulks), True)
        try:
            self.gathered = buffer_pool.buffer(sum(bulk.size for bulk in bulks))
        except MemoryError:  # read each reply into its own memory: some of the results may fit
            for answer in waiting:
                self._read(*answer)
            return
        ends = [0, *accumulate(bulk.size for bulk in bulks)]
        places = [self.gathered[start:end] for start, end in pairwise(ends)]
        pairs = zip(bulks, places, strict=True)
        remote = [(bulk, room) for bulk, room in pairs if isinstance(bulk, RemoteFrame)]
        read_together(remote, self.bulk.receive)
        space = iter(places)
        for reply, frames in waiting:
            self._read(reply, frames, [next(space) for frame in frames if isinstance(frame, BulkFrame)])

    def _read(self, reply: messages.Reply, frames: list[Any], places: Sequence[np.ndarray] = ()) -> None:
        """Read the bulk data of a reply, then take the reply."""
        try:
            read = materialised(frames, places, self.bulk.receive)
            torn = bool(reply.addresses) and changed(reply.pid, reply.addresses[0])
        except OSError as e:  # the engine has ended, or has moved the result and unmapped the old memory
            torn, read = _has_moved(reply), []
            if not torn:
                read = self._unread(reply, "EngineError", f"has ended, and its result is lost: {e}")
        except MemoryError:
            text = f"has a result of {sum(reply.frames)} bytes, for which there is no room here"
            read, torn = self._unread(reply, "MemoryError", text), False
        if torn:
            self._moved_results[reply.engine] = reply, frames
            self.bulk.discard(_bulk_size((reply, frames)))
            return
        if reply.addresses and self._release is not None:
            self._release(self.id, reply.engine)
        self._arrived([(reply, read)])

    def _unread(self, reply: messages.Reply, ename: str, what: str) -> list[Any]:
        reply.failure = messages.Failure(ename, f"engine {reply.engine} {what}", "")
        reply.status = "error"
        return []

    def result_moved(self, engine: int, addresses: list[int]) -> None:
        """Note the new addresses of a result that its engine moved before the result was read."""
        pairs = [self._moved_results.pop(engine, None), *(p for p in self._waiting if p[0].engine == engine)]
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
            if self._outputs and engine in self._outputs and not self.listeners:
                self._outputs[engine].settle(reply)
        self._notify([reply.engine for reply, _ in answers])

    def _notify(self, parts: list[int]) -> None:
        """Notify listeners and watchers that these parts have ended."""
        for listener in tuple(self.listeners):
            for part in parts:
                listener(self, part)
        self.ready = len(self.replies) == len(self.targets)
        if self.ready:
            self.buffers = None
            self._call_each(self._watchers)
        self._call_each(self._followers)
        if self.ready:
            self._followers.clear()
            self._watchers.clear()

    def printed(self, engine: int, pieces: list[messages.OutputPiece]) -> None:
        """Take output of an engine."""
        output = self.engine_output(engine)
        for piece in pieces:
            output.take(piece)
        for listener in tuple(self.listeners):
            listener(self, engine)

    def engine_output(self, engine: int) -> EngineOutput:
        """Return the output that arrived outside of the engine's reply: before it or after it."""
        return self._outputs.setdefault(engine, EngineOutput())

    def reply_with_output(self, engine: int) -> messages.Reply | None:
        """Return the reply that has the output of this part of the call."""
        return self.replies.get(engine)

    def has_output(self, engine: int) -> bool:
        """Whether the engine has printed or displayed anything."""
        reply = self.reply_with_output(engine)
        replied = reply is not None and bool(reply.stdout or reply.stderr or reply.outputs)
        return replied or engine in self._outputs

    def output(self, engine: int) -> tuple[str, str, list[bytes]]:
        """Return what the engine has printed on its two streams, and pickles of its displays."""
        reply = self.reply_with_output(engine)
        output = self._outputs.get(engine)
        if output is None:
            return ("", "", []) if reply is None else (reply.stdout, reply.stderr, shown(reply.outputs))
        return output.whole(reply)

    def _call_each(self, watchers: list[Callable[[Call], None]]) -> None:
        for watcher in tuple(watchers):
            watcher(self)

    def expect(self, targets: list[int]) -> None:
        """Set the engines that will reply, if they were unknown until now; some may have replied already."""
        self.targets = sorted({*targets, *self.replies})
        self.expected = frozenset(self.targets)
        self.ready = len(self.replies) == len(self.targets)
        if self.ready:
            self._followers.clear()
            self._watchers.clear()

    def abandon(self, ename: str, evalue: str) -> None:
        """End the engines without a reply with this error: no more replies will come."""
        now = time.time()
        for engine in self.targets:
            if engine not in self.replies:
                failure = messages.Failure(ename, evalue, "")
                reply = messages.Reply(self.id, engine, "error", [], now, now, "", "", failure)
                self._arrived([(reply, [])])

    def report_failure(self) -> None:
        """Have a failure of this call reported, unless a user looks at the result first."""
        if self.seen:
            return
        failures = [
            (self.info(key, failure.method), failure)
            for key in self.targets
            if (failure := self.replies[key].failure) is not None and self.replies[key].status == "error"
        ]
        self.unseen = unseen_failures.report(self.id, self.method, self.cell, failures, bool(self.holders))

    def mark_seen(self) -> None:
        """Note that a user has looked at the result, so its failure need not be reported."""
        self.seen = True
        if self.unseen is not None:
            self.unseen.discard()
            self.unseen = None

    def drop_holder(self) -> None:
        """Note that one `AsyncResult` of this call is gone; after the last, report an unseen failure."""
        self.holders -= 1
        if not self.holders and self.unseen is not None:
            self.unseen.lose_holders()

    def value(self, engine: int) -> Any:
        """Return the value of an engine, or the `RemoteError` of its failure."""
        if self.failed:
            self.mark_seen()
        with self._lock:
            return self._value(engine)

    def values(self, engines: list[int]) -> list[Any]:
        """Return the values of several engines, or their errors."""
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
        """Return the unpickled value, or a `RemoteError` that says why it can't be unpickled."""
        try:
            value = pickles.loads_without_mpi(frames)
            return value if self._convert is None else self._convert(reply, value)
        except KeyboardInterrupt:  # a Ctrl-C; the frames stay, so the value can be unpickled later
            raise
        except BaseException as e:  # a class of the user may raise anything while its object is unpickled
            text = f"the result of engine {reply.engine} can't be unpickled here: {error_text(e)}"
            text += f" ({self.mismatch})" if self.mismatch else ""
            return RemoteError("SerializationError", text, "", self.info(reply.engine, "apply"))

    def engine_of(self, key: int) -> int | None:
        """Return the engine of a part of the call."""
        return key

    @property
    def title(self) -> str:
        """The title for displays: the cell that made the call, or the method."""
        source = unseen_failures.cell_source(self.cell)
        return f"In [{self.cell}] {source}" if source else repr(self.method)

    def info(self, engine: int, method: str) -> dict[str, Any]:
        """Return what an error says of an engine: its id, host and process."""
        known = self._known.get(engine)
        info: dict[str, Any] = {"engine_id": engine, "method": method}
        if known is not None:
            info.update(host=known.host, pid=known.pid)
        return info


def _bulk_size(answer: Answer) -> int:
    return sum(frame.size for frame in answer[1] if isinstance(frame, BulkFrame))


def _has_moved(reply: messages.Reply) -> bool:
    """Whether the engine has moved the result of this reply to other memory."""
    try:
        return bool(reply.addresses) and changed(reply.pid, reply.addresses[0])
    except OSError:
        return False
