"""One run of the command that submits a job."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence

from ..errors import LaunchError

_INTERRUPTED = 5.0  # seconds that a submission has to answer after a Ctrl-C


class Submission:
    """A running command that submits a job.

    Parameters
    ----------
    command : sequence of str
        The command.
    environment : mapping
        The environment of the command.
    scheduler : str
        The name of the scheduler, for errors.

    Raises
    ------
    OSError
        When the command can't be run.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], scheduler: str) -> None:
        self._command = list(command)
        self._scheduler = scheduler
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,  # a Ctrl-C between submission and answer would lose the job
        )

    def output(self) -> str:
        """Wait for the end of the command and return its standard output.

        Raises
        ------
        LaunchError
            When the scheduler refused the job.
        """
        out, err = self._process.communicate()
        if self._process.returncode == 0:
            return out
        raise LaunchError(
            f"{self._scheduler} refused the job: {err.strip() or out.strip() or 'no reason given'}\n"
            f"  (exit code {self._process.returncode} of {shlex.join(self._command)})\n"
            "To see the script that was submitted:  mpidirect script, with the same options"
        )

    def output_after_interrupt(self) -> str:
        """Wait a moment for the output after a Ctrl-C; empty if the scheduler refused the job.

        Raises
        ------
        TimeoutError
            When the command did not answer: it was killed, and a job may have been submitted.
        """
        try:
            out, _ = self._process.communicate(timeout=_INTERRUPTED)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(self._process.pid, signal.SIGKILL)  # also kills the children of a site's wrapper script
            self._process.communicate()
            raise TimeoutError from None
        return out if self._process.returncode == 0 else ""
