"""What this MPI, started this way, can survive."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from .parent import Parent

_ULFM = "OMPI_MCA_mpi_ft_enable"


class Tolerance(NamedTuple):
    """What holds in a job.

    Attributes
    ----------
    deaths : bool
        Whether the other engines survive the death of one.
    revokes : bool
        Whether MPI itself can get an engine out of a blocking call (ULFM).
    """

    deaths: bool
    revokes: bool

    @classmethod
    def of(cls, MPI: Any) -> Tolerance:
        """What holds here: ask before the launcher's variables are taken out of the environment."""
        vendor, _ = MPI.get_vendor()
        guarded = Parent().guarded
        if vendor == "Open MPI":
            enabled = os.environ.get(_ULFM, "").lower() in ("1", "true", "yes")
            # An engine's second thread revokes; rank 0 has none, and MPI there knows of one thread only.
            threads = MPI.COMM_WORLD.rank == 0 or MPI.Query_thread() == MPI.THREAD_MULTIPLE
            revokes = enabled and threads
            return cls(deaths=revokes and guarded, revokes=revokes)
        return cls(deaths=guarded, revokes=False)

    @property
    def text(self) -> str:
        """A line for people."""
        return f"{_DEATHS[self.deaths]}; {_CALLS[self.revokes]}"

    def facts(self) -> dict[str, Any]:
        """The same for clients."""
        return {"deaths": self.deaths, "revokes": self.revokes, "text": self.text}


_DEATHS = {
    True: "the others survive the death of an engine",
    False: "the death of an engine ends the job (this MPI or launcher has no fault tolerance)",
}
_CALLS = {
    True: "engines stuck in any MPI call on comm, or on what was made from it, can be interrupted",
    False: "engines stuck in a send, a receive or a collective can be interrupted, not those in other calls "
    "of MPI",
}
