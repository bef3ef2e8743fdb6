"""The launcher for any other scheduler: its commands, as they would be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from ..config.options import Option, text
from ..errors import ConfigError, LaunchError
from .base import JobState, JobStatus
from .batch import BatchLauncher

_WHERE = "It goes into the profile's config.toml:  mpidirect profile create NAME --set launcher=command"


class CommandLauncher(BatchLauncher):
    """Submits the job by commands of the user's."""

    name = "command"
    summary = "any other scheduler, by its commands"
    scheduler = "The scheduler"
    prefix = ""
    inside = ""
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
        """None: the setting ``directives`` has whole lines, or ``template`` the whole script."""
        return iter(())

    def submission(self, script: Path) -> list[str]:
        """The setting ``submit``."""
        self._filled("poll"), self._filled("cancel")  # a job that can't be watched is not submitted
        return self._filled("submit", script=str(script))

    def read_id(self, output: str) -> str:
        """What the setting ``id`` finds."""
        found = re.search(self.settings["id"], output)
        return (found[1] if found.re.groups else found[0]) if found else ""

    def look(self) -> JobStatus:
        """What the setting ``poll`` prints, understood by the others."""
        shown = self.ask(*self._filled("poll", id=self.id))
        said = f"{shown.stdout}\n{shown.stderr}".strip()
        for state in (JobState.PENDING, JobState.RUNNING, JobState.ENDED):
            if re.search(self.settings[state.value], said):
                return JobStatus(state, said.splitlines()[0])
        if shown.returncode == 0 and not said:
            return JobStatus(JobState.ENDED, "it is not there any more")
        raise LaunchError(f"{shlex.join(shown.args)} says what no setting explains: {said}")

    def cancel(self, force: bool) -> None:
        """The setting ``cancel``."""
        self.order(*self._filled("cancel", id=self.id))

    def _filled(self, name: str, **values: str) -> list[str]:
        if not self.settings[name]:
            raise ConfigError(f"The launcher 'command' needs the setting '{name}'. {_WHERE}")
        words = shlex.split(self.settings[name])
        return [re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], m[0]), word) for word in words]
