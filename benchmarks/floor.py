"""The floor: the same bytes through raw ZeroMQ and raw MPI (`floor_ranks` is the job, this is its client)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from mpidirect.launchers import mpi, mpi_environment

from .ways import Held, System, Way

IMPORTS = (
    "from mpi4py import MPI; import numpy, zmq; world = MPI.COMM_WORLD; world.Barrier(); "
    "world.rank or print('ready', flush=True)"
)
ROOT = Path(__file__).resolve().parent.parent


def mpiexec(ranks: int, arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start this Python `ranks` times by mpi4py's mpiexec, in a session of its own."""
    command = mpi.find_mpiexec(python=sys.executable)
    environment = mpi_environment.launch_environment(mpi.implementation(command[0]))
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [*command, "-n", str(ranks), sys.executable, *arguments],
        env=environment,
        start_new_session=True,
        **{"stdin": subprocess.DEVNULL, **options},
    )


def end(process: subprocess.Popen[bytes], patience: float) -> None:
    """Wait for the end of a job; after too long a time, end the job."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)  # mpiexec ends its ranks
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class BareStart(System):
    """The fastest possible start: mpiexec and the imports."""

    ways = ("floor",)

    def start(self, n: int) -> None:
        self._process = mpiexec(n + 1, ["-c", IMPORTS], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if b"ready" not in self._process.stdout.readline():
            raise RuntimeError("a bare mpiexec does not start")

    def stop(self) -> None:
        end(self._process, 10)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Floor(System):
    """The job of the floor; ``floor`` is a client by ipc, ``floor-tcp`` a client by TCP with CURVE."""

    ways = ("floor", "floor-tcp")

    def start(self, n: int) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="floor-bench-")
        arguments = ["-m", "benchmarks.floor_ranks", self._directory.name, str(os.getpid())]
        self._process = mpiexec(n + 1, arguments)
        ready = Path(self._directory.name, "ready")
        while not ready.exists():
            if self._process.poll() is not None:
                raise RuntimeError("the floor's job does not start")
            time.sleep(0.01)
        self._facts = json.loads(ready.read_text())

    def stop(self) -> None:
        if self._process.poll() is None:
            client = self.open("floor")
            client.send(b"stop")
            client.close()
        end(self._process, 10)
        self._directory.cleanup()

    def open(self, way: str) -> FloorWay:
        socket = zmq.Context.instance().socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 500)
        if way == "floor":
            socket.connect(f"ipc://{self._directory.name}/client")
        else:
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            socket.curve_serverkey = self._facts["key"].encode()
            socket.connect(self._facts["tcp"])
        client = FloorWay(socket)
        if self._process.poll() is None and "pid" in self._facts:
            client.ask(b"hello")
        return client

    def controllers(self) -> list[int]:
        return [self._facts["pid"]]


class FloorWay(Way):
    """A client of the floor: a socket."""

    def __init__(self, socket: zmq.Socket) -> None:
        self._socket = socket

    def close(self) -> None:
        self._socket.close()

    def send(self, what: bytes, data: Any = b"") -> None:
        """Send a request."""
        self._socket.send_multipart([what, data], copy=False)

    def ask(self, what: bytes, data: Any = b"") -> Any:
        """Send a request and wait for the reply."""
        self.send(what, data)
        return self._socket.recv(copy=False)

    def _told(self, what: bytes, data: Any = b"") -> Any:
        return json.loads(self.ask(what, data).bytes)

    def engines(self) -> list[int]:
        return self._told(b"pid")

    def call_all(self) -> None:
        self.ask(b"all")

    def call_one(self) -> None:
        self.ask(b"one")

    def push(self, array: np.ndarray) -> None:
        self.ask(b"push", array.view(np.uint8))

    def scatter(self, array: np.ndarray) -> None:
        self.ask(b"scatter", array.view(np.uint8))

    def gather(self) -> np.ndarray:
        return np.frombuffer(self.ask(b"gather").buffer)

    def pull(self) -> np.ndarray:
        return np.frombuffer(self.ask(b"pull").buffer)

    def prepare_allreduce(self, items: int) -> None:
        self.ask(b"prepare", str(items).encode())

    def allreduce(self) -> float:
        return max(self._told(b"allreduce"))

    def reduced(self) -> list[list[float]]:
        return self._told(b"reduced")

    def held(self) -> list[Held]:
        return [tuple(one) for one in self._told(b"held")]

    def forget(self) -> None:
        self.ask(b"forget")
