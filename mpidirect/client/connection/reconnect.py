"""Replace a broken connection, unless the controller is gone for good."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import time
import warnings
from urllib.parse import urlsplit

from ... import errors
from ...files.connection_file import ConnectionInfo
from ...files.private_directories import successor
from ...job.handover import QUEUED
from ...memory import process_memory
from .dialer import Dialer, ForeignListener, Link
from .next_job import NextJobWatch
from .tunnel import Tunnel

NOTICE_DELAY = 3.0  # seconds until the user is told that the connection is down
PAUSES = 0.02, 5.0  # seconds between two attempts: the first, and the longest
SUCCESSOR_PAUSE = 0.2  # the longest pause while another controller will soon follow
NEXT_JOB_PAUSE = 1.0  # the longest pause while the controller of the next job will follow
ATTEMPT_TIMEOUT = 15.0  # maximum seconds of one attempt
PROBE_TIMEOUT = 1.5  # seconds to find out whether anything listens
REFUSAL_LIMIT = 10.0  # seconds of refused connections after which the controller counts as gone


class ConnectionWarning(UserWarning):
    """The connection to the cluster is down for the moment."""


def reconnect(dialer: Dialer, watch: ControllerWatch, received: int, patience: float) -> Link | None:
    """Try to connect until the controller answers. Return None if the client was closed.

    Parameters
    ----------
    received : int
        The number of the last received message.
    patience : float
        Seconds after which an unreachable controller counts as gone.

    Raises
    ------
    ControllerLost
        If the controller is known to be gone.
    """
    began = time.monotonic()
    pause, longest = PAUSES
    user_told = False
    foreign_since = 0.0  # since when another cluster answers at the address
    # random: otherwise all clients would connect at the same time
    while not dialer.closing.wait(pause * random.uniform(0.5, 1)):
        if watch.next_job.expected and not _next_job_found(dialer):
            if why := watch.next_job.why_lost():
                raise dialer.gone(why)
            pause = min(2 * pause, NEXT_JOB_PAUSE)
            continue
        try:
            return dialer.attempt(received, True, ATTEMPT_TIMEOUT)
        except errors.VersionMismatch:
            raise dialer.gone("another cluster is in its place") from None
        except errors.ConnectionFailed as e:
            now, why = time.monotonic(), ""
            is_foreign = isinstance(e, (errors.AuthenticationFailed, ForeignListener))
            foreign_since = (foreign_since or now) if is_foreign else 0.0
            if watch.gone(dialer.candidates()):
                why = "it was stopped, its job ended, or it died"
            elif foreign_since and now - foreign_since >= REFUSAL_LIMIT and not watch.awaits_other:
                # not at once: a listener without this cluster's key may be there for a moment
                why = "another cluster is in its place"
            if why and not _continues_elsewhere(dialer, watch):
                raise dialer.gone(why) from None
        waited = time.monotonic() - began
        if waited > patience and not watch.next_job.expected:
            raise dialer.gone(f"it has not answered for {waited:.0f} s")
        if waited > NOTICE_DELAY and not (user_told or watch.awaits_other):
            user_told = True
            _tell_user(dialer.info)
        pause = min(2 * pause, SUCCESSOR_PAUSE if watch.awaits_successor else longest)
    return None


def _next_job_found(dialer: Dialer) -> bool:
    """Whether the controller of the next job may listen now."""
    try:
        return dialer.look_up()
    except errors.ClusterNotFound:
        raise dialer.gone("it was stopped, or its next job was cancelled") from None


def _continues_elsewhere(dialer: Dialer, watch: ControllerWatch) -> bool:
    """Return whether another job continues the cluster: a disconnected client was not told."""
    known = dialer.info
    try:
        found = dialer.look_up()
    except errors.ClusterNotFound:
        return False
    if found:
        return (dialer.info.host, dialer.info.pid) != (known.host, known.pid)
    waits = dialer.tunnel is not None and dialer.tunnel.next_job_waits
    if waits:
        watch.await_successor(QUEUED, next_job=True)
    return waits


def _tell_user(info: ConnectionInfo) -> None:
    warnings.warn(
        f"The connection to cluster {info.cluster} on {info.host} is down since {time.strftime('%H:%M:%S')}; "
        "trying to reconnect. Calls continue after that, and the tasks on the engines are not affected. "
        "Ctrl-C returns to the prompt.",
        ConnectionWarning,
        stacklevel=2,
    )


class ControllerWatch:
    """Tells whether a controller that does not answer is gone for good.

    On the controller's host, the controller's process shows this. From other hosts, only the controller's
    host can show it, by refusing connections. If there is no answer at all, or a tunnel is down, it may be
    alive.

    Parameters
    ----------
    info : ConnectionInfo
        The contents of the connection file.
    node : str
        The controller's node, as the controller named it.
    tunnel : Tunnel, optional
        The tunnel of the connection; with a tunnel, this host has no files of the cluster.

    Attributes
    ----------
    next_job : NextJobWatch
        Tells whether another job will continue the cluster.
    """

    def __init__(self, info: ConnectionInfo, node: str, tunnel: Tunnel | None = None) -> None:
        self.info = info
        self.near = bool(node) and node == process_memory.node()
        self._process: int | None = None
        self._refused = 0.0
        self._successor_due = 0.0  # until when another controller may replace this one
        self._pid = info.pid
        self.next_job = NextJobWatch(info.profile, info.cluster, tunnel)
        if self.near:
            self._watch(info.pid)

    def _watch(self, pid: int) -> None:
        """Watch the process `pid` of this host."""
        self.close()
        self._pid = pid
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._process = os.pidfd_open(pid)

    def await_successor(self, within: float, next_job: bool) -> None:
        """Note that another controller will continue the work of this one within so many seconds."""
        if next_job:
            self.next_job.expect(within)
        else:
            self._successor_due = time.monotonic() + within

    @property
    def awaits_successor(self) -> bool:
        """Whether another controller will soon continue."""
        if self.near:
            return successor(self.info.cluster) == 0
        return time.monotonic() < self._successor_due

    @property
    def awaits_other(self) -> bool:
        """Whether another controller will continue, in this job or in the next one."""
        return self.awaits_successor or self.next_job.expected

    def gone(self, candidates: list[str]) -> bool:
        """Whether the controller will not come back; call this after a failed attempt."""
        if self.next_job.expected:
            return bool(self.next_job.why_lost())
        if self.awaits_successor:
            return False
        if self.near:
            return self._is_dead() and not self._has_successor()
        now = time.monotonic()
        if not candidates or not all(_refuses(address) for address in candidates):
            self._refused = 0.0
            return False
        self._refused = self._refused or now
        return now - self._refused >= REFUSAL_LIMIT

    def _has_successor(self) -> bool:
        """Return whether another controller has followed, and lives."""
        pid = successor(self.info.cluster)
        if pid is None or pid == self._pid:
            return False
        if pid:
            self._watch(pid)
        return not (pid and self._is_dead())

    def _is_dead(self) -> bool:
        if self._process is not None:
            poll = select.poll()
            poll.register(self._process, select.POLLIN)
            return bool(poll.poll(0))
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Close the descriptor of the process."""
        if self._process is not None:
            os.close(self._process)
            self._process = None


def _refuses(address: str) -> bool:
    """Whether the controller's host refuses connections to this address.

    The near end of a tunnel refuses connections while the tunnel is down; that does not count. If the near
    end accepts the connection and closes it at once, the controller's host has refused it.
    """
    parts = urlsplit(address)
    if parts.scheme != "tcp":
        return False
    host = parts.hostname or ""
    try:
        with socket.create_connection((host, parts.port or 0), PROBE_TIMEOUT) as probe:
            return probe.recv(1) == b""
    except ConnectionRefusedError:
        return not (host.startswith("127.") or host in ("localhost", "::1"))
    except ConnectionResetError:
        return True
    except OSError:
        return False
