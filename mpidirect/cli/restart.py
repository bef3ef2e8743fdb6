"""``mpidirect restart``."""

from __future__ import annotations

import time

import click

from ..cluster import Cluster
from .parameters import profile_option


@click.command(
    epilog="""\b
Examples:
  mpidirect restart
  mpidirect restart --profile mpi"""
)
@profile_option
def restart_command(profile: str) -> None:
    """Start all engines of a cluster anew.

    They are ended, whatever they do and however they hang, and new ones take their ids. The job, the
    controller and its clients go on. What the engines had in their namespaces is lost, and what was asked of
    them fails.
    """
    cluster = Cluster.from_profile(profile)
    began = time.monotonic()
    with cluster.connect_client() as client:
        engines = client.restart()
    spent = time.monotonic() - began
    click.echo(f"Profile {cluster.profile.name!r}: {len(engines)} new engines ({spent:.1f} s).")
