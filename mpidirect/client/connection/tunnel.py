"""Reach a controller through another host, by the ssh client."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from urllib.parse import SplitResult, urlsplit

import msgspec

from ..._ssh import KEEPALIVE, WITHOUT_INTERRUPT, login_command
from ...errors import ClusterNotFound, ConnectionFailed
from ...files.connection_file import ConnectionInfo
from ...files.profiles import split_name

_NO_CONNECTION_FILE = 43  # exit code of `_READ`
_STOPPED, _NEXT_JOB_WAITS = 44, 45  # exit codes of `_READ_AGAIN`
_BATCH = ("-o", "BatchMode=yes")  # ssh asks the user nothing
_OPTIONS = ("-o", "ExitOnForwardFailure=yes", *KEEPALIVE)
_TIMEOUT = 60.0  # seconds until ssh must have connected; a password may have to be typed

# Prints the newest connection file of the profile $1, or of its cluster $2.
_READ = (
    'cd "${MPIDIRECT_DIR:-$HOME/.mpidirect}/$1" 2> /dev/null && '
    'f=$(ls -t connection-"$2"*.json 2> /dev/null | head -n 1) && [ -n "$f" ] || '
    f'exit {_NO_CONNECTION_FILE}; cat "$f"'
)
# Prints the connection file of the cluster $2 of the profile $1, whose job file tells that it is not stopped.
_READ_AGAIN = (
    f'cd "${{MPIDIRECT_DIR:-$HOME/.mpidirect}}/$1" 2> /dev/null && [ -e "job-$2.json" ] || exit {_STOPPED}; '
    'cat "connection-$2.json" 2> /dev/null && exit; '
    f'[ -e "resume-$2" ] && exit {_NEXT_JOB_WAITS}; exit {_NO_CONNECTION_FILE}'
)
_STATUS = 'exec mpidirect status --json --profile "$1"'
_LOOK_PAUSES = 1.0, 30.0  # seconds between two looks for the next job: the first, and the longest


def fetch(server: str, profile: str) -> ConnectionInfo:
    """Return the connection file of a profile's cluster from another host.

    Parameters
    ----------
    server : str
        The host, as ssh takes it: ``me@login``.
    profile : str
        The profile on that host; empty for ``MPIDIRECT_PROFILE`` of this host, else ``default``.

    Raises
    ------
    ClusterNotFound
        When there is no connection file.
    ConnectionFailed
        When ssh fails.
    """
    profile = profile or os.environ.get("MPIDIRECT_PROFILE") or "default"
    own, cluster_id = split_name(profile)
    done = _run(server, (), login_command(_READ, own, cluster_id))
    if done.returncode == _NO_CONNECTION_FILE:
        raise ClusterNotFound(
            f"The cluster of profile {profile!r} on {server} does not run, or is not ready yet.\n"
            f"See:  mpidirect status --profile {shlex.quote(profile)} --ssh {shlex.quote(server)}"
        )
    return _connection_info(server, done)


def _run(server: str, options: Sequence[str], command: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command on another host."""
    try:
        return subprocess.run(
            ["ssh", *options, "--", server, command],
            stdin=subprocess.DEVNULL,  # what the user types now is for the prompt
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise ConnectionFailed(f"ssh {server} failed: {e}") from None


def _connection_info(server: str, done: subprocess.CompletedProcess[bytes]) -> ConnectionInfo:
    """Return the connection file that a command on another host has printed."""
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise ConnectionFailed(f"ssh {server} failed: {said or f'exit code {done.returncode}'}")
    try:
        return msgspec.json.decode(done.stdout, type=ConnectionInfo)
    except msgspec.MsgspecError as e:
        raise ConnectionFailed(
            f"The text that came from {server} is no connection file: {e}. Does its shell print at its start?"
        ) from None


class _Status(msgspec.Struct):
    """What ``mpidirect status --json`` tells about a cluster."""

    cluster: str
    state: str
    job: str
    reason: str


class Tunnel:
    """An ssh process that forwards the controller's port to this host, until it is closed.

    Parameters
    ----------
    server : str
        The host to go through, as ssh takes it: ``me@login``.
    info : ConnectionInfo
        The connection file of the controller.

    Attributes
    ----------
    addresses : list of str
        The addresses of the forwarded ports on this host.
    next_job_waits : bool
        Whether the cluster's next job had not begun when `look_up` last asked.
    """

    def __init__(self, server: str, info: ConnectionInfo) -> None:
        self._server = server
        self._targets = _tcp(info)
        self.next_job_waits = False
        self._next_look, self._look_pause = 0.0, _LOOK_PAUSES[0]
        self._process: list[subprocess.Popen[bytes]] = []
        self.close = weakref.finalize(self, _end, self._process)  # at the latest when this process ends
        self.addresses = self._open((), lambda: False)

    def mend(self, given_up: Callable[[], bool]) -> list[str]:
        """Start ssh again if it has ended, and return the addresses.

        Parameters
        ----------
        given_up : callable
            Return whether the caller has given up, so that the wait for ssh ends.

        Raises
        ------
        ConnectionFailed
            When ssh does not connect.
        """
        if not self._process or self._process[0].poll() is not None:
            _end(self._process)
            self.addresses = self._open(_BATCH, given_up)
        return self.addresses

    def look_up(self, info: ConnectionInfo) -> ConnectionInfo | None:
        """Look for the controller of the cluster's next job, which may be on another host.

        Parameters
        ----------
        info : ConnectionInfo
            The connection file of the former controller.

        Returns
        -------
        ConnectionInfo or None
            The present connection file, to whose addresses `mend` opens the tunnel. None if there is no such
            file yet, or the last look was a moment ago: each look is a login on the other host.

        Raises
        ------
        ClusterNotFound
            When the cluster was stopped.
        """
        now = time.monotonic()
        if now < self._next_look:
            return None
        self._next_look, self._look_pause = now + self._look_pause, min(2 * self._look_pause, _LOOK_PAUSES[1])
        try:
            own, _ = split_name(info.profile)
            done = _run(self._server, _BATCH, login_command(_READ_AGAIN, own, info.cluster))
            self.next_job_waits = done.returncode == _NEXT_JOB_WAITS
            if done.returncode == _STOPPED:
                raise ClusterNotFound(f"The cluster {info.cluster} on {self._server} was stopped.")
            found = _connection_info(self._server, done)
        except ConnectionFailed:
            return None
        self._look_pause = _LOOK_PAUSES[0]
        if _tcp(found) != self._targets:
            self._targets = _tcp(found)
            _end(self._process)
        return found

    def ended_job(self, profile: str, cluster: str) -> tuple[str, str]:
        """Ask the other host for the cluster's status.

        Returns
        -------
        job, how : str
            The id of the cluster's job and how the job ended; both are empty if it has not ended, or the host
            does not tell.
        """
        try:
            done = _run(self._server, _BATCH, login_command(_STATUS, profile))
            rows = msgspec.json.decode(done.stdout, type=list[_Status])
        except (ConnectionFailed, msgspec.MsgspecError):
            return "", ""
        for row in rows:
            if row.cluster == cluster and row.state == "dead":
                return row.job, row.reason.partition("\n")[0].removeprefix(f"job {row.job}: ")
        return "", ""

    def _open(self, options: Sequence[str], given_up: Callable[[], bool]) -> list[str]:
        ports = _free_ports(len(self._targets))
        forwards = [
            word
            for port, target in zip(ports, self._targets, strict=True)
            for word in ("-L", f"127.0.0.1:{port}:{_bracketed(target.hostname or '')}:{target.port}")
        ]
        command = ["ssh", "-N", *_OPTIONS, *options, *forwards, "--", self._server]
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen([*WITHOUT_INTERRUPT, *command], stdin=subprocess.DEVNULL, stderr=said)
            self._process.append(process)
            if not _opens(ports[0], process, given_up):
                _end(self._process)
                said.seek(0)
                why = said.read().decode(errors="replace").strip()
                raise ConnectionFailed(f"ssh to {self._server} opened no tunnel: {why or 'no answer'}")
        return [f"tcp://127.0.0.1:{port}" for port in ports]


def _tcp(info: ConnectionInfo) -> list[SplitResult]:
    """Return the addresses of a controller that a tunnel can lead to."""
    return [urlsplit(address) for address in info.addresses if address.startswith("tcp://")]


def _bracketed(host: str) -> str:
    """Return a host as ssh expects it before a port."""
    return f"[{host}]" if ":" in host else host


def _opens(port: int, process: subprocess.Popen[bytes], given_up: Callable[[], bool]) -> bool:
    """Wait until something listens on `port`; return False if `process` ends, or at a timeout."""
    deadline = time.monotonic() + _TIMEOUT
    while process.poll() is None and time.monotonic() < deadline and not given_up():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def _end(running: list[subprocess.Popen[bytes]]) -> None:
    while running:
        process = running.pop()
        process.terminate()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
