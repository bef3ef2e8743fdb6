"""Environment variables of a job's processes: launchers and rank wrappers set them, ranks read them."""

from __future__ import annotations

CLUSTER = "MPIDIRECT_CLUSTER"  # The cluster's id, in every process of the job.
WRAPPER_PID = "MPIDIRECT_GUARD"  # The process number of the rank wrapper, in a rank that has one.
SPAWNED_RANK = "MPIDIRECT_PLACE"  # In a spawned engine: its rank in the private communicator.
ANCHOR_PLACE = "anchor"  # The value of SPAWNED_RANK in an anchor that the controller has spawned.
FIRST_PLACE = "MPIDIRECT_FIRST_PLACE"  # In the wrapper of a spawned engine: the place of rank 0 of its spawn.
SPAWN = "MPIDIRECT_SPAWN"  # In a spawned engine: the number of the spawn.
SPAWNS = "MPIDIRECT_SPAWNS"  # The hosts with an anchor, see `anchor_hosts`; empty if nothing is spawned.

# The MPI_COMM_WORLD of C code if nothing is spawned: "launcher" keeps the world that includes the controller.
C_WORLD = "MPIDIRECT_C_WORLD"
FORK_SERVER = "MPIDIRECT_FORK_SERVER"  # "0" for the start of the job: engines are fresh interpreters.
FORKED_PID = "MPIDIRECT_FORKED"  # In an engine that a fork server has forked: its own process number.
SUPERVISED = "MPIDIRECT_SUPERVISED"  # The cluster's id, if a supervisor runs the launcher.


def anchor_hosts(value: str) -> list[tuple[str, int]]:
    """Parse the value of `SPAWNS`.

    Parameters
    ----------
    value : str
        Empty if nothing is spawned. ``1`` if the job has one host. Else ``host:slots,…``.

    Returns
    -------
    list of (str, int)
        Each host with an anchor, and how many engines have room there.

    Examples
    --------
    >>> anchor_hosts(""), anchor_hosts("1"), anchor_hosts("n1:4,n2:4")
    ([], [('', 0)], [('n1', 4), ('n2', 4)])
    """
    if value in ("", "1"):
        return [("", 0)] if value else []
    hosts = []
    for item in value.split(","):
        host, _, slots = item.rpartition(":")
        hosts.append((host, int(slots)))
    return hosts
