"""Programs give the same results at the prompt and on the engines, in a script and in IPython.

The programs are those of ``tests/corpus``; ``corpus_runner.py`` says how they are written.
For one topic: ``pytest tests/proofs/test_corpus.py -k closures``.
For one program: set ``PROGRAM='part of its title'`` before that command.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys

import corpus_runner
import pytest
from corpus_runner import CORPUS

pytestmark = [pytest.mark.proof, pytest.mark.openmpi_only, pytest.mark.timeout(300)]  # the same with any MPI

LACKING = {path.stem: corpus_runner.missing(path) for path in sorted(CORPUS.glob("*.py"))}
TOPICS = [topic for topic, lacking in LACKING.items() if not lacking]
ONLY = os.environ.get("PROGRAM", "")


class Process:
    """A process with a prompt, started at its first use."""

    def __init__(self, kind: str, cluster, directory) -> None:
        self._command = [sys.executable, corpus_runner.__file__, kind, str(cluster.connection_file)]
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None

    def run(self, topic: str) -> dict:
        """Run the programs of a topic; return the answer of the process."""
        if self._process is None:
            self._start()
        self._process.stdin.write(json.dumps({"topic": topic, "only": ONLY}) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._replies], [], [], 280)
        line = self._replies.readline() if ready else ""
        if not line:
            self.stop(kill=True)
            pytest.fail(f"the process ended or was stuck: {(self._directory / 'stderr').read_text()[-3000:]}")
        return json.loads(line)

    def _start(self) -> None:
        ours, theirs = os.pipe()
        environment = {**os.environ, "IPYTHONDIR": str(self._directory), "PYTHONUNBUFFERED": "1"}
        with (self._directory / "stderr").open("w") as errors:
            self._process = subprocess.Popen(
                [*self._command, str(theirs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=[theirs],
                cwd=self._directory,
                env=environment,
                text=True,
            )
        os.close(theirs)
        self._replies = os.fdopen(ours)

    def stop(self, kill: bool = False) -> None:
        """End the process."""
        if self._process is not None:
            if kill:
                self._process.kill()
            self._process.stdin.close()
            self._process.wait(100)
            self._replies.close()
            self._process = None


@pytest.fixture(scope="module", params=["script", "ipython"])
def process(request, cluster, tmp_path_factory):
    """Start a process with a script or with IPython as the prompt."""
    new = Process(request.param, cluster, tmp_path_factory.mktemp(request.param))
    yield new
    new.stop()


@pytest.mark.parametrize("topic", TOPICS)
def test_programs(process, topic, rc):
    done = process.run(topic)
    assert done["programs"] or ONLY, "the file has no programs"
    if done["wrong"]:
        texts = [f"{w['title']}\n   expected {w['expected']}\n   got      {w['got']}" for w in done["wrong"]]
        pytest.fail(f"{len(texts)} of {done['programs']} programs:\n" + "\n".join(texts), pytrace=False)


def test_only_programs_for_a_later_python_are_left_out():
    assert not [lacking for lacking in LACKING.values() if lacking and not lacking.startswith("python ")]


def test_titles_are_unique():
    for topic in LACKING:
        titles = [program.title for program in corpus_runner.read(CORPUS / f"{topic}.py")]
        assert len(titles) == len(set(titles)), topic
