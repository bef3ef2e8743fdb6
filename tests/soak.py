"""Random work with random faults, for a long time: ``make soak``, or ``python -m tests.soak --minutes 20``.

A driver with a seed calls, pushes, pulls, scatters and lets engines talk to each other, while it interrupts
them, lets them get stuck and die, cuts connections and sends garbage.  It knows what each result must be.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections import Counter, deque
from urllib.parse import urlsplit

import numpy as np
import psutil
import zmq

from mpidirect import Client, Cluster, errors
from mpidirect.files import connection_file
from mpidirect.transport.zeromq import Dealer
from tests.proxy import Proxy
from tests.waiting import until_running

HANG_TIMEOUT = 30.0  # seconds after which a missing result counts as hanging
MIN_ENGINES = 2  # with fewer living engines, a new cluster is started
MAX_PENDING = 200  # results that are checked later
MAX_PROBLEMS = 10  # the run ends after these
INTERRUPT_TIMEOUT = 10.0  # seconds in which an interrupted engine must be ready again


class Lost(Exception):
    """A result has a wrong value."""


class Driver:
    """Drives a cluster of `n` engines by two clients: one near it, one behind a network that breaks."""

    def __init__(self, seed: int, n: int) -> None:
        self.source = random.Random(seed)
        self.n = n
        self.operations: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.lost: list[str] = []
        self.hangs: list[str] = []
        self.unheard: list[str] = []  # calls that an interrupt ended without an error
        self.leftovers: list[int] = []
        self.clusters = 0
        self.growth: Counter[str] = Counter()
        self.cluster = None

    # -- the cluster ----------------------------------------------------------------------------------

    def start(self) -> None:
        self.cluster = Cluster(n=self.n)
        self.cluster.start()
        self.cluster.wait()
        self.clusters += 1
        path = str(self.cluster.connection_file)
        self.near = Client(path)
        self.proxy = Proxy(self.cluster.connection_file)
        with _environment(MPIDIRECT_DIRECT_MEMORY="0"):
            self.far = Client(self.proxy.info)
        self.former: list[int] = []  # process ids of engines that were replaced
        self.note()
        self.tolerant = self.near.facts["fault_tolerance"]["deaths"]
        self.names = {k: {} for k in self.near.ids}  # the model: the expected namespace of each engine
        self.pending: deque = deque()
        self.dead: set[int] = set()
        self.near[:].execute("import time, os, numpy", block=True)
        self.call()
        self.memory = self._memory()
        self.born = time.monotonic()

    def note(self) -> None:
        """Note the process ids of the engines."""
        self.pids = {
            "controller": self.near.facts["pid"],
            **{k: e["pid"] for k, e in self.near.engines_info.items()},
        }

    def stop(self) -> None:
        self.drain()
        for name, now in self._memory().items():
            self.growth[name] = max(self.growth[name], now - self.memory[name])
        self.far.close()
        self.near.close()
        self.proxy.close()
        self.cluster.stop()
        pids = [*self.pids.values(), *self.former]
        _, alive = psutil.wait_procs([psutil.Process(p) for p in pids if psutil.pid_exists(p)], 5)
        self.leftovers += [process.pid for process in alive]

    def _memory(self) -> dict[str, int]:
        found = {"client": psutil.Process().memory_info().rss}
        for engine, pid in self.pids.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                name = engine if engine == "controller" else "engines"
                found[name] = max(found.get(name, 0), psutil.Process(pid).memory_info().rss)
        return found

    # -- checks --------------------------------------------------------------------------------

    @property
    def client(self):
        return self.source.choice([self.near, self.far])

    def some(self) -> list[int]:
        """Return a random choice of living engines."""
        ids = self.near.ids
        return sorted(self.source.sample(ids, self.source.randint(1, len(ids))))

    def expect(self, what: str, result, value) -> None:
        """Check that a result is `value`, unless one of its engines has died."""
        try:
            got = result.get(HANG_TIMEOUT)
        except (errors.CompositeError, errors.RemoteError) as e:
            failures = [f.ename for f in getattr(e, "elist", [e])]
            if set(failures) != {"EngineError"} or not self.dead:
                self.lost.append(f"{what}: {str(e)[:300]}")
            return
        except errors.TimeoutError:
            self.hangs.append(what)
            return
        if not _same(got, value):
            self.lost.append(f"{what}: {got!r:.200} instead of {value!r:.200}")

    def drain(self, left: int = 0) -> None:
        """Check the pending results, the oldest first."""
        while len(self.pending) > left:
            self.expect(*self.pending.popleft())

    # -- operations ----------------------------------------------------------------------------------------

    def call(self) -> None:
        targets, x = self.some(), self.source.random()
        result = self.client[targets].apply_async(lambda x: x * 2, x)
        self.expect("call", result, [x * 2] * len(targets))

    def many(self) -> None:
        view = self.client
        for _ in range(self.source.randint(1, 50)):
            engine, k = self.source.choice(self.near.ids), self.source.randrange(10**6)
            size = self.source.choice([1, 1, 100, 20_000])
            result = view[engine].apply_async(lambda k, n: numpy.full(n, k), k, size)  # noqa: F821
            self.pending.append(("many", result, np.full(size, k)))
        self.drain(MAX_PENDING)

    def push(self) -> None:
        targets, name = self.some(), f"name{self.source.randrange(5)}"
        value = np.arange(self.source.choice([3, 1000, 300_000])) + self.source.randrange(100)
        self.expect("push", self.client[targets].push({name: value}, block=False), [None] * len(targets))
        for engine in targets:
            self.names[engine][name] = value

    def pull(self) -> None:
        name = f"name{self.source.randrange(5)}"
        targets = [k for k in self.some() if name in self.names[k]]
        if targets:
            result = self.client[targets].pull(name, block=False)
            self.expect("pull", result, [self.names[k][name] for k in targets])

    def scatter(self) -> None:
        targets, data = self.some(), np.arange(self.source.randint(1, 200_000))
        view = self.client[targets]
        self.expect("scatter", view.scatter("part", data, block=False), [None] * len(targets))
        self.expect("gather", view.gather("part", block=False), data)

    def map(self) -> None:
        data = [self.source.randrange(1000) for _ in range(self.source.randint(1, 50))]
        self.expect("map", self.client[:].map_async(abs, data), data)

    def collective(self) -> None:
        ids = self.near.ids
        result = self.near[:].apply_async(lambda: comm.allreduce(1))  # noqa: F821
        self.expect("collective", result, [len(ids)] * len(ids))

    def another_client(self) -> None:
        """Close a client before its result arrives; fetch the result by another client."""
        path = str(self.cluster.connection_file)
        targets, k = self.some(), self.source.random()
        with Client(path) as leaving:
            result = leaving[targets].apply_async(lambda k: (time.sleep(0.05), k)[1], k)
            leaving.queue_status()
            id = result.msg_ids[0].partition(":")[0]
        delivered = [reply.status == "ok" for reply in result._calls[0].replies.values()]
        if not any(delivered):
            with Client(path) as coming:
                wanted = k if len(targets) == 1 else [k] * len(targets)
                self.expect("another client", coming.get_result(id), wanted)

    # -- faults ---------------------------------------------------------------------------------------------

    def cut(self) -> None:
        self.many()
        self.proxy.cut()

    def network_down(self) -> None:
        self.many()
        self.proxy.down()
        self.call_near()
        self.proxy.up()

    def call_near(self) -> None:
        self.expect("call", self.near[:].apply_async(int), [0] * len(self.near.ids))

    def interrupt(self) -> None:
        self.drain()
        targets = self.some()
        running = self.near[targets].apply_async(time.sleep, 60)
        until_running(self.near, targets)
        self.near.interrupt(targets)
        self.interrupted("interrupt", running)

    def stuck(self) -> None:
        self.drain()
        ids = self.near.ids
        without = self.source.choice(ids)
        targets = [k for k in ids if k != without]
        code = self.source.choice(
            ["comm.Barrier()", "comm.allreduce(1)", f"comm.recv(source={ids.index(without)})"]
        )
        running = self.near[targets].execute(code, block=False)
        until_running(self.near, targets)
        self.near.interrupt(targets)
        self.interrupted("stuck", running)
        self.collective()

    def interrupted(self, what, running) -> None:
        began = time.monotonic()
        try:
            got = running.get(INTERRUPT_TIMEOUT)
            self.unheard.append(f"{what}: {got!r} after {time.monotonic() - began:.3f} s")
        except errors.TimeoutError:
            self.hangs.append(what)
        except (errors.CompositeError, errors.RemoteError) as e:
            names = {f.ename for f in getattr(e, "elist", [e])}
            if names != {"KeyboardInterrupt"}:
                self.lost.append(f"{what}: {str(e)[:300]}")

    def death(self) -> None:
        if not self.tolerant:
            return
        engine = self.source.choice(self.near.ids)
        pid = self.near.engines_info[engine]["pid"]
        self.many()
        self.dead.add(engine)
        how = self.source.choice(["kill", "exit"])
        last = self.near[engine].apply_async(time.sleep, 60)
        if how == "kill":
            os.kill(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGSEGV)
        try:
            last.get(INTERRUPT_TIMEOUT)
            self.lost.append("death: a task outlived its engine")
        except errors.TimeoutError:
            self.hangs.append("death")
        except errors.EngineError:
            pass
        self.drain()
        self.collective()
        if len(self.near.ids) <= MIN_ENGINES:
            if self.source.random() < 0.5:
                self.replacement()
            else:
                self.stop()
                self.start()

    def replacement(self) -> None:
        """Replace the dead engines, or one living engine, by new ones."""
        self.drain()
        missing = [k for k in range(self.n) if k not in self.near.ids]
        targets = missing or [self.source.choice(self.near.ids)]
        came = self.near.restart(targets)
        deadline = time.monotonic() + HANG_TIMEOUT
        while self.far.ids != self.near.ids and time.monotonic() < deadline:
            time.sleep(0.01)  # the other client learns of new engines later
        if came != targets or self.near.ids != list(range(self.n)):
            self.lost.append(f"replacement: {came} came for {targets}, there are {self.near.ids}")
        self.former += [pid for pid in self.pids.values() if pid not in self.former]
        self.note()
        self.dead.difference_update(targets)
        self.names.update({k: {} for k in targets})
        self.near[targets].execute("import time, os, numpy", block=True)
        self.collective()

    def garbage(self) -> None:
        info = self.proxy.info
        here = urlsplit(info.addresses[0])
        with contextlib.suppress(OSError), socket.create_connection((here.hostname, here.port), 5) as plain:
            plain.sendall(self.source.randbytes(self.source.randint(1, 2000)))
        near = connection_file.read(self.cluster.connection_file).addresses[0]
        with zmq.Context() as context:
            dealer = Dealer.of_client(context, near, b"n" + self.source.randbytes(8), None)
            for _ in range(10):
                dealer.put([self.source.randbytes(self.source.randint(0, 60)) for _ in range(2)])
            dealer.close(1000)
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as plain:
            plain.connect(urlsplit(near).path)
            plain.sendall(self.source.randbytes(self.source.randint(1, 2000)))

    # -- the run ------------------------------------------------------------------------------

    WORK = ("call", "many", "push", "pull", "scatter", "map", "collective", "another_client")
    FAULTS = ("cut", "network_down", "interrupt", "stuck", "death", "replacement", "garbage")
    WEIGHTS = (8, 3, 3, 2, 2, 1, 4)  # of the faults

    def run(self, seconds: float) -> None:
        """Run operations, with a fault after every few of them."""
        try:
            self.start()
            end = time.monotonic() + seconds
            while time.monotonic() < end and not self.hangs and len(self.lost) < MAX_PROBLEMS:
                if self.source.random() < 0.25:
                    name = self.source.choices(self.FAULTS, self.WEIGHTS)[0]
                    self.faults[name] += 1
                else:
                    name = self.source.choice(self.WORK)
                    self.operations[name] += 1
                self.one(name)
            self.stop()
        finally:
            if self.cluster is not None:
                self.cluster.stop()

    def one(self, name: str) -> None:
        """Run one operation or fault."""
        try:
            getattr(self, name)()
        except errors.TimeoutError as e:
            self.hangs.append(f"{name}: {e}")
        except errors.MPIDirectError as e:
            self.lost.append(f"{name}: {type(e).__name__}: {e}")

    @property
    def well(self) -> bool:
        """Return whether nothing was lost, hung, or remained."""
        return not (self.lost or self.hangs or self.leftovers)

    def table(self) -> str:
        """Return a report: the operations, the faults and the problems."""
        lines = [
            ("operations", _sum(self.operations)),
            ("faults injected", _sum(self.faults)),
            ("clusters started", self.clusters),
            ("results lost", len(self.lost)),
            ("hangs", len(self.hangs)),
            ("leftover processes", len(self.leftovers)),
            ("interrupts that the task did not see", len(self.unheard)),
            *((f"memory growth, {n}", f"{size / 1e6:.1f} MB") for n, size in self.growth.items()),
        ]
        wide = max(len(name) for name, _ in lines)
        return "\n".join(f"{name:{wide}}  {value}" for name, value in lines)


def _same(got, value) -> bool:
    if isinstance(value, np.ndarray):
        return isinstance(got, np.ndarray) and np.array_equal(got, value)
    if isinstance(value, list):
        return len(got) == len(value) and all(_same(g, v) for g, v in zip(got, value, strict=True))
    return got == value


def _sum(counter: Counter) -> str:
    each = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(counter.items()))
    return f"{counter.total()} ({each})"


@contextlib.contextmanager
def _environment(**values):
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def main() -> int:
    """Run the soak test from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-n", "--engines", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    driver = Driver(given.seed, given.engines)
    with tempfile.TemporaryDirectory() as home, _environment(MPIDIRECT_DIR=f"{home}/mpidirect"):
        try:
            driver.run(given.minutes * 60)
        finally:
            print(f"seed {given.seed}, {given.minutes:g} minutes, {given.engines} engines\n{driver.table()}")
            for problem in [*driver.lost, *driver.hangs]:
                print("PROBLEM:", problem)
            for remark in driver.unheard:
                print("remark:", remark)
    return 0 if driver.well else 1


if __name__ == "__main__":
    sys.exit(main())
