"""dask.distributed: a scheduler, and a process for each worker."""

from __future__ import annotations

import logging
import os

import numpy as np

from .ways import Held, System, Unsupported, Way


def _nothing() -> None:
    pass


class Dask(System):
    """A cluster on this host."""

    ways = ("dask",)

    def __init__(self) -> None:
        try:
            import distributed
        except ImportError:
            raise Unsupported("dask.distributed is not installed") from None
        self._distributed = distributed

    def start(self, n: int) -> None:
        self._cluster = self._distributed.LocalCluster(
            n_workers=n, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
        )
        with self._distributed.Client(self._cluster) as client:
            client.wait_for_workers(n)

    def stop(self) -> None:
        self._cluster.close()

    def open(self, way: str) -> Way:
        return DaskWay(self._distributed.Client(self._cluster))

    def controllers(self) -> list[int]:
        return [os.getpid()]  # the scheduler is a thread of this process


class DaskWay(Way):
    """A client."""

    def __init__(self, client) -> None:
        self._client = client

    def close(self) -> None:
        self._client.close()

    def call_all(self) -> None:
        self._client.run(_nothing)

    def call_one(self) -> None:
        self._client.submit(_nothing, pure=False).result()

    def call_often(self, times: int) -> None:
        self._client.gather([self._client.submit(_nothing, pure=False) for _ in range(times)])

    def push(self, array: np.ndarray) -> None:
        self._client.scatter(array, broadcast=True, hash=False)

    def held(self) -> list[Held]:
        return []  # workers store the array under no name
