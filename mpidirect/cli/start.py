"""``mpidirect start``."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType
from typing import Any

import click

from ..client.display.units import duration_in_words
from ..cluster.cluster import Cluster
from ..cluster.state import ClusterState
from ..errors import NeverStarts
from . import FAILURE, INTERRUPTED
from .parameters import profile_option, setting_flags, with_assigned
from .progress import progress
from .remote import RemoteCommand, server


@click.command(
    cls=RemoteCommand,
    epilog="""\b
Examples:
  mpidirect start -n 4
  mpidirect start -n 64 --profile mpi --timeout 5m
  mpidirect start -n 32 --mpiexec 'mpiexec --host node1:16,node2:17' --ip ib0
  mpidirect start -n 64 --launcher slurm --walltime 2h --partition short
  mpidirect start -n 4 --foreground          # Ctrl-C stops the cluster
  mpidirect start -n 4 --dry-run             # prints the command only

The profile has the settings that are not given here: see 'mpidirect profile show'.""",
)
@profile_option
@setting_flags
@click.option("--foreground", "-f", is_flag=True, help="Stay, and stop the cluster at Ctrl-C.")
@click.option("--no-wait", is_flag=True, help="Return at once, and print the job's id.")
@click.option("--daemonize", is_flag=True, expose_value=False, hidden=True)  # ipcluster's: always so
@click.option("--dry-run", is_flag=True, help="Only print the script or command.")
def start_command(
    profile: str,
    assignments: tuple[str, ...],
    foreground: bool,
    no_wait: bool,
    dry_run: bool,
    **options: Any,
) -> None:
    """Start a cluster; return when all its engines answer.

    A cluster is one MPI job, on this host or by a scheduler: N engines, and the controller to which clients
    connect.
    """
    if no_wait and foreground:
        raise click.UsageError("--no-wait and --foreground exclude each other.")
    given = with_assigned(options, assignments)
    cluster = Cluster(profile=profile, cluster_id="", shutdown_atexit=foreground, **given)
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
            _stay_in_foreground(cluster)
    except NeverStarts as e:
        if not _keep_waiting(cluster, str(e)):
            cluster.abandon(e)
            raise
    except KeyboardInterrupt:
        pending = cluster.started and cluster.state is ClusterState.PENDING
        if pending and _keep_waiting(cluster, f"Job {cluster.job_id} is pending."):
            return
        _stop(cluster)
        sys.exit(0 if foreground else INTERRUPTED)
    except Exception as e:
        if cluster.started:
            cluster.abandon(e)
        raise


def _keep_waiting(cluster: Cluster, what: str) -> bool:
    """Ask whether to wait longer for a pending job; without a terminal the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(f"\n{what}", err=True)
    try:
        if click.confirm("Cancel it?", default=True, err=True):
            return False
    except click.Abort:  # another Ctrl-C
        return False
    name = cluster.profile.name
    click.echo(
        f"The job waits. Its status:  mpidirect status --profile {name}    "
        f"Cancel it:  mpidirect stop --profile {name}",
        err=True,
    )
    return True


def how_to_connect(cluster: Cluster, took: float | None = None) -> str:
    """Return how to connect, for a cluster whose engines all answer."""
    name = cluster.profile.name
    arguments = [f"profile={name!r}"] if name != "default" else []
    arguments += [f"sshserver={server()!r}"] if server() else []
    engines = f"{cluster.n} engine{'s' * (cluster.n != 1)}"
    after = "" if took is None else f" after {duration_in_words(took)}"
    return (
        f"{engines} ready{after}.  Connect:  import mpidirect; rc = mpidirect.Client({', '.join(arguments)})"
    )


def _stay_in_foreground(cluster: Cluster) -> None:
    """Wait until the cluster ends, by a stop or by its death."""
    _print("Ctrl-C stops the cluster.")
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
    """Stop the cluster if it was started; a second Ctrl-C kills it."""
    if not cluster.started:
        return
    try:
        _print("\nStopping the cluster; another Ctrl-C kills it.")
        cluster.stop()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end has already begun
        cluster.stop(0)


def _print(text: str) -> None:
    try:
        click.echo(text, err=True)
    except OSError:  # the terminal has closed, which may be the reason of the stop
        pass


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
