"""A cluster with two clients, the names that its engines must have, and checks of results."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections import Counter, deque
from typing import Any

import numpy as np
import psutil

from mpidirect import Client, Cluster, errors
from tests.proxy import Proxy

HANG_TIMEOUT = 60.0  # seconds after which a missing result counts as a hang
INTERRUPT_TIMEOUT = 30.0  # seconds in which an interrupted engine must be ready again
MOST_MEMORY = 1 << 30  # bytes by which the controller may grow from the start to the end
IMPORTS = "import time, os, signal, numpy"


class Testbed:
    """A cluster of `n` engines, a client near the cluster, and a client behind a network that breaks."""

    __test__ = False  # for pytest

    def __init__(self, n: int) -> None:
        self.n = n
        self.source = random.Random()  # each event has a seed of its own
        self.lost: list[str] = []
        self.hangs: list[str] = []
        self.unheard: list[str] = []  # calls that an interrupt ended without an error
        self.leftovers: list[int] = []
        self.clusters = 0
        self.growth: Counter[str] = Counter()
        self.cluster: Cluster | None = None

    # -- the cluster ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start a cluster, and the two clients."""
        self.cluster = Cluster(n=self.n)
        self.cluster.start()
        self.cluster.wait()
        self.clusters += 1
        self.path = str(self.cluster.connection_file)
        self.near = Client(self.path)
        self.proxy = Proxy(self.cluster.connection_file)
        with environment(MPIDIRECT_DIRECT_MEMORY="0"):
            self.far = Client(self.proxy.info)
        self.seen: set[psutil.Process] = set()  # controller and engines, also those that have ended
        self.pids: dict[str | int, int] = {}
        self.note_processes()
        self.tolerant = self.near.facts["fault_tolerance"]["deaths"]
        # the names that each engine must have
        self.names: dict[int, dict[str, Any]] = {k: {} for k in self.near.ids}
        self.pending: deque[tuple[str, Any, Any]] = deque()  # results that are checked later
        self.dead: set[int] = set()
        self.near[:].execute(IMPORTS, block=True)
        self.memory = self._memory()

    def note_processes(self) -> None:
        """Note the process ids of controller and engines."""
        engines = {k: e["pid"] for k, e in self.near.engines_info.items()}
        self.pids = {"controller": self.near.facts["pid"], **engines}
        for pid in self.pids.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                self.seen.add(psutil.Process(pid))

    def stop(self) -> None:
        """Stop the cluster; note the remaining processes, and the growth of memory."""
        self.drain()
        for name, now in self._memory().items():
            self.growth[name] = max(self.growth[name], now - self.memory[name])
        if self.growth["controller"] > MOST_MEMORY:
            self.lost.append(
                f"the controller keeps {self.growth['controller'] >> 20} MB more than at its start"
            )
        self.far.close()
        self.near.close()
        self.proxy.close()
        self.end()
        deadline = time.monotonic() + 10
        while (
            left := [process.pid for process in self.seen if _lives(process)]
        ) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.leftovers += left

    def end(self) -> None:
        """Stop the cluster, if one runs."""
        if self.cluster is not None:
            self.cluster.stop()
            self.cluster = None

    def _memory(self) -> dict[str, int]:
        found = {"client": psutil.Process().memory_info().rss}
        for engine, pid in self.pids.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                name = engine if engine == "controller" else "engines"
                found[name] = max(found.get(name, 0), psutil.Process(pid).memory_info().rss)
        return {"engines": 0, "controller": 0, **found}

    def reborn(self, came: list[int], wanted: list[int], what: str) -> None:
        """Check that new engines have joined, that all clients know them, and that they work together."""
        deadline = time.monotonic() + HANG_TIMEOUT
        while self.far.ids != self.near.ids and time.monotonic() < deadline:
            time.sleep(0.01)  # the other client learns of new engines later
        self.dead.difference_update(wanted)
        living = [k for k in range(self.n) if k not in self.dead]
        if came != wanted or self.near.ids != living or self.far.ids != living:
            self.lost.append(
                f"{what}: {came} came for {wanted}; the clients see {self.near.ids} and {self.far.ids}"
            )
        self.note_processes()
        self.names.update({k: {} for k in wanted})
        self.near[wanted].execute(IMPORTS, block=True)
        self.together()

    # -- checks ---------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """One of the two clients."""
        return self.source.choice([self.near, self.far])

    def some(self) -> list[int]:
        """Return a random choice of living engines."""
        ids = self.near.ids
        return sorted(self.source.sample(ids, self.source.randint(1, len(ids))))

    def expect(self, what: str, result: Any, value: Any) -> None:
        """Check that a result is `value`, unless one of its engines has died."""
        try:
            got = result.get(HANG_TIMEOUT)
        except (errors.CompositeError, errors.RemoteError) as e:
            failures = {f.ename for f in getattr(e, "elist", [e])}
            if failures != {"EngineError"} or not self.dead:
                self.lost.append(f"{what}: {str(e)[:300]}")
        except errors.TimeoutError:
            self.hangs.append(what)
        else:
            if not _same(got, value):
                self.lost.append(f"{what}: {got!r:.200} instead of {value!r:.200}")

    def expect_interrupt(self, what: str, result: Any) -> None:
        """Check that an interrupt has ended a call."""
        began = time.monotonic()
        try:
            got = result.get(INTERRUPT_TIMEOUT)
            self.unheard.append(f"{what}: {got!r} after {time.monotonic() - began:.3f} s")
        except errors.TimeoutError:
            self.hangs.append(what)
        except (errors.CompositeError, errors.RemoteError) as e:
            names = {f.ename for f in getattr(e, "elist", [e])}
            if names != {"KeyboardInterrupt"}:
                self.lost.append(f"{what}: {str(e)[:300]}")

    def drain(self, left: int = 0) -> None:
        """Check the pending results, the oldest first."""
        while len(self.pending) > left:
            self.expect(*self.pending.popleft())

    def near_call(self) -> None:
        """Call a function on all engines."""
        self.expect("call on all", self.near[:].apply_async(int), [0] * len(self.near.ids))

    def together(self) -> None:
        """Let all engines communicate."""
        n = len(self.near.ids)
        result = self.near[:].apply_async(lambda: comm.allreduce(1))  # noqa: F821
        self.expect("collective", result, [n] * n)

    def unchanged(self) -> None:
        """Check that every engine has every name that it must have."""
        for engine, names in self.names.items():
            if engine in self.near.ids and names:
                self.expect("names", self.near[engine].pull(list(names), block=False), list(names.values()))


def _lives(process: psutil.Process) -> bool:
    """Return whether a process has not ended. A later process may have the same number."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _same(got: Any, value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return isinstance(got, np.ndarray) and np.array_equal(got, value)
    if isinstance(value, list):
        return len(got) == len(value) and all(_same(g, v) for g, v in zip(got, value, strict=True))
    return bool(got == value)


@contextlib.contextmanager
def environment(**values: str) -> Any:
    """Set environment variables within a block."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
