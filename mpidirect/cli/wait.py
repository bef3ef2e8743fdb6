"""``mpidirect wait``."""

from __future__ import annotations

import sys

import click

from ..cluster.cluster import Cluster
from ..config.values import seconds
from ..errors import ConfigError
from . import INTERRUPTED
from .parameters import profile_option
from .progress import progress
from .start import how_to_connect


@click.command(
    epilog="""\b
Examples:
  mpidirect start --no-wait; mpidirect wait && python script.py
  mpidirect wait --profile mpi --timeout 1h

Exit codes: 0 if all engines answer, 1 if they do not in time or never will, 3 if no cluster was started."""
)
@profile_option
@click.option("--timeout", metavar="TIME", help="How long to wait; without end if not said.")
def wait_command(profile: str, timeout: str | None) -> None:
    """Wait until all engines of a cluster answer.

    For one that was started by --no-wait, or by someone else. Nothing happens to it, however the wait ends.
    """
    try:
        limit = float("inf") if timeout is None else seconds(timeout)
    except ValueError as e:
        raise ConfigError(f"--timeout {timeout}: this should be {e}") from None
    cluster = Cluster.from_profile(profile)
    try:
        with progress(cluster.n) as watch:
            cluster.wait(limit, watch, within=limit)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    click.echo(how_to_connect(cluster))
