"""Another user of this host, whose process connects to ports."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

NOBODY = 65534
IS_ROOT = os.getuid() == 0  # only root can become another user
# a Python that other users can run, too
PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable

# Connects to all addresses, sends a greeting to each, prints the ended connections, and stays.
_PROGRAM = """
import select, socket, sys
greeting, connections = bytes.fromhex(sys.argv[1]), {}
for address in sys.argv[2:]:
    host, _, port = address.rpartition(":")
    try:
        one = socket.create_connection((host, int(port)), 1)
        one.sendall(greeting)
        connections[one] = address
    except OSError:
        pass
print("connected", *connections.values(), flush=True)
while True:
    for one in select.select([sys.stdin, *connections], [], [])[0]:
        if one is sys.stdin:
            sys.exit()
        try:
            ended = not one.recv(1000)
        except OSError:
            ended = True
        if ended:
            print("ended", connections.pop(one), flush=True)
"""

Address = tuple[str, int]


@contextmanager
def connected(
    addresses: Iterable[Address], greeting: bytes, user: int | None = None, namespace: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """Connect a process of another user to all addresses; yield it when it has sent its greetings.

    Its output has a line for each connection that is ended. It may run in a network namespace.
    """
    command = [PYTHON, "-I", "-c", _PROGRAM, greeting.hex(), *(f"{host}:{port}" for host, port in addresses)]
    if namespace:
        become = ["setpriv", f"--reuid={user}", "--clear-groups"]
        command, user = ["nsenter", f"--net=/run/netns/{namespace}", *become, *command], None
    as_user = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd="/", **pipes, **as_user) as process:
        try:
            process.reached = process.stdout.readline().split()[1:]
            yield process
        finally:
            process.stdin.close()


def listening_ports(pid: int) -> list[int]:
    """Return the TCP ports at which a process listens, which may be in another network namespace."""
    process, inodes, ports = Path(f"/proc/{pid}"), set(), set()
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):  # the socket was closed
            inodes.add(descriptor.stat().st_ino)
    for table in ("tcp", "tcp6"):
        for line in (process / "net" / table).read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and int(inode) in inodes:
                ports.add(int(local.rpartition(":")[2], 16))
    return sorted(ports)


def listening(pid: int) -> set[Address]:
    """Return the addresses at which a process of this host can be reached by TCP."""
    try:
        found = psutil.Process(pid).net_connections("tcp")
    except psutil.Error:
        return set()
    return {
        ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(each.laddr.ip, each.laddr.ip), each.laddr.port)
        for each in found
        if each.status == psutil.CONN_LISTEN
    }
