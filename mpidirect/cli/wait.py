"""``mpidirect wait``."""

from __future__ import annotations

import sys

import click

from ..cluster.cluster import Cluster
from . import INTERRUPTED
from .parameters import parse_time, profile_option
from .progress import progress
from .remote import RemoteCommand
from .start import how_to_connect


@click.command(
    cls=RemoteCommand,
    epilog="""\b
Examples:
  mpidirect start --no-wait; mpidirect wait && python script.py
  mpidirect wait --profile mpi --timeout 1h

Exit codes: 0 if all engines answer, 1 if they do not, or not in time, 3 if no cluster was started.""",
)
@profile_option
@click.option("--timeout", metavar="TIME", help="How long to wait; by default without end.")
def wait_command(profile: str, timeout: str | None) -> None:
    """Wait until all engines of a cluster answer.

    For a cluster that was started with --no-wait, or by another program. The wait changes nothing in it.
    """
    limit = float("inf") if timeout is None else parse_time("--timeout", timeout)
    cluster = Cluster.from_profile(profile)
    try:
        with progress(cluster.n) as watch:
            cluster.wait(limit, watch, within=limit)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    click.echo(how_to_connect(cluster))
