"""The rank wrapper: a shell between the launcher and a rank, so that no end of a rank ends the job.

Open MPI's fault tolerance notices a killed process, but not a process that leaves with an exit code:
the other ranks would wait for this process for ever. So the wrapper kills itself when its rank ends.

MPICH and Intel MPI end the job when a process fails, and send SIGUSR1 to the others. So the wrapper ignores
that signal and always succeeds.

In all cases the wrapper writes the exit code of the rank to a file, which the controller reads.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..job.exit import CLEAN_EXIT
from ..job.processes import DISCARD_SIGNAL
from ..job.variables import FIRST_PLACE, SPAWN, SPAWNED_RANK, SPAWNS, WRAPPER_PID

# Where engines are spawned, each has a place; the launcher's own ranks are controller and anchors.
_RANK = (
    f'r=${{OMPI_COMM_WORLD_RANK:-${{PMI_RANK:-x}}}}; [ -z "${FIRST_PLACE}" ] || '
    f"{{ export {SPAWNED_RANK}=$(({FIRST_PLACE} + r)); unset {FIRST_PLACE}; }}; "
    f'[ $r = 0 ] || [ -z "${SPAWNS}" ] || r=anchor-$r; '
)
_WRITE_CODE = f'umask 077; echo $s ${{{SPAWN}:-0}} > "$d/rank-${{{SPAWNED_RANK}:-$r}}.exit"'
_RUN = (
    f"d=$1; shift; {_RANK}{WRAPPER_PID}=$$; export {WRAPPER_PID}; q=; trap q=1 {DISCARD_SIGNAL.name[3:]}; "
    f'"$@"; s=$?; [ $s -eq {CLEAN_EXIT} ] || {{ [ $q ] || {{ {_WRITE_CODE}; }}; '
)
# Hydra reports each death to all its proxies, and fails if a proxy has just ended, as a proxy does with its
# last process. So when the engines of several hosts end together, one wrapper of each host ends later.
_DELAY_END = (
    f'case "${SPAWNS}" in *:*) [ "${{MPI_LOCALRANKID:-0}}" != 0 ] || '
    f"sleep 1.$(printf %02d $((${{{SPAWNED_RANK}:-0}} * 37 % 100)));; esac; "
)
_SCRIPTS = {
    "openmpi": _RUN + "kill -9 $$; }; exit 0",
    "mpich": "trap '' USR1; " + _RUN + "}; " + _DELAY_END + "exit 0",
    "intel": "trap '' USR1; " + _RUN + "}; exit 0",
}


def wrapped(command: Sequence[str], mpi: str, directory: str, resumes: bool = False) -> list[str]:
    """Return the command of a rank with a wrapper for the implementation `mpi`.

    The wrapper writes the exit code of the rank, and the number of its spawn, into `directory`. If the
    cluster `resumes` in another job, the wrapper survives the SIGTERM by which a scheduler may warn. An
    unknown implementation gets no wrapper.
    """
    script = _SCRIPTS.get(mpi)
    if script and resumes:
        script = f"trap : TERM; {script}"
    return ["sh", "-c", script, "mpidirect-guard", directory, *command] if script else list(command)
