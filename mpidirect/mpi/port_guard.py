"""Protection of MPI's listening sockets, which MPI opens to everybody without any authentication.

Open MPI reads the first bytes of each connection, the greeting, in a blocking call: a stranger who sends less
than a greeting would hold up all messages of the rank. So each rank has a thread that ends connections from
processes of other users, and connections without a complete greeting. The first rank of each host also
protects the sockets of the MPI launcher, by duplicates that the kernel lends to processes of the same user.

Where all ranks share a host, the kernel drops packets from other hosts as well (`packet_filter`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import struct
import sys
import threading
import time

from ..job.process_identity import ancestors
from ..job.variables import CLUSTER
from .fault_tolerance import Tolerance
from .packet_filter import close_to_other_hosts
from .process_sockets import ProcessSockets, listens, user_at_other_end

log = logging.getLogger(__name__)

OPEN_MPI_GREETING = 24  # Bytes that Open MPI sends in one piece when it has connected.
GREETING_LIMIT = 5  # Milliseconds that the rest of a greeting may take.
SHORTEST_PAUSE, LONGEST_PAUSE = 0.002, 0.5  # Seconds between two checks.
PENDING_PAUSE = 0.01  # Seconds between two checks while MPI has not accepted a connection.
MOST_SILENT = 64  # Maximum number of duplicates of silent connections: each needs a file descriptor.

_TCP_INFO_SIZE = 192
# State; milliseconds since the last data arrived; number of received bytes.
_TCP_INFO = struct.Struct("=B51xI72xQ")
_ESTABLISHED = 1


class PortGuard:
    """Ends connections of strangers to the listening sockets of one process.

    Sockets that the process opens later are not protected.

    Parameters
    ----------
    sockets : ProcessSockets
        The sockets of the process.
    greeting : int
        The number of bytes that each connection begins with; 0 if unknown.

    Attributes
    ----------
    listeners : list of socket.socket
        The listening sockets of the process.
    events : select.epoll
        Has an event when the next check is due.
    """

    def __init__(self, sockets: ProcessSockets, greeting: int = 0) -> None:
        self._sockets = sockets
        self._greeting = greeting
        self._ended = 0
        self._silent: list[socket.socket] = []  # Connections that have not begun to send a greeting.
        found = list(sockets.new())
        self.listeners = [one for one in found if listens(one)]
        for one in set(found) - set(self.listeners):
            sockets.see_again(one)
            one.close()
        self._ports = {each.getsockname()[1] for each in self.listeners}
        self._pending = select.poll()
        self.events = select.epoll()
        for each in self.listeners:
            self._pending.register(each, select.POLLIN)
            self.events.register(each, select.EPOLLIN | select.EPOLLET)

    def look(self) -> float | None:
        """End the connections of strangers.

        Returns
        -------
        float or None
            Seconds until the next check. None if the check can wait for the next event.
        """
        self.events.poll(0)
        pauses = []
        found = [
            *self._sockets.new(),
            *self._take_silent(),
        ]  # First all: the other end of each is ready then.
        for one in found:
            with contextlib.suppress(OSError):  # The connection may end meanwhile.
                if one.getsockname()[1] in self._ports and not listens(one):
                    pauses += self._check(one)
            if one not in self._silent:
                one.close()
        if self._pending.poll(0):
            pauses.append(PENDING_PAUSE)
        return min(pauses, default=None)

    def _take_silent(self) -> list[socket.socket]:
        """Return the connections that were silent at the last check."""
        taken, self._silent = self._silent, []
        for one in taken:
            self.events.unregister(one)
        return taken

    def _check(self, connection: socket.socket) -> list[float]:
        """End a connection of a stranger; return the seconds until it must be checked again, if at all."""
        user = user_at_other_end(connection)
        if user not in (None, 0, os.geteuid()):
            self._end(connection, f"it comes from a process of user {user}")
            return [0.0]  # Other connections may be under way.
        return self._check_greeting(connection) if self._greeting else []

    def _check_greeting(self, connection: socket.socket) -> list[float]:
        """End a connection that has stopped in its greeting; return the same as `_check`."""
        data = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        if len(data) < _TCP_INFO.size:  # An old kernel.
            return []
        state, since, arrived = _TCP_INFO.unpack_from(data)
        if arrived >= self._greeting or state != _ESTABLISHED:
            return []
        if arrived and since > GREETING_LIMIT:
            self._end(connection, "it sends no greeting")
            return [0.0]
        if not arrived and len(self._silent) < MOST_SILENT:
            self.events.register(connection, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
            self._silent.append(connection)
            return []
        self._sockets.see_again(connection)
        return [GREETING_LIMIT / 1000 if arrived else LONGEST_PAUSE]

    def _end(self, connection: socket.socket, why: str) -> None:
        self._ended += 1
        if self._ended & (self._ended - 1) == 0:  # A flood of connections must not fill the log.
            port, far = connection.getsockname()[1], connection.getpeername()
            log.warning(
                "a connection from %s to MPI's port %d is ended, the %dth: %s", far, port, self._ended, why
            )
        connection.shutdown(socket.SHUT_RDWR)


def protect(tolerance: Tolerance, one_host: bool, launcher: bool = False) -> None:
    """Protect all TCP sockets on which this process listens now.

    Call it after MPI has begun, and before this process opens listening sockets of its own.

    Parameters
    ----------
    tolerance : Tolerance
        The failures that this MPI can survive.
    one_host : bool
        Whether all ranks of the job share a host.
    launcher : bool
        Whether to protect the sockets of the MPI launcher on this host, too.
    """
    if sys.platform != "linux":
        return
    # In this case all connections belong to btl/tcp.
    greets = tolerance.vendor == "Open MPI" and tolerance.revokes
    guards = [PortGuard(ProcessSockets(), OPEN_MPI_GREETING if greets else 0)]
    for pid in ancestors(os.environ.get(CLUSTER, "")) if launcher else ():
        with contextlib.suppress(OSError):  # The kernel forbids it, or the process has ended.
            guards.append(PortGuard(ProcessSockets(pid)))
    guards = [guard for guard in guards if guard.listeners]
    if one_host:
        close_to_other_hosts(one for guard in guards for one in guard.listeners)
    threading.Thread(target=_watch, args=(guards,), name="mpidirect-ports", daemon=True).start()


def _watch(guards: list[PortGuard]) -> None:
    """Check the connections after each event."""
    events = select.epoll()
    for guard in guards:
        events.register(guard.events, select.EPOLLIN)
    pause: float | None = 0.0
    while True:
        events.poll(pause)
        pauses = [pause for guard in guards if (pause := _look(guard)) is not None]
        pause = min(pauses, default=None)
        if pause != 0:
            time.sleep(SHORTEST_PAUSE)  # Connections of one moment are checked together.


def _look(guard: PortGuard) -> float | None:
    try:
        return guard.look()
    except OSError:  # No descriptor is free, or the launcher is gone.
        return LONGEST_PAUSE
