"""``mpidirect restart`` and ``mpidirect resize``."""

from __future__ import annotations

import sys
import time

import click

from ..client.display.units import duration_in_words
from ..client.lifecycle import NAMESPACES_END
from ..cluster.cluster import Cluster
from .parameters import profile_option
from .remote import RemoteCommand

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask for a confirmation.")


@click.command(
    cls=RemoteCommand,
    epilog="""\b
Examples:
  mpidirect restart
  mpidirect restart --profile mpi""",
)
@profile_option
@yes_option
def restart_command(profile: str, yes: bool) -> None:
    """Start all engines of a cluster anew.

    All engines end, also if they hang, and new engines take their ids. The job, the controller and its
    clients go on. The engines' namespaces are lost, and their tasks fail. At a terminal a question says so.
    """
    _confirm(yes)
    _renew(profile, None)


@click.command(
    cls=RemoteCommand,
    epilog="""\b
Examples:
  mpidirect resize 8
  mpidirect resize 8 --profile mpi --yes""",
)
@click.argument("engines", type=click.IntRange(min=1), metavar="N")
@profile_option
@yes_option
def resize_command(engines: int, profile: str, yes: bool) -> None:
    """End all engines of a cluster, and start N others in the same job.

    The controller and its clients go on. The engines' namespaces are lost, and their tasks fail. At a
    terminal a question says so.
    """
    _confirm(yes)
    _renew(profile, engines)


def _confirm(yes: bool) -> None:
    """Ask whoever sits at the terminal; a script is not asked."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"{NAMESPACES_END} Go on?", abort=True)


def _renew(profile: str, engines: int | None) -> None:
    cluster = Cluster.from_profile(profile)
    began = time.monotonic()
    with cluster.connect_client() as client:
        found = client.restart() if engines is None else client.resize(engines, ask=False)
    spent = time.monotonic() - began
    new = "1 new engine" if len(found) == 1 else f"{len(found)} new engines"
    click.echo(f"Profile {cluster.profile.name!r}: {new} ({duration_in_words(spent)}).")
