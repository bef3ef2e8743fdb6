"""``mpidirect start``."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType
from typing import Any

import click

from ..cluster.cluster import Cluster
from ..cluster.state import ClusterState
from ..errors import NeverStarts
from . import FAILURE, INTERRUPTED
from .parameters import assigned, profile_option, setting_flags
from .progress import progress


@click.command(
    epilog="""\b
Examples:
  mpidirect start -n 4
  mpidirect start -n 64 --profile mpi --timeout 5m
  mpidirect start -n 32 --mpiexec 'mpiexec --host node1:16,node2:17' --ip ib0
  mpidirect start -n 64 --launcher slurm --walltime 2h --partition short
  mpidirect start -n 4 --foreground          # Ctrl-C stops it
  mpidirect start -n 4 --dry-run             # shows what would run

What is not said here comes from the profile: 'mpidirect profile show' tells it.""",
)
@profile_option
@setting_flags
@click.option("--foreground", "-f", is_flag=True, help="Stay, and stop the cluster at Ctrl-C.")
@click.option("--no-wait", is_flag=True, help="Return at once, and print the job's id.")
@click.option("--dry-run", is_flag=True, help="Print what would be run or submitted, and do nothing.")
def start_command(
    profile: str,
    assignments: tuple[str, ...],
    foreground: bool,
    no_wait: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Start a cluster; return when all its engines answer.

    One MPI job of N+1 ranks is started, here or by a scheduler: N engines and the controller that clients
    talk to.
    """
    if no_wait and foreground:
        raise click.UsageError("--no-wait and --foreground exclude each other.")
    cluster = Cluster(profile=profile, shutdown_atexit=foreground, **options, **assigned(assignments))
    if dry_run:
        click.echo(cluster.job_script(), nl=False)
        return
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _interrupt)
    began = time.monotonic()
    try:
        cluster.start()
        if no_wait:
            click.echo(cluster.job_id)
            return
        with progress(cluster.n) as watch:
            cluster.wait(watch=watch)
        click.echo(how_to_connect(cluster, time.monotonic() - began))
        if foreground:
            _stay(cluster)
    except NeverStarts as e:
        if not _left_waiting(cluster, str(e)):
            cluster.abandon(e)
            raise
    except KeyboardInterrupt:
        pending = cluster.started and cluster.state is ClusterState.PENDING
        if pending and _left_waiting(cluster, f"Job {cluster.job_id} is pending."):
            return
        _stop(cluster)
        sys.exit(0 if foreground else INTERRUPTED)
    except Exception as e:
        if cluster.started:
            cluster.abandon(e)
        raise


def _left_waiting(cluster: Cluster, what: str) -> bool:
    """Ask whether a job that waits shall go on waiting; where nobody can be asked, it shall not."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(f"\n{what}", err=True)
    try:
        if click.confirm("Cancel it?", default=True, err=True):
            return False
    except click.Abort:  # Ctrl-C once more
        return False
    name = cluster.profile.name
    click.echo(
        f"It is left waiting. How it fares:  mpidirect status --profile {name}    "
        f"Cancel it:  mpidirect stop --profile {name}",
        err=True,
    )
    return True


def how_to_connect(cluster: Cluster, took: float | None = None) -> str:
    """What to do now that all engines answer."""
    name = cluster.profile.name
    argument = "" if name == "default" else f"profile={name!r}"
    engines = f"{cluster.n} engine{'s' * (cluster.n != 1)}"
    after = "" if took is None else f" after {took:.1f} s"
    return f"{engines} ready{after}.  Connect:  import mpidirect; rc = mpidirect.Client({argument})"


def _stay(cluster: Cluster) -> None:
    """Wait until the cluster ends: by a stop from elsewhere, or by its death."""
    _say("Ctrl-C stops it.")
    while True:
        state, reason = cluster.look()
        if state in (ClusterState.STOPPED, ClusterState.DEAD):
            cluster.stop(0)
        if state is ClusterState.STOPPED:
            return
        if state is ClusterState.DEAD:
            click.echo(f"The cluster ended: {reason}.\nIts logs:  mpidirect logs", err=True)
            sys.exit(FAILURE)
        time.sleep(0.2)


def _stop(cluster: Cluster) -> None:
    """Stop the cluster, if it came so far; a second Ctrl-C kills it."""
    if not cluster.started:
        return
    try:
        _say("\nStopping the cluster; once more Ctrl-C kills it.")
        cluster.stop()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # that is in hand
        cluster.stop(0)


def _say(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:  # the terminal is gone: that may be why we stop
        pass


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
