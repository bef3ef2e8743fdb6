"""``mpi4py.futures``: an MPI job whose first rank has the pool, and measures on request."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time

import numpy as np
import psutil

from . import content
from .floor import end, mpiexec
from .ways import Held, System, Way


class Futures(System):
    """A job of `n` workers and the rank that has the pool.

    Waiting workers ask MPI for tasks without a pause. So the job is suspended between requests, in order not
    to slow the other systems.
    """

    ways = ("futures",)

    def start(self, n: int) -> None:
        arguments = ["-m", __spec__.name, str(n)]
        self._process = mpiexec(n + 1, arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ask("ready")

    def ask(self, what: str) -> float:
        """Let the job execute a request; return the seconds."""
        job = psutil.Process(self._process.pid).children(recursive=True)
        for process in job:
            process.send_signal(signal.SIGCONT)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{what}\n".encode())
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the job of mpi4py.futures has ended")
        for process in psutil.Process(self._process.pid).children(recursive=True):
            if "benchmarks" in " ".join(process.cmdline()):
                process.send_signal(signal.SIGSTOP)
        return float(answer)

    def stop(self) -> None:
        for process in psutil.Process(self._process.pid).children(recursive=True):
            process.send_signal(signal.SIGCONT)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # the job has ended
            self._process.stdin.write(b"stop\n")  # mpiexec does not tell the job the end of its input
            self._process.stdin.close()
        end(self._process, 10)

    def open(self, way: str) -> Way:
        return FuturesWay(self)

    def controllers(self) -> list[int]:
        return []


class FuturesWay(Way):
    """The pool, as the job's first rank uses it."""

    def __init__(self, system: Futures) -> None:
        self._ask = system.ask

    def call_all(self) -> float:
        return self._ask("all")

    def call_one(self) -> float:
        return self._ask("one")

    def call_often(self, times: int) -> float:
        return self._ask(f"often {times}")

    def push(self, array: np.ndarray) -> float:
        return self._ask(f"push {array.nbytes}")

    def held(self) -> list[Held]:
        return []  # workers store the array under no name


def _nothing(data: object = None) -> None:
    pass


def _serve(n: int) -> None:
    """In the job: execute the requests from standard input."""
    from mpi4py.futures import MPICommExecutor

    with MPICommExecutor() as pool:
        if pool is None:
            return
        array = None
        for line in sys.stdin:
            what, _, number = line.strip().partition(" ")
            if what == "stop":
                return
            if what == "push" and (array is None or array.nbytes != int(number)):
                array = content.array(int(number))
            begun = time.perf_counter()
            if what == "one":
                pool.submit(_nothing).result()
            else:
                times = int(number) if what == "often" else n
                arguments = [array] if what == "push" else []
                for future in [pool.submit(_nothing, *arguments) for _ in range(times)]:
                    future.result()
            print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
