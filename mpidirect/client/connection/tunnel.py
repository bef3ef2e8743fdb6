"""A controller that can't be reached from here, reached through a host that can: by the ssh client."""

from __future__ import annotations

import shlex
import socket
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from ...errors import ClusterNotFound, ConnectionFailed
from ...files.connection_file import ConnectionInfo

NOTHING = 43  # exit code that tells that there is no connection file
PATIENCE = 60.0  # seconds to get through; a password may have to be typed
OPTIONS = ("-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=30")
DEAF = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")  # a Ctrl-C at the prompt is not for ssh


def fetch(server: str, profile: str) -> ConnectionInfo:
    """Return the connection file of a profile's cluster, from the home directory on `server`.

    Raises
    ------
    ClusterNotFound
        When there is none.
    """
    place = f'"${{MPIDIRECT_DIR:-$HOME/.mpidirect}}"/{shlex.quote(profile or "default")}'
    newest = "f=$(ls -t connection-*.json 2> /dev/null | head -n 1)"
    script = f'cd {place} 2> /dev/null && {newest} && [ -n "$f" ] || exit {NOTHING}; cat "$f"'
    command = f"sh -c {shlex.quote(script)}"  # whatever shell the user has there
    try:
        done = subprocess.run(
            ["ssh", server, command],
            stdin=subprocess.DEVNULL,  # what is typed meanwhile is for the prompt
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise ConnectionFailed(f"ssh {server} failed: {e}") from None
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode == NOTHING:
        raise ClusterNotFound(
            f"No cluster runs under profile {profile or 'default'!r} on {server}.\n"
            f"Look there:  ssh {server} mpidirect status"
        )
    if done.returncode != 0:
        raise ConnectionFailed(f"ssh {server} failed: {said or f'exit code {done.returncode}'}")
    try:
        return msgspec.json.decode(done.stdout, type=ConnectionInfo)
    except msgspec.MsgspecError as e:
        raise ConnectionFailed(
            f"What came from {server} is no connection file: {e}. Does its shell print at its start?"
        ) from None


class Tunnel:
    """An ssh that brings the controller's port here, until it is closed.

    Parameters
    ----------
    server : str
        The host to go through, as ssh takes it: ``me@login``.
    info : ConnectionInfo
        Where the controller listens.

    Attributes
    ----------
    addresses : list of str
        Where the controller is reached by it.
    """

    def __init__(self, server: str, info: ConnectionInfo) -> None:
        self._server = server
        self._targets = [urlsplit(a) for a in info.addresses if a.startswith("tcp://")]
        self._process: list[subprocess.Popen[bytes]] = []
        self.close = weakref.finalize(self, _end, self._process)  # at the latest when this process ends
        self.addresses = self._open((), lambda: False)

    def mend(self, given_up: Callable[[], bool]) -> list[str]:
        """See that it is there, and start it again if it has ended; returns the addresses.

        Parameters
        ----------
        given_up : callable
            Whether nobody waits for it any more.

        Raises
        ------
        ConnectionFailed
            When there is no way through now.
        """
        if not self._process or self._process[0].poll() is not None:
            _end(self._process)
            self.addresses = self._open(("-o", "BatchMode=yes"), given_up)  # in the midst of other work
        return self.addresses

    def _open(self, options: Sequence[str], given_up: Callable[[], bool]) -> list[str]:
        ports = _free_ports(len(self._targets))
        forwards = [
            word
            for port, target in zip(ports, self._targets, strict=True)
            for word in ("-L", f"127.0.0.1:{port}:{_bracketed(target.hostname or '')}:{target.port}")
        ]
        command = ["ssh", "-N", *OPTIONS, *options, *forwards, self._server]
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen([*DEAF, *command], stdin=subprocess.DEVNULL, stderr=said)
            self._process.append(process)
            if not _opens(ports[0], process, given_up):
                _end(self._process)
                said.seek(0)
                why = said.read().decode(errors="replace").strip()
                raise ConnectionFailed(
                    f"There is no way through {self._server}: {why or 'ssh did not get through'}"
                )
        return [f"tcp://127.0.0.1:{port}" for port in ports]


def _bracketed(host: str) -> str:
    """Return a host as ssh writes it before a port."""
    return f"[{host}]" if ":" in host else host


def _opens(port: int, process: subprocess.Popen[bytes], given_up: Callable[[], bool]) -> bool:
    """Wait until something listens on `port`; False if `process` ends before, or it takes too long."""
    deadline = time.monotonic() + PATIENCE
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
