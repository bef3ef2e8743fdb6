"""Which of a controller's addresses to try, and in which order."""

from __future__ import annotations

import select
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from ...files.connection_file import ConnectionInfo
from ...files.private_directories import is_private
from ...transport.zeromq import SCHEME

PROBE = 1.0  # seconds that a host may take to accept a connection before others are tried first
SLOWER = 0.1  # seconds that the others may take longer than the first

_answered: dict[str, str] = {}  # the address that answered last, by cluster


def remember(info: ConnectionInfo, address: str) -> None:
    """Note that the controller answered at `address`."""
    _answered[info.cluster] = address


def in_order(info: ConnectionInfo) -> list[str]:
    """Return the controller's addresses that may work from here, the most promising ones first."""
    local = [a for a in info.addresses if a.startswith(SCHEME) and _is_ours(Path(urlsplit(a).path))]
    tcp = [a for a in info.addresses if a.startswith("tcp://")]
    open_ = _listening(tcp) if info.host != socket.gethostname() or not local else tcp
    tcp.sort(key=lambda address: address not in open_)
    # Someone may have brought the port here by hand, with ssh -L; the keys tell if it is not the one.
    ports = dict.fromkeys(urlsplit(a).port for a in tcp)
    brought = [a for a in (f"tcp://127.0.0.1:{port}" for port in ports) if a not in tcp]
    brought = [a for a in brought if a in _listening(brought)]
    found = [*local, *tcp] if info.host == socket.gethostname() else [*tcp, *brought, *local]
    found += [a for a in info.addresses if not a.startswith((SCHEME, "tcp://"))]
    remembered = _answered.get(info.cluster)
    return sorted(found, key=lambda address: address != remembered)


def _is_ours(path: Path) -> bool:
    """Whether a local socket is there: in a directory of ours, which is all that protects it."""
    return is_private(path.parent) and path.exists()


def _listening(addresses: list[str]) -> set[str]:
    """Those of some TCP addresses that accept a connection soon; all are asked at once."""
    waiting: dict[int, tuple[socket.socket, str]] = {}
    found: set[str] = set()
    for address in addresses:
        parts = urlsplit(address)
        probe = socket.socket(socket.AF_INET6 if ":" in (parts.hostname or "") else socket.AF_INET)
        probe.setblocking(False)
        try:
            probe.connect_ex((parts.hostname, parts.port))
        except OSError:  # not an address
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
