"""mpidirect: with a client on the controller's host, and with a client as on another host."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

import msgspec
import numpy as np

import mpidirect
from mpidirect.files import connection_file

from . import content
from .ways import Held, System, Way

DIRECT_MEMORY = "MPIDIRECT_DIRECT_MEMORY"


class Mpidirect(System):
    """A cluster, with its files in a directory of its own.

    ``mpidirect`` is a usual client on the controller's host, where bulk data is read out of the other
    process's memory. ``mpidirect-socket`` does not read memory. ``mpidirect-tcp`` connects by encrypted TCP,
    as from another host.
    """

    ways = ("mpidirect", "mpidirect-socket", "mpidirect-tcp")

    def start(self, n: int) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="mpidirect-bench-")
        os.environ["MPIDIRECT_DIR"] = self._directory.name
        self._cluster = mpidirect.Cluster(n=n)
        self._cluster.start()
        self._cluster.wait()

    def stop(self) -> None:
        if self._cluster.started:
            self._cluster.stop()
        self._directory.cleanup()

    def open(self, way: str) -> Way:
        info = connection_file.read(self._cluster.connection_file)
        if way == "mpidirect":
            return MpidirectWay(mpidirect.Client(info))
        contents = msgspec.to_builtins(info)
        if way == "mpidirect-tcp":
            contents["addresses"] = [a for a in info.addresses if a.startswith("tcp:")]
        before = os.environ.get(DIRECT_MEMORY)
        os.environ[DIRECT_MEMORY] = "0"
        try:
            return MpidirectWay(mpidirect.Client(contents))
        finally:
            del os.environ[DIRECT_MEMORY]
            if before is not None:
                os.environ[DIRECT_MEMORY] = before

    def controllers(self) -> list[int]:
        return [connection_file.read(self._cluster.connection_file).pid]


class MpidirectWay(Way):
    """A client and its view of all engines."""

    def __init__(self, client: mpidirect.Client) -> None:
        self._client = client
        self._all = client[:]
        self._one = client[0]
        self._nothing = lambda: None
        self._square = lambda i: i * i

    def close(self) -> None:
        self._client.close()

    def engines(self) -> list[int]:
        return self._all.apply_sync(os.getpid)

    def call_all(self) -> None:
        self._all.apply_sync(self._nothing)

    def call_one(self) -> None:
        self._one.apply_sync(self._nothing)

    def call_often(self, times: int) -> None:
        self._client.wait([self._one.apply_async(self._nothing) for _ in range(times)])

    def execute(self) -> None:
        self._all.execute("a = 1", block=True)

    def push(self, array: np.ndarray) -> None:
        self._all.push({"x": array}, block=True)

    def push_shared(self, array: np.ndarray) -> None:
        self._all.push({"x": array}, shared=True, block=True)

    def scatter(self, array: np.ndarray) -> None:
        self._all.scatter("x", array, block=True)

    def gather(self) -> np.ndarray:
        return self._all.gather("x", block=True)

    def pull(self) -> np.ndarray:
        return self._one.pull("x", block=True)

    def map(self, items: Sequence[int]) -> list[int]:
        return self._all.map_sync(self._square, items)

    def prepare_allreduce(self, items: int) -> None:
        code = f"import numpy as np; x = np.arange({items}) + float(rank); y = np.zeros_like(x)"
        self._all.execute(code, block=True)

    def allreduce(self) -> None:
        self._all.allreduce("x", out="y", block=True)

    def reduced(self) -> list[tuple[float, float]]:
        return self._all.apply_sync(lambda: (y[0], y[-1]))  # type: ignore[name-defined]  # noqa: F821

    def held(self) -> list[Held]:
        self._all.execute(content.CODE, block=True)
        return self._all.pull("_held", block=True)

    def give_back(self) -> None:
        _expire()
        self._all.apply_sync(_expire_there)

    def forget(self) -> None:
        self._all.execute("globals().pop('x', None)", block=True)


def _expire() -> None:
    from mpidirect.client.connection.bulk_frames import buffer_pool

    buffer_pool.expire(0.0)


def _expire_there() -> None:
    from mpidirect.engine.bulk_data import pool

    pool.expire(0.0)
