"""Parameters that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..config.definitions import BATCH, COMMON
from ..config.options import Options
from ..config.values import seconds
from ..errors import ConfigError
from ..files.profiles import Profile, profile_names

Decorated = Callable[..., Any]


def complete_profile(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[str | CompletionItem]:
    """Return the profiles whose names begin with `incomplete`."""
    try:
        return [name for name in profile_names() if name.startswith(incomplete)]
    except ConfigError:  # the command itself will report it
        return []


def profile_option(command: Decorated) -> Decorated:
    """Add the options that choose a cluster, as ipcluster's options do: the command gets one `profile`."""
    command = click.option(
        "--cluster-id",
        default="",
        metavar="ID",
        expose_value=False,
        callback=_choose_cluster,
        help="Another cluster of the profile; short: --profile NAME:ID.",
    )(command)
    return click.option(
        "--profile",
        "-p",
        default="",
        metavar="NAME",
        is_eager=True,  # so that `_choose_cluster` finds it, in whatever order the user types
        shell_complete=complete_profile,
        help="The profile; by default MPIDIRECT_PROFILE, else 'default'.",
    )(command)


def _choose_cluster(ctx: click.Context, param: click.Parameter, cluster_id: str) -> None:
    """Let the profile's name include the cluster's id."""
    if cluster_id:
        ctx.params["profile"] = Profile(ctx.params["profile"]).with_cluster(cluster_id).name


def setting_flags(command: Decorated) -> Decorated:
    """Add a flag for each option, and ``--set`` for options that only one launcher has."""
    command = click.option(
        "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Any other option of the launcher."
    )(command)
    for option in reversed((*COMMON, *BATCH)):
        command = click.option(
            *option.declarations,
            option.name,
            default=None,
            multiple=option.many,
            is_flag=option.is_switch,
            metavar=None if option.is_switch else option.metavar,
            help=option.help,
            callback=_check,
        )(command)
    return command


def _check(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Return the value of a flag in its final form."""
    if value is None or value == ():
        return None
    try:
        return Options().find(str(param.name)).check(value)
    except ValueError as e:
        raise click.BadParameter(f"this should be {e}") from None


def with_assigned(options: dict[str, Any], assignments: tuple[str, ...]) -> dict[str, Any]:
    """Return the values of flags, and of ``--set NAME=VALUE``, which may name an option that has a flag."""
    result = dict(options)
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}: this should be NAME=VALUE")
        result[name.strip().replace("-", "_")] = value.strip()
    return result


def parse_time(flag: str, value: str) -> float:
    """Return the seconds of a flag's time.

    Raises
    ------
    ConfigError
        When the value is no time.
    """
    try:
        return seconds(value)
    except ValueError as e:
        raise ConfigError(f"{flag} {value}: this should be {e}") from None
