"""Faults outside of the engines: networks, frozen processes, killed clients, strangers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import zmq

from mpidirect.files import connection_file
from mpidirect.job import processes
from mpidirect.transport.zeromq import Dealer
from tests import strangers

from . import work
from .testbed import HANG_TIMEOUT, Testbed, environment


def cut(bed: Testbed) -> None:
    """Cut the far client's connections."""
    work.many(bed)
    bed.proxy.cut()


def network_down(bed: Testbed) -> None:
    """Take the far client's network away for a while."""
    work.many(bed)
    bed.proxy.down()
    bed.near_call()
    bed.proxy.up()


def frozen_engine(bed: Testbed) -> None:
    _frozen(bed, bed.near.engines_info[bed.source.choice(bed.near.ids)]["pid"])


def frozen_controller(bed: Testbed) -> None:
    _frozen(bed, bed.pids["controller"])


def frozen_other(bed: Testbed) -> None:
    """Freeze a process that is neither controller nor engine: a rank wrapper, an anchor, a launcher."""
    assert bed.cluster is not None
    members = {process.pid for process in processes.members(bed.cluster.cluster)}
    with contextlib.suppress(psutil.NoSuchProcess):  # the wrapper of an engine that has just ended
        _frozen(bed, bed.source.choice(sorted(members - {*bed.pids.values()})))


def frozen_client(bed: Testbed) -> None:
    """Freeze a client during its calls; later it continues, and misses no result."""
    with _other_client(bed, "calls", "300") as client:
        _stop_for(client.pid, bed.source.uniform(0.1, 3))
        bed.near_call()
        if client.wait(HANG_TIMEOUT):
            bed.lost.append(f"frozen client: it ended with code {client.returncode}")


def killed_upload(bed: Testbed) -> None:
    """Kill a client in the middle of a large push."""
    with _other_client(bed, "upload", "200_000_000") as client:
        time.sleep(bed.source.uniform(0, 0.5))
        client.kill()
    bed.near_call()
    bed.unchanged()


def garbage(bed: Testbed) -> None:
    """Send garbage to the controller, by TCP, by its socket, and in the form of messages."""
    here = urlsplit(bed.proxy.info.addresses[0])
    with contextlib.suppress(OSError), socket.create_connection((here.hostname, here.port), 5) as plain:
        plain.sendall(bed.source.randbytes(bed.source.randint(1, 2000)))
    near = connection_file.read(Path(bed.path)).addresses[0]
    with zmq.Context() as context:
        dealer = Dealer.of_client(context, near, b"n" + bed.source.randbytes(8), None)
        for _ in range(10):
            dealer.put([bed.source.randbytes(bed.source.randint(0, 60)) for _ in range(2)])
        dealer.close(1000)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as plain:
        plain.connect(urlsplit(near).path)
        plain.sendall(bed.source.randbytes(bed.source.randint(1, 2000)))


def neighbours(bed: Testbed) -> None:
    """Connect another user to all ports: silent, with a part of a greeting, or with more than a greeting."""
    greeting = bed.source.choice([b"", b"OPAL-TCP", bed.source.randbytes(5), bed.source.randbytes(200)])
    with strangers.connected(_ports(bed), greeting, strangers.NOBODY if strangers.IS_ROOT else None):
        bed.near_call()
        bed.together()
        bed.unchanged()


def _ports(bed: Testbed) -> set[strangers.Address]:
    """Return the addresses of all ranks, and of the launcher if a stranger can be another user."""
    pids = set(bed.pids.values())
    if strangers.IS_ROOT:
        pids.update(process.pid for process in processes.members(bed.cluster.cluster))
    return set().union(*(strangers.listening(pid) for pid in pids))


def _frozen(bed: Testbed, pid: int) -> None:
    """Freeze a process while calls are under way."""
    bed.drain()
    n = len(bed.near.ids)
    before = bed.near[:].apply_async(lambda: comm.allreduce(1))  # noqa: F821
    process = psutil.Process(pid)
    process.suspend()
    try:
        after = bed.near[:].apply_async(lambda: comm.allreduce(2))  # noqa: F821
        time.sleep(bed.source.uniform(0.1, 3))
    finally:
        process.resume()
    bed.expect("call before a process was frozen", before, [n] * n)
    bed.expect("call while a process was frozen", after, [2 * n] * n)


def _stop_for(pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def _other_client(bed: Testbed, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a client in a process of its own; the block begins when the client does."""
    command = [sys.executable, "-m", "tests.soak.other_client", bed.path, *arguments]
    with environment(MPIDIRECT_DIRECT_MEMORY=bed.source.choice("01")):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


FAULTS = {
    cut: 8,
    network_down: 3,
    frozen_engine: 2,
    frozen_controller: 2,
    frozen_other: 2,
    frozen_client: 1,
    killed_upload: 1,
    garbage: 4,
    neighbours: 3,
}
