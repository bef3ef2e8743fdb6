"""One rank of a cluster's job: ``python -m mpidirect.job JOBFILE``, started n + 1 times by a launcher."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import MPIDirectError
from ..files import job_file
from ..files.logs import FAILS
from .handover import SUPERVISED
from .parent import PLACE, SPAWNS, Parent, anchors, is_gone, leave_in_order

log = logging.getLogger("mpidirect.job")

LEAVING = 5.0  # seconds for the way out, from MPI_Finalize on
WRONG_WORLD = 3  # exit code when the ranks don't find each other


def main(argv: list[str]) -> int:
    """Run this rank until its cluster ends."""
    if len(argv) != 2:
        print("usage: python -m mpidirect.job JOBFILE (launchers do this)", file=sys.stderr)
        return 2
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})  # by now the guard has it ignored
    place = int(os.environ.pop(PLACE, 0))  # of a dead rank, if this is a new one
    welcome = _welcome(place) if place else None  # MPI at first: it would wait for one that fails before
    spec = job_file.read(Path(argv[1]))
    hosts = anchors(os.environ.get(SPAWNS, ""))  # it may have been decided when the job began
    spec.spawns = bool(hosts)
    MPI = _mpi(place)
    world, finalize = MPI.COMM_WORLD, MPI.Finalize
    ranks = 1 + (len(hosts) or spec.engines)
    supervised = os.environ.pop(SUPERVISED, "") == spec.cluster and not spec.spawns
    if not (place or spec.spawns):
        ranks = _told_by_first(world, ranks)
    if not place and world.size != ranks:
        if world.rank == 0:
            print(_wrong_world(world.size, ranks, MPI), file=sys.stderr, flush=True)
        return WRONG_WORLD
    rank = place or world.rank
    anchor = spec.spawns and not place and rank > 0
    name = f"engine-{rank - 1}" if rank else "controller"
    if anchor:
        name = "anchor" if rank == 1 else f"anchor-{rank}"
    _log_to(Path(spec.log_directory) / f"{name}.log")
    from ..mpi import world as worlds
    from ..mpi.fault_tolerance import Tolerance

    tolerance = Tolerance.of(MPI)
    if not anchor:  # what it starts is to have what mpiexec was told
        worlds.forget_launcher()
    clean = False
    try:
        if rank and not anchor:
            _load_engine()
        if rank == 0:
            clean = _controller(spec, Path(argv[1]), tolerance, supervised)
        elif place:
            clean = _new_engine(place - 1, welcome, Path(spec.log_directory))
        elif anchor:
            _anchor(spec, worlds.anchored(), tolerance, hosts)
        else:
            clean = _engine(worlds.split(), tolerance, Path(spec.log_directory))
    except Exception as e:
        # what is told on purpose needs no traceback
        log.error("%s%s", FAILS, e, exc_info=not isinstance(e, MPIDirectError))
        sys.stderr.flush()
        if place:
            os._exit(1)  # the others go on without
        world.Abort(1)
    _leave(finalize if clean else None)
    return 0


def _told_by_first(world: Any, ranks: int) -> int:
    """Return the number of ranks as rank 0 knows it: other hosts may still see the former job file."""
    number = bytearray(ranks.to_bytes(8, "little"))
    world.Bcast(number)
    return int.from_bytes(number, "little")


def _mpi(place: int) -> Any:
    """Begin with MPI."""
    import mpi4py

    mpi4py.rc.finalize = False  # a forked child that exits must not finalize its parent's MPI
    if not place and _expected_rank() == 0:
        # One thread uses MPI there; and with locks, Open MPI's TCP deadlocks when a peer dies in a transfer.
        mpi4py.rc.thread_level = "single"
    from mpi4py import MPI

    return MPI


def _welcome(place: int) -> Any:
    """What a new engine is told by the one that started it."""
    parent = _mpi(place).Comm.Get_parent()
    _load_engine()  # while that one is told that all are there
    return parent.recv(source=0)


def _load_engine() -> None:
    """Import what is slow: who has connected is ready for calls."""
    from ..engine import engine as working  # noqa: F401


def _expected_rank() -> int | None:
    """This process's rank, as far as its launcher tells before MPI begins."""
    told = [os.environ[n] for n in ("PMIX_RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK") if n in os.environ]
    return int(told[0]) if told and told[0].isdigit() else None


def _wrong_world(found: int, wanted: int, MPI: Any) -> str:
    library = MPI.Get_library_version().splitlines()[0].strip()
    remedy = "'mpidirect doctor' shows which mpiexec belongs to it; choose it with --mpiexec."
    if "SLURM_SRUN_COMM_HOST" in os.environ and _expected_rank() is None:
        remedy = (
            "srun must speak its PMI: --mpiexec 'srun --mpi=pmix' for Open MPI, 'srun --mpi=pmi2' for MPICH "
            "('srun --mpi=list' shows what there is); or leave --mpiexec out."
        )
    return (
        f"mpidirect: this job should have {wanted} ranks, but MPI says that it has {found}.\n"
        f"The command that started it does not belong to the MPI that mpi4py uses here ({library}).\n"
        f"Python: {sys.executable}\n"
        f"Remedy: {remedy}"
    )


def _log_to(path: Path) -> None:
    """Send this rank's output, its C libraries' and its crashes' included, to a file of its own."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    faulthandler.enable()
    ours = logging.getLogger("mpidirect")  # the root logger is the user's, to set up as he likes
    ours.setLevel(os.environ.get("MPIDIRECT_LOGLEVEL", "INFO").upper())
    ours.propagate = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours.addHandler(handler)


def _controller(spec: job_file.JobSpec, file: Path, tolerance: Any, supervised: bool) -> bool:
    from ..mpi import world as worlds
    from . import handover

    world = worlds.anchored() if spec.spawns else worlds.split()
    from ..controller.handover import resume
    from ..controller.server import Server  # while the anchor spawns

    successor = handover.path(file) if supervised else None
    former = handover.take(successor) if successor else None

    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGINT, _terminated)
    signal.signal(signal.SIGHUP, _terminated)
    with Server(spec, world, tolerance, former[0] if former else None, successor) as listener:
        if spec.spawns:
            for anchor in range(1, world.private.size):
                world.private.send(listener.invitation(), anchor)
            worlds.nameless(launched=True)
        else:
            world.private.bcast(listener.invitation())
        controller = listener.controller(worlds.alone() if spec.spawns else world)
        controller.abandoned = partial(_abandoned, spec, file)
        if former:
            resume(controller, *former)
        listener.publish()
        with contextlib.suppress(_Terminated):
            controller.run()
        controller.stop()
        listener.orphaned = controller.orphaned
        log.info("leaving")
    if is_gone(spec.owner):  # nobody else removes what is remembered of this cluster
        from ..files import profiles
        from ..launchers import jobs

        jobs.sweep(profiles.Profile(spec.profile), spec.cluster)
    return bool(controller.recovery.untouched) and not listener.handed_over


def _engine(world: Any, tolerance: Any, logs: Path) -> bool:
    from ..engine.connection import connect
    from ..engine.mpi.spawning import EngineStart

    welcome = EngineStart(world.private.bcast(None), tolerance)
    recovery = _recovery(world, range(world.engines.size), welcome, 0)
    engine = world.engines.rank
    with connect(welcome.invitation, engine) as (tasks, control):
        return _work(engine, world, recovery, welcome, tasks, control, logs)


def _anchor(spec: job_file.JobSpec, world: Any, tolerance: Any, hosts: list[tuple[str, int]]) -> None:
    """Be an anchor until the end; the first one spawns engines, at once, while the controller prepares."""
    from ..engine.connection import connect_anchor
    from ..engine.mpi import spawning
    from ..mpi import world as worlds
    from ..protocol import messages

    command = Parent().command()
    number, n = world.private.rank - 1, spec.engines
    where = spawning.Hosts(hosts, f"{spec.log_directory}/engines.hosts") if len(hosts) > 1 else None
    order = messages.SpawnEngines(list(range(n)), str(Path.cwd()), n)
    first = None if number else spawning.start(command, order, where)
    welcome = spawning.EngineStart(world.private.recv(source=0), tolerance, where)
    worlds.nameless(launched=True)
    if first is not None:
        spawning.greet(first, welcome)
    spawning.serve(connect_anchor(welcome.invitation, number), spawning.Spawner(command, welcome))


def _new_engine(engine: int, welcome: Any, logs: Path) -> bool:
    """Be one of those that are spawned: come in when all others let this one in."""
    from mpi4py import MPI

    from ..engine.connection import connect
    from ..engine.mpi import spawning
    from ..mpi import world as worlds
    from ..protocol import messages

    with connect(welcome.invitation, engine) as (tasks, control):
        order = spawning.asked_in(tasks)
        if order is None:
            log.info("this engine is not let in")
            return False
        with worlds.limited():
            world = worlds.grown(
                MPI.COMM_WORLD, order.port, engine + 1, arriving=True, whole=not order.living
            )
            recovery = _recovery(world, order.engines, welcome, order.epoch)
        worlds.nameless()
        tasks.put([messages.encode(messages.CommunicatorsMade(order.epoch))], wait=True)
        return _work(engine, world, recovery, welcome, tasks, control, logs)


def _recovery(world: Any, engines: Sequence[int], welcome: Any, epoch: int) -> Any:
    """Make what engines have together; they all do it."""
    from mpi4py import MPI

    from ..engine.mpi import groups, petsc
    from ..engine.mpi.recovery import CommunicatorRepair

    theirs = MPI.COMM_WORLD.size == len(engines)  # also below Python
    groups.begin(world.engines, engines)
    recovery = CommunicatorRepair(world, engines, welcome.tolerance.revokes, epoch)
    if not theirs:
        petsc.prepare(recovery.comm)
    return recovery


def _work(engine: int, world: Any, recovery: Any, welcome: Any, tasks: Any, control: Any, logs: Path) -> bool:
    """Be an engine until the end."""
    from mpi4py import MPI

    from ..engine import core_binding, environment
    from ..engine.control import ControlThread
    from ..engine.engine import Engine
    from ..engine.mpi.spawning import Spawner
    from ..engine.output.task_output import TaskOutput
    from ..protocol import messages
    from ..serialize import module_importer

    module_importer.begin()
    around = environment.enter(recovery.places, recovery.comm.rank)
    near, invitation = (around["local_rank"], around["local_size"]), welcome.invitation
    core_binding.bind(invitation.bind, invitation.cpus_per_task, *near)
    if invitation.gpu_bind == "auto":
        environment.bind(*near)
    tasks.put([messages.encode(environment.placed(around))], wait=True)
    names = {"comm": recovery.comm, **around, "MPI": MPI}
    spawner = Spawner(Parent().command(), welcome)
    output = TaskOutput(logs, engine)
    working = Engine(engine, world, recovery, spawner, tasks, names, output)
    working.run(ControlThread(working, control).start)
    output.release()
    return bool(recovery.untouched)


def _abandoned(spec: job_file.JobSpec, file: Path) -> bool:
    """Whether the process that this job was to end with has ended."""
    if is_gone(spec.owner):
        spec.owner = job_file.read(file).owner  # it may have let go of the job since
    return is_gone(spec.owner)


class _Terminated(BaseException):
    pass


def _terminated(signum: int, frame: Any) -> None:
    for again in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(again, signal.SIG_IGN)  # once is enough, and what is left to do must be done
    log.info("terminated by signal %d", signum)
    raise _Terminated


def _leave(finalize: Callable[[], None] | None) -> None:
    """End this process in a bounded time; without MPI_Finalize after a failure, when it may hang."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.dump_traceback_later(LEAVING, exit=True)
    atexit._run_exitfuncs()
    if finalize is not None:
        finalize()
    sys.stdout.flush()
    sys.stderr.flush()
    leave_in_order()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
