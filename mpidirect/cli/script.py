"""``mpidirect script``."""

from __future__ import annotations

from typing import Any

import click

from ..cluster.cluster import Cluster
from .parameters import profile_option, setting_flags, with_assigned
from .remote import RemoteCommand


@click.command(
    cls=RemoteCommand,
    epilog="""\b
Examples:
  mpidirect script -n 64 --launcher slurm --walltime 2h
  mpidirect script --profile mpi""",
)
@profile_option
@setting_flags
def script_command(profile: str, assignments: tuple[str, ...], **options: Any) -> None:
    """Print the script or command that 'start' would submit or run.

    Nothing is started.
    """
    click.echo(Cluster(profile=profile, **with_assigned(options, assignments)).job_script(), nl=False)
