"""``mpidirect stop``."""

from __future__ import annotations

import click

from ..cluster.cluster import Cluster
from ..cluster.state import ClusterState
from ..files.profiles import recorded_names
from .parameters import parse_time, profile_option
from .remote import RemoteCommand


@click.command(
    cls=RemoteCommand,
    epilog="""\b
Examples:
  mpidirect stop
  mpidirect stop --profile mpi
  mpidirect stop --all
  mpidirect stop --timeout 0     # kills the job""",
)
@profile_option
@click.option("--all", "every", is_flag=True, help="Stop the clusters of all profiles.")
@click.option(
    "--timeout", metavar="TIME", help="How long the stop may take before the job is killed; 0 kills at once."
)
def stop_command(profile: str, every: bool, timeout: str | None) -> None:
    """Stop a cluster.

    The controller ends the job; processes that have not ended in time are killed. All files of the cluster
    are removed, but not its logs.
    """
    if every and profile:
        raise click.UsageError("--all and --profile exclude each other.")
    limit = None if timeout is None else parse_time("--timeout", timeout)
    names = recorded_names() if every else [profile]
    for name in names:
        cluster = Cluster.from_profile(name)
        before = cluster.state
        cluster.stop(limit)
        cluster_name = f"the cluster of profile {cluster.profile.name!r}"
        if before in (ClusterState.STOPPED, ClusterState.DEAD):
            click.echo(f"{cluster_name.capitalize()} had ended already; its files are removed.")
        else:
            click.echo(f"Stopped {cluster_name}.")
    if not names:
        click.echo("No cluster runs.")
