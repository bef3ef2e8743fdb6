"""A TCP proxy between a client and its cluster that breaks connections, as a bad network does."""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import struct
import threading
from urllib.parse import urlsplit

from mpidirect.files import connection_file

PIECE = 32 * 1024


class Proxy:
    """Forwards connections to the controller's TCP port, and cuts them.

    Parameters
    ----------
    path : str or Path
        The connection file of the cluster.
    cut_after : callable, optional
        Returns, for each connection, the number of bytes after which the proxy cuts the connection.
    """

    def __init__(self, path, cut_after=None) -> None:
        info = connection_file.read(path)
        address = next(a for a in info.addresses if a.startswith("tcp://"))
        parts = urlsplit(address)
        self._target = parts.hostname, parts.port
        self._cut_after = cut_after
        self._selector = selectors.DefaultSelector()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._left: dict[socket.socket, int] = {}
        self._lock = threading.RLock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.info = connection_file.from_mapping(
            {**_mapping(info), "addresses": [f"tcp://127.0.0.1:{self.port}"]}
        )
        self.cuts = 0
        self._tap = None
        self._up = True
        self._over = False
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def mutate(self, tap) -> None:
        """Pass the bytes that clients send through the function `tap`."""
        self._tap = tap

    def stall(self) -> None:
        """Stop forwarding on the present connections, but keep them open."""
        with self._lock:
            for end in self._pairs:
                self._selector.unregister(end)

    def cut(self) -> None:
        """Reset all connections."""
        with self._lock:
            for end in list(self._pairs):
                self._drop(end)

    def down(self) -> None:
        """Accept no more connections."""
        with self._lock:
            self._up = False
            self._selector.unregister(self._listener)
            self._listener.close()
        self.cut()

    def up(self) -> None:
        """Accept connections again."""
        with self._lock:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._up = True

    def _run(self) -> None:
        while not self._over:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._pairs:
                        self._forward(key.fileobj)

    def _accept(self) -> None:
        try:
            near, _ = self._listener.accept()
            far = socket.create_connection(self._target)
        except OSError:
            return
        self._pairs[near], self._pairs[far] = far, near
        limit = self._cut_after() if self._cut_after else 1 << 60
        self._left[near] = self._left[far] = limit
        for end in (near, far):
            self._selector.register(end, selectors.EVENT_READ, near)

    def _forward(self, end: socket.socket) -> None:
        other = self._pairs[end]
        try:
            data = end.recv(min(PIECE, max(1, self._left[end])))
            if data and self._tap is not None and self._is_client(end):
                data = self._tap(data)
            other.sendall(data)
        except OSError:
            data = b""
        self._left[end] -= len(data)
        self._left[other] = self._left[end]
        if not data or self._left[end] <= 0:
            self.cuts += bool(data)
            self._drop(end)

    def _is_client(self, end: socket.socket) -> bool:
        return self._selector.get_key(end).data is end

    def _drop(self, end: socket.socket) -> None:
        other = self._pairs.pop(end, None)
        if other is None:
            return
        self._pairs.pop(other, None)
        for each in (end, other):
            self._left.pop(each, None)
            with contextlib.suppress(KeyError):
                self._selector.unregister(each)
            with contextlib.suppress(OSError):  # a reset: data in flight is lost
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()

    def close(self) -> None:
        """Close the proxy and all connections."""
        self._over = True
        self._thread.join()
        self.cut()
        self._listener.close()
        self._selector.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _mapping(info) -> dict:
    return {name: getattr(info, name) for name in info.__struct_fields__}


def at_random(seed: int, least: int, most: int):
    """Return a `cut_after` with random sizes between two limits, uniform on a logarithmic scale."""
    source = random.Random(seed)

    def size() -> int:
        return int(least * (most / least) ** source.random())

    return size
