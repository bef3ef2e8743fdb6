"""The floor's job: ``mpiexec -n N+1 python -m benchmarks.floor_ranks DIRECTORY PID``.

The job passes each request by bare sockets and blocking MPI, without any care for busy engines, failures or
several clients. `PID` is the process of the client: the job ends when this process has ended.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import zmq
from mpi4py import MPI

from .content import held

SMALL = 64 * 1024  # maximum bytes of data that is sent by ZeroMQ
STOP = b"stop"


def bridge(directory: Path, client: int, n: int) -> None:
    """Rank 0: pass on each request, collect the replies, and reply to the client."""
    world = MPI.COMM_WORLD
    context = zmq.Context()
    engines, near, far = (context.socket(zmq.ROUTER) for _ in range(3))
    for socket in (engines, near, far):
        socket.setsockopt(zmq.LINGER, 500)
        socket.setsockopt(zmq.SNDHWM, 0)
    public, secret = zmq.curve_keypair()
    far.curve_server, far.curve_secretkey, far.curve_publickey = True, secret, public
    engines.bind(f"ipc://{directory}/engines")
    near.bind(f"ipc://{directory}/client")
    port = far.bind_to_random_port("tcp://127.0.0.1")
    world.Barrier()
    for _ in range(n):
        engines.recv_multipart()
    facts = {"pid": os.getpid(), "tcp": f"tcp://127.0.0.1:{port}", "key": public.decode()}
    (directory / "writing").write_text(json.dumps(facts))
    (directory / "writing").rename(directory / "ready")
    poller = zmq.Poller()
    poller.register(near, zmq.POLLIN)
    poller.register(far, zmq.POLLIN)
    names = [str(k).encode() for k in range(n)]
    while True:
        ready = poller.poll(5000)
        if not ready and not Path(f"/proc/{client}").exists():
            ready = [(None, 0)]
        for socket, _ in ready:
            frames = socket.recv_multipart(copy=False) if socket else []
            what = frames[1].bytes if frames else STOP
            targets = names[:1] if what in (b"one", b"pull") else [] if what == b"hello" else names
            data = frames[2].buffer if len(frames) > 2 else b""
            size = np.uint64(len(data)).tobytes()
            head = [what, bytes(data)] if len(data) < SMALL else [what, b"", size]
            for name in targets:
                engines.send_multipart([name, *head])
            if what == STOP:
                context.destroy(500)
                return
            whole = _move(world, what, data, n)
            answers = sorted(engines.recv_multipart()[1:] for _ in targets)
            if whole is None:
                whole = b"[" + b",".join(answer for _, answer in answers) + b"]"
            socket.send_multipart([frames[0], whole], copy=False)


def _move(world: MPI.Comm, what: bytes, data: memoryview, n: int) -> np.ndarray | None:
    """Transfer the data of rank 0 by MPI."""
    if what == b"push" and len(data) >= SMALL:
        world.Bcast([data, MPI.BYTE])
    elif what == b"scatter":
        world.Scatterv([data, [0, *_parts(len(data), n)], None, MPI.BYTE], None)
    elif what in (b"gather", b"pull"):
        sizes = [0, *world.gather(0)[1:]] if what == b"gather" else [world.recv(source=1)]
        room = np.empty(sum(sizes), np.uint8)
        if what == b"gather":
            world.Gatherv(None, [room, sizes, None, MPI.BYTE])
        else:
            world.Recv(room, 1)
        return room
    return None


def engine(directory: Path) -> None:
    """Ranks 1 to n: execute each request, and reply."""
    world = MPI.COMM_WORLD
    others = world.Split(1, world.rank)
    socket = zmq.Context().socket(zmq.DEALER)
    socket.setsockopt(zmq.ROUTING_ID, str(others.rank).encode())
    socket.setsockopt(zmq.LINGER, 500)
    world.Barrier()
    socket.connect(f"ipc://{directory}/engines")
    socket.send(b"here")
    place = b"%06d" % others.rank
    x = y = np.empty(0)
    while True:
        what, small, *more = socket.recv_multipart()
        size = int(np.frombuffer(more[0], np.uint64)[0]) if more else len(small)
        answer: object = None
        if what == STOP:
            return
        if what == b"push" and not more:
            x = np.frombuffer(small)
        elif what in (b"push", b"scatter"):
            x = np.empty(size if what == b"push" else _parts(size, others.size)[others.rank], np.uint8)
            world.Bcast(x) if what == b"push" else world.Scatterv(None, x)
        elif what == b"gather":
            world.gather(x.nbytes)
            world.Gatherv(x.view(np.uint8), None)
        elif what == b"pull":
            world.send(x.nbytes, 0)
            world.Send(x.view(np.uint8), 0)
        elif what == b"held":
            answer = held(x.view(np.float64))
        elif what == b"prepare":
            x = np.arange(int(small)) + float(others.rank)
            y = np.zeros_like(x)
        elif what == b"allreduce":
            answer = _allreduce(others, x, y)
        elif what == b"reduced":
            answer = [y[0], y[-1]]
        elif what == b"forget":
            x = y = np.empty(0)
        elif what == b"pid":
            answer = os.getpid()
        socket.send_multipart([place, json.dumps(answer).encode()])


def _allreduce(comm: MPI.Comm, x: np.ndarray, y: np.ndarray) -> float:
    """Run an allreduce as any MPI program does; return the seconds."""
    comm.Barrier()
    begun = time.perf_counter()
    comm.Allreduce(x, y)
    return time.perf_counter() - begun


def _parts(size: int, n: int) -> list[int]:
    """Return the bytes of each engine's part: whole numbers of items."""
    items, more = divmod(size // 8, n)
    return [8 * (items + (k < more)) for k in range(n)]


if __name__ == "__main__":
    if MPI.COMM_WORLD.rank == 0:
        MPI.COMM_WORLD.Split(MPI.UNDEFINED, 0)
        bridge(Path(sys.argv[1]), int(sys.argv[2]), MPI.COMM_WORLD.size - 1)
    else:
        engine(Path(sys.argv[1]))
