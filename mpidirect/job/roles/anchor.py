"""A rank that is an anchor: it spawns engines."""

from __future__ import annotations

import math
from pathlib import Path

from ...engine.connection import connect_anchor
from ...engine.mpi import spawning
from ...files.job_file import JobSpec, Owner
from ...mpi.fault_tolerance import Tolerance
from ...mpi.world import World, unlink_shared_memory
from ...protocol import messages
from .. import fork_server
from ..parent import Parent
from ..spawn_watch import SpawnWatch


def run_anchor(
    spec: JobSpec, world: World, tolerance: Tolerance, hosts: list[tuple[str, int]], controller: Owner
) -> None:
    """Run an anchor until the cluster ends.

    The first anchor spawns the engines at once, while the controller prepares its sockets.

    Parameters
    ----------
    spec : JobSpec
        The job.
    world : World
        The communicators with the controller and the other anchors.
    tolerance : Tolerance
        The failures that this MPI can survive.
    hosts : list of (str, int)
        The hosts with an anchor, and how many engines have room on each.
    controller : Owner
        The process of the controller.
    """
    command = fork_server.client_command(Parent().command(), spec.cluster)
    number, n = world.private.rank - 1, spec.engines
    placement = spawning.placement(hosts, spec.log_directory)
    order = messages.SpawnEngines(list(range(n)), str(Path.cwd()), n)
    with SpawnWatch(spec.cluster, controller, spec.start_timeout):
        children = None if number else spawning.start_processes(command, order, placement)
    start = spawning.EngineStart(world.private.recv(source=0), tolerance, placement, controller)
    unlink_shared_memory(launched=True)
    if children is not None:
        spawning.send_start(children, start)
    _serve(spec, start, controller, number, command)


def run_spawned_anchor(spec: JobSpec, start: spawning.EngineStart) -> None:
    """Run, until the cluster ends, the anchor that takes the place of one that died."""
    assert start.controller is not None
    unlink_shared_memory(launched=True)
    _serve(spec, start, start.controller, 0, Parent().command())


def _serve(
    spec: JobSpec, start: spawning.EngineStart, controller: Owner, number: int, command: list[str]
) -> None:
    """Spawn engines by `command` when the controller orders it, until the cluster ends."""
    watch = SpawnWatch(spec.cluster, controller, math.inf)  # The controller limits the time of these spawns.
    spawning.serve(connect_anchor(start.invitation, number), spawning.Spawner(command, start), watch)
