"""Start ranks by MPICH's mpiexec (hydra).

The command is ``python -m mpidirect.launchers.hydra JOBFILE DIRECTORY MPIEXEC …``. Job scripts run this
module, because the preparations depend on the hosts of the job.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path

from ..files import job_file
from ..job import allocation
from ..job.supervisor import supervised
from ..job.variables import SPAWNS

# Hydra sends SIGUSR1 to all processes of the job when one of them has died. The signal would end a process
# that starts at this moment, before its rank wrapper can ignore the signal; and the end of this process would
# end the job. So the proxies, which start the processes on each host, block the signal. Their children
# inherit
# the block, and the ranks unblock the signal.
_BLOCKED = (
    "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
_PROXY = "hydra_pmi_proxy"

# The script that replaces the proxy: `env` of GNU coreutils 8.31 can block signals, otherwise Python does it.
_PROXY_SCRIPT = """\
#!/bin/sh
env --block-signal=USR1 true 2> /dev/null && exec env --block-signal=USR1 {real} "$@"
exec {run} {real} "$@"
"""

# Arguments of mpiexec that name hosts.
_FILE_ARGUMENTS, _HOST_ARGUMENTS = {"-f", "-hostfile", "-machinefile"}, {"-hosts", "-host"}

# Arguments that distribute ranks over hosts in ways that this module does not know.
_UNSUPPORTED = {"-ppn", "-map-by", "-rankmap", "-configfile", "-order-nodes", "-skip-launch-node", ":"}


def begin(
    command: Sequence[str], engines: int, directory: Path, python: str
) -> tuple[list[str], dict[str, str]]:
    """Return the command that starts the ranks on the job's hosts, and its additional environment.

    If possible, the ranks are a controller, and an anchor on each host, which spawns the engines.

    Parameters
    ----------
    command : sequence of str
        The mpiexec, its arguments, ``-n`` and a number of ranks, and the command of a rank.
    engines : int
        The number of engines.
    directory : Path
        A directory of this cluster that all hosts see.
    python : str
        A Python that all hosts have; on one host, this process's Python is used instead.
    """
    words = list(command)
    n = words.index("-n")
    nodes = find_hosts(words[1:n])
    proxy = find_proxy(words[0])
    if not (nodes and proxy):
        words[n + 1] = str(engines + 1)
        return words, {}
    chosen = sys.executable if len(nodes) == 1 or not python else python
    words[0] = _with_blocking_proxy(Path(words[0]), proxy, directory / "hydra", chosen)
    if len(nodes) == 1:
        words[n + 1] = "2"
        return words, {SPAWNS: "1"}
    words[1:n] = _without_hosts(words[1:n])
    n = words.index("-n")
    file = directory / "anchors.hosts"
    hosts = [host for host, _ in nodes]
    file.write_text("".join(f"{host}:{1 + (host is hosts[0])}\n" for host in hosts))
    words[n : n + 2] = ["-f", str(file), "-n", str(1 + len(hosts))]
    slots = slots_for(engines, nodes)
    # Without SLURM_OVERLAP the daemons of engines wait until the daemons of anchors have ended.
    return words, {SPAWNS: ",".join(f"{host}:{count}" for host, count in slots), "SLURM_OVERLAP": "1"}


def find_hosts(arguments: Sequence[str]) -> list[tuple[str, int]]:
    """Return the hosts that mpiexec would use, each with its number of ranks; empty if unknown."""
    if _UNSUPPORTED & {_with_one_dash(word) for word in arguments}:
        return []
    for word, value in pairwise(arguments):
        if _with_one_dash(word) in _FILE_ARGUMENTS:
            try:
                text = Path(value).read_text()
            except OSError:
                return []
            return _with_slots(re.sub(r"#.*", "", text).split())
        if _with_one_dash(word) in _HOST_ARGUMENTS:
            return _with_slots(value.split(","))
    if "HYDRA_HOST_FILE" in os.environ:
        return []
    return allocation.nodes() if allocation.enclosing()[0] else [("localhost", allocation.cores())]


def slots_for(engines: int, nodes: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the engines of each host; one slot more than engines is the controller's."""
    (first, count), *others = nodes
    own = sum(count for _, count in nodes) == engines + 1
    return [(first, count - own), *others]


def _with_slots(words: Sequence[str]) -> list[tuple[str, int]]:
    """Return hosts and their slots from words ``host`` or ``host:slots``; slots of a host are added."""
    pairs = [word.partition(":") for word in words]
    if not all(count.isdecimal() or not count for _, _, count in pairs):
        return []
    grouped = groupby(pairs, key=lambda pair: pair[0])
    nodes = [(host, sum(int(count or 1) for _, _, count in each)) for host, each in grouped]
    return nodes if len(dict(nodes)) == len(nodes) else []


def _without_hosts(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that name no hosts."""
    left, skipped = [], False
    for word in arguments:
        if skipped:
            skipped = False
        elif _with_one_dash(word) in _FILE_ARGUMENTS | _HOST_ARGUMENTS:
            skipped = True
        else:
            left.append(word)
    return left


def _with_one_dash(word: str) -> str:
    """Return an option with one dash: hydra accepts options with one dash or with two."""
    return word[1:] if word.startswith("--") else word


def find_proxy(mpiexec: str) -> Path | None:
    """Return the proxy of an mpiexec, which is beside it; None if there is none."""
    places = [Path(mpiexec).parent, Path(mpiexec).resolve().parent]
    return next((place / _PROXY for place in places if (place / _PROXY).exists()), None)


def _with_blocking_proxy(mpiexec: Path, proxy: Path, directory: Path, python: str) -> str:
    """Return the same mpiexec with proxies that block the signal: a link beside another proxy."""
    directory.mkdir(mode=0o700, exist_ok=True)
    link, own = directory / "mpiexec", directory / _PROXY
    link.unlink(missing_ok=True)
    link.symlink_to(mpiexec)
    run = shlex.join([python, "-I", "-S", "-c", _BLOCKED])
    own.write_text(_PROXY_SCRIPT.format(run=run, real=shlex.quote(str(proxy))))
    own.chmod(0o700)
    return str(link)


def main(argv: list[str]) -> None:
    """Become the mpiexec that starts the ranks, or its supervisor if one is needed."""
    file, directory, *starter = argv[1:]
    spec = job_file.read(Path(file))
    command, environment = begin(starter, spec.engines, Path(directory), sys.executable)
    if SPAWNS not in environment or spec.resume:
        command = supervised(command, Path(file))
    os.execvpe(command[0], command, {**os.environ, **environment})


if __name__ == "__main__":
    main(sys.argv)
