"""How fast encrypted bulk is: ``python -m benchmarks.encryption``.

100 MB go from one process by TCP into an array of another process of this host: by CURVE, over one ZeroMQ
connection, and over two with as many threads; as a client on another host sends and receives them, with
AES-256-GCM; and by the same code without encryption.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import zmq

from mpidirect.wire import messages
from mpidirect.wire.connections import Dialed, Stream
from mpidirect.wire.handshake import Cipher, Ciphers
from mpidirect.wire.sealed import Sealed, tuned

SIZE = 100 * 1000 * 1000
REPEAT = 7
LARGEST = 1 << 30  # bytes of one message


class Way(NamedTuple):
    """One way to send."""

    title: str
    piece: int = messages.CHUNK  # bytes of a message
    connections: int = 1
    curve: bool = False
    aes: bool = False


WAYS = [
    Way("CURVE", curve=True),
    Way("CURVE, pieces of 256 KiB", 256 << 10, curve=True),
    Way("CURVE, 2 connections and threads", connections=2, curve=True),
    Way("mpidirect: AES-256-GCM", aes=True),
    Way("no encryption"),
]


# -- by ZeroMQ with CURVE -------------------------------------------------------------------------------


def receive_by_curve(way: Way, keys: Sequence[bytes], told: Any) -> None:
    """The other process: takes all, and says so."""
    router = zmq.Context(way.connections).socket(zmq.ROUTER)
    router.setsockopt(zmq.RCVHWM, 0)
    router.curve_server, (router.curve_publickey, router.curve_secretkey) = True, keys
    told.put(router.bind_to_random_port("tcp://127.0.0.1"))
    for _ in range(way.connections):
        name, _ = router.recv_multipart()
        router.send_multipart([name, b"welcome"])
    for _ in range(REPEAT):
        array, got = np.empty(SIZE, np.uint8), 0
        while got < SIZE:
            frame = router.recv_multipart(copy=False)[1]
            array[got : got + len(frame)] = np.frombuffer(frame.buffer, np.uint8)
            got += len(frame)
        router.send_multipart([name, b"all there"])
    router.recv_multipart()


@contextmanager
def by_curve(way: Way, keys: Sequence[bytes], port: int) -> Iterator[Callable[[memoryview], None]]:
    """What sends all, and waits until it is there."""
    with zmq.Context(way.connections) as context:
        dealers = [_dealer(context, keys[0], port) for _ in range(way.connections)]

        def send(data: memoryview) -> None:
            for number, start in enumerate(range(0, SIZE, way.piece)):
                dealers[number % len(dealers)].send(data[start : start + way.piece], copy=False)
            dealers[-1].recv()

        yield send
        dealers[-1].send(b"end")
        for dealer in dealers:
            dealer.close(5000)


def _dealer(context: zmq.Context, server_key: bytes, port: int) -> zmq.Socket:
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.SNDHWM, 0)
    dealer.curve_serverkey = server_key
    dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
    dealer.connect(f"tcp://127.0.0.1:{port}")
    dealer.send(b"hello")
    dealer.recv()
    return dealer


# -- as mpidirect does ----------------------------------------------------------------------------------


def receive_by_stream(way: Way, keys: Sequence[bytes], told: Any) -> None:
    """The other process: takes all, and says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told.put(listener.getsockname()[1])
        connection, _ = listener.accept()
    stream = Stream(_prepared(connection, way, keys), LARGEST)
    for _ in range(REPEAT):
        _take(stream)
        stream.send([b"all there"])


def _take(stream: Stream) -> None:
    array, got = np.empty(SIZE, np.uint8), 0
    stream.place = lambda size: array[got : got + size]
    poll = select.poll()
    poll.register(stream.connection, select.POLLIN)
    while got < SIZE and not stream.ended:
        poll.poll()
        while stream.fill():
            while stream.coming:
                got += sum(map(len, stream.coming.popleft()[1:]))


@contextmanager
def by_stream(way: Way, keys: Sequence[bytes], port: int) -> Iterator[Callable[[memoryview], None]]:
    """What sends all, and waits until it is there."""
    connection = _prepared(socket.create_connection(("127.0.0.1", port)), way, keys[::-1])
    peer = Dialed(connection, b"client", LARGEST)

    def send(data: memoryview) -> None:
        for number, start in enumerate(range(0, SIZE, way.piece)):
            header = messages.encode(messages.Chunk(number, 0))
            peer.put([header, data[start : start + way.piece]])
        while not (peer.readable() or peer.broken()):
            if peer.pending:
                peer.flush()
            else:
                peer.poll(1000)
        peer.first()

    yield send
    peer.close()


def _prepared(connection: socket.socket, way: Way, keys: Sequence[bytes]) -> socket.socket:
    tuned(connection)
    return Sealed(connection, Ciphers(*map(Cipher, keys))) if way.aes else connection


# -- all of them ----------------------------------------------------------------------------------------


def measure(way: Way) -> float:
    """The median of the seconds that it takes."""
    keys = zmq.curve_keypair() if way.curve else (os.urandom(32), os.urandom(32))
    receive, connected = (receive_by_curve, by_curve) if way.curve else (receive_by_stream, by_stream)
    told: Any = multiprocessing.Queue()
    other = multiprocessing.Process(target=receive, args=(way, keys, told), daemon=True)
    other.start()
    data = memoryview(os.urandom(SIZE))
    times = []
    with connected(way, keys, told.get(timeout=20)) as send:
        for _ in range(REPEAT):
            begun = time.perf_counter()
            send(data)
            times.append(time.perf_counter() - begun)
    other.join(5)
    return median(times)


def main(show: Callable[[str], None] = print) -> None:
    """Measure all ways and show them as a table."""
    show(f"| {SIZE // 10**6} MB | | × CURVE |\n| --- | --: | --: |")
    first = 0.0
    for way in WAYS:
        took = measure(way)
        first = first or took
        show(f"| {way.title} | {1000 * took:.0f} ms, {SIZE / took / 1e9:.2f} GB/s | {first / took:.1f} |")


if __name__ == "__main__":
    main()
