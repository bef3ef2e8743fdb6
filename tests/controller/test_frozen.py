"""A frozen controller, as when its process is stopped, does not count as ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
import zmq

from mpidirect.controller.server import EngineEndpoint
from mpidirect.engine import connection
from mpidirect.transport import zeromq

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.alone,
    pytest.mark.openmpi_only,
]  # nothing here depends on the MPI

SILENCE = 0.5

# The controller's end of the engines' connections: prints the senders of messages, and the ended connections.
CONTROLLER = f"""
import sys, zmq
from mpidirect.transport import zeromq
zeromq.HEARTBEAT, zeromq.SILENCE = 0.1, {SILENCE}
router = zeromq.Router.bound(zmq.Context(), sys.argv[1])
print(router.last_endpoint.decode(), flush=True)
poller = zmq.Poller()
poller.register(router, zmq.POLLIN)
poller.register(router.event_socket, zmq.POLLIN)
while True:
    ready = dict(poller.poll())
    if router.departed():
        print("ended", flush=True)
    if router in ready:
        name, *frames = router.recv_multipart()
        print("heard", name.decode(), flush=True)
"""


@pytest.fixture(params=["unix", "tcp"])
def controller(request, tmp_path, monkeypatch):
    monkeypatch.setattr(zeromq, "HEARTBEAT", 0.1)
    monkeypatch.setattr(zeromq, "SILENCE", SILENCE)
    address = f"ipc://{tmp_path}/control" if request.param == "unix" else "tcp://127.0.0.1:*"
    command = [sys.executable, "-c", CONTROLLER, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.address = process.stdout.readline().strip()
        yield process
        process.kill()


def heard(controller):
    """Wait for a message of an engine, which first checks that the address is reachable."""
    while not controller.stdout.readline().startswith("heard"):
        assert controller.poll() is None


@contextlib.contextmanager
def connected(controller):
    invitation = EngineEndpoint([controller.address], "", None, "", "", 0)
    with connection.connect(invitation, 0) as (tasks, control):
        ends = control.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        try:
            for _ in (tasks, control):
                heard(controller)
            yield control, ends
        finally:
            control.disable_monitor()
            for socket in (ends, control, tasks):
                socket.close(0)


def test_engines_wait_for_a_frozen_controller(controller):
    with connected(controller) as (control, ends):
        os.kill(controller.pid, signal.SIGSTOP)
        time.sleep(4 * SILENCE)  # no event shows that nothing happens
        assert not ends.poll(0)
        os.kill(controller.pid, signal.SIGCONT)
        control.put([b"still there"])
        assert controller.stdout.readline().startswith("heard")
        assert not ends.poll(int(2000 * SILENCE))
        os.kill(controller.pid, signal.SIGSTOP)
        controller.kill()
        assert ends.poll(5000)  # the end of a process is reported at once, also of a frozen one


def test_a_resumed_controller_notices_frozen_engines(controller):
    engine = f"""
from mpidirect.controller.server import EngineEndpoint
from mpidirect.engine.connection import connect
with connect(EngineEndpoint([{controller.address!r}], "", None, "", "", 0), 0) as (tasks, control):
    control.poll()
"""
    with subprocess.Popen([sys.executable, "-c", engine]) as frozen:
        try:
            for _ in range(2):
                heard(controller)
            os.kill(frozen.pid, signal.SIGSTOP)
            assert controller.stdout.readline() == "ended\n"
        finally:
            frozen.kill()
