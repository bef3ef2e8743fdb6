"""How fast encrypted bulk could be: ``python -m benchmarks.encryption``.

100 MB from one process to another of this host by TCP: by CURVE, over one connection and over several with
as many ZeroMQ threads; by AES-256-GCM of the package cryptography (if it is installed) over a ZeroMQ socket
without CURVE; and bare.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import zmq

SIZE = 100 * 1000 * 1000
REPEAT = 7


class Way(NamedTuple):
    """One way to send."""

    title: str
    piece: int  # bytes of a message
    connections: int = 1
    curve: bool = True
    aes: bool = False


WAYS = [
    Way("CURVE", 4 << 20),
    Way("CURVE, smaller pieces", 256 << 10),
    Way("CURVE, 2 connections", 4 << 20, connections=2),
    Way("CURVE, 4 connections", 4 << 20, connections=4),
    Way("AES-256-GCM instead of CURVE", 4 << 20, curve=False, aes=True),
    Way("AES-256-GCM instead of CURVE, smaller pieces", 1 << 20, curve=False, aes=True),
    Way("no encryption", 4 << 20, curve=False),
]


def cipher(key: bytes) -> Any:
    """AES-GCM; None if it is not installed."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        return None
    return AESGCM(key)


def receive(way: Way, keys: tuple[bytes, bytes], key: bytes, told: Any) -> None:
    """The other process: takes all, decrypts, and says so."""
    socket = zmq.Context(way.connections).socket(zmq.ROUTER)
    socket.setsockopt(zmq.RCVHWM, 0)
    if way.curve:
        socket.curve_server, (socket.curve_publickey, socket.curve_secretkey) = True, keys
    told.put(socket.bind_to_random_port("tcp://127.0.0.1"))
    for _ in range(way.connections):
        name, _ = socket.recv_multipart()
        socket.send_multipart([name, b"welcome"])
    aes = cipher(key) if way.aes else None
    for _ in range(REPEAT):
        got = number = 0
        while got < SIZE:
            frame = socket.recv_multipart(copy=False)[1]
            got += len(aes.decrypt(nonce(number), frame.buffer, None)) if aes else len(frame)
            number += 1
        socket.send_multipart([name, b"all there"])
    socket.recv_multipart()


def nonce(number: int) -> bytes:
    """That of a piece."""
    return number.to_bytes(12, "big")


def measure(way: Way) -> float:
    """The median of the seconds that it takes."""
    keys, key = zmq.curve_keypair(), os.urandom(32)
    told: Any = multiprocessing.Queue()
    other = multiprocessing.Process(target=receive, args=(way, keys, key, told), daemon=True)
    other.start()
    address = f"tcp://127.0.0.1:{told.get(timeout=20)}"
    with zmq.Context(way.connections) as context:
        sockets = [
            _connected(context, address, keys[0] if way.curve else b"") for _ in range(way.connections)
        ]
        aes = cipher(key) if way.aes else None
        data = memoryview(os.urandom(SIZE))
        times = []
        for _ in range(REPEAT):
            begun = time.perf_counter()
            for number, start in enumerate(range(0, SIZE, way.piece)):
                piece: Any = data[start : start + way.piece]
                if aes:
                    piece = aes.encrypt(nonce(number), piece, None)
                sockets[number % len(sockets)].send(piece, copy=False)
            sockets[-1].recv()
            times.append(time.perf_counter() - begun)
        sockets[-1].send(b"end")
        other.join(5)
        for socket in sockets:
            socket.close(0)
    return median(times)


def _connected(context: zmq.Context, address: str, server_key: bytes) -> zmq.Socket:
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.SNDHWM, 0)
    if server_key:
        socket.curve_serverkey = server_key
        socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    socket.connect(address)
    socket.send(b"hello")
    socket.recv()
    return socket


def main(show: Callable[[str], None] = print) -> None:
    """Measure all ways and show them as a table."""
    show(f"| {SIZE // 10**6} MB | | × CURVE |\n| --- | --: | --: |")
    first = 0.0
    for way in WAYS:
        if way.aes and cipher(bytes(32)) is None:
            show(f"| {way.title} | not installed: pip install cryptography | |")
            continue
        took = measure(way)
        first = first or took
        show(f"| {way.title} | {1000 * took:.0f} ms, {SIZE / took / 1e9:.2f} GB/s | {first / took:.1f} |")


if __name__ == "__main__":
    main()
