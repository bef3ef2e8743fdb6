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
from ..config.values import seconds
from ..errors import ConfigError
from ..files.profiles import RUN, Profile, profile_names
from ..job import allocation
from ..launchers import jobs
from .parameters import assigned, profile_option, setting_flags

KEPT = 5  # failed runs whose logs stay
ASK_AGAIN = 15.0  # seconds between questions for the end of the allocation: it may be moved


@click.command(
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples, in a job script or an allocation:
  mpidirect run script.py --steps 1000      # as many engines as there are tasks
  mpidirect run -n 64 script.py
  mpidirect run -n 4 -- -m package.module   # what follows -- is Python's command line

In the script, Client() is this cluster's.""",
)
@profile_option
@setting_flags
@click.option(
    "--end-before", default="60s", show_default=True, metavar="TIME", help="How long before the walltime."
)
@click.argument("script", nargs=-1, required=True, type=click.UNPROCESSED, metavar="SCRIPT [ARGS]...")
def run_command(
    profile: str, assignments: tuple[str, ...], end_before: str, script: tuple[str, ...], **options: Any
) -> None:
    """Run a script with a cluster of its own, and stop both.

    The cluster starts on the ranks of the allocation that this runs in (or on this host), SCRIPT runs beside
    it as its client, and its exit code is passed on. A SIGTERM, a SIGUSR1, or the walltime that comes near,
    ends the script by SIGTERM.
    """
    try:
        margin = seconds(end_before)
    except ValueError as e:
        raise ConfigError(f"--end-before {end_before}: this should be {e}") from None
    own = _own_profile(Profile(profile))
    given = {**options, **assigned(assignments)}
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
        signal.signal(signum, signal.SIG_IGN)  # that is in hand
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


def _forget_old() -> None:
    """Remove what is left of failed runs, but of the newest ones."""
    ended = [here for name in profile_names() if (here := Profile(name)).of_run and here.record() is None]
    ended.sort(key=lambda here: here.directory.stat().st_mtime, reverse=True)
    for here in ended[KEPT:]:
        shutil.rmtree(here.directory, ignore_errors=True)


def _own_profile(base: Profile) -> Profile:
    """A profile for this run alone, with the settings of `base`: several may run at once."""
    jobs.resolve(base.must_exist(), {"launcher": "mpiexec"})  # a mistake is told by its own file's name
    name = allocation.enclosing()[1].partition(".")[0] or time.strftime("%y%m%d-%H%M%S")
    _forget_old()
    own = Profile(f"{RUN}{name}-{secrets.token_hex(2)}").create()
    if base.config_file.exists():
        shutil.copy(base.config_file, own.config_file)
    return own


def _run(command: list[str], own: Profile, cluster: Cluster, margin: float) -> int:
    """Run the script to its end, or to that of the time there is; returns its exit code."""
    process = subprocess.Popen(command, env={**os.environ, "MPIDIRECT_PROFILE": own.name})
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the script's
    try:
        _wait(process, margin)
    except _Ended as e:
        _end(process, cluster.settings["stop_timeout"], told=bool(e.args) and any(allocation.enclosing()))
    finally:
        signal.signal(signal.SIGINT, before)
    code = process.returncode
    return code if code >= 0 else 128 - code


def _wait(process: subprocess.Popen[bytes], margin: float) -> None:
    """Wait for the script; raise _Ended when the walltime is near."""
    ends, asked = allocation.ends(), time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        if time.monotonic() > asked + ASK_AGAIN:
            ends, asked = allocation.ends_now(ends), time.monotonic()
        if ends and time.time() > ends - margin:
            click.echo(f"mpidirect: the walltime ends in {max(0, ends - time.time()):.0f} s.", err=True)
            raise _Ended


def _end(process: subprocess.Popen[bytes], grace: float, told: bool) -> None:
    """End the script: by SIGTERM, and after `grace` seconds by force.

    If it was `told`, by a scheduler that signals all processes of a job, it has half of that before: a second
    SIGTERM would disturb what it does at its end.
    """
    click.echo("mpidirect: ending the script.", err=True)
    try:
        if told:
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
    pass


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise _Ended(*([signum] if signum == signal.SIGTERM else []))
