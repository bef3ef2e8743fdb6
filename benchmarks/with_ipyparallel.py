"""ipyparallel without any configuration: its DirectView and its BroadcastView."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence

import numpy as np
import psutil

from . import content
from .ways import Held, System, Unsupported, Way

# Bytes in its processes at the peak of a push, per byte that the engines get.
ROOM = {"direct": 2.5, "broadcast": 2.5}


class Ipyparallel(System):
    """A cluster, with its files in a directory of its own."""

    ways = ("direct", "broadcast")

    def __init__(self) -> None:
        try:
            import ipyparallel
        except ImportError:
            raise Unsupported("ipyparallel is not installed") from None
        self._ipp = ipyparallel

    def start(self, n: int) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="ipyparallel-bench-")
        os.environ["IPYTHONDIR"] = self._directory.name
        self._n = n
        self._cluster = self._ipp.Cluster(n=n, log_level=logging.ERROR)
        self._cluster.start_cluster_sync()
        self._connect().close()

    def _connect(self):
        client = self._cluster.connect_client_sync()
        client.wait_for_engines(self._n, interactive=False, timeout=120)
        return client

    def stop(self) -> None:
        try:
            self._cluster.stop_cluster_sync()
        finally:
            self._directory.cleanup()

    def open(self, way: str) -> Way:
        client = self._connect()
        view = client[:] if way == "direct" else client.broadcast_view()
        return IpyparallelWay(client, view, ROOM[way])

    def controllers(self) -> list[int]:
        first = psutil.Process(self._cluster.controller.process.pid)
        return [first.pid, *(child.pid for child in first.children(recursive=True))]


class IpyparallelWay(Way):
    """A client and one of its views of all engines."""

    def __init__(self, client, view, room: float) -> None:
        self._client = client
        self._all = view
        self._room = room
        self._one = client[0]
        self._nothing = lambda: None
        self._square = lambda i: i * i

    def close(self) -> None:
        self._client.close()

    def engines(self) -> list[int]:
        return self._client[:].apply_sync(os.getpid)

    def call_all(self) -> None:
        self._all.apply_sync(self._nothing)

    def call_one(self) -> None:
        self._one.apply_sync(self._nothing)

    def call_often(self, times: int) -> None:
        self._client.wait([self._one.apply_async(self._nothing) for _ in range(times)])

    def execute(self) -> None:
        self._all.execute("a = 1", block=True)

    def push(self, array: np.ndarray) -> None:
        wanted = self._room * array.nbytes * len(self._client.ids)
        free = psutil.virtual_memory().available
        if wanted > 0.8 * free:
            raise Unsupported(f"would take {wanted / 1e9:.0f} GB, {free / 1e9:.0f} are free")
        self._all.push({"x": array}, block=True)

    def scatter(self, array: np.ndarray) -> None:
        self._all.scatter("x", array, block=True)

    def gather(self) -> np.ndarray:
        return self._all.gather("x", block=True)

    def pull(self) -> np.ndarray:
        return self._one.pull("x", block=True)

    def map(self, items: Sequence[int]) -> list[int]:
        return self._all.map_sync(self._square, items)

    def held(self) -> list[Held]:
        view = self._client[:]
        view.execute(content.CODE, block=True)
        return view.pull("_held", block=True)

    def forget(self) -> None:
        self._client[:].execute("globals().pop('x', None)", block=True)
        self._client.results.clear()  # purge_local_results refuses after calls of a BroadcastView
        self._client.metadata.clear()
