"""Making a connection to the controller."""

from __future__ import annotations

import os
import platform
import threading
import time
from typing import NamedTuple

import msgspec
import zmq

from .. import _version, errors
from ..wire import memory, messages, user_modules
from ..wire.connection_file import ConnectionInfo
from ..wire.connections import SCHEME, Dialed
from . import _remote
from ._addresses import in_order, remember
from ._remote import Patience
from ._tunnel import Tunnel

AGAIN = 0.1  # seconds between two attempts at a first connection
LARGEST = 1 << 40  # bytes of one message


class Link(NamedTuple):
    """A connection that the controller has welcomed."""

    socket: Dialed
    welcome: messages.Welcome


class Dialer:
    """Connects to a controller: each time with a new socket, so that nothing of the last one is left in it.

    Parameters
    ----------
    info : ConnectionInfo
        Where, and the keys.
    name : str
        The client's name: the same at each connection.
    closing : threading.Event
        Set when there is no need for a connection any more.
    tunnel : Tunnel, optional
        What brings the controller's port here; started again when it has ended.
    """

    def __init__(
        self, info: ConnectionInfo, name: str, closing: threading.Event, tunnel: Tunnel | None = None
    ) -> None:
        self.info = info
        self.tunnel = tunnel
        self.closing = closing
        self.name = name
        self.cookie = os.urandom(memory.COOKIE)
        user_modules.look()  # as they are before their files are edited
        self._directory = user_modules.prompt_directory()

    def gone(self, why: str) -> errors.ControllerLost:
        """The error that says that the controller is gone."""
        return errors.ControllerLost(
            f"The controller of cluster {self.info.cluster} on {self.info.host} is gone: {why}. "
            "'mpidirect status' and 'mpidirect logs' tell more."
        )

    def dial(self, timeout: float) -> Link:
        """Connect for the first time: to the first address that lets us in, within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.attempt(0, False, deadline - time.monotonic())
            except (errors.AuthenticationFailed, errors.VersionMismatch, errors.ClusterNotFound):
                raise
            except errors.ConnectionFailed:
                if time.monotonic() + AGAIN > deadline:
                    raise
            time.sleep(AGAIN)

    def attempt(self, received: int, resumes: bool, timeout: float) -> Link:
        """Try each address once; `received` is the last message that has come."""
        if self.tunnel is not None:
            addresses = self.tunnel.mend(self.closing.is_set)
            self.info = msgspec.structs.replace(self.info, addresses=addresses)
        deadline = time.monotonic() + timeout
        problem: errors.ConnectionFailed | None = None
        candidates = self.candidates()
        for k, address in enumerate(candidates):
            left = (deadline - time.monotonic()) / (len(candidates) - k)
            try:
                link = self._try(address, self._hello(received, resumes), max(left, 0.1), timeout)
                remember(self.info, address)
                return link
            except errors.VersionMismatch:
                raise
            except errors.ConnectionFailed as e:
                # at another address there may be another cluster, which does not know us
                if problem is None or isinstance(problem, errors.AuthenticationFailed):
                    problem = e
        if problem is not None:
            raise problem
        raise errors.ClusterNotFound(
            f"The cluster {self.info.cluster} is gone: its socket on {self.info.host} no longer exists. "
            "'mpidirect clean' removes what it left; then: mpidirect start"
        )

    def candidates(self) -> list[str]:
        """The addresses that may exist for this host, the most promising ones first."""
        return in_order(self.info)

    def _hello(self, received: int, resumes: bool) -> bytes:
        mine = messages.Memory(memory.place(), os.getpid(), memory.address(self.cookie), self.cookie)
        python = platform.python_version()
        return messages.encode(
            messages.Hello(
                messages.PROTOCOL, _version.__version__, python, received, resumes, mine, self._directory
            )
        )

    def _try(self, address: str, hello: bytes, timeout: float, whole: float) -> Link:
        patience = Patience(timeout, self.closing)
        try:
            socket = self._connected(address, patience)
            try:
                socket.put([hello])
                return Link(socket, self._await_welcome(socket, address, patience))
            except BaseException:
                socket.close(0)
                raise
        except errors.MPIDirectError:  # some of them are of these kinds, too
            raise
        except TimeoutError:
            raise self._unreached(address, f"no answer came within {whole:.1f} s") from None
        except (OSError, EOFError, zmq.Again):  # it was over before it had begun
            raise self._unreached(address, "the connection is refused or closed at once") from None

    def _connected(self, address: str, patience: Patience) -> Dialed:
        name = self.name.encode()
        if address.startswith(SCHEME):
            try:
                return Dialed.local(address, name, LARGEST)
            except OSError as e:
                raise self._unreached(address, f"{e.strerror}") from None
        try:
            return Dialed(_remote.connected(address, self.info, patience), name, LARGEST)
        except _remote.Refused:
            raise self._refused(address) from None
        except _remote.Stranger as e:
            raise self._unreached(address, str(e)) from None

    def _await_welcome(self, socket: Dialed, address: str, patience: Patience) -> messages.Welcome:
        while True:
            if socket.readable():
                message = self._read(socket.first(), address)
                socket.rest()
                if isinstance(message, messages.Welcome):
                    return message
                continue  # what the controller sends before it has seen our hello, it sends again
            if socket.broken():
                raise EOFError
            patience.until(socket.connection, socket.pending)
            socket.flush()

    def _read(self, header: bytes, address: str) -> messages.Message:
        try:
            message = messages.from_controller(header)
        except messages.MalformedMessage as e:
            raise errors.VersionMismatch(
                f"What answers at {address} is no controller that this client understands: {e}"
            ) from None
        if isinstance(message, messages.Refused):
            mismatch = message.reason.startswith("version")
            kind = errors.VersionMismatch if mismatch else errors.ConnectionFailed
            raise kind(f"The controller at {address} refuses this client: {message.reason}")
        if isinstance(message, messages.Welcome) and message.protocol != messages.PROTOCOL:
            raise errors.VersionMismatch(
                f"The cluster has mpidirect {message.version}, protocol {message.protocol}; this client "
                f"has {_version.__version__}, protocol {messages.PROTOCOL}: install the same on both sides."
            )
        return message

    def _refused(self, address: str) -> errors.AuthenticationFailed:
        return errors.AuthenticationFailed(
            f"The controller at {address} refuses this client's key: the connection file is of "
            "another cluster, or of an earlier one. Get the present one, or start a cluster: "
            "mpidirect start"
        )

    def _unreached(self, address: str, why: str) -> errors.ConnectionFailed:
        return errors.ConnectionFailed(
            f"No controller answered at {address}: {why}. Is cluster {self.info.cluster} alive on "
            f"{self.info.host}, and reachable from here? 'mpidirect status' tells; "
            "'mpidirect clean' removes what a dead cluster left."
        )
