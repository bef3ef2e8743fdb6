"""Connections of strangers to the listening sockets of a process."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

import pytest
from waiting import until

from mpidirect.mpi import port_guard
from mpidirect.mpi.port_guard import OPEN_MPI_GREETING, PortGuard
from mpidirect.mpi.process_sockets import ProcessSockets, user_at_other_end
from tests.strangers import IS_ROOT, NOBODY, connected

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI
ADDRESSES = {"IPv4": (socket.AF_INET, "127.0.0.1"), "IPv6": (socket.AF_INET6, "::1")}
LISTEN = """
import socket
one = socket.create_server(("127.0.0.1", 0))
print(one.getsockname()[1], flush=True)
accepted = one.accept()[0]
print(accepted.recv(100), accepted.recv(100), flush=True)
"""
as_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")


@pytest.fixture(params=ADDRESSES)
def listener(request):
    family, host = ADDRESSES[request.param]
    with socket.create_server((host, 0), family=family) as listener:
        yield listener


class SocketsAtPort(ProcessSockets):
    """The sockets of this process at one port, because other tests in this process have sockets as well."""

    def __init__(self, port):
        super().__init__()
        self._port = port

    def new(self):
        for one in super().new():
            if one.getsockname()[1] == self._port:
                yield one
            else:
                one.close()


@pytest.fixture
def guard(listener):
    return PortGuard(SocketsAtPort(listener.getsockname()[1]), OPEN_MPI_GREETING)


@as_root
def test_a_connection_of_another_user_is_ended_at_once(listener, guard):
    with connected([listener.getsockname()[:2]], b"OPAL-TCP", NOBODY) as stranger:
        accepted, _ = listener.accept()
        assert user_at_other_end(accepted) == NOBODY
        assert guard.look() == 0
        assert guard.look() is None
        assert stranger.stdout.readline().startswith("ended")
        accepted.settimeout(10)
        assert accepted.recv(100) == b"OPAL-TCP"
        assert accepted.recv(100) == b""
        accepted.close()


def test_a_connection_with_a_whole_greeting_stays(listener, guard):
    with socket.create_connection(listener.getsockname()[:2]) as near:
        assert guard.look() == port_guard.PENDING_PAUSE  # MPI has not accepted the connection
        accepted, _ = listener.accept()
        assert user_at_other_end(accepted) == os.getuid()
        assert guard.look() is None  # the connection may be silent for long
        assert guard.events.poll(0) == []
        near.sendall(bytes(OPEN_MPI_GREETING))
        assert guard.events.poll(10)
        assert guard.look() is None
        near.sendall(b"more")
        assert accepted.recv(OPEN_MPI_GREETING) == bytes(OPEN_MPI_GREETING)
        assert accepted.recv(100) == b"more"
        accepted.close()


def test_a_part_of_a_greeting_is_not_waited_for(listener, guard):
    with socket.create_connection(listener.getsockname()[:2]) as near:
        accepted, _ = listener.accept()
        assert guard.look() is None
        near.sendall(b"OPAL")
        assert guard.events.poll(10)
        until(lambda: guard.look() is None)
        near.settimeout(10)
        assert near.recv(100) == b""
        accepted.close()


def test_a_closed_silent_connection_is_released(listener, guard):
    with socket.create_connection(listener.getsockname()[:2]):
        accepted, _ = listener.accept()
        assert guard.look() is None
    assert guard.events.poll(10)
    assert guard.look() is None
    assert guard.events.poll(0) == []
    accepted.close()


def test_many_silent_connections_take_few_descriptors(listener, guard, monkeypatch):
    monkeypatch.setattr(port_guard, "MOST_SILENT", 2)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            near = stack.enter_context(socket.create_connection(listener.getsockname()[:2]))
            stack.enter_context(listener.accept()[0])
        assert guard.look() == port_guard.LONGEST_PAUSE
        near.sendall(b"OPAL")
        until(lambda: guard.look() == port_guard.LONGEST_PAUSE)
        near.settimeout(10)
        assert near.recv(100) == b""


def test_other_sockets_are_not_touched(guard, listener):
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_connection(other.getsockname()) as near,
    ):
        accepted, _ = other.accept()
        near.sendall(b"x")
        assert guard.look() is None
        assert accepted.recv(1) == b"x"
        accepted.close()


@as_root
def test_the_sockets_of_another_process_are_protected():
    command = [sys.executable, "-I", "-c", LISTEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        port = int(process.stdout.readline())
        guard = PortGuard(ProcessSockets(process.pid))
        assert [each.getsockname()[1] for each in guard.listeners] == [port]
        with connected([("127.0.0.1", port)], b"OPAL-TCP", NOBODY) as stranger:
            until(lambda: guard.look() is None)
            assert stranger.stdout.readline().startswith("ended")
        assert process.stdout.readline() == b"b'OPAL-TCP' b''\n"
