"""A controller that can't be reached from here, reached through a host that can: by the ssh client."""

from __future__ import annotations

import shlex
import socket
import subprocess
import tempfile
import time
import weakref
from urllib.parse import urlsplit

import msgspec

from ..errors import ClusterNotFound, ConnectionFailed
from ..wire.connection_file import ConnectionInfo

PATIENCE = 60.0  # seconds to get through; a password may have to be typed
OPTIONS = ("-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=30")


def fetch(server: str, profile: str) -> ConnectionInfo:
    """The connection file of a profile's cluster, from the home directory on `server`.

    Raises
    ------
    ClusterNotFound
        When there is none.
    """
    place = f'"${{MPIDIRECT_DIR:-$HOME/.mpidirect}}"/{shlex.quote(profile or "default")}'
    command = f'cd {place} && cat "$(ls -t connection-*.json | head -n 1)"'
    try:
        done = subprocess.run(["ssh", server, command], capture_output=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise ConnectionFailed(f"ssh {server} failed: {e}") from None
    try:
        return msgspec.json.decode(done.stdout, type=ConnectionInfo)
    except msgspec.MsgspecError:
        why = done.stderr.decode(errors="replace").strip()
        raise ClusterNotFound(
            f"No cluster runs under profile {profile or 'default'!r} on {server}: "
            f"{why or 'there is no connection file'}"
        ) from None


class Tunnel:
    """An ssh that brings the controller's port here, until it is closed.

    Parameters
    ----------
    server : str
        The host to go through, as ssh takes it: ``me@login``.
    info : ConnectionInfo
        Where the controller listens.
    """

    def __init__(self, server: str, info: ConnectionInfo) -> None:
        targets = [urlsplit(a) for a in info.addresses if a.startswith("tcp://")]
        ports = _free_ports(len(targets))
        self.addresses = [f"tcp://127.0.0.1:{port}" for port in ports]
        forwards = [
            word
            for port, target in zip(ports, targets, strict=True)
            for word in ("-L", f"127.0.0.1:{port}:{target.hostname}:{target.port}")
        ]
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    ["ssh", "-N", *OPTIONS, *forwards, server], stdin=subprocess.DEVNULL, stderr=said
                )
            except OSError as e:
                raise ConnectionFailed(f"ssh can't be run: {e}") from None
            self.close = weakref.finalize(self, _end, process)  # at the latest when this process ends
            if not _opens(ports[0], process):
                self.close()
                said.seek(0)
                why = said.read().decode(errors="replace").strip()
                raise ConnectionFailed(
                    f"There is no way through {server}: {why or 'ssh did not get through'}"
                )


def _opens(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Wait until something listens on `port`; False if `process` ends before, or it takes too long."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
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
