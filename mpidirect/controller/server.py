"""The sockets, keys and files of the controller, from the start of the job to its end."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import socket
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..files import connection_file
from ..files.job_file import JobSpec
from ..files.private_directories import private_directory, socket_directory, successor_file
from ..job import allocation
from ..job.handover import Handover, write
from ..mpi.fault_tolerance import Tolerance
from ..mpi.world import World
from ..protocol import messages
from ..transport.addresses import interface_address, listening, only_ipv6, own_addresses, url
from ..transport.base import Listener
from ..transport.curve import CLIENTS, ENGINES, Credentials, KeyPair, ZapAuthenticator, new_keys
from ..transport.unix import UnixListener
from ..transport.zeromq import LARGEST, SCHEME, Context, Router
from .controller import Controller
from .engines.links import EngineLink
from .engines.mpi_transfer import MPITransfer
from .handover import Succession
from .ports import client_port, raise_descriptor_limit

log = logging.getLogger(__name__)

MAX_CLIENT_FRAME = messages.CHUNK + 1024  # bytes: a chunk, and the overhead of encryption
TASK_SOCKET = "engines"  # the socket of the engines' task connections, in the socket directory

WORLDS = {
    True: "MPI_COMM_WORLD is the engines alone, in C and Fortran as in Python",
    False: "MPI_COMM_WORLD is the engines alone for mpi4py; in C and Fortran its rank 0 is the controller",
}


class EngineEndpoint(NamedTuple):
    """What an engine needs to connect; MPI carries it to the engines.

    Attributes
    ----------
    addresses : list of str
        The addresses of the control connection; also of the task connection, if `tasks` is empty.
    tasks : str
        The address of the task connection on the controller's host; empty on other hosts.
    credentials : Credentials or None
        The keys; None on one host, where a private directory protects the connections.
    gpu_bind, bind, cpus_per_task
        How an engine binds itself to GPUs and cores.
    """

    addresses: list[str]
    tasks: str
    credentials: Credentials | None
    gpu_bind: str
    bind: str
    cpus_per_task: int


class Server:
    """The controller's sockets and files, from the start of the job to its end.

    Parameters
    ----------
    spec : JobSpec
        What the launcher has asked for.
    world : World
        The communicators.
    tolerance : Tolerance
        The failures that this job can survive.
    ends : float
        When the walltime ends the job, in seconds since the epoch; 0 if unknown.
    former : Handover, optional
        What the former controller has handed over.
    successor : Path, optional
        The handover file for a restart of all processes by a supervisor.
    """

    def __init__(
        self,
        spec: JobSpec,
        world: World,
        tolerance: Tolerance,
        ends: float = 0.0,
        former: Handover | None = None,
        successor: Path | None = None,
    ) -> None:
        self.orphaned = False  # whether the process that started this job is gone
        self.handed_over = False  # whether another controller follows
        self._spec = spec
        self._one_host = world.one_host
        self._tolerance = tolerance
        self._ends = ends
        self._generation = former.generation if former else 1
        self._successor = successor
        raise_descriptor_limit()
        self._context = Context()
        self._server_keys = KeyPair(*former.server) if former else new_keys()
        self._client_keys = KeyPair(*former.clients) if former else new_keys()
        self._engine_server_keys, self._engine_keys = new_keys(), new_keys()
        self._authenticator = ZapAuthenticator(
            self._context, {CLIENTS: self._client_keys.public, ENGINES: self._engine_keys.public}
        )
        self._directory = private_directory(socket_directory(spec.cluster))
        self._listen_for_clients(former.port if former else 0)
        self._engines = EngineLink(*self._listen_for_engines())

    def _listen_for_clients(self, former_port: int) -> None:
        """Listen at a Unix socket and at a TCP port."""
        local_address = f"{SCHEME}{self._directory}/clients"
        self._local = Router.bound(self._context, local_address, MAX_CLIENT_FRAME, of_clients=True)
        ip = self._spec.ip or "127.0.0.1"
        listener = client_port(interface_address(ip), self._spec.port, former_port)
        self._port = listener.getsockname()[1]
        self._remote = Router.listening(
            self._context, listener, self._server_keys, CLIENTS, MAX_CLIENT_FRAME, of_clients=True
        )
        hosts = own_addresses() if ip == "*" else [interface_address(ip)]
        self._addresses = [local_address, *(url(host, self._port) for host in hosts)]

    def _listen_for_engines(self) -> tuple[Listener, Listener]:
        """Return the listeners for the task connections and the control connections of the engines.

        On one host, sockets in a private directory are the safest and the fastest; between hosts, TCP with
        CURVE. Control connections always use ZeroMQ: its heartbeats need no lock of Python, and so
        distinguish a frozen engine from a busy one.
        """
        self._engine_tasks_address = ""
        if self._one_host:
            self._engine_addresses = [f"{SCHEME}{self._directory}/control"]
            tasks = UnixListener(self._directory / TASK_SOCKET, LARGEST)
            self._engine_tasks_address = tasks.address
            return tasks, Router.bound(self._context, self._engine_addresses[0])
        listener = listening("*", 0)
        port = listener.getsockname()[1]
        router = Router.listening(self._context, listener, self._engine_server_keys, ENGINES)
        chosen = interface_address(self._spec.ip)  # engines try this address first
        usable = [host for host in own_addresses() if only_ipv6() or ":" not in host]
        hosts = sorted(usable, key=lambda host: host != chosen)
        self._engine_addresses = [url(host, port) for host in hosts]
        return router, router

    def invitation(self) -> EngineEndpoint:
        """Return what the engines need to connect."""
        spec, credentials = self._spec, None
        if not self._one_host:
            credentials = Credentials(self._engine_server_keys.public, self._engine_keys)
        binding = spec.gpu_bind, spec.bind, spec.cpus_per_task
        return EngineEndpoint(self._engine_addresses, self._engine_tasks_address, credentials, *binding)

    def controller(self, world: World) -> Controller:
        """Return the controller on these sockets, with these communicators."""
        facts = {
            "cluster": self._spec.cluster,
            "profile": self._spec.profile,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "python": platform.python_version(),
            "mpi": mpi_library(),
            "logs": self._spec.log_directory,
            "fault_tolerance": self._tolerance.facts(self._spec.spawns, self._successor is not None),
            "spawns": self._spec.spawns,
            "room": allocation.room(),
            "world": WORLDS[world.engines_alone_in_c],
            "started": time.time(),
            "ends": self._ends,
        }
        transfer = MPITransfer(world, self._tolerance.revokes)
        clients = [self._local, self._remote]
        controller = Controller(
            clients,
            self._engines,
            transfer,
            self._authenticator,
            facts,
            self._spec.engines,
            self._spec.budget,
            supervised=self._successor is not None,
            idle_timeout=self._spec.idle_timeout,
            idle_save=self._spec.idle_save,
        )
        if self._successor is not None:
            controller.write_handover = partial(self._hand_over, controller.succession, self._successor)
        return controller

    def _hand_over(self, succession: Succession, file: Path) -> None:
        """Write the handover file, by which the supervisor starts the next controller after this process."""
        handover = succession.describe(
            self._generation + 1,
            (self._server_keys.public, self._server_keys.secret),
            (self._client_keys.public, self._client_keys.secret),
            self._port,
            allocation.step(),
        )
        write(file, handover, succession.kept_sessions())
        # clients on this host only see that a process has ended
        successor_file(self._spec.cluster).write_text("")
        self.handed_over = True

    def hand_over_to_next_job(self, succession: Succession, file: Path) -> None:
        """Write the handover file for the controller of the next job."""
        handover = succession.describe(
            1,
            (self._server_keys.public, self._server_keys.secret),
            (self._client_keys.public, self._client_keys.secret),
            self._port,
            "",
        )
        write(file, handover, succession.kept_sessions())

    def publish(self) -> None:
        """Write the connection file: from now on clients can connect."""
        info = connection_file.ConnectionInfo(
            cluster=self._spec.cluster,
            addresses=self._addresses,
            server_key=self._server_keys.public.decode(),
            client_key=self._client_keys.public.decode(),
            client_secret=self._client_keys.secret.decode(),
            host=socket.gethostname(),
            pid=os.getpid(),
            engines=self._spec.engines,
            profile=self._spec.profile,
            mpi=mpi_library(),
            started=time.time(),
            ends=self._ends,
            warning=self._spec.walltime_warning,
        )
        connection_file.write(info, Path(self._spec.connection_file))
        if self._generation > 1:
            successor_file(self._spec.cluster).write_text(str(os.getpid()))

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        # A remaining file tells that the cluster was not stopped, or that another controller follows.
        if not (self.orphaned or self.handed_over):
            Path(self._spec.connection_file).unlink(missing_ok=True)
        self._engines.close()
        self._local.close(500)
        self._remote.close(500)
        if self.handed_over:
            (self._directory / TASK_SOCKET).unlink(missing_ok=True)  # ZeroMQ removes its own sockets
        else:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._context.destroy(linger=500)


def mpi_library() -> str:
    """Return the name and version of the MPI library."""
    from mpi4py import MPI

    name = MPI.Get_library_version().splitlines()[0].partition(",")[0]
    return " ".join(name.replace(" Version:", "").split())
