"""The numbered stream of messages between a client and the controller, over one socket after another."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ... import errors
from ...protocol import messages
from ...protocol.frames import Frame
from ...protocol.reliable_stream import Inbox, Outbox
from ...transport.base import Closed
from .dialer import Link
from .dispatcher import MessageDispatcher
from .receiver import Receiver
from .wake_pipe import WakePipe

log = logging.getLogger(__name__)


class NumberedStream:
    """Messages to the controller and from it: each arrives once and in order, even if a socket breaks.

    This is the base class of `Connection`, which provides the sockets.

    Parameters
    ----------
    receiver : Receiver
        Receives the messages of the controller.

    Attributes
    ----------
    lock : RLock
        Held while messages are sent or taken in.
    error : Exception or None
        Why the stream has ended for good.
    closed : bool
        Whether the client was closed.
    direct : bool
        Whether the cluster reads bulk data out of this process's memory.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.lock = threading.RLock()
        self.error: Exception | None = None
        self.closed = False
        self.direct = False
        self._pid = os.getpid()
        self._link: Link | None = None
        self._outbox = Outbox()
        self._inbox = Inbox()
        self._receiver = receiver
        self._dispatcher = MessageDispatcher(receiver)
        self._wake_pipe = WakePipe()

    # -- methods that `Connection` overrides ---------------------------------------------------------------

    def _drop_link(self) -> None:
        """Close a socket that is broken, and make a new connection."""
        raise NotImplementedError

    def _start_reconnecting(self) -> None:
        """Have a thread make a new connection, unless there is one or a thread makes one already."""
        raise NotImplementedError

    def _await_successor(self, seconds: float, next_job: bool) -> None:
        """Expect another controller within so many seconds, in this job or in the next one."""
        raise NotImplementedError

    def _gone(self, reason: str) -> errors.ControllerLost:
        """Return the error for a controller that is gone."""
        raise NotImplementedError

    def _fail(self, error: Exception) -> None:
        """End the stream for good."""
        raise NotImplementedError

    # -- sending ------------------------------------------------------------------------------------

    def post(
        self,
        kind: Callable[..., messages.Numbered],
        *fields: Any,
        inline: Sequence[Frame] = (),
        bulk: Sequence[Frame] = (),
    ) -> int:
        """Send a numbered message, and return the number of the last one: its bulk has own messages.

        Parameters
        ----------
        kind : type of message
            The class of the header.
        *fields
            The fields of the header after its sequence number and its acknowledgement.
        inline : sequence of frames
            Small frames, sent with the header.
        bulk : sequence of frames
            Large frames, sent after the header in chunks; not sent where the cluster reads them itself.

        Raises
        ------
        SerializationError
            When the small frames together are larger than one message may be.
        """
        with self.lock:
            self.check()
            header = messages.encode(kind(self._outbox.next(), self._inbox.acknowledged(), *fields))
            size = len(header) + sum(map(len, inline))
            if size > messages.INLINE_LIMIT or len(header) > messages.CHUNK:
                raise errors.SerializationError(
                    f"This call has {size} bytes in small pieces, more than one message may have: "
                    "make several calls of it, or larger pieces (arrays)."
                )
            last = self._outbox.last
            try:
                self._outbox.put([header, *inline], size)
                if bulk and not self.direct:
                    for frame in bulk:
                        self._put_bulk(frame)
            except BaseException:  # an incomplete request would spoil all later messages
                self._outbox.take_back(last)
                raise
            self._send_due()
            if self._link is not None and self._link.socket.readable():
                self._wake_pipe.wake()  # sending has reset the descriptor that another thread polls
            return self._outbox.last

    def _put_bulk(self, frame: Frame) -> None:
        view = memoryview(frame)
        for start, stop in messages.chunks(len(frame)):
            header = messages.encode(messages.Chunk(self._outbox.next(), self._inbox.last))
            self._outbox.put([header, view[start:stop]], stop - start)

    def _send_due(self) -> None:
        """Send the messages that the outbox lets go: a limited number is under way at a time."""
        for frames in self._outbox.due():
            if not self._send(frames):
                return

    def _send(self, frames: Sequence[Frame]) -> bool:
        """Send one message; return False if there is no connection."""
        if self._link is None:
            return False
        try:
            self._link.socket.put(frames)
        except Closed:
            self._drop_link()
            return False
        return True

    def _acknowledge(self) -> None:
        self._send([messages.encode(messages.Ack(self._inbox.acknowledged()))])

    def withdraw(self, bulk: Sequence[Frame], last: int) -> None:
        """Send nothing in the place of bulk frames that were not sent; `last` is the number of their end."""
        with self.lock:
            count = sum(len(messages.chunks(len(frame))) for frame in bulk)
            self._outbox.empty(last - count + 1, last)
            self._send_due()

    def renew(self) -> None:
        """Make a new connection, which does not send what waits in the old one."""
        with self.lock:
            self._drop_link()

    def unsent_bytes(self, last: int) -> int:
        """Return the bytes of messages up to number `last` that the controller has not acknowledged."""
        with self.lock:
            return self._outbox.kept_until(last)

    def check(self) -> None:
        """Raise the error that ended this connection, if it has ended."""
        if self.error is not None:
            raise self.error
        if self.closed:
            raise errors.ClientClosed("This client is closed: make a new one with Client().")
        if os.getpid() != self._pid:
            raise errors.ClientClosed("A client can't be used in a forked process: make a new one there.")

    # -- receiving -------------------------------------------------------------------------------------

    def _read_available(self) -> None:
        """Read and dispatch all messages that have arrived."""
        link = self._link
        if link is None:
            self._start_reconnecting()  # an interrupt may have kept `_drop_link` from doing it
            return
        socket = link.socket
        try:
            has_read = False
            while socket.readable():
                message = self._decode(socket.first())
                self._accept(message, socket.rest(copied=not isinstance(message, messages.Chunk)))
                if self._link is not link:
                    return
                has_read = True
            if not has_read and socket.ended():  # the descriptor of an ended socket stays readable
                self._drop_link()
            elif self._inbox.must_acknowledge:
                self._acknowledge()
        except errors.MPIDirectError as e:
            self._fail(e)
        except (ArithmeticError, LookupError, StopIteration, TypeError, ValueError, MemoryError) as e:
            log.warning("the controller broke the protocol: %r", e)
            self._fail(errors.VersionMismatch(f"The controller sent what this client can't read: {e!r}"))

    def _decode(self, header: bytes) -> messages.Message:
        try:
            return messages.decode_from_controller(header)
        except messages.MalformedMessage as e:
            raise errors.VersionMismatch(f"The controller sent what this client can't read: {e}") from None

    def _accept(self, message: messages.Message, frames: list[Frame]) -> None:
        """Take in one message: a numbered one once, in its order."""
        if isinstance(message, messages.Numbered):
            try:
                new = self._inbox.accept(message.seq, sum(map(len, frames)))
            except LookupError:
                self._drop_link()  # a message is missing: a new connection starts with it
                return
            self._outbox.acknowledge(message.ack)
            if new:
                self._dispatcher.dispatch(message, frames)
        elif isinstance(message, messages.Ack):
            self._outbox.acknowledge(message.ack)
        elif isinstance(message, messages.ControllerRestarts):
            self._await_successor(message.within, message.next_job)
        elif isinstance(message, messages.Farewell):
            raise self._gone(message.reason)
        elif isinstance(message, messages.Refused):
            raise errors.ControllerLost(f"The controller no longer accepts this client: {message.reason}")
        if self._outbox.waiting:
            self._send_due()
