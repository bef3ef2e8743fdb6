"""A client's connection to the controller.

A thread that waits for a result reads the socket itself: to hand each message from one thread to another
would cost as much as the way through the controller. While no thread waits, a background thread reads.

When a socket breaks, another thread makes a new connection, unless the controller is gone. Then both sides
send the messages again that the other side has not received. A waiting thread only waits longer.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from weakref import WeakSet

import msgspec

from ... import errors
from ...files.connection_file import ConnectionInfo
from ...memory import process_memory
from ...protocol import messages
from ...protocol.reliable_stream import Inbox, Outbox
from ...transport.base import Closed
from .bulk_frames import buffer_pool
from .deferred_interrupt import DeferredInterrupt
from .dialer import Dialer, Link
from .numbered_stream import NumberedStream
from .receiver import Receiver
from .reconnect import ControllerWatch, reconnect
from .tunnel import Tunnel

log = logging.getLogger(__name__)

MAX_SLEEP = 200  # milliseconds of one sleep of a waiting thread, in case a wake-up is missed
SHARED_SLEEP = 5  # the same while several threads wait: another thread may read what ends this wait
IDLE_SLEEP = 2000  # the same of the background thread, while no thread waits
ACKNOWLEDGE_DELAY = 300  # milliseconds until messages are acknowledged, if no message is sent
READER_PAUSE = 0.01  # seconds between two checks of the background thread while another thread reads

DEFAULT_PATIENCE = 3600.0  # seconds to try for a new connection
JOIN_TIMEOUT = 5.0  # seconds for threads to end, much more than they need


class Connection(NumberedStream):
    """A numbered stream that makes its own sockets; the waiting threads read its messages.

    Parameters
    ----------
    info : ConnectionInfo
        The controller's addresses, and the keys.
    receiver : Receiver
        Receives the messages of the controller.
    timeout : float
        Seconds that the controller has to answer.
    patience : float
        Seconds to try for a new connection when this one breaks and the controller may be alive.
    tunnel : Tunnel, optional
        Forwards a port of this host to the controller's port.

    Attributes
    ----------
    name : str
        The client's name, a random text. All connections of the client have the same name.
    welcome : Welcome
        The controller's answer to the first `Hello`.
    needs_user : bool
        Whether a wait in the main thread ends early, because an engine's debugger needs the user.
    """

    def __init__(
        self,
        info: ConnectionInfo,
        receiver: Receiver,
        timeout: float,
        patience: float = DEFAULT_PATIENCE,
        tunnel: Tunnel | None = None,
    ) -> None:
        super().__init__(receiver)
        self.info = info
        self.patience = patience
        self.name = os.urandom(8).hex()
        self.needs_user = False
        self._waiters = 0
        self._reconnecting_thread: threading.Thread | None = None
        self._closing = threading.Event()
        process_memory.permit()
        self._dialer = Dialer(info, self.name, self._closing, tunnel)
        try:
            link = self._dialer.dial(timeout)
        except BaseException:
            self._dialer.context.destroy(linger=0)
            self._wake_pipe.close()
            raise
        self._link = link
        self.welcome = link.welcome
        self.direct = self.welcome.direct
        self._controller_watch = ControllerWatch(info, self.welcome.node, tunnel)
        self._reading_thread = threading.Thread(
            target=self._read_while_idle, name="mpidirect-client", daemon=True
        )
        self._reading_thread.start()
        _open_connections.add(self)

    # -- waiting ------------------------------------------------------------------------------------

    def wait(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Read messages until `done` holds. Return False after `timeout` seconds, or if the user is needed.

        A Ctrl-C is raised between two messages, so that no message is lost.

        Parameters
        ----------
        done : callable
            Called after messages have been read, with the connection's lock held.
        timeout : float, optional
            Seconds; None waits without limit.
        """
        if done() or os.getpid() != self._pid:  # the parent of a forked process reads all messages
            return done()
        deadline = None if timeout is None else time.monotonic() + timeout
        with DeferredInterrupt(self._wake_pipe.wake) as interrupt:
            with self.lock:
                self._waiters += 1
                if self._waiters > 1:
                    self._wake_pipe.wake()
            try:
                while True:
                    with self.lock:
                        if not self.closed and self.error is None:
                            self._read_available()
                        if done():
                            return True
                        if self.error is not None or self.closed:
                            return done()
                    if self.needs_user and threading.current_thread() is threading.main_thread():
                        return False
                    interrupt.check()
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        return False
                    self._sleep(left)
                    interrupt.check()
            finally:
                with self.lock:
                    self._waiters -= 1
                    if self._waiters:
                        self._wake_pipe.wake()

    def _sleep(self, seconds: float | None, idle: bool = False) -> None:
        """Sleep until messages may have arrived, or `seconds` have passed."""
        longest = SHARED_SLEEP if self._waiters > 1 else MAX_SLEEP
        milliseconds = longest if seconds is None else min(longest, max(0, int(seconds * 1000) + 1))
        if idle:
            milliseconds = ACKNOWLEDGE_DELAY if self._inbox.unconfirmed else IDLE_SLEEP
        try:
            poll = select.poll()
            link = self._link
            if link is not None:
                for descriptor in link.socket.descriptors:
                    poll.register(descriptor, select.POLLIN)
            poll.register(self._wake_pipe.descriptor, select.POLLIN)
            ready = poll.poll(milliseconds)
            for descriptor, _ in ready:
                if descriptor == self._wake_pipe.descriptor:
                    self._wake_pipe.drain()
            if idle and not ready:
                self._acknowledge_if_due()
        except OSError:  # another thread has closed the socket
            time.sleep(0.001)

    def _acknowledge_if_due(self) -> None:
        """Acknowledge received messages, so the controller can drop its copies."""
        with self.lock:
            if self._inbox.unconfirmed and not self.closed:
                self._acknowledge()

    def _read_while_idle(self) -> None:
        """In the background thread: read while no other thread waits."""
        while not self.closed and self.error is None:
            if self._waiters:
                time.sleep(READER_PAUSE)
                continue
            with self.lock:
                if self.closed:
                    return
                if self._waiters:  # a waiting thread polls the same descriptor: leave the messages to it
                    continue
                self._read_available()
            buffer_pool.expire()
            if not self._waiters:
                self._sleep(None, idle=True)

    # -- a new connection ---------------------------------------------------------------------------

    def _drop_link(self) -> None:
        """Close a socket that is broken, and make a new connection."""
        if self._link is not None and self.error is None and not self.closed and os.getpid() == self._pid:
            link, self._link = self._link, None
            link.socket.close(0)
            self._start_reconnecting()

    def _start_reconnecting(self) -> None:
        """Start a thread that makes a new connection, unless the connection exists or a thread makes one."""
        is_needless = self.closed or self.error is not None or self._link is not None
        if not is_needless and (
            self._reconnecting_thread is None or not self._reconnecting_thread.is_alive()
        ):
            self._reconnecting_thread = threading.Thread(
                target=self._reconnect, name="mpidirect-reconnect", daemon=True
            )
            self._reconnecting_thread.start()

    def _reconnect(self) -> None:
        """In the reconnecting thread: make a new connection, or find out that the controller is gone."""
        try:
            link = reconnect(self._dialer, self._controller_watch, self._inbox.last, self.patience)
        except errors.ControllerLost as e:
            with self.lock:
                self._fail(e)
        except Exception as e:  # otherwise all waiting threads would wait for ever
            log.exception("no connection can be made any more")
            with self.lock:
                self._fail(self._gone(f"no connection can be made any more: {e!r}"))
        else:
            if link is not None:
                self._resume(link)

    def _resume(self, link: Link) -> None:
        """Continue the stream over a new socket."""
        with self.lock:
            if self.closed or self.error is not None:
                link.socket.close(0)
                return
            if not link.welcome.resumes:
                self._outbox, self._inbox = Outbox(), Inbox()
                self._dispatcher.reset()
                self.direct = link.welcome.direct
                self._receiver.session_forgotten()
            facts = link.welcome.facts
            if (facts["pid"], facts["host"]) != (self.info.pid, self.info.host):
                self._watch_successor(link.welcome)
            self._link = link
            self._outbox.rewind(link.welcome.received)
            self._send_due()
            self._read_available()  # messages that came with the welcome do not make the descriptor readable
        self._wake_pipe.wake()

    def _await_successor(self, seconds: float, next_job: bool) -> None:
        self._controller_watch.await_successor(seconds, next_job)

    def _gone(self, reason: str) -> errors.ControllerLost:
        return self._dialer.gone(reason)

    def _watch_successor(self, welcome: messages.Welcome) -> None:
        """Watch the controller's new process, which continues the work of the former process."""
        self.welcome.facts.update(welcome.facts)
        self._receiver.engines_changed(welcome)
        facts = welcome.facts
        self.info = msgspec.structs.replace(self._dialer.info, pid=facts["pid"], host=facts["host"])
        self._controller_watch.close()
        self._controller_watch = ControllerWatch(self.info, welcome.node, self._dialer.tunnel)
        self._receiver.controller_changed(self.info)

    def _fail(self, error: Exception) -> None:
        """End this connection for good."""
        if self.error is None and not self.closed:
            self.error = error
            link, self._link = self._link, None
            if link is not None:
                link.socket.close(0)
            self._dialer.context.destroy(linger=0)  # the user may never close this client
            self._receiver.controller_lost(error)
            self._wake_pipe.wake()

    # -- closing -------------------------------------------------------------------------------------

    def close(self, linger: float = 1.0) -> None:
        """Say goodbye to the controller and close.

        Parameters
        ----------
        linger : float
            Seconds to send the messages that wait.
        """
        if (
            os.getpid() != self._pid
        ):  # in a forked process, a thread that does not exist there may hold a lock
            self.closed = True
            return
        with self.lock:
            if self.closed:
                return
            self.closed = True
            self._wake_pipe.wake()
            self._closing.set()
            if self._link is not None:
                if self.error is None:
                    try:
                        goodbye = messages.Goodbye(self._inbox.acknowledged())
                        self._link.socket.put([messages.encode(goodbye)])
                    except Closed:
                        pass
                self._link.socket.close(int(linger * 1000))
        for thread in (self._reading_thread, self._reconnecting_thread):
            if thread is not None and thread.ident is not None and thread is not threading.current_thread():
                thread.join(JOIN_TIMEOUT)
        self._dialer.context.destroy(linger=0)
        buffer_pool.expire(0.0)
        self._controller_watch.close()
        self._wake_pipe.close()


_open_connections: WeakSet[Connection] = WeakSet()


@atexit.register
def _close_all() -> None:
    """At exit, say goodbye for clients that are not closed, so the controller drops their results."""
    for connection in list(_open_connections):
        connection.close(0.1)
