"""Where the controller listens: its sockets, its keys, its connection file; made and unmade here."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import resource
import shutil
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..files import connection_file
from ..files.job_file import JobSpec
from ..files.private_directories import private_directory, socket_directory, successor_file
from ..job import allocation
from ..job.handover import Handover, write
from ..memory import process_memory
from ..protocol import messages
from ..transport.addresses import interface_address, listening, only_ipv6, own_addresses, url
from ..transport.base import Listener
from ..transport.curve import CLIENTS, ENGINES, Credentials, KeyPair, ZapAuthenticator, new_keys
from ..transport.gate import reserve
from ..transport.unix import UnixListener
from ..transport.zeromq import LARGEST, SCHEME, Context, Router
from .controller import Controller
from .engines.links import EngineLink
from .engines.mpi_transfer import MPITransfer

log = logging.getLogger(__name__)

FRAME = messages.CHUNK + 1024  # bytes: clients send no larger frame, and encryption adds a little
TASKS = "engines"  # the socket of the engines' task connections, in the socket directory

WORLDS = {
    True: "MPI_COMM_WORLD is the engines alone, in C and Fortran as in Python",
    False: "MPI_COMM_WORLD is the engines alone for mpi4py; in C and Fortran its rank 0 is the controller",
}


class EngineEndpoint(NamedTuple):
    """What an engine needs to connect; it travels by MPI."""

    addresses: list[str]
    tasks: str  # another address for the task connection, where there is one
    credentials: Credentials | None  # none on one host, where a private directory protects
    gpu_bind: str
    bind: str
    cpus_per_task: int


class Server:
    """The controller's sockets and files, from the start of the job to its end.

    Parameters
    ----------
    spec : JobSpec
        What the launcher asks for.
    world : world.World
        The communicators.
    tolerance : tolerance.Tolerance
        What this job can survive.
    former : Handover, optional
        What the controller before this one has left.
    successor : Path, optional
        Where to leave the same for another one, if a supervisor would start it.
    """

    def __init__(
        self,
        spec: JobSpec,
        world: Any,
        tolerance: Any,
        former: Handover | None = None,
        successor: Path | None = None,
    ) -> None:
        self.spec = spec
        self.world = world
        self.tolerance = tolerance
        self.generation = former.generation if former else 1
        self.successor = successor
        self.handed_over = False
        self.orphaned = False  # whether the process that started this job is gone
        _take_descriptors()
        self.context = Context()
        self.server, self.clients, self.engine_server, self.engine_keys = (new_keys() for _ in range(4))
        if former:
            self.server, self.clients = KeyPair(*former.server), KeyPair(*former.clients)
        self.authenticator = ZapAuthenticator(
            self.context, {CLIENTS: self.clients.public, ENGINES: self.engine_keys.public}
        )
        self.directory = private_directory(socket_directory(spec.cluster))
        local = f"{SCHEME}{self.directory}/clients"
        self.local = Router.bound(self.context, local, FRAME)
        ip = spec.ip or "127.0.0.1"
        listener = _bound_again(interface_address(ip), spec.port, former.port if former else 0)
        port = self.port = listener.getsockname()[1]
        self.remote = Router.listening(self.context, listener, self.server, CLIENTS, FRAME)
        hosts = own_addresses() if ip == "*" else [interface_address(ip)]
        self.addresses = [local, *(url(host, port) for host in hosts)]
        self.engines = EngineLink(*self._for_engines())

    def _for_engines(self) -> tuple[Listener, Listener]:
        """On one host a private directory is the safest and the fastest; between hosts, CURVE.

        The control connection is ZeroMQ's also there: its heartbeats need no lock of Python's, and so tell
        an engine that is frozen from one that is busy.
        """
        self.engine_tasks = ""
        if self.world.one_host:
            self.engine_addresses = [f"{SCHEME}{self.directory}/control"]
            tasks = UnixListener(self.directory / TASKS, LARGEST)
            self.engine_tasks = tasks.address
            return tasks, Router.bound(self.context, self.engine_addresses[0])
        listener = listening("*", 0)
        port = listener.getsockname()[1]
        router = Router.listening(self.context, listener, self.engine_server, ENGINES)
        chosen = interface_address(self.spec.ip)  # the others are tried after it
        usable = [host for host in own_addresses() if only_ipv6() or ":" not in host]
        hosts = sorted(usable, key=lambda host: host != chosen)
        self.engine_addresses = [url(host, port) for host in hosts]
        return router, router

    def invitation(self) -> EngineEndpoint:
        """What the engines need to connect."""
        spec, credentials = self.spec, None
        if not self.world.one_host:
            credentials = Credentials(self.engine_server.public, self.engine_keys)
        binding = spec.gpu_bind, spec.bind, spec.cpus_per_task
        return EngineEndpoint(self.engine_addresses, self.engine_tasks, credentials, *binding)

    def controller(self, world: Any) -> Controller:
        """The controller on these sockets, with these communicators."""
        facts = {
            "cluster": self.spec.cluster,
            "profile": self.spec.profile,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "python": platform.python_version(),
            "mpi": mpi_library(),
            "logs": self.spec.log_directory,
            "fault_tolerance": self.tolerance.facts(self.spec.spawns, self.successor is not None),
            "spawns": self.spec.spawns,
            "world": WORLDS[self.spec.spawns],
            "started": time.time(),
            "ends": allocation.ends(),
        }
        transfer = MPITransfer(world, self.tolerance.revokes)
        clients = [self.local, self.remote]
        controller = Controller(
            clients, self.engines, transfer, self.authenticator, facts, self.spec.engines, self.spec.budget
        )
        if self.successor is not None:
            controller.succession.write = partial(self._hand_over, controller, self.successor)
        return controller

    def _hand_over(self, controller: Controller, file: Path) -> None:
        """Write what the next controller needs: the supervisor starts it when this process has ended."""
        succession = controller.succession
        left = Handover(
            generation=self.generation + 1,
            engines=succession.size,
            former=controller.size,
            server=(self.server.public, self.server.secret),
            clients=(self.clients.public, self.clients.secret),
            port=self.port,
            place=process_memory.domain(),
            asker=succession.asker,
            query=succession.query,
            lost=controller.lost,
            step=allocation.step(),
        )
        write(file, left, succession.states())
        successor_file(self.spec.cluster).write_text("")  # clients of this host see a process end
        self.handed_over = True

    def publish(self) -> None:
        """Write the connection file: from now on clients can come."""
        info = connection_file.ConnectionInfo(
            cluster=self.spec.cluster,
            addresses=self.addresses,
            server_key=self.server.public.decode(),
            client_key=self.clients.public.decode(),
            client_secret=self.clients.secret.decode(),
            host=socket.gethostname(),
            pid=os.getpid(),
            engines=self.spec.engines,
            profile=self.spec.profile,
            mpi=mpi_library(),
            started=time.time(),
            ends=allocation.ends(),
            warning=self.spec.walltime_warning,
        )
        connection_file.write(info, Path(self.spec.connection_file))
        if self.generation > 1:
            successor_file(self.spec.cluster).write_text(str(os.getpid()))

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        # Without its controller it tells that the cluster was not stopped, or that another one follows.
        if not (self.orphaned or self.handed_over):
            Path(self.spec.connection_file).unlink(missing_ok=True)
        self.engines.close()
        self.local.close(500)
        self.remote.close(500)
        if self.handed_over:
            (self.directory / TASKS).unlink(missing_ok=True)  # ZeroMQ removes its own
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.context.destroy(linger=500)


def _take_descriptors() -> None:
    """Allow nearly as many descriptors as the system does: each connection takes one, a stranger's too.

    The last ones are for `gate.Gate`.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = most if most == resource.RLIM_INFINITY else most - reserve(most)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


def mpi_library() -> str:
    """The MPI that is in use, in a line."""
    from mpi4py import MPI

    name = MPI.Get_library_version().splitlines()[0].partition(",")[0]
    return " ".join(name.replace(" Version:", "").split())


def _bound_again(ip: str, port: str, former: int) -> socket.socket:
    """Return a socket at the port that clients know, if there is one and it is free; else at `port`."""
    with contextlib.suppress(OSError):
        if former:
            return listening(ip, former)
    return _bound(ip, port)


def _bound(ip: str, port: str) -> socket.socket:
    """A socket at `port`: ``0`` for any, one, or a range ``first-last``."""
    first, _, last = port.partition("-")
    try:
        low, high = int(first), int(last or first)
    except ValueError:
        raise ConfigError(f"port {port!r} is neither a port nor a range like 5000-5100") from None
    for candidate in range(low, high + 1):
        try:
            return listening(ip, candidate)
        except OSError as e:
            if e.errno == errno.EADDRINUSE:
                continue
            raise _cannot_listen(ip, e) from None
        except OverflowError:
            break
    raise ConfigError(f"no port of {port} is free on {ip}: choose others with --port")


def _cannot_listen(ip: str, e: OSError) -> ConfigError:
    import psutil

    interfaces = ", ".join(psutil.net_if_addrs())
    return ConfigError(
        f"can't listen on {ip!r}: {e.strerror}. The interfaces of {socket.gethostname()}, where the "
        f"controller runs, are {interfaces}: choose one with --interface, or leave it out."
    )
