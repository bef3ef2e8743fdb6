"""Protection of MPI's listening sockets, which MPI opens to everybody and asks nobody for a key.

Open MPI reads the first bytes of each connection, the greeting, in a blocking call: a stranger who sends less
than a greeting would hold up all messages of the rank. So each rank has a thread that ends connections from
processes of other users, and connections without a complete greeting. The first rank of each host also
protects the sockets of the MPI launcher, by duplicates that the kernel lends to processes of the same user.

The kernel drops packets from hosts that do not belong to the job (`packet_filter`).
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
from collections.abc import Collection

from ..job.process_identity import ancestors
from ..job.variables import CLUSTER
from .fault_tolerance import Tolerance
from .packet_filter import close_to_other_hosts
from .process_sockets import ProcessSockets, listens, user_at_other_end

log = logging.getLogger(__name__)

OPEN_MPI_GREETING = 24  # Bytes that Open MPI sends in one piece when it has connected.
GREETING_LIMIT = 100  # Milliseconds that the rest of a greeting may take.
SHORTEST_PAUSE, LONGEST_PAUSE = 0.002, 0.5  # Seconds between two looks.
PENDING_PAUSE = 0.02  # Seconds between two looks while MPI has not accepted a connection.

_TCP_INFO_SIZE = 192
_TCP_INFO = struct.Struct("=52xI72xQ")  # Milliseconds since the last data arrived; bytes that have arrived.


class PortGuard:
    """Ends connections of strangers to the listening sockets of one process.

    Sockets that the process opens later are not protected.

    Parameters
    ----------
    sockets : ProcessSockets
        The sockets of the process.
    greeting : int
        The number of bytes that each connection begins with; 0 if unknown.
    """

    def __init__(self, sockets: ProcessSockets, greeting: int = 0) -> None:
        self._sockets = sockets
        self._greeting = greeting
        self._ended = 0
        found = list(sockets.new())
        self.listeners = [one for one in found if listens(one)]
        self.peers: set[str] = set()  # The addresses of other hosts that have connected.
        for one in set(found) - set(self.listeners):
            with one, contextlib.suppress(OSError):  # The connection may end meanwhile.
                sockets.see_again(one)
                self.peers.add(one.getpeername()[0].partition("%")[0])
        self._ports = {each.getsockname()[1] for each in self.listeners}
        self._pending = select.poll()
        for each in self.listeners:
            self._pending.register(each, select.POLLIN)

    def look(self) -> float | None:
        """End the connections of strangers.

        Returns
        -------
        float or None
            Seconds to the next look. None if that look can wait for the next connection.
        """
        pauses = []
        found = list(self._sockets.new())  # First all: the other end of each has been connected by then.
        for one in found:
            with one, contextlib.suppress(OSError):  # The connection may end meanwhile.
                if one.getsockname()[1] in self._ports and not listens(one):
                    pauses += self._check(one)
        if self._pending.poll(0):
            pauses.append(PENDING_PAUSE)
        return min(pauses, default=None)

    def _check(self, connection: socket.socket) -> list[float]:
        """End a connection of a stranger; return after which time to look at it again, if at all."""
        user = user_at_other_end(connection)
        if user not in (None, 0, os.geteuid()):
            self._end(connection, f"it comes from a process of user {user}")
            return [0.0]  # Others may be on their way.
        if self._greeting:
            data = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
            if len(data) < _TCP_INFO.size:  # An old kernel.
                return []
            since, arrived = _TCP_INFO.unpack_from(data)
            if arrived < self._greeting:
                if arrived and since > GREETING_LIMIT:
                    self._end(connection, "it sends no greeting")
                    return [0.0]
                self._sockets.see_again(connection)
                return [LONGEST_PAUSE if not arrived else GREETING_LIMIT / 1000]
        return []

    def _end(self, connection: socket.socket, why: str) -> None:
        self._ended += 1
        if self._ended & (self._ended - 1) == 0:  # A flood of connections must not fill the log.
            port, far = connection.getsockname()[1], connection.getpeername()
            log.warning(
                "a connection from %s to MPI's port %d is ended, the %dth: %s", far, port, self._ended, why
            )
        connection.shutdown(socket.SHUT_RDWR)


def protect(tolerance: Tolerance, addresses: Collection[str] | None, launcher: bool = False) -> None:
    """Protect all TCP sockets on which this process listens now.

    Call it after MPI has begun, and before this process opens listening sockets of its own.

    Parameters
    ----------
    tolerance : Tolerance
        The failures that this MPI can survive.
    addresses : collection of str, optional
        The IP addresses of the job's hosts; empty if all ranks share a host. If not given, no packets are
        dropped.
    launcher : bool
        Whether to protect the sockets of the MPI launcher on this host as well.
    """
    if sys.platform != "linux":
        return
    greets = tolerance.vendor == "Open MPI" and tolerance.revokes  # So all connections are btl/tcp's.
    guards = [PortGuard(ProcessSockets(), OPEN_MPI_GREETING if greets else 0)]
    for pid in ancestors(os.environ.get(CLUSTER, "")) if launcher else ():
        with contextlib.suppress(OSError):  # The kernel forbids it, or the process is gone.
            guards.append(PortGuard(ProcessSockets(pid)))
    guards = [guard for guard in guards if guard.listeners]
    # Between hosts, only btl/tcp refuses a peer whose address its host does not have. So for btl/tcp the
    # filter changes nothing, while another MPI may work with hosts behind a translation of addresses.
    if addresses is not None and (greets or not addresses):
        for guard in guards:
            close_to_other_hosts(guard.listeners, {*addresses, *guard.peers} if addresses else ())
    threading.Thread(target=_watch, args=(guards,), name="mpidirect-ports", daemon=True).start()


def _watch(guards: list[PortGuard]) -> None:
    """Look at the connections whenever there are new ones."""
    events = select.epoll()
    for guard in guards:
        for one in guard.listeners:
            events.register(one, select.EPOLLIN | select.EPOLLET)
    pause: float | None = 0.0
    while True:
        events.poll(pause)
        pauses = [pause for guard in guards if (pause := _look(guard)) is not None]
        pause = min(pauses, default=None)
        if pause != 0:
            time.sleep(SHORTEST_PAUSE)  # Connections of one moment are looked at together.


def _look(guard: PortGuard) -> float | None:
    try:
        return guard.look()
    except OSError:  # No descriptor is free, or the launcher is gone.
        return LONGEST_PAUSE
