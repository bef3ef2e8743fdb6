"""The addresses of a controller that a client tries, and their order."""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from ...files.connection_file import ConnectionInfo
from ...files.private_directories import is_private
from ...transport.zeromq import SCHEME

PROBE = 1.0  # seconds that a host has to accept a connection before other addresses are preferred
SLOWER = 0.1  # seconds that other addresses may take longer than the fastest

_answered: dict[str, str] = {}  # the latest address at which the controller answered, by cluster


def remember(info: ConnectionInfo, address: str) -> None:
    """Note that the controller answered at `address`."""
    _answered[info.cluster] = address


def in_order(info: ConnectionInfo) -> list[str]:
    """Return the controller's addresses that may work on this host, the most promising first."""
    local = [a for a in info.addresses if a.startswith(SCHEME) and _is_ours(Path(urlsplit(a).path))]
    tcp = [a for a in info.addresses if a.startswith("tcp://")]
    open_ = _listening(tcp) if info.host != socket.gethostname() or not local else tcp
    tcp.sort(key=lambda address: address not in open_)
    # Also try this host: the user may have forwarded the port with ssh -L. The keys exclude other
    # controllers.
    ports = dict.fromkeys(urlsplit(a).port for a in tcp)
    brought = [a for a in (f"tcp://127.0.0.1:{port}" for port in ports) if a not in tcp]
    brought = [a for a in brought if a in _listening(brought)]
    found = [*local, *tcp] if info.host == socket.gethostname() else [*tcp, *brought, *local]
    found += [a for a in info.addresses if not a.startswith((SCHEME, "tcp://"))]
    remembered = _answered.get(info.cluster)
    return sorted(found, key=lambda address: address != remembered)


def _is_ours(path: Path) -> bool:
    """Whether a local socket exists in a directory of this user; only the directory protects the socket."""
    return is_private(path.parent) and path.exists()


def _listening(addresses: list[str]) -> set[str]:
    """Return those of the TCP addresses that accept a connection soon; all are tried at once."""
    waiting: dict[int, tuple[socket.socket, str]] = {}
    found: set[str] = set()
    for address in addresses:
        parts = urlsplit(address)
        probe = socket.socket(socket.AF_INET6 if ":" in (parts.hostname or "") else socket.AF_INET)
        probe.setblocking(False)
        try:
            probe.connect_ex((parts.hostname, parts.port))
        except OSError:  # no valid address
            probe.close()
            continue
        waiting[probe.fileno()] = probe, address
    poll = select.poll()
    for descriptor in waiting:
        poll.register(descriptor, select.POLLOUT)
    deadline = time.monotonic() + PROBE
    while waiting and (left := deadline - time.monotonic()) > 0:
        deadline = min(deadline, time.monotonic() + SLOWER) if found else deadline
        for descriptor, _ in poll.poll(left * 1000):
            poll.unregister(descriptor)
            probe, address = waiting.pop(descriptor)
            if probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.add(address)
            probe.close()
    for probe, _ in waiting.values():
        probe.close()
    return found
