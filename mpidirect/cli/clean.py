"""``mpidirect clean``."""

from __future__ import annotations

import click

from .parameters import profile_option
from .remote import RemoteCommand


@click.command(cls=RemoteCommand)
@profile_option
@click.option(
    "--force",
    is_flag=True,
    help="Also clusters that can't be seen from this host, and root's shared memory.",
)
def clean_command(profile: str, force: bool) -> None:
    """Remove what dead clusters left.

    Removes processes, files, sockets and shared memory, but nothing of clusters that live, and no logs.
    Without --profile it cleans all profiles, and what dead jobs of this user left on this host. Shared
    memory of root's dead MPI jobs may be another person's: its removal needs --force.
    """
    from ..cluster.cleanup import clean
    from ..files.profiles import Profile

    removed = clean([Profile(profile).must_exist().name] if profile else None, force=force)
    for description in removed:
        click.echo(f"removed  {description}")
    if not removed:
        click.echo("Nothing to clean.")
