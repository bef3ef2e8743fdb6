"""The launcher for other schedulers: by their commands, as a user would type them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from ..config.option import Option
from ..config.values import text
from ..errors import ConfigError, LaunchError
from .base import JobState, JobStatus
from .batch import BatchLauncher

_ADVICE = "It goes into the profile's config.toml:  mpidirect profile create NAME --set launcher=command"


class CommandLauncher(BatchLauncher):
    """Submits the job by commands that the user sets."""

    name = "command"
    summary = "any other scheduler, by its commands"
    scheduler = "The scheduler"
    directive_prefix = ""
    job_variable = ""
    options = (
        Option("submit", text, "", "Submits {script}, and prints the job's id.", "CMD", '"bsub {script}"'),
        Option("poll", text, "", "Prints how job {id} fares.", "CMD", '"bjobs -noheader -o stat {id}"'),
        Option("cancel", text, "", "Ends job {id}.", "CMD", '"bkill {id}"'),
        Option("id", text, r"(\d+)", "The id, in what submit prints: a regular expression.", "REGEX"),
        Option("pending", text, "PEND|WAIT|QUEUE", "What poll prints of a job that waits.", "REGEX"),
        Option("running", text, "RUN|SUSP", "What poll prints of a job that runs.", "REGEX"),
        Option("ended", text, "DONE|EXIT|FAIL|not found", "What poll prints of one that ended.", "REGEX"),
    )

    def resources(self) -> Iterator[str]:
        """Yield nothing: the setting ``directives`` has whole lines, or ``template`` the whole script."""
        return iter(())

    def submission(self, script: Path) -> list[str]:
        """Return the setting ``submit``."""
        for needed in ("poll", "cancel"):  # without these settings the job could not be watched or ended
            self._command(needed)
        return self._command("submit", script=str(script))

    def read_id(self, output: str) -> str:
        """Return the text that the setting ``id`` finds."""
        found = re.search(self.settings["id"], output)
        return (found[1] if found.re.groups else found[0]) if found else ""

    def query(self) -> JobStatus:
        """Match the output of the setting ``poll`` with the setting of each state."""
        shown = self.run(*self._command("poll", id=self.id))
        output = f"{shown.stdout}\n{shown.stderr}".strip()
        for state in (JobState.PENDING, JobState.RUNNING, JobState.ENDED):
            if re.search(self.settings[state.value], output):
                return JobStatus(state, output.splitlines()[0])
        if shown.returncode == 0 and not output:
            return JobStatus(JobState.ENDED, "it is not there any more")
        raise LaunchError(f"{shlex.join(shown.args)} says what no setting explains: {output}")

    def cancel(self, force: bool) -> None:
        """Run the setting ``cancel``."""
        self.run_change(*self._command("cancel", id=self.id))

    def _command(self, name: str, **values: str) -> list[str]:
        """Return the words of a setting, with `values` in place of ``{name}``."""
        if not self.settings[name]:
            raise ConfigError(f"The launcher 'command' needs the setting '{name}'. {_ADVICE}")
        words = shlex.split(self.settings[name])
        return [re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], m[0]), word) for word in words]
