"""``mpidirect run``."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Any

import click

from ..cluster.cluster import Cluster
from ..files.profiles import RUN, Profile, profile_names
from ..job import allocation
from ..launchers import jobs
from ..launchers.walltime import current_job_end, job_end
from .parameters import parse_time, profile_option, setting_flags, with_assigned

_KEPT_RUNS = 5  # failed runs whose logs are kept
_WALLTIME_INTERVAL = 15.0  # seconds between queries of the walltime, which may be changed


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples, in a job script or an allocation:
  mpidirect run script.py --steps 1000      # as many engines as there are tasks
  mpidirect run -n 64 script.py
  mpidirect run -n 4 -- -m package.module   # what follows -- is Python's command line

In the script, Client() connects to this cluster.""",
)
@profile_option
@setting_flags
@click.option(
    "--end-before",
    default="60s",
    show_default=True,
    metavar="TIME",
    help="How long before the end of the walltime the script ends.",
)
@click.argument("script", nargs=-1, required=True, type=click.UNPROCESSED, metavar="SCRIPT [ARGS]...")
def run_command(
    profile: str, assignments: tuple[str, ...], end_before: str, script: tuple[str, ...], **options: Any
) -> None:
    """Run a script with a cluster of its own, and stop both.

    The cluster starts on the ranks of the allocation in which this command runs, or on this host. SCRIPT runs
    beside the cluster as its client, and this command exits with the exit code of SCRIPT. A SIGTERM, a
    SIGUSR1, or the end of the walltime ends the script by SIGTERM.
    """
    margin = parse_time("--end-before", end_before)
    own = _own_profile(Profile(profile))
    given = with_assigned(options, assignments)
    given["launcher"] = given.get("launcher") or "mpiexec"
    cluster = Cluster(profile=own.name, **given)
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(signum, _interrupt)
    code, error = 1, None
    try:
        cluster.start().wait()
        code = _run([cluster.settings["python"] or sys.executable, *script], own, cluster, margin)
    except _Ended:
        code = 128 + signal.SIGTERM
    except BaseException as e:
        error = e
    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)  # the end has already begun
    if cluster.started and error is not None:
        cluster.abandon(error)
    elif cluster.started:
        cluster.stop()
    if (code == 0 and error is None) or not cluster.started:
        shutil.rmtree(own.directory, ignore_errors=True)
    else:
        click.echo(f"The cluster's logs:  mpidirect logs --profile {own.name}", err=True)
    if error is not None:
        raise error
    sys.exit(code)


def _remove_old_runs() -> None:
    """Remove the profiles of failed runs, but not of the newest ones."""
    ended = [here for name in profile_names() if (here := Profile(name)).of_run and here.record() is None]
    ended.sort(key=lambda here: here.directory.stat().st_mtime, reverse=True)
    for here in ended[_KEPT_RUNS:]:
        shutil.rmtree(here.directory, ignore_errors=True)


def _own_profile(base: Profile) -> Profile:
    """Return a profile for this run only, with the settings of `base`: several runs may go on at once."""
    jobs.resolve(base.must_exist(), {"launcher": "mpiexec"})  # so that an error names the file of `base`
    name = allocation.enclosing()[1].partition(".")[0] or time.strftime("%y%m%d-%H%M%S")
    _remove_old_runs()
    own = Profile(f"{RUN}{name}-{secrets.token_hex(2)}").create()
    if base.config_file.exists():
        shutil.copy(base.config_file, own.config_file)
    return own


def _run(command: list[str], own: Profile, cluster: Cluster, margin: float) -> int:
    """Run the script to its end, or to the end of the walltime, and return its exit code."""
    process = subprocess.Popen(command, env={**os.environ, "MPIDIRECT_PROFILE": own.name})
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the script
    try:
        _wait(process, margin)
    except _Ended as e:
        _end(
            process, cluster.settings["stop_timeout"], signalled=bool(e.args) and any(allocation.enclosing())
        )
    finally:
        signal.signal(signal.SIGINT, previous)
    code = process.returncode
    return code if code >= 0 else 128 - code


def _wait(process: subprocess.Popen[bytes], margin: float) -> None:
    """Wait for the script; raise `_Ended` shortly before the end of the walltime."""
    ends, asked = job_end(), time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        if time.monotonic() > asked + _WALLTIME_INTERVAL:
            ends, asked = current_job_end(ends), time.monotonic()
        if ends and time.time() > ends - margin:
            click.echo(f"mpidirect: the walltime ends in {max(0, ends - time.time()):.0f} s.", err=True)
            raise _Ended


def _end(process: subprocess.Popen[bytes], grace: float, signalled: bool) -> None:
    """End the script: by SIGTERM, and after `grace` seconds by force.

    If the scheduler signals all processes of a job, the script was `signalled`, too. Then the script has half
    of the time before SIGTERM, because a second SIGTERM would disturb its end.
    """
    click.echo("mpidirect: ending the script.", err=True)
    try:
        if signalled:
            grace /= 2
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        process.terminate()
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class _Ended(BaseException):
    """The run must end: a signal has arrived, or the end of the walltime is near."""


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise _Ended(*([signum] if signum == signal.SIGTERM else []))
