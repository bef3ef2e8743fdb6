"""The checks of ``mpidirect doctor``: the conditions for a cluster on this host, each with a remedy.

Only a separate process loads MPI: on some login nodes the load ends the process.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from importlib import metadata

from ..client import Client
from ..config import config
from ..config.options import Options
from ..errors import MPIDirectError, Untrusted
from ..files.profiles import Profile, recorded_names
from ..job.variables import CLUSTER
from ..launchers import jobs
from .cluster import Cluster
from .findings import Finding, bad, doubt, from_error, good
from .host_checks import check_network, check_profiles, check_shared_memory, check_temporary_files
from .mpi_checks import check_encryption, check_mpi
from .state import ClusterState

_ANSWER_TIMEOUT = 2.0  # seconds that a controller has to answer

# Environment variables in addition to the variables of options.
_VARIABLES = {
    "MPIDIRECT_DIR",
    "MPIDIRECT_PROFILE",
    "MPIDIRECT_SITE_CONFIG",
    "MPIDIRECT_LOGLEVEL",
    CLUSTER,
}


def examine(profile: str = "") -> Iterator[Finding]:
    """Check everything that a cluster of `profile` needs; a failed check is a finding, too.

    Parameters
    ----------
    profile : str
        The profile's name; empty for ``MPIDIRECT_PROFILE``, else ``default``.

    Yields
    ------
    Finding
        One or more for each check.
    """
    try:
        here = Profile(profile)
        settings = jobs.resolve(here, {})
        yield good("settings", f"of profile {here.name!r} are valid")
    except MPIDirectError as e:
        yield from_error("settings", e, "Correct them; 'mpidirect profile show' tells what counts.")
        settings = config.defaults(Options())
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("variables", _variables),
        ("packages", _packages),
        ("MPI", lambda: check_mpi(settings["mpiexec"], settings["python"])),
        ("encryption", check_encryption),
        ("network", lambda: check_network(settings["ip"])),
        ("profiles", check_profiles),
        ("temporary files", check_temporary_files),
        ("shared memory", check_shared_memory),
        ("clusters", _clusters),
    ]
    for subject, check in checks:
        try:
            yield from check()
        except MPIDirectError as e:
            yield from_error(subject, e, "")
        except Exception as e:
            yield bad(subject, f"could not be checked: {type(e).__name__}: {e}", "Please report this.")


def _variables() -> Iterator[Finding]:
    known = {option.variable for option in Options().all.values()} | _VARIABLES
    unknown = sorted(name for name in os.environ if name.startswith("MPIDIRECT_") and name not in known)
    if unknown:
        remedy = f"The variables are: {', '.join(sorted(known))}"
        yield doubt("variables", f"no option is called {', '.join(unknown)}", remedy)


def _packages() -> Iterator[Finding]:
    versions = []
    for package in ("mpi4py", "pyzmq", "msgspec", "cloudpickle", "numpy"):
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            yield bad("packages", f"{package} is not installed", f"{sys.executable} -m pip install {package}")
    python = ".".join(map(str, sys.version_info[:3]))
    yield good("packages", f"Python {python} ({sys.executable}), {', '.join(versions)}")


def _clusters() -> Iterator[Finding]:
    try:
        names = recorded_names()
    except Untrusted:  # a finding of the check of profiles
        return
    for name in names:
        state, reason = Cluster.from_profile(name).look()
        if state is ClusterState.DEAD:
            yield doubt("clusters", f"the cluster of profile {name!r} is dead: {reason}", "mpidirect clean")
        elif state is not ClusterState.STOPPED:
            yield _of_cluster(name, state)


def _of_cluster(name: str, state: ClusterState) -> Finding:
    """Return the findings of a running cluster, which may have been started with other options."""
    found = [f"the cluster of profile {name!r} is {state}"]
    file = Cluster.from_profile(name).connection_file
    with contextlib.suppress(MPIDirectError):  # the cluster is ending, or can't be reached from here
        if file.exists():
            with Client(str(file), timeout=_ANSWER_TIMEOUT) as client:
                facts = client.facts
            found = [f"{found[0]}, with {facts['mpi']}", facts["world"], facts["fault_tolerance"]["text"]]
    return good("clusters", "\n".join(found))
