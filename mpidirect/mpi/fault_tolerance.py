"""The failures that an MPI can survive, which depends on how it was started."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ..job.parent import Parent

_ULFM = "OMPI_MCA_mpi_ft_enable"


class Tolerance(NamedTuple):
    """The failures that the ranks of a job can survive.

    Attributes
    ----------
    deaths : bool
        Whether the other engines survive the death of an engine.
    revokes : bool
        Whether MPI itself can get an engine out of a blocking call (ULFM).
    vendor : str
        The name of the MPI.
    spawns : bool
        Whether MPI can start new processes.
    """

    deaths: bool
    revokes: bool
    vendor: str = ""
    spawns: bool = True

    @property
    def replaces(self) -> bool:
        """Whether new engines can replace dead ones.

        Not with Intel MPI: in 2021.18, members of a communicator with spawned processes in it lose messages.
        """
        return self.deaths and self.spawns and not self.vendor.startswith("Intel")

    @classmethod
    def of(cls, MPI: Any) -> Tolerance:
        """Return the tolerance of this rank, while the environment has the launcher's variables."""
        vendor, version = MPI.get_vendor()
        wrapped = Parent().wrapped
        if vendor == "Open MPI":
            asked = os.environ.get(_ULFM, "").lower() in ("1", "true", "yes")
            enabled = asked and hasattr(MPI.Comm, "Revoke")  # mpi4py has this method since version 4.
            # The second thread of an engine revokes. Rank 0 has only one thread, and MPI knows this.
            threads = MPI.COMM_WORLD.rank == 0 or MPI.Query_thread() == MPI.THREAD_MULTIPLE
            revokes = enabled and threads
            return cls(revokes and wrapped, revokes, vendor)
        spawns = version >= (4, 3) or "ch4:ucx" not in MPI.Get_library_version()  # MPICH with UCX
        return cls(wrapped, False, vendor, spawns)

    def text(self, supervised: bool) -> str:
        """Return a description in one line; `supervised` if a supervisor can start all processes anew."""
        if self.deaths:
            replaced = ", and another can take its place" if self.replaces else ""
            deaths = f"the others survive the death of an engine{replaced}"
        else:
            ended = "all engines, and new ones are started" if supervised else "the job"
            deaths = f"the death of an engine ends {ended} (this MPI or launcher has no fault tolerance)"
        return f"{deaths}; {_CALLS[self.revokes]}"

    def facts(self, spawns: bool, supervised: bool = False) -> dict[str, Any]:
        """Return the facts for clients.

        Parameters
        ----------
        spawns : bool
            Whether engines are spawned.
        supervised : bool
            Whether a supervisor can start all processes anew.
        """
        return {
            "deaths": self.deaths,
            "revokes": self.revokes,
            "replaces": self.replaces,
            "restarts": (self.replaces and spawns) or supervised,
            "text": self.text(supervised),
        }


def lost_c_world(reason: str) -> str:
    """Return the text that C code has lost ``MPI_COMM_WORLD`` for a `reason`, and how to renew it."""
    return (
        f"MPI_COMM_WORLD in C and Fortran can't be used any more: {reason}. "
        "rc.restart() of all engines renews it"
    )


# What follows the death of an engine that the others survive.
SURVIVAL = (
    "The engines that are left make a new comm. MPI_COMM_WORLD of C and Fortran code, such as PETSc, stays "
    "broken: rc.restart() starts all engines anew."
)
# What follows the death of an engine that the others do not survive: whether new ones are started.
CONSEQUENCES = {
    True: "With this MPI all engines end then; new ones, with empty namespaces, are started",
    False: "With this MPI the job ends then",
}
_CALLS = {
    True: "engines stuck in any MPI call on comm, or on what was made from it, can be interrupted",
    False: "engines stuck in a send, a receive or a collective can be interrupted, not those in other calls "
    "of MPI",
}
