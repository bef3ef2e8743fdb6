"""A rank that is an engine. The import of this module imports all that an engine needs for calls."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mpi4py import MPI

from ...engine import core_binding, environment
from ...engine.connection import connect
from ...engine.control import ControlThread
from ...engine.engine import Engine
from ...engine.mpi import groups, petsc, spawning
from ...engine.mpi.communicator_repair import CommunicatorRepair
from ...engine.mpi.watched_communicator import mpi_state
from ...engine.output.task_output import TaskOutput
from ...files.job_file import JobSpec
from ...mpi.fault_tolerance import Tolerance
from ...mpi.port_guard import protect
from ...mpi.world import World, merged, time_limit, unlink_shared_memory
from ...protocol import messages
from ...serialize import module_importer
from ...transport.base import Connection
from ...transport.zeromq import Dealer
from ..parent import Parent

log = logging.getLogger("mpidirect.job")


def receive_start() -> spawning.EngineStart:
    """Receive, in a spawned engine, the start data from the rank that spawned it."""
    start: spawning.EngineStart = MPI.Comm.Get_parent().recv(source=0)
    return start


def run_launched_engine(spec: JobSpec, world: World, tolerance: Tolerance) -> bool:
    """Run an engine that the launcher has started, until the cluster ends.

    Returns
    -------
    bool
        Whether MPI can be finalized.
    """
    start = spawning.EngineStart(world.private.bcast(None), tolerance)
    repair = _make_communicators(world, range(world.engines.size), start, 0)
    engine = world.engines.rank
    with connect(start.invitation, engine) as (tasks, control):
        return _run(engine, world, repair, start, tasks, control, Path(spec.log_directory))


def run_spawned_engine(engine: int, spec: JobSpec, start: spawning.EngineStart) -> bool:
    """Join the other ranks, and run a spawned engine until the cluster ends.

    Parameters
    ----------
    engine : int
        The engine's id.
    spec : JobSpec
        The job.
    start : EngineStart
        The start data, from the rank that spawned this engine.

    Returns
    -------
    bool
        Whether MPI can be finalized.
    """
    protect(start.tolerance, one_host=start.invitation.credentials is None)
    with connect(start.invitation, engine) as (tasks, control):
        order = spawning.await_admission(tasks)
        if order is None:
            log.info("this engine was not admitted")
            return False
        with time_limit(len(order.engines)):
            place = engine + 1, 1 + len(order.engines)
            world = merged(MPI.COMM_WORLD, order.port, *place, is_new=True, all_new=not order.living)
            repair = _make_communicators(world, order.engines, start, order.epoch)
        if order.living:
            mpi_state.c_world_loss = "this engine has taken the place of another one"
        unlink_shared_memory()
        tasks.put([messages.encode(messages.CommunicatorsMade(order.epoch))], wait=True)
        return _run(engine, world, repair, start, tasks, control, Path(spec.log_directory))


def _make_communicators(
    world: World, engines: Sequence[int], start: spawning.EngineStart, epoch: int
) -> CommunicatorRepair:
    """Make the communicators that engines share; all engines call this together."""
    has_engines_alone = MPI.COMM_WORLD.size == len(engines)  # In this case also for C code.
    groups.enable(world.engines, engines)
    repair = CommunicatorRepair(world, engines, start.tolerance.revokes, epoch)
    comm = None if has_engines_alone else repair.comm
    sys.meta_path.insert(0, petsc.PETScImportHook(comm, lambda: mpi_state.c_world_loss))
    return repair


def _run(
    engine: int,
    world: World,
    repair: CommunicatorRepair,
    start: spawning.EngineStart,
    tasks: Connection,
    control: Dealer,
    log_directory: Path,
) -> bool:
    """Serve tasks until the cluster ends; return whether MPI can be finalized."""
    module_importer.enable()
    place = environment.enter(repair.places, repair.comm.rank)
    local_rank, local_size = place["local_rank"], place["local_size"]
    invitation = start.invitation
    core_binding.bind(invitation.bind, invitation.cpus_per_task, local_rank, local_size)
    if invitation.gpu_bind == "auto":
        environment.bind(local_rank, local_size)
    tasks.put([messages.encode(environment.placed(place))], wait=True)
    names = {"comm": repair.comm, **place, "MPI": MPI}
    spawner = spawning.Spawner(Parent().command(), start)
    output = TaskOutput(log_directory, engine)
    served = Engine(engine, world, repair, spawner, tasks, names, output)
    namespace, debugger = served.namespace, served.debugger
    control_thread = ControlThread(engine, served.parts, served.batches, namespace, debugger, control)
    served.run(control_thread.start)
    output.release()
    return bool(repair.untouched)
