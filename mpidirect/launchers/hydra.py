"""Starts ranks by MPICH's mpiexec (hydra): ``python -m mpidirect.launchers.hydra DIRECTORY N MPIEXEC …``.

Job scripts do it so, as what must be prepared depends on the hosts that the job has got.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path

from ..job import allocation
from ..job.variables import SPAWNS

# Hydra tells all processes of the job by SIGUSR1 that one of them has died.  That would end a process which
# starts just then, before its guard can ignore it, and with it the job.  So the proxies that start processes,
# one on each host, have the signal blocked: what they start inherits that, and the ranks unblock it.
_BLOCKED = (
    "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
_PROXY = "hydra_pmi_proxy"

# The proxy that lies beside the link: `env` can block signals from GNU's coreutils 8.31 on, else Python does.
_SHELTER = """\
#!/bin/sh
env --block-signal=USR1 true 2> /dev/null && exec env --block-signal=USR1 {real} "$@"
exec {run} {real} "$@"
"""

_FILES, _HOSTS = {"-f", "-hostfile", "-machinefile"}, {"-hosts", "-host"}  # what tells mpiexec of hosts

# What tells mpiexec how to spread ranks over hosts, in ways that are not understood here.
_SPREAD = {"-ppn", "-map-by", "-rankmap", "-configfile", "-order-nodes", "-skip-launch-node", ":"}


def begin(
    command: Sequence[str], engines: int, directory: Path, python: str
) -> tuple[list[str], dict[str, str]]:
    """What starts the ranks on the hosts that there are, and what it has in its environment.

    Where that is possible the ranks are a controller and an anchor on each host, which have the engines
    spawned.

    Parameters
    ----------
    command : sequence of str
        The mpiexec, its arguments, ``-n`` and a number of ranks, and the command of a rank.
    engines : int
        How many engines there are to be.
    directory : Path
        Which is the cluster's own, and seen by all hosts.
    python : str
        A Python that all hosts have; where there is one host, ours.
    """
    words = list(command)
    n = words.index("-n")
    nodes = found(words[1:n])
    real = proxy(words[0])
    if not (nodes and real):
        words[n + 1] = str(engines + 1)
        return words, {}
    ours = len(nodes) == 1 or not python
    words[0] = _sheltered(Path(words[0]), real, directory / "hydra", sys.executable if ours else python)
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
    # Slurm else lets the daemons of engines wait until those of the anchors have ended.
    return words, {SPAWNS: ",".join(f"{host}:{count}" for host, count in slots), "SLURM_OVERLAP": "1"}


def found(arguments: Sequence[str]) -> list[tuple[str, int]]:
    """The hosts that mpiexec would use, and how many ranks each has room for; empty if that is not known."""
    if _SPREAD & {_single(word) for word in arguments}:
        return []
    for word, value in pairwise(arguments):
        if _single(word) in _FILES:
            try:
                text = Path(value).read_text()
            except OSError:
                return []
            return _counted(re.sub(r"#.*", "", text).split())
        if _single(word) in _HOSTS:
            return _counted(value.split(","))
    if "HYDRA_HOST_FILE" in os.environ:
        return []
    return allocation.nodes() if allocation.enclosing()[0] else [("localhost", allocation.cores())]


def slots_for(engines: int, nodes: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """How many engines each host has room for: the one slot that is more than those is the controller's."""
    (first, count), *others = nodes
    own = sum(count for _, count in nodes) == engines + 1
    return [(first, count - own), *others]


def _counted(words: Sequence[str]) -> list[tuple[str, int]]:
    """Hosts, each with the sum of its slots: ``host``, or ``host:slots``; adjacent ones are one."""
    pairs = [word.partition(":") for word in words]
    if not all(count.isdecimal() or not count for _, _, count in pairs):
        return []
    grouped = groupby(pairs, key=lambda pair: pair[0])
    nodes = [(host, sum(int(count or 1) for _, _, count in each)) for host, each in grouped]
    return nodes if len(dict(nodes)) == len(nodes) else []


def _without_hosts(arguments: Sequence[str]) -> list[str]:
    left, skipped = [], False
    for word in arguments:
        if skipped:
            skipped = False
        elif _single(word) in _FILES | _HOSTS:
            skipped = True
        else:
            left.append(word)
    return left


def _single(word: str) -> str:
    """Hydra takes options with one dash or with two."""
    return word[1:] if word.startswith("--") else word


def proxy(mpiexec: str) -> Path | None:
    """The proxy of an mpiexec, which lies beside it; None if it is not there."""
    places = [Path(mpiexec).parent, Path(mpiexec).resolve().parent]
    return next((place / _PROXY for place in places if (place / _PROXY).exists()), None)


def _sheltered(mpiexec: Path, real: Path, directory: Path, python: str) -> str:
    """The same mpiexec with proxies that have the signal blocked: a link that lies beside another proxy."""
    directory.mkdir(mode=0o700, exist_ok=True)
    link, own = directory / "mpiexec", directory / _PROXY
    link.unlink(missing_ok=True)
    link.symlink_to(mpiexec)
    run = shlex.join([python, "-I", "-S", "-c", _BLOCKED])
    own.write_text(_SHELTER.format(run=run, real=shlex.quote(str(real))))
    own.chmod(0o700)
    return str(link)


def main(argv: list[str]) -> None:
    """Become the mpiexec that starts the ranks."""
    command, environment = begin(argv[3:], int(argv[2]), Path(argv[1]), sys.executable)
    os.execvpe(command[0], command, {**os.environ, **environment})


if __name__ == "__main__":
    main(sys.argv)
