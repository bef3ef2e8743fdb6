"""Commands for another host, which the ssh client runs in the environment of a login on that host."""

from __future__ import annotations

import shlex

KEEPALIVE = ("-o", "ServerAliveInterval=30")  # a connection that is dead is noticed
# A Ctrl-C at the prompt is sent to all processes of the terminal; this prefix keeps it from ssh.
WITHOUT_INTERRUPT = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")

# Starts the login shell of the user, whose files set PATH and MPIDIRECT_DIR. Text that these files print goes
# to standard error. C shells take no arguments as login shells, and have read the file that sets PATH.
_LOGIN = 'case "${SHELL:-}" in ""|*csh) SHELL=sh;; esac; exec 3>&1 1>&2; exec "$SHELL" -l -c '


def login_command(script: str, *arguments: str) -> str:
    """Return the command line that runs a script of ``sh`` on another host, with any login shell there.

    Parameters
    ----------
    script : str
        The script, in one line.
    *arguments : str
        The script's ``$1``, ``$2``, ….
    """
    inner = shlex.join(["sh", "-c", f"exec 1>&3 3>&-; {script}", "sh", *arguments])
    return shlex.join(["sh", "-c", f"{_LOGIN}{shlex.quote(f'exec {inner}')}"])
