"""The session of one client, which lasts over all connections of that client."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ...protocol import messages
from ...protocol.frames import Frame
from ...protocol.reliable_stream import Inbox, Outbox
from ...transport.base import Listener, Unreachable
from .undelivered import expired_reply

log = logging.getLogger(__name__)

# bytes of unsent messages of a client, from which on the output of its running tasks is not relayed
MAX_UNSENT_OUTPUT = 16 * 1024 * 1024
MAX_HEADER_TEXT = 4 * 1024 * 1024  # maximum characters of output in one header, without the last task's


class OpenRequest(Protocol):
    """A request that is not complete, as sessions see it."""

    id: str
    client: Session
    followers: Sequence[Session]

    @property
    def targets(self) -> Sequence[int]:
        """Return the engines that will reply, or the numbers of the tasks."""

    @property
    def complete(self) -> bool:
        """Return whether no reply is missing."""


class Session:
    """The numbered messages of a client in both directions, and the replies that will be sent together.

    Parameters
    ----------
    name : bytes
        The name that the client chose, which is the same for each of its connections.
    """

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.listener: Listener | None = None  # None while the client is away
        self.away = time.monotonic()  # when the client went away
        self.left = False  # whether the client said Goodbye
        self.inbox = Inbox()
        self.outbox = Outbox()
        self.process = 0  # the client's process if the controller can read its memory, else 0
        self.directory = ""  # the directory of the client's script
        self.process_name = "a client"  # a description of the client's process, for users
        self.downloading = 0  # bytes of results under way from engines to the controller
        self.open: dict[str, OpenRequest] = {}  # incomplete requests, by id
        self.recalled: set[str] = set()  # ids of requests whose results another client has asked for
        self.urgent = False  # whether a request is complete, so that its last reply is sent without delay
        self._replies: list[messages.Reply] = []
        self._inline_frames: list[Frame] = []
        self._bulk_pieces: list[Frame] = []
        self._text_size = 0  # characters of output in the waiting replies

    @property
    def label(self) -> str:
        """Return the name as text, for logs and as the prefix of request ids."""
        return self.name.decode(errors="replace")

    def connect(self, listener: Listener, received: int) -> None:
        """Use a new connection; `received` is the number of the last message that the client has received."""
        self.listener = listener
        self.outbox.rewind(received)

    def disconnect(self) -> None:
        """Note that the client is away. Messages under way are sent again when it returns."""
        if self.listener is not None:
            log.info("client %s is away", self.label)
            self.listener = None
            self.away = time.monotonic()
            self.outbox.rewind(0)

    # -- replies ----------------------------------------------------------------------------------

    @property
    def has_replies(self) -> bool:
        """Return whether replies wait to be sent together."""
        return bool(self._replies)

    def reply(
        self, reply: messages.Reply, inline: Sequence[Frame], bulk: Sequence[Frame], last: bool
    ) -> None:
        """Add a reply to the waiting replies; `last` if its request is now complete."""
        if last:
            self.open.pop(reply.id, None)
        self._replies.append(reply)
        self._inline_frames.extend(inline)
        self.urgent = self.urgent or last
        self._text_size += len(reply.stdout) + len(reply.stderr) + len(reply.outputs)
        if bulk or self._text_size > MAX_HEADER_TEXT:
            self._bulk_pieces.extend(bulk)
            self.flush()

    def flush(self) -> None:
        """Send the waiting replies."""
        if not self._replies:
            return
        replies, inline, bulk = self._replies, self._inline_frames, self._bulk_pieces
        self._replies, self._inline_frames, self._bulk_pieces = [], [], []
        self.urgent, self._text_size = False, 0
        self.post(messages.Results(self.outbox.next(), self.inbox.acknowledged(), replies), inline)
        for piece in bulk:
            self.post(messages.Chunk(self.outbox.next(), self.inbox.last), [piece])

    # -- messages ---------------------------------------------------------------------------------

    def notify(self, kind: Callable[..., messages.Numbered], *fields: Any) -> None:
        """Send a message of this kind, after the waiting replies."""
        self.flush()
        self.post(kind(self.outbox.next(), self.inbox.acknowledged(), *fields))

    def relay_output(self, task: str, engine: int, pieces: list[messages.OutputPiece]) -> None:
        """Send the output of a running task. Skip it if many messages wait: the reply repeats all output."""
        if self.left or self.outbox.kept > MAX_UNSENT_OUTPUT:
            return
        self.post(messages.RelayedOutput(self.outbox.next(), self.inbox.acknowledged(), task, engine, pieces))

    def post(self, message: messages.Numbered, frames: Sequence[Frame] = ()) -> None:
        """Send a numbered message; keep it until it is acknowledged."""
        header = messages.encode(message)
        size = len(header) + sum(len(frame) for frame in frames)
        self.outbox.put([header, *frames], size)
        self.send_due()

    def acknowledged(self, seq: int) -> None:
        """Forget the messages up to `seq`, which the client has received."""
        self.outbox.acknowledge(seq)
        if self.outbox.waiting:
            self.send_due()

    def send_due(self) -> None:
        """Send the messages that fit into the window."""
        if self.listener is None:
            return
        for frames in self.outbox.due():
            if not self.send(frames):
                return

    def send(self, frames: Sequence[Frame]) -> bool:
        """Send one message now; return False if the client is away."""
        if self.listener is None:
            return False
        try:
            self.listener.send_to(self.name, frames)
        except Unreachable:
            self.disconnect()
            return False
        return True

    # -- the memory of unsent messages ------------------------------------------------------------

    def drop_oldest(self) -> int | None:
        """Drop the results, or the output, of the oldest message that has any.

        Returns
        -------
        int or None
            The number of dropped results; None if no message is left to shrink.
        """
        while (frames := self.outbox.oldest) is not None:
            message = messages.decode_from_controller(frames[0])
            if isinstance(message, messages.Results):
                dropped = sum(not reply.addresses for reply in message.replies)
                # A result in an engine's memory takes no memory of the controller.
                message.replies = [r if r.addresses else expired_reply(r) for r in message.replies]
                self._shrink_oldest(message)
                return dropped
            has_content = len(frames) > 1 or isinstance(message, messages.RelayedOutput)
            if isinstance(message, messages.RelayedOutput):
                message.pieces = []
            self._shrink_oldest(message)  # a chunk without a frame tells the client that its bytes are lost
            if has_content:
                return 0
        return None

    def drop_output(self) -> None:
        """Drop the relayed output before the first undelivered result: no client will show this output."""
        while (frames := self.outbox.oldest) is not None:
            message = messages.decode_from_controller(frames[0])
            if not isinstance(message, messages.RelayedOutput):
                return
            message.pieces = []
            self._shrink_oldest(message)

    def _shrink_oldest(self, message: messages.Message) -> None:
        header = messages.encode(message)
        self.outbox.replace_oldest([header], len(header))
