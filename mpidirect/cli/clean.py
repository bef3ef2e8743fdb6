"""``mpidirect clean``."""

from __future__ import annotations

import click

from .parameters import profile_option


@click.command()
@profile_option
@click.option(
    "--force", is_flag=True, help="Also what can't be seen from this host, and root's shared memory."
)
def clean_command(profile: str, force: bool) -> None:
    """Remove what dead clusters left.

    Processes, files, sockets, shared memory. Clusters that live are left alone, and so are logs. Without
    --profile all profiles are looked at, and what this user's dead jobs left on this host; shared memory that
    root's dead MPI jobs have left may be another person's, so that takes --force.
    """
    from ..cluster.cleanup import clean
    from ..files.profiles import Profile

    removed = clean([Profile(profile).must_exist().name] if profile else None, force=force)
    for what in removed:
        click.echo(f"removed  {what}")
    if not removed:
        click.echo("Nothing to clean.")
