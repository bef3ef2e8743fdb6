"""Connect to the controller."""

from __future__ import annotations

import os
import platform
import select
import threading
import time
from typing import NamedTuple

import msgspec
import zmq

from ... import _version, errors
from ...files import connection_file
from ...files.connection_file import ConnectionInfo
from ...files.profiles import Profile, appeared
from ...memory import process_memory
from ...protocol import messages
from ...serialize import module_sources, user_modules
from ...transport.base import Closed
from ...transport.curve import Credentials, KeyPair
from ...transport.zeromq import SCHEME, Context, Dealer
from .addresses import in_order, remember
from .tunnel import Tunnel

RETRY_PAUSE = 0.1  # seconds between two attempts at a first connection
CHECK_INTERVAL = 200  # milliseconds between checks whether the client was closed


class ForeignListener(errors.ConnectionFailed):
    """The process that listens at the address does not know the keys of this cluster."""


class Link(NamedTuple):
    """A socket, and the controller's welcome on it."""

    socket: Dealer
    welcome: messages.Welcome


class Dialer:
    """Connects to a controller, each time by a new socket: the old one may hold half a message.

    Parameters
    ----------
    info : ConnectionInfo
        The controller's addresses, and the keys.
    name : str
        The client's name. All connections of the client have the same name.
    closing : threading.Event
        Set when no connection is needed any more.
    tunnel : Tunnel, optional
        Forwards a port of this host to the controller's port; started again if its process has ended.
    """

    def __init__(
        self, info: ConnectionInfo, name: str, closing: threading.Event, tunnel: Tunnel | None = None
    ) -> None:
        self.info = info
        self.tunnel = tunnel
        self.closing = closing
        self.name = name
        self.context = Context()
        self.cookie = os.urandom(process_memory.COOKIE)
        user_modules.scan()  # the modules' state before the user edits their files
        self._directory = module_sources.prompt_directory()

    def gone(self, why: str) -> errors.ControllerLost:
        """Return the error for a controller that is gone."""
        return errors.ControllerLost(
            f"The controller of cluster {self.info.cluster} on {self.info.host} is gone: {why}. "
            "'mpidirect status' and 'mpidirect logs' tell more."
        )

    def dial(self, timeout: float) -> Link:
        """Connect for the first time, to the first address that accepts this client."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.attempt(0, False, deadline - time.monotonic())
            except (errors.AuthenticationFailed, errors.VersionMismatch, errors.ClusterNotFound):
                raise
            except errors.ConnectionFailed:
                if time.monotonic() + RETRY_PAUSE > deadline:
                    raise
            time.sleep(RETRY_PAUSE)

    def attempt(self, received: int, resumes: bool, timeout: float) -> Link:
        """Try each address once; `received` is the number of the last received message."""
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
                # another cluster, which does not know this client, may listen at another of the addresses
                if problem is None or isinstance(problem, (errors.AuthenticationFailed, ForeignListener)):
                    problem = e
        if problem is not None:
            raise problem
        raise errors.ClusterNotFound(
            f"The cluster {self.info.cluster} is gone: its socket on {self.info.host} no longer exists. "
            "'mpidirect clean' removes what it left; then: mpidirect start"
        )

    def look_up(self) -> bool:
        """Read the connection file again: the controller may run in another job, at another address.

        Returns
        -------
        bool
            False if the profile is known and has no connection file: the next controller does not listen yet.

        Raises
        ------
        ClusterNotFound
            If the cluster was stopped. Only the host at the other end of a tunnel knows that.
        """
        if self.tunnel is not None:
            found = self.tunnel.look_up(self.info)
            self.info = found or self.info
            return found is not None
        profile = Profile(self.info.profile)
        try:
            if not appeared(profile.connection_file(self.info.cluster)):
                return not profile.exists()
            self.info = connection_file.read(profile.connection_file(self.info.cluster))
        except errors.MPIDirectError:
            return False  # the file is being written, or was just removed
        return True

    def candidates(self) -> list[str]:
        """Return the addresses that may exist for this host, the most promising ones first."""
        return in_order(self.info)

    def _hello(self, received: int, resumes: bool) -> bytes:
        mine = messages.ReadableMemory(
            process_memory.domain(), os.getpid(), process_memory.address(self.cookie), self.cookie
        )
        hello = messages.Hello(
            messages.PROTOCOL,
            _version.__version__,
            platform.python_version(),
            received,
            resumes,
            mine,
            self._directory,
            f"process {os.getpid()} on {platform.node()}",
        )
        return messages.encode(hello)

    def _try(self, address: str, hello: bytes, timeout: float, whole: float) -> Link:
        socket = self._connected(address)
        try:
            socket.put([hello, b""])  # the connection consists of a header and an empty body
            return Link(socket, self._await_welcome(socket, address, timeout, whole))
        except Closed:  # the handshake has failed
            failure = self._ended(address, socket.end_event())
            socket.close(0)
            raise failure from None
        except BaseException:
            socket.close(0)
            raise

    def _connected(self, address: str) -> Dealer:
        credentials = None
        if not address.startswith(SCHEME):
            mine = KeyPair(self.info.client_key.encode(), self.info.client_secret.encode())
            credentials = Credentials(self.info.server_key.encode(), mine)
            if not credentials.usable:
                raise errors.AuthenticationFailed("The connection file holds no usable keys.")
        try:
            return Dealer.of_client(self.context, address, self.name.encode(), credentials)
        except zmq.ZMQError as e:
            raise self._unreached(address, f"this host can't use the address: {e.strerror}") from None

    def _await_welcome(self, socket: Dealer, address: str, timeout: float, whole: float) -> messages.Welcome:
        poll = select.poll()
        for descriptor in socket.descriptors:
            poll.register(descriptor, select.POLLIN)
        deadline = time.monotonic() + timeout
        while True:
            while socket.readable():
                message = self._read(socket.first(), address)
                socket.rest()
                if isinstance(message, messages.Welcome):
                    return message
                # otherwise the controller sent the message before it had seen the hello, and sends the
                # message again
            if socket.ended():
                raise self._ended(address, socket.end_event())
            left = deadline - time.monotonic()
            if left <= 0 or self.closing.is_set():
                raise self._unreached(address, f"no answer came within {whole:.1f} s")
            poll.poll(max(0, min(CHECK_INTERVAL, int(left * 1000) + 1)))

    def _ended(self, address: str, event: int) -> errors.ConnectionFailed:
        """Return the error for a connection that ended with this event of ZeroMQ."""
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return self._refused(address)
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            return self._unreached(
                address, "what listens there is no controller of mpidirect", ForeignListener
            )
        if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            why = (
                "what listens there does not know these keys, which may be of an earlier cluster; "
                "or it is a tunnel with nothing at its end"
            )
            return self._unreached(address, why, ForeignListener)
        return self._unreached(address, "the connection is refused or closed at once")

    def _read(self, header: bytes, address: str) -> messages.Message:
        try:
            message = messages.decode_from_controller(header)
        except messages.MalformedMessage as e:
            raise errors.VersionMismatch(
                f"The process at {address} is no controller that this client understands: {e}"
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

    def _unreached(
        self, address: str, why: str, kind: type[errors.ConnectionFailed] = errors.ConnectionFailed
    ) -> errors.ConnectionFailed:
        return kind(
            f"No controller answered at {address}: {why}. Is cluster {self.info.cluster} alive on "
            f"{self.info.host}, and reachable from here? 'mpidirect status' tells; "
            "'mpidirect clean' removes what a dead cluster left."
        )
