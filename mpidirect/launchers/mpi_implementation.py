"""The implementations of MPI: the arguments and the environment that each one's mpiexec needs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import metadata
from typing import NamedTuple

_OPEN_MPI = {
    # Open MPI refuses to run as root, and to start more ranks than cores.
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    # By slot: each node gets its share in turn, and an extra rank goes to the first node.
    "PRTE_MCA_rmaps_default_mapping_policy": "slot:oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    # TCP without "put": with put, large messages get lost if two networks connect the same processes.
    "OMPI_MCA_btl_tcp_flags": "send,inplace,need-ack,need-csum,hetero-rdma",
}
# Without these, spawned processes are no fault-tolerant job: all processes of a spawn end together, and no
# process notices the death of another one, so all wait for ever.
_OPEN_MPI_ULFM = {"PRTE_MCA_state_base_recoverable": "1", "PRTE_MCA_state_base_notify_errors": "1"}
# On one host. A BTL that looks for a fabric sleeps for a second in libfabric if there is none. One network is
# enough: spawned processes and their spawners use TCP. A rank that waits gives up its core to the others:
# Open MPI does not know that there may be more spawned ranks than cores. On busy cores, joins take a third of
# the time then.
_OPEN_MPI_ONE_HOST = {
    "OMPI_MCA_btl": "^ofi",
    "OMPI_MCA_btl_tcp_if_include": "127.0.0.0/8",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}
_OPEN_MPI_4 = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_orte_allowed_exit_without_sync": "1",  # ranks leave without MPI_Finalize
}
# UCX connects MPICH to spawned processes, and ends a process that reads the memory of a dead process.
_MPICH = {"UCX_TLS": "^cma"}
# On one host. Only the loopback: no port is open to other hosts, and a network interface that appears later
# does not prevent new engines from reaching the controller.
_MPICH_ONE_HOST = {"UCX_NET_DEVICES": "lo"}


class Implementation(NamedTuple):
    """An implementation of MPI, as its mpiexec reports.

    Attributes
    ----------
    name : str
        ``openmpi``, ``mpich``, ``intel``, or empty if unknown.
    version : str
        The version; empty if unknown.
    device : str
        The device that MPICH was built with; empty if unknown.
    """

    name: str = ""
    version: str = ""
    device: str = ""

    @property
    def can_spawn(self) -> bool:
        """Whether engines can be spawned as a world of their own, and again after their end."""
        if self.device == "ch4:ucx" and self.version.startswith(("4.0", "4.1", "4.2")):
            return False  # With UCX, MPICH spawns since version 4.3.
        return self.has_ulfm or (self.name == "mpich" and self.major >= 4)

    @property
    def has_ulfm(self) -> bool:
        """Whether MPI's fault tolerance can be used: both Open MPI and mpi4py must have it."""
        return self.name == "openmpi" and self.major >= 5 and _mpi4py_has_ulfm()

    @property
    def major(self) -> int:
        """The first number of the version; 0 if unknown."""
        return int(self.version.partition(".")[0] or 0)

    def arguments(self, given: Sequence[str] = ()) -> list[str]:
        """Return the arguments for mpiexec that the user has not `given`, without the number of ranks.

        These arguments let a job survive the death of a rank.
        """
        wanted: list[tuple[str, ...]] = []
        if self.name in ("mpich", "intel"):
            wanted.append(("-disable-auto-cleanup",))
        if self.name == "openmpi":
            wanted.append(("--stdin", "none"))  # otherwise rank 0 never sees the end of its input
            if self.has_ulfm:
                wanted.append(("--with-ft", "ulfm"))
        return [word for argument in wanted if argument[0] not in given for word in argument]

    def hostfile_arguments(self, file: str) -> list[str]:
        """Return the arguments that name a file with one host for each rank; empty if unknown."""
        if self.name == "openmpi":  # without "seq", Open MPI counts the slots of a node as the scheduler does
            return ["--map-by", "seq:oversubscribe", "--hostfile", file]
        flag = {"mpich": "-f", "intel": "-machinefile"}.get(self.name)
        return [flag, file] if flag else []

    def environment(self, one_host: bool = False) -> dict[str, str]:
        """Return the variables that mpiexec needs unless the user has set them.

        Parameters
        ----------
        one_host : bool
            Whether all ranks share a host.
        """
        if self.name == "mpich":
            return (_MPICH_ONE_HOST if one_host else {}) | _MPICH
        if self.name != "openmpi":
            # this may be Open MPI; other implementations ignore these variables
            return _OPEN_MPI | _OPEN_MPI_ULFM
        if self.major < 5:
            return _OPEN_MPI | _OPEN_MPI_4
        tolerance = _OPEN_MPI_ULFM if self.has_ulfm else {}
        return _OPEN_MPI | tolerance | (_OPEN_MPI_ONE_HOST if one_host else {})

    def __str__(self) -> str:
        names = {"openmpi": "Open MPI", "mpich": "MPICH", "intel": "Intel MPI"}
        return f"{names.get(self.name, 'an unknown MPI')} {self.version}".strip()


@functools.cache
def _mpi4py_has_ulfm() -> bool:
    """Return whether mpi4py has the functions of MPI's fault tolerance, as it does since version 4."""
    try:
        return int(metadata.version("mpi4py").partition(".")[0]) >= 4
    except (metadata.PackageNotFoundError, ValueError):
        return True
