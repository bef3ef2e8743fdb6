"""The cost of real ZeroMQ sockets for the controller's process, per engine and request."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import NamedTuple

import zmq

PEERS = 256
HEADER, HEAD = bytes(60), bytes(600)  # the frames of an empty call

ENGINES = """
import sys, zmq
context = zmq.Context()
context.max_sockets = 4096
poller, sockets = zmq.Poller(), []
for k in range(int(sys.argv[2])):
    socket = context.socket(zmq.DEALER)
    socket.routing_id = b"%05d" % k
    socket.connect(sys.argv[1])
    socket.send(b"here")
    poller.register(socket, zmq.POLLIN)
    sockets.append(socket)
ended = 0
while ended < len(sockets):
    for socket, _ in poller.poll():
        if len(socket.recv_multipart()) == 1:
            ended += 1
        else:
            socket.send_multipart([bytes(40), bytes(4)])
"""


class SocketCost(NamedTuple):
    """µs of processor time to send a small task to an engine and receive the reply."""

    loop: float  # in the calling thread, which is the controller's loop
    beside: float  # in ZeroMQ's thread, at the same time


def socket_cost(peers: int = PEERS, rounds: int = 20) -> SocketCost:
    """Measure a ROUTER with so many peers, which are all in one other process."""
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    with tempfile.TemporaryDirectory() as directory:
        address = f"ipc://{directory}/engines"
        router.bind(address)
        engines = subprocess.Popen([sys.executable, "-c", ENGINES, address, str(peers)])
        try:
            names = [_receive(router)[0] for _ in range(peers)]
            loop, whole = zip(*(_round(router, names) for _ in range(rounds)), strict=True)
            for name in names:
                router.send_multipart([name, b""])
            engines.wait(10)
        finally:
            engines.kill()
            engines.wait()
            context.destroy(0)
    own = 1e6 * median(loop) / peers
    return SocketCost(own, 1e6 * median(whole) / peers - own)


def _round(router: zmq.Socket, names: list[bytes]) -> tuple[float, float]:
    """Return the seconds of one call on all engines: of this thread, and of this process."""
    own, whole = time.thread_time(), time.process_time()
    for name in names:
        router.send_multipart([name, HEADER, HEAD], copy=True)
    for _ in names:
        _receive(router)
    return time.thread_time() - own, time.process_time() - whole


def _receive(router: zmq.Socket) -> list[bytes]:
    try:
        return router.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        if not router.poll(20_000):
            raise TimeoutError("the engines do not answer") from None
        return router.recv_multipart()
