"""The client's connection: one socket, read by whoever waits, or by a thread when nobody does.

A thread that waits for a result reads the socket itself: a hop through another thread would cost as
much as the whole way through the controller.  While nobody waits, the background thread reads.

A socket that breaks is replaced by another thread, until the controller is known to be gone.  What was
under way then is sent again, by its numbers; whoever waits notices nothing but the time.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any
from weakref import WeakSet

import msgspec

from ... import errors
from ...files.connection_file import ConnectionInfo
from ...memory import process_memory
from ...protocol import messages
from ...protocol.reliable_stream import Inbox, Outbox
from ...transport.base import Closed
from .bulk_frames import FrameAssembly, rooms
from .dialer import Dialer, Link
from .interruptible import Interruptible
from .receiver import Receiver
from .reconnect import ControllerWatch, redial
from .tunnel import Tunnel

log = logging.getLogger(__name__)

LONGEST = 200  # milliseconds of one sleep of a thread that waits: no wake-up can be missed for good
IDLE = 2000  # the same while nobody waits
CONFIRM = 300  # milliseconds after which what has come is acknowledged, if there is nothing else to say
NAP = 0.01  # seconds between looks of the background thread while another thread reads

PATIENCE = 3600.0  # seconds to try for a new connection
ENDING = 5.0  # seconds for threads to end, far more than they need


class Connection:
    """A numbered stream of messages to the controller and back.

    Parameters
    ----------
    info : ConnectionInfo
        Where, and the keys.
    receiver : Receiver
        Who is told what comes in.
    timeout : float
        Seconds until the controller must have answered.
    patience : float
        Seconds to try for a new connection, where this one breaks and the controller may be alive.
    tunnel : Tunnel, optional
        What brings the controller's port here.
    """

    def __init__(
        self,
        info: ConnectionInfo,
        receiver: Receiver,
        timeout: float,
        patience: float = PATIENCE,
        tunnel: Tunnel | None = None,
    ) -> None:
        self.info = info
        self.patience = patience
        self.name = os.urandom(8).hex()
        self.lock = threading.RLock()
        self.error: Exception | None = None
        self.closed = False
        self._receiver = receiver
        self._outbox = Outbox()
        self._inbox = Inbox()
        self._assembly: FrameAssembly | None = None
        self._waiters = 0
        self._pid = os.getpid()
        self._dialing: threading.Thread | None = None
        self._closing = threading.Event()
        process_memory.permit()
        self._dialer = Dialer(info, self.name, self._closing, tunnel)
        try:
            self._link: Link | None = self._dialer.dial(timeout)
        except BaseException:
            self._dialer.context.destroy(linger=0)
            raise
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self.welcome = self._link.welcome
        self.direct = self.welcome.direct  # whether the cluster reads bulk data out of this process
        self._lifeline = ControllerWatch(info, self.welcome.node)
        self._thread = threading.Thread(target=self._background, name="mpidirect-client", daemon=True)
        self._thread.start()
        _open.add(self)

    # -- sending ------------------------------------------------------------------------------------

    def post(
        self,
        kind: Callable[..., messages.Numbered],
        *fields: Any,
        inline: Sequence[Any] = (),
        bulk: Sequence[Any] = (),
    ) -> None:
        """Send a numbered message with its small frames; the bulk ones follow it in chunks."""
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
            except BaseException:  # a part of a request would spoil all that follows
                self._outbox.take_back(last)
                raise
            self._pump()
            if self._link is not None and self._link.socket.readable():
                self._wake()  # sending has taken the edge of the descriptor that another thread waits for

    def _put_bulk(self, frame: Any) -> None:
        view = memoryview(frame)
        for start, stop in messages.chunks(len(frame)):
            header = messages.encode(messages.Chunk(self._outbox.next(), self._inbox.last))
            self._outbox.put([header, view[start:stop]], stop - start)

    def _pump(self) -> None:
        for frames in self._outbox.due():
            if not self._send(frames):
                return

    def _send(self, frames: Sequence[Any]) -> bool:
        """Send one message, if there is a connection."""
        if self._link is None:
            return False
        try:  # a connection that has ended takes nothing
            self._link.socket.put(frames)
        except Closed:
            self._break()
            return False
        return True

    def _acknowledge(self) -> None:
        self._send([messages.encode(messages.Ack(self._inbox.acknowledged()))])

    def check(self) -> None:
        """Raise what ended this connection, if it has ended."""
        if self.error is not None:
            raise self.error
        if self.closed:
            raise errors.ClientClosed("This client is closed: make a new one with Client().")
        if os.getpid() != self._pid:
            raise errors.ClientClosed("A client can't be used in a forked process: make a new one there.")

    # -- receiving ----------------------------------------------------------------------------------

    def wait(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Read until `done` holds; False if `timeout` seconds pass before.

        A Ctrl-C is raised between two messages, so that none is lost.
        """
        if done() or os.getpid() != self._pid:  # in a forked child nothing comes: all of it is the parent's
            return done()
        deadline = None if timeout is None else time.monotonic() + timeout
        with Interruptible(self._wake) as interruptible:
            with self.lock:
                self._waiters += 1
                if self._waiters > 1:
                    self._wake()
            try:
                while True:
                    with self.lock:
                        if not self.closed and self.error is None:
                            self._receive()
                        if done():
                            return True
                        if self.error is not None or self.closed:
                            return done()
                    interruptible.check()
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    self._sleep(left)
                    interruptible.check()
            finally:
                with self.lock:
                    self._waiters -= 1
                    if self._waiters:
                        self._wake()

    def _sleep(self, seconds: float | None, idle: bool = False) -> None:
        """Until something may have come."""
        longest = 5 if self._waiters > 1 else LONGEST  # another thread may read what ends this wait
        milliseconds = longest if seconds is None else min(longest, max(0, int(seconds * 1000) + 1))
        if idle:
            milliseconds = CONFIRM if self._inbox.unconfirmed else IDLE
        try:
            poll = select.poll()
            link = self._link
            if link is not None:
                for descriptor in link.socket.descriptors:
                    poll.register(descriptor, select.POLLIN)
            poll.register(self._wake_read, select.POLLIN)
            ready = poll.poll(milliseconds)
            for descriptor, _ in ready:
                if descriptor == self._wake_read:
                    self._drain_wake()
            if idle and not ready:
                self._confirm()
        except OSError:  # closed meanwhile
            time.sleep(0.001)

    def _confirm(self) -> None:
        """Acknowledge what has come, so that the controller need not keep it."""
        with self.lock:
            if self._inbox.unconfirmed and not self.closed:
                self._acknowledge()

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"!")
        except (BlockingIOError, OSError):
            pass

    def _drain_wake(self) -> None:
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass

    def _background(self) -> None:
        """Read while nobody waits."""
        while not self.closed and self.error is None:
            if self._waiters:
                time.sleep(NAP)
                continue
            with self.lock:
                if self.closed:
                    return
                if self._waiters:  # who waits must see what comes: it sleeps on the same descriptor
                    continue
                self._receive()
            rooms.expire()
            if not self._waiters:
                self._sleep(None, idle=True)

    def _receive(self) -> None:
        """Take in all that is there."""
        link = self._link
        if link is None:
            self._dial_again()  # nobody does if an interrupt has come in between
            return
        socket = link.socket
        try:
            came = False
            while socket.readable():
                message = self._decoded(socket.first())
                self._take(message, socket.rest(copied=not isinstance(message, messages.Chunk)))
                if self._link is not link:
                    return
                came = True
            if not came and socket.ended():  # whose descriptor stays ready
                self._break()
            elif self._inbox.owes:
                self._acknowledge()
        except errors.MPIDirectError as e:
            self._fail(e)
        except (ArithmeticError, LookupError, StopIteration, TypeError, ValueError, MemoryError) as e:
            log.warning("the controller broke the protocol: %r", e)
            self._fail(errors.VersionMismatch(f"The controller sent what this client can't read: {e!r}"))

    def _decoded(self, header: bytes) -> messages.Message:
        try:
            return messages.decode_from_controller(header)
        except messages.MalformedMessage as e:
            raise errors.VersionMismatch(f"The controller sent what this client can't read: {e}") from None

    def _take(self, message: messages.Message, frames: list[Any]) -> None:
        if isinstance(message, messages.Numbered):
            try:
                new = self._inbox.accept(message.seq, sum(map(len, frames)))
            except LookupError:
                self._break()  # a new connection starts with what is missing
                return
            self._outbox.acknowledge(message.ack)
            if new:
                self._dispatch(message, frames)
        elif isinstance(message, messages.Ack):
            self._outbox.acknowledge(message.ack)
        elif isinstance(message, messages.ControllerRestarts):
            self._lifeline.await_successor(message.within)
        elif isinstance(message, messages.Farewell):
            raise self._dialer.gone(message.reason)
        elif isinstance(message, messages.Refused):
            raise errors.ControllerLost(f"The controller has no more of this client: {message.reason}")
        if self._outbox.waiting:
            self._pump()

    def _dispatch(self, message: Any, frames: list[Any]) -> None:
        if isinstance(message, messages.Results):
            replies = message.replies
            if sum(len(reply.frames) for reply in replies) == len(frames):  # nothing of it comes later
                self._assembly = None
                parts = iter(frames)
                self._receiver.replied([(reply, [*islice(parts, len(reply.frames))]) for reply in replies])
                return
            self._assembly = FrameAssembly(replies, frames)
        elif isinstance(message, messages.Chunk):
            if self._assembly is not None and frames:
                self._assembly.add(frames[0])
            elif self._assembly is not None:
                self._assembly.lose()
        elif isinstance(message, messages.RelayedOutput):
            self._receiver.printed(message)
        elif isinstance(message, messages.Answer):
            self._receiver.answered(message)
        elif isinstance(message, messages.DataRead):
            self._receiver.taken(message.id)
        elif isinstance(message, messages.ResultMoved):
            self._receiver.moved(message.id, message.engine, message.addresses)
        elif isinstance(message, messages.EnginesChanged):
            self._receiver.engines_changed(message.engines, message.size, message.lost)
        if self._assembly is not None and self._assembly.complete:
            assembly, self._assembly = self._assembly, None
            self._receiver.replied(assembly.replies)

    # -- a new connection ---------------------------------------------------------------------------

    def _break(self) -> None:
        """The connection is of no use any more: get another one."""
        if self._link is not None and self.error is None and not self.closed and os.getpid() == self._pid:
            link, self._link = self._link, None
            link.socket.close(0)
            self._dial_again()

    def _dial_again(self) -> None:
        """Have a thread get another connection, if there is none and nobody does."""
        over = self.closed or self.error is not None or self._link is not None
        if not over and (self._dialing is None or not self._dialing.is_alive()):
            self._dialing = threading.Thread(target=self._reconnect, name="mpidirect-reconnect", daemon=True)
            self._dialing.start()

    def _reconnect(self) -> None:
        try:
            link = redial(self._dialer, self._lifeline, self._inbox.last, self.patience)
        except errors.ControllerLost as e:
            with self.lock:
                self._fail(e)
        except Exception as e:  # or all who wait would do so for ever
            log.exception("no connection can be made any more")
            with self.lock:
                self._fail(self._dialer.gone(f"no connection can be made any more: {e!r}"))
        else:
            if link is not None:
                self._resume(link)

    def _resume(self, link: Link) -> None:
        """Go on where the last connection ended."""
        with self.lock:
            if self.closed or self.error is not None:
                link.socket.close(0)
                return
            if not link.welcome.resumes:
                self._outbox, self._inbox, self._assembly = Outbox(), Inbox(), None
                self._receiver.forgotten()
            if link.welcome.facts["pid"] != self.info.pid:
                self._meet_successor(link.welcome)
            self._link = link
            self._outbox.rewind(link.welcome.received)
            self._pump()
            self._receive()  # what has come with the welcome: no descriptor tells of it
        self._wake()

    def _meet_successor(self, welcome: messages.Welcome) -> None:
        """Another process is the controller now."""
        self.welcome.facts.update(welcome.facts)
        self.info = msgspec.structs.replace(self.info, pid=welcome.facts["pid"])
        self._lifeline.close()
        self._lifeline = ControllerWatch(self.info, welcome.node)

    def _fail(self, error: Exception) -> None:
        if self.error is None and not self.closed:
            self.error = error
            link, self._link = self._link, None
            if link is not None:
                link.socket.close(0)
            self._dialer.context.destroy(linger=0)  # nobody may ever close this client
            self._receiver.lost(error)
            self._wake()

    # -- closing -------------------------------------------------------------------------------------

    def close(self, linger: float = 1.0) -> None:
        """Say goodbye and close; what still waits ends with `ClientClosed`."""
        if os.getpid() != self._pid:  # a lock may be held that nobody gives back in a forked child
            self.closed = True
            return
        with self.lock:
            if self.closed:
                return
            self.closed = True
            self._wake()
            self._closing.set()
            if self._link is not None:
                if self.error is None:
                    try:
                        goodbye = messages.Goodbye(self._inbox.acknowledged())
                        self._link.socket.put([messages.encode(goodbye)])
                    except Closed:
                        pass
                self._link.socket.close(int(linger * 1000))
        for thread in (self._thread, self._dialing):
            if thread is not None and thread.ident is not None and thread is not threading.current_thread():
                thread.join(ENDING)
        self._dialer.context.destroy(linger=0)
        rooms.expire(0.0)
        self._lifeline.close()
        os.close(self._wake_read)
        os.close(self._wake_write)


_open: WeakSet[Connection] = WeakSet()


@atexit.register
def _leave() -> None:
    """Say goodbye for the clients that nobody has closed: what they have got need not be kept."""
    for connection in list(_open):
        connection.close(0.1)
