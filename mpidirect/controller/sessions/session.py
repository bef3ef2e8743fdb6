"""One client, as long as it may come back."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from ...protocol import messages
from ...protocol.reliable_stream import Inbox, Outbox
from ...transport.base import Listener, Unreachable

log = logging.getLogger(__name__)

PRINTED = 16 * 1024 * 1024  # bytes that wait for a client, from where on it is not told what tasks print
TEXT = 4 * 1024 * 1024  # characters of output in one header, and what one more task printed


class Session:
    """A client's numbered messages in both directions, and the replies that are about to go.

    Parameters
    ----------
    name : bytes
        The one that the client chose: the same at each of its connections.
    """

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.listener: Listener | None = None  # None while it is away
        self.away = time.monotonic()  # since when, if it is
        self.left = False  # whether it said that it will not come back
        self.inbox = Inbox()
        self.outbox = Outbox()
        self.process = 0  # the client's, where its memory can be read
        self.directory = ""  # that of the client's script
        self.upload: Any = None  # the job whose bulk data is arriving
        self.coming = 0  # bytes of results on their way from engines
        self.useless = 0  # how many pieces of data are still to come for a job that was given up
        self.staging: Any = None  # the job whose bulk data is being read out of the client's memory
        self.backlog: deque[tuple[Any, Any]] = deque()  # requests that wait for that
        self.open: dict[str, Any] = {}  # its jobs that are not complete, by id
        self.fetched: set[str] = set()  # requests whose results another client has asked for
        self._replies: list[messages.Reply] = []
        self._frames: list[Any] = []
        self._bulk: list[Any] = []
        self._text = 0  # characters that their tasks printed
        self.ripe = False  # a request is complete: its last reply should not wait

    def connect(self, listener: Listener, received: int) -> None:
        """The client is there; `received` is the last number that it has seen."""
        self.listener = listener
        self.outbox.rewind(received)

    def disconnect(self) -> None:
        """The client is away: what was under way may not have arrived."""
        if self.listener is not None:
            log.info("client %s is away", self.label)
            self.listener = None
            self.away = time.monotonic()
            self.outbox.rewind(0)

    @property
    def label(self) -> str:
        """Its name, for logs."""
        return self.name.decode(errors="replace")

    def reply(self, reply: messages.Reply, inline: Sequence[Any], bulk: Sequence[Any], last: bool) -> None:
        """Add a reply to those that go next; `last` when its request is complete."""
        if last:
            self.open.pop(reply.id, None)
        self._replies.append(reply)
        self._frames.extend(inline)
        self.ripe = self.ripe or last
        self._text += len(reply.stdout) + len(reply.stderr) + len(reply.outputs)
        if bulk or self._text > TEXT:
            self._bulk.extend(bulk)
            self.flush()

    @property
    def holds(self) -> bool:
        """Whether replies wait to go together."""
        return bool(self._replies)

    def flush(self) -> None:
        """Send the replies that wait."""
        if self._replies:
            replies, frames, bulk = self._replies, self._frames, self._bulk
            self._replies, self._frames, self._bulk, self.ripe, self._text = [], [], [], False, 0
            self.post(messages.Results(self.outbox.next(), self.inbox.acknowledged(), replies), frames)
            for piece in bulk:
                self.post(messages.Chunk(self.outbox.next(), self.inbox.last), [piece])

    def tell(self, kind: Any, *fields: Any) -> None:
        """Send a message of this kind, after the replies that wait."""
        self.flush()
        self.post(kind(self.outbox.next(), self.inbox.acknowledged(), *fields))

    def pass_on(self, task: str, engine: int, pieces: list[messages.OutputPiece]) -> None:
        """Send what a task has printed, unless much waits for the client: the reply will have it."""
        if self.left or self.outbox.kept > PRINTED:
            return
        self.post(messages.RelayedOutput(self.outbox.next(), self.inbox.acknowledged(), task, engine, pieces))

    def post(self, message: messages.Numbered, frames: Sequence[Any] = ()) -> None:
        """Send a numbered message, or keep it until it can be sent."""
        header = messages.encode(message)
        size = len(header) + sum(len(frame) for frame in frames)
        self.outbox.put([header, *frames], size)
        self.pump()

    def acknowledged(self, seq: int) -> None:
        """The client has everything up to `seq`."""
        self.outbox.acknowledge(seq)
        if self.outbox.waiting:
            self.pump()

    def pump(self) -> None:
        """Send what the window has room for."""
        if self.listener is None:
            return
        for frames in self.outbox.due():
            if not self.send(frames):
                return

    def send(self, frames: Sequence[Any]) -> bool:
        """Send one message now; False if the client is away."""
        if self.listener is None:
            return False
        try:
            self.listener.send_to(self.name, frames)
        except Unreachable:
            self.disconnect()
            return False
        return True

    # -- what waits for a client that is away --------------------------------------------------------

    def waiting(self) -> Iterator[tuple[messages.Reply, list[Any], list[Any]]]:
        """The results that it has not got: replies, small frames, bulk in chunks."""
        self.flush()
        batch: list[tuple[messages.Reply, list[Any], list[Any]]] = []
        due: list[tuple[list[Any], int]] = []
        for header, *frames in self.outbox:
            message = messages.decode_from_controller(header)
            if isinstance(message, messages.Results):
                yield from batch
                batch, due = _sorted_out(message.replies, frames)
            elif isinstance(message, messages.Chunk) and due:
                chunks, left = due.pop(0)
                chunks.extend(frames)
                if left > 1:
                    due.insert(0, (chunks, left - 1))
        yield from batch

    def drop_oldest(self) -> int | None:
        """Make room: the results in the oldest message that has any are gone.

        Returns how many; None if there was nothing left to drop.
        """
        while (frames := self.outbox.oldest) is not None:
            header = frames[0]
            message = messages.decode_from_controller(header)
            if isinstance(message, messages.Results):
                before = message.replies
                # what is in an engine's memory takes no room here
                message.replies = [reply if reply.addresses else expired(reply) for reply in before]
                header = messages.encode(message)
                self.outbox.thin([header], len(header))
                return sum(not reply.addresses for reply in before)
            printed = isinstance(message, messages.RelayedOutput)
            if isinstance(message, messages.RelayedOutput):
                message.pieces = []
                header = messages.encode(message)
            self.outbox.thin([header], len(header))  # a chunk without its bytes says that they are gone
            if len(frames) > 1 or printed:
                return 0
        return None

    def forget_printed(self) -> None:
        """Nobody will see what tasks print on their way, up to the first result that waits."""
        while (frames := self.outbox.oldest) is not None:
            message = messages.decode_from_controller(frames[0])
            if not isinstance(message, messages.RelayedOutput):
                return
            message.pieces = []
            header = messages.encode(message)
            self.outbox.thin([header], len(header))


TOO_LARGE = "it was dropped: it is larger than all that is kept for clients that are away"
EXPIRED = "it was dropped: there was no more room for results of clients that are away"


def expired(reply: messages.Reply, why: str = EXPIRED) -> messages.Reply:
    """What is left of a reply whose result was dropped."""
    failure = messages.Failure("ResultExpired", why, "")
    return messages.Reply(
        reply.id,
        reply.engine,
        "error",
        [],
        reply.started,
        reply.completed,
        failure=failure,
        index=reply.index,
        count=reply.count,
    )


def is_expired(reply: messages.Reply) -> bool:
    """Whether this is all that is left of a reply."""
    return reply.failure is not None and reply.failure.ename == "ResultExpired"


def _sorted_out(replies: list[messages.Reply], frames: list[Any]) -> tuple[list[Any], list[Any]]:
    """Each reply with its own small frames and a list for its chunks; those lists, with how many are due."""
    inline = iter(frames)
    batch, due = [], []
    for reply in replies:
        chunks: list[Any] = []
        batch.append((reply, [next(inline) for size in reply.frames if size < messages.BULK], chunks))
        if not reply.pid:
            count = sum(len(messages.chunks(size)) for size in reply.frames if size >= messages.BULK)
            if count:
                due.append((chunks, count))
    return batch, due
