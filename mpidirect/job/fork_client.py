"""Represent an engine that a fork server forks: ``python -S fork_client.py NAME ARGUMENT …``.

MPI starts this process for an engine. The process hands its environment, directory and descriptors to the
fork server (`fork_server`), waits for the end of the engine, and ends with the engine's exit code. If no fork
server takes the engine, the process executes ``python ARGUMENT …`` and so becomes the engine itself.

This module imports little, and nothing of this package, so that Python starts fast.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without enumerations: they are a slow import
import os
import sys
from _socket import AF_UNIX, SCM_RIGHTS, SO_PEERCRED, SOCK_STREAM, SOL_SOCKET, socket

FORKED = b"+"  # The server's reply when the engine runs. The exit code follows at the engine's end.
SERVER_DIED = 137  # Exit code if the fork server has ended before the engine.
# The engine decides what these signals do: it is in the same process group, and ends this process.
# SIGUSR2 ends this process, and so the engine: it discards the processes of a spawn (`processes.end_spawn`).
_IGNORED = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGXCPU")
_SIZE = 4  # Bytes of the size in front of a request, and of an integer of the kernel.


def main(name: str, arguments: list[str]) -> None:
    """Let the fork server `name` fork the engine, or execute this Python with the engine's arguments."""
    server = socket(AF_UNIX, SOCK_STREAM)
    try:
        server.connect(b"\0" + os.fsencode(name))
        _send_request(server)
        forked = server.recv(1) == FORKED
    except OSError:
        forked = False
    if not forked:
        flags = sys.orig_argv[1 : sys.orig_argv.index(__file__) - 1]  # Without -S.
        os.execv(sys.executable, [sys.executable, *flags, *arguments])
    for name in _IGNORED:  # Not earlier: the program that this process executes would inherit it.
        _signal.signal(getattr(_signal, name), _signal.SIG_IGN)
    code = server.recv(1)
    os._exit(code[0] if code else SERVER_DIED)


def _send_request(server: socket) -> None:
    """Send this process's descriptors, directory and environment.

    Raises
    ------
    OSError
        If the server belongs to another user.
    """
    credentials = server.getsockopt(SOL_SOCKET, SO_PEERCRED, 3 * _SIZE)  # Process, user, group.
    if int.from_bytes(credentials[_SIZE : 2 * _SIZE], sys.byteorder) != os.getuid():
        raise PermissionError
    numbers = map(int, os.listdir("/proc/self/fd"))  # noqa: PTH208 (pathlib is a slow import)
    descriptors = [number for number in numbers if number != server.fileno() and _is_open(number)]
    environment = [name + b"=" + value for name, value in os.environb.items()]
    words = b" ".join(b"%d" % number for number in descriptors)
    request = b"\0".join([words, os.getcwdb(), *environment])  # noqa: PTH109
    rights = b"".join(number.to_bytes(_SIZE, sys.byteorder) for number in descriptors)
    server.sendmsg([len(request).to_bytes(_SIZE, "big")], [(SOL_SOCKET, SCM_RIGHTS, rights)])
    server.sendall(request)


def _is_open(descriptor: int) -> bool:
    """Return whether a descriptor is open: the descriptor that listed the directory is not."""
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
