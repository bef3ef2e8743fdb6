"""A fork server: a process without MPI that has imported all code of an engine, and forks engines.

Imports need most of the processor time of a start. An anchor starts the server before MPI begins, so a forked
engine has only to begin MPI. MPI itself starts a small process for each engine (`fork_client`). The engine
takes over the environment, the directory and the descriptors of that process, and so is the process that MPI
expects.

The server listens at an abstract Unix socket, and serves its own user alone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import NamedTuple

from . import fork_client
from .variables import FORK_SERVER, FORKED_PID

MOST_DESCRIPTORS = 250  # The kernel passes no more in one message.
REQUEST_LIMIT = 10.0  # Seconds that a request may take to arrive.
# An engine of another control group or namespace than the server's can't be forked.
_SURROUNDINGS = ("ns/mnt", "ns/net", "ns/pid", "ns/ipc", "ns/user")


def server_name(cluster: str) -> str:
    """Return the name of the socket of a cluster's fork server."""
    return f"mpidirect-{os.getuid()}-{cluster}-fork"


def client_command(command: list[str], cluster: str) -> list[str]:
    """Return the command for engines that a fork server forks.

    Parameters
    ----------
    command : list of str
        The command that started this rank, with its wrapper.
    cluster : str
        The cluster's id.
    """
    arguments = command[-3:]  # The words after the one for Python.
    if arguments[:2] != ["-m", "mpidirect.job"]:
        return command
    return [*command[:-3], "-S", fork_client.__file__, server_name(cluster), *arguments]


def start(cluster: str, log: Path) -> bool:
    """Start a fork server of this rank's cluster.

    The server ends after this process and its engines.

    Parameters
    ----------
    cluster : str
        The cluster's id.
    log : Path
        The file for the server's errors.

    Returns
    -------
    bool
        False in this process. True in each engine, which has the environment of its client.
    """
    if sys.platform != "linux" or os.environ.get(FORK_SERVER) == "0":
        return False
    try:
        if _has_threads():
            return False
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(b"\0" + server_name(cluster).encode())
        listener.listen(socket.SOMAXCONN)
    except OSError:  # Another process has the name. Then each engine imports its code.
        return False
    lifeline, _ = os.pipe()  # The kernel closes the other end when this process ends.
    if os.fork():
        listener.close()
        os.close(lifeline)
        return False
    try:
        os.setpgid(0, 0)  # Signals to the anchor's group must not end the engines of this server.
        _keep_descriptors({listener.fileno(), lifeline})
        _redirect(log)
        gc.freeze()  # So that collections of engines leave the shared memory as it is.
        if _ForkServer(listener, lifeline).run():
            return True
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


class _Request(NamedTuple):
    """The data that a client hands over for its engine."""

    pid: int
    descriptors: dict[int, int]  # The number in the engine, and the number in this process.
    directory: bytes
    environment: dict[bytes, bytes]


class _ForkServer:
    """Forks an engine for each client.

    Parameters
    ----------
    listener : socket
        The socket at which clients connect.
    lifeline : int
        A descriptor that becomes readable when the anchor ends.
    """

    def __init__(self, listener: socket.socket, lifeline: int) -> None:
        self._listener = listener
        self._lifeline = lifeline
        self._surroundings = _surroundings("self")
        self._clients: dict[int, socket.socket] = {}  # By the process number of the engine.
        self._wakeup, self._signalled = socket.socketpair()

    def run(self) -> bool:
        """Serve until the anchor and all engines have ended; return True in an engine."""
        self._wakeup.setblocking(False)
        self._signalled.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)
        poll = select.poll()
        for descriptor in (self._listener.fileno(), self._lifeline, self._wakeup.fileno()):
            poll.register(descriptor, select.POLLIN)
        has_anchor = True
        while has_anchor or self._clients:
            for descriptor, _ in poll.poll():
                if descriptor == self._listener.fileno():
                    engine = self._accept()
                    if engine == 0:
                        return True
                    if engine is not None:
                        poll.register(self._clients[engine].fileno(), select.POLLIN)
                elif descriptor == self._wakeup.fileno():
                    self._reap(poll)
                elif descriptor == self._lifeline:
                    has_anchor = False
                    poll.unregister(self._lifeline)
                else:
                    self._client_gone(descriptor, poll)
        return False

    def _accept(self) -> int | None:
        """Fork the engine of the next client; return its process number, 0 in the engine, None if refused."""
        client, _ = self._listener.accept()
        try:
            request = self._receive(client)
        except (OSError, ValueError, struct.error):
            request = None
        if request is None:
            client.close()  # then the client executes the engine's command itself
            return None
        engine = os.fork()
        if engine == 0:
            self._leave()
            client.close()
            _take_over_client(request)
            return 0
        for descriptor in request.descriptors.values():
            os.close(descriptor)
        self._clients[engine] = client
        with contextlib.suppress(OSError):
            client.sendall(fork_client.FORKED)
        return engine

    def _receive(self, client: socket.socket) -> _Request | None:
        """Receive a client's request; return None if the client must start its engine itself."""
        pid, user, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user != os.getuid() or _surroundings(str(pid)) != self._surroundings:
            return None
        client.settimeout(REQUEST_LIMIT)
        head, received, _, _ = socket.recv_fds(client, 4, MOST_DESCRIPTORS)
        size, content = int.from_bytes(head, "big"), bytearray()
        while len(content) < size:
            piece = client.recv(size - len(content))
            if not piece:
                return None
            content += piece
        numbers, directory, *variables = bytes(content).split(b"\0")
        descriptors = dict(zip(map(int, numbers.split()), received, strict=True))
        environment = dict(variable.split(b"=", 1) for variable in variables)
        return _Request(pid, descriptors, directory, environment)

    def _leave(self) -> None:
        """Close, in an engine, everything that belongs to the server."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (self._listener, self._wakeup, self._signalled, *self._clients.values()):
            each.close()
        os.close(self._lifeline)

    def _reap(self, poll: select.poll) -> None:
        """Tell the clients of engines that have ended."""
        with contextlib.suppress(BlockingIOError):
            self._wakeup.recv(4096)
        with contextlib.suppress(ChildProcessError):
            while True:
                engine, status = os.waitpid(-1, os.WNOHANG)
                if not engine:
                    break
                code = os.waitstatus_to_exitcode(status)
                client = self._clients.pop(engine)
                with contextlib.suppress(KeyError):
                    poll.unregister(client.fileno())
                with contextlib.suppress(OSError):
                    client.sendall(bytes([code if code >= 0 else 128 - code]))
                client.close()

    def _client_gone(self, descriptor: int, poll: select.poll) -> None:
        """Kill the engine of a client that was killed."""
        with contextlib.suppress(KeyError):  # the engine was just reaped
            poll.unregister(descriptor)
        for engine, client in self._clients.items():
            if client.fileno() == descriptor:
                os.kill(engine, signal.SIGKILL)


def _take_over_client(request: _Request) -> None:
    """Take over, in an engine, the state that the client has handed over."""
    _place_descriptors(request.descriptors)
    with contextlib.suppress(OSError):
        os.setpgid(0, os.getpgid(request.pid))  # Launchers send signals to groups.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, os.sched_getaffinity(request.pid))
    former = Path.cwd()
    os.chdir(request.directory)
    if sys.path[0] == str(former):
        sys.path[0] = str(Path.cwd())
    os.environb.clear()
    os.environb.update(request.environment)
    os.environ[FORKED_PID] = str(os.getpid())


def _place_descriptors(descriptors: dict[int, int]) -> None:
    """Give descriptors the numbers that they have in the client."""
    import fcntl

    free = max([2, *descriptors]) + 1
    moved = {number: fcntl.fcntl(found, fcntl.F_DUPFD_CLOEXEC, free) for number, found in descriptors.items()}
    for found in descriptors.values():
        os.close(found)
    for number, found in moved.items():
        os.dup2(found, number)
        os.close(found)


def _keep_descriptors(kept: set[int]) -> None:
    """Close all descriptors but the standard ones and those in `kept`: MPI's belong to the anchor."""
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)


def _redirect(log: Path) -> None:
    """Redirect the standard descriptors, because the launcher waits for their end."""
    sys.stdout.flush()
    sys.stderr.flush()
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, number in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, number)
    os.close(null)
    os.close(output)


def _surroundings(pid: str) -> list[str]:
    """Return the control groups and the namespaces of a process."""
    groups = Path(f"/proc/{pid}/cgroup").read_text()
    return [groups, *(str(Path(f"/proc/{pid}/{name}").readlink()) for name in _SURROUNDINGS)]


def _has_threads() -> bool:
    """Return whether this process has threads, which a fork would lose."""
    return len(list(Path("/proc/self/task").iterdir())) > 1
