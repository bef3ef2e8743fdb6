"""The option ``--ssh``: run a command of mpidirect on another host, by the ssh client."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import click

from .._ssh import KEEPALIVE, WITHOUT_INTERRUPT, login_command
from .._version import __version__
from ..config import config
from ..config.definitions import REMOTE
from ..errors import ConfigError, ConnectionFailed
from ..files.profiles import Profile
from . import INTERRUPTED

# The variable contains the name by which the caller reached the other host, for the command there.
_SENT_TO = "MPIDIRECT_SENT_TO"
_SERVER = f"{__name__}.server"  # key of that name in click's `Context.meta`

_NOT_INSTALLED = 44  # exit code: the other host has no mpidirect
_SSH_FAILED = 255  # exit code of ssh itself
_TERMINATED = 128 + 15  # exit code of a command that was ended by SIGTERM

# $1: the version of the caller; $2: the caller's name of this host; then the command's arguments.
_CHECK_VERSION = (
    'export MPIDIRECT_SENT_TO="$2"; '
    f"found=$({{mpidirect}} --version) || exit {_NOT_INSTALLED}; "
    '[ "$found" = "mpidirect $1" ] || echo "mpidirect: here is version $1, on $2 ${{found#mpidirect }}. '
    'Clients of one version may not understand controllers of another." >&2; shift 2; '
)
# With a terminal, ssh gets one for the command. Without, the end of the input ends the command.
_AT_TERMINAL = _CHECK_VERSION + 'exec {mpidirect} "$@"'
_WITHOUT_TERMINAL = _CHECK_VERSION + (
    'exec 3<&0 < /dev/null; {mpidirect} "$@" 3<&- & job=$!; '
    "( cat <&3; kill -TERM $job ) > /dev/null 2>&1 & watcher=$!; "
    "exec 3<&-; wait $job; code=$?; kill $watcher; exit $code"
)


class RemoteCommand(click.Command):
    """A command that ``--ssh`` runs on another host, with the same arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option([*option.declarations, option.name], metavar=option.metavar, help=option.help)
            for option in REMOTE
        ]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments as they were typed."""
        ctx.meta[__name__] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command on this host or on the other one."""
        given = {option.name: ctx.params.pop(option.name) for option in REMOTE}
        sent_to = os.environ.pop(_SENT_TO, "")
        if sent_to:
            ctx.meta[_SERVER] = sent_to
            return super().invoke(ctx)
        server, python = (_setting(option.name, given, ctx.params) for option in REMOTE)
        if not server:
            return super().invoke(ctx)
        sys.exit(run_there(server, python, [*ctx.command_path.split()[1:], *ctx.meta[__name__]]))


def _setting(name: str, given: dict[str, Any], params: dict[str, Any]) -> str:
    """Return the value of an option of `REMOTE`: of the flag, the environment, or the profile's file.

    A profile with a mistake, or in a directory that others can change, sets nothing. The command then runs
    here, and reports the problem.
    """
    profile = params.get("profile") or params.get("name") or ""
    try:
        return config.early_value(name, Profile(profile).config_file, given)
    except ConfigError:
        return str(given[name] or "")


def server() -> str:
    """Return the name by which ``--ssh`` reached this host; empty if this command was typed here."""
    context = click.get_current_context(silent=True)
    return str(context.meta.get(_SERVER, "")) if context else ""


def run_there(server: str, python: str, words: Sequence[str]) -> int:
    """Run a command of mpidirect on another host, and return its exit code.

    Parameters
    ----------
    server : str
        The host, as ssh takes it.
    python : str
        The Python there; empty for the ``mpidirect`` that a login finds.
    words : sequence of str
        The command and its arguments.

    Raises
    ------
    ConnectionFailed
        When ssh fails.
    ConfigError
        When there is no mpidirect on that host.
    """
    terminal = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    mpidirect = shlex.join([python, "-m", "mpidirect"]) if python else "mpidirect"
    script = (_AT_TERMINAL if terminal else _WITHOUT_TERMINAL).format(mpidirect=mpidirect)
    if profile := os.environ.get("MPIDIRECT_PROFILE"):
        script = f"export MPIDIRECT_PROFILE={shlex.quote(profile)}; {script}"
    options = ["-t" if terminal else "-T", "-o", "LogLevel=ERROR", *KEEPALIVE]
    command = ["ssh", *options, "--", server, login_command(script, __version__, server, *words)]
    if shutil.which("ssh") is None:
        raise ConfigError("There is no ssh here: install OpenSSH's client.")
    code = subprocess.run(command, check=False).returncode if terminal else _run_until_interrupt(command)
    if code == _SSH_FAILED:
        raise ConnectionFailed(f"ssh {server} failed; its message is above. Try:  ssh {server} true")
    if code == _NOT_INSTALLED:
        raise ConfigError(_not_installed(server, python))
    return code


def _not_installed(server: str, python: str) -> str:
    if python:
        return (
            f"{python} on {server} has no mpidirect; its message is above. --ssh-python names another Python."
        )
    return (
        f"A login on {server} finds no mpidirect. Install mpidirect there, or name the Python that has it:  "
        "--ssh-python /path/to/python"
    )


def _run_until_interrupt(command: Sequence[str]) -> int:
    """Run ssh without a terminal; a Ctrl-C ends the command on the other host and waits for its end."""
    with subprocess.Popen([*WITHOUT_INTERRUPT, *command], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.stdin.close()
        code = process.wait()
    return INTERRUPTED if code == _TERMINATED else code
