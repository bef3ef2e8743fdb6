"""``mpidirect top``."""

from __future__ import annotations

import sys

import click

from ..cluster.cluster import Cluster
from .parameters import profile_option
from .remote import RemoteCommand


@click.command(
    cls=RemoteCommand,
    epilog="""\b
Examples:
  mpidirect top
  mpidirect top --profile mpi --interval 5""",
)
@profile_option
@click.option(
    "--interval",
    type=click.FloatRange(min=0.2),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="The time between two samples.",
)
def top_command(profile: str, interval: float) -> None:
    """Watch the engines of a cluster: their tasks, queues, processors, memory, and last line of output.

    Keys interrupt an engine or all engines, restart an engine, and show stacks. Other clients of the cluster
    are not disturbed.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("It needs a terminal. For programs there is 'mpidirect status --json'.")
    try:
        from ..monitor.app import EngineMonitor
    except ModuleNotFoundError as e:
        if e.name is None or not e.name.startswith("textual"):
            raise
        raise click.ClickException(
            "'mpidirect top' needs textual. Install it:  pip install 'mpidirect[top]'"
        ) from None
    cluster = Cluster.from_profile(profile)
    with cluster.connect_client() as client:
        EngineMonitor(client, f"mpidirect: {cluster.profile.name}", interval).run()
