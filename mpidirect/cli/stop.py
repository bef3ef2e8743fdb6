"""``mpidirect stop``."""

from __future__ import annotations

import click

from ..cluster.cluster import Cluster
from ..cluster.state import ClusterState
from ..config.values import seconds
from ..errors import ConfigError
from ..files.profiles import Profile, profile_names
from .parameters import profile_option


@click.command(
    epilog="""\b
Examples:
  mpidirect stop
  mpidirect stop --profile mpi
  mpidirect stop --all
  mpidirect stop --timeout 0     # kill it""",
)
@profile_option
@click.option("--all", "every", is_flag=True, help="Stop the clusters of all profiles.")
@click.option(
    "--timeout", metavar="TIME", help="How long it may take before the job is killed; 0 kills at once."
)
def stop_command(profile: str, every: bool, timeout: str | None) -> None:
    """Stop a cluster.

    The controller is asked to end the job; what has not ended in time is killed. All that it leaves behind is
    removed, its logs apart.
    """
    if every and profile:
        raise click.UsageError("--all and --profile exclude each other.")
    limit = None
    if timeout is not None:
        try:
            limit = seconds(timeout)
        except ValueError as e:
            raise ConfigError(f"--timeout {timeout}: this should be {e}") from None
    names = [name for name in profile_names() if Profile(name).record()] if every else [profile]
    for name in names:
        cluster = Cluster.from_profile(name)
        before = cluster.state
        cluster.stop(limit)
        whose = f"the cluster of profile {cluster.profile.name!r}"
        if before in (ClusterState.STOPPED, ClusterState.DEAD):
            click.echo(f"{whose.capitalize()} had ended already; what it left is removed.")
        else:
            click.echo(f"Stopped {whose}.")
    if not names:
        click.echo("No cluster runs.")
