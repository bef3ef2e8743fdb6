"""The environment in which an mpiexec is started."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from collections.abc import Mapping
from pathlib import Path

from ..files.regular import read_regular
from .mpi_implementation import Implementation

# Variables of an enclosing MPI job: a process that inherits them takes itself for a rank of that job.
_MARKERS = ("PMIX_RANK", "PMI_RANK", "PMI_FD", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID", "HYDI_CONTROL_FD")
_JOB_PREFIXES = ("OMPI_", "OPAL_", "PMIX_", "PRTE_", "PMI_", "PMI2_", "HYDI_", "MPI_LOCAL", "I_MPI_INFO_")
# Variables with these prefixes that are the user's own settings.
_USER_SETTINGS = re.compile(
    r"(OMPI|PRTE|PMIX|OPAL)_MCA_(?!(PREFIXES|cpu_type|initial_wdir|num_procs)$)|OMPI_ALLOW_RUN_AS"
)
# Variables that are not set if the user has set another one. Open MPI starts nothing with both of the first
# pair. UCX reaches no process by the loopback if the user has chosen only TCP.
EXCLUDED_BY = {
    "OMPI_MCA_btl_tcp_if_include": "OMPI_MCA_btl_tcp_if_exclude",
    "UCX_NET_DEVICES": "UCX_TLS",
}


def launch_environment(
    implementation: Implementation, base: Mapping[str, str] | None = None, one_host: bool = False
) -> dict[str, str]:
    """Return the environment to start an mpiexec in.

    Parameters
    ----------
    implementation : Implementation
        The MPI of the mpiexec.
    base : mapping, optional
        The environment to begin with; by default this process's.
    one_host : bool
        Whether all ranks share a host.
    """
    result = without_enclosing_job(os.environ if base is None else base)
    result.update(missing_variables(implementation, result, one_host))
    result.setdefault("HOME", _home())  # Open MPI doesn't start without it
    return result


def missing_variables(
    implementation: Implementation, environment: Mapping[str, str], one_host: bool = False
) -> dict[str, str]:
    """Return the variables that `implementation` needs and `environment` does not set otherwise."""
    return {
        name: value
        for name, value in implementation.environment(one_host).items()
        if name not in environment and EXCLUDED_BY.get(name, "") not in environment
    }


def without_enclosing_job(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables that an enclosing MPI job has set in it."""
    if not environment.keys() & set(_MARKERS):
        return dict(environment)
    return {
        k: v for k, v in environment.items() if not k.startswith(_JOB_PREFIXES) or _USER_SETTINGS.match(k)
    }


def configured_parameters(mpiexec: str) -> set[str]:
    """Return the parameters that files of the user or the site set for Open MPI.

    The environment would overrule these files.
    """
    site_files = Path(mpiexec).parent.parent / "etc"
    files = [Path(_home(), f".{name}", "mca-params.conf") for name in ("openmpi", "prte")]
    files += [site_files / f"{name}-mca-params.conf" for name in ("openmpi", "prte")]
    found: set[str] = set()
    for file in files:
        with contextlib.suppress(OSError):
            found.update(re.findall(r"^\s*(\w+)\s*=", read_regular(file), re.MULTILINE))
    return found


def _home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return "/"
