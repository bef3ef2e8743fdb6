"""The shell between the launcher and a rank: a rank's end, however it comes, must not end the job.

Open MPI's fault tolerance sees a process that was killed, but not one that left with an exit code, and then
the others wait for it for ever: so the guard, whose child the rank is, kills itself.  MPICH and Intel MPI end
the job when a process fails, and tell the others by SIGUSR1: so the guard ignores that and always succeeds.
In both cases it notes how the rank ended, for the controller to tell.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..job.exit import CLEAN_EXIT
from ..job.variables import SPAWNED_RANK, SPAWNS, WRAPPER_PID

# Where engines are spawned, each has a place, and of the ranks that the launcher starts none is an engine.
_RANK = f'r=${{OMPI_COMM_WORLD_RANK:-${{PMI_RANK:-x}}}}; [ $r = 0 ] || [ -z "${SPAWNS}" ] || r=anchor-$r; '
_NOTE = f'umask 077; echo $s > "$d/rank-${{{SPAWNED_RANK}:-$r}}.exit"'
_RUN = (
    f"d=$1; shift; {_RANK}{WRAPPER_PID}=$$; export {WRAPPER_PID}; "
    f'"$@"; s=$?; [ $s -eq {CLEAN_EXIT} ] || {{ {_NOTE}; '
)
# Hydra tells all its proxies of each death, and fails if one has just ended, as it does with its last
# process. So when all engines of several hosts end together, one guard of each host stays for a while.
_STAY = (
    f'case "${SPAWNS}" in *:*) [ "${{MPI_LOCALRANKID:-0}}" != 0 ] || '
    f"sleep 1.$(printf %02d $((${{{SPAWNED_RANK}:-0}} * 37 % 100)));; esac; "
)
_SCRIPTS = {
    "openmpi": _RUN + "kill -9 $$; }; exit 0",
    "mpich": "trap '' USR1; " + _RUN + "}; " + _STAY + "exit 0",
    "intel": "trap '' USR1; " + _RUN + "}; exit 0",
}


def guarded(command: Sequence[str], mpi: str, directory: str) -> list[str]:
    """The command of a rank under a guard that suits this kind of MPI; notes go to `directory`."""
    script = _SCRIPTS.get(mpi)
    return ["sh", "-c", script, "mpidirect-guard", directory, *command] if script else list(command)
