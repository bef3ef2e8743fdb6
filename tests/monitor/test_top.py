"""`mpidirect top`: the live view of the engines, in a terminal."""

from __future__ import annotations

import os
import sys
import time

import pexpect
import pytest
from conftest import N
from waiting import until, until_running

from mpidirect import Client
from mpidirect.monitor.cells import cells, summary
from mpidirect.monitor.samples import EngineSample, Sampler

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

COMMAND = [sys.executable, "-m", "mpidirect", "top", "--interval", "0.2"]
LIMIT = 60


def work(path):
    import pathlib
    import time

    print("step 1\nstep 2")
    while not pathlib.Path(path).exists():
        time.sleep(0.5)  # a sample nearly always finds the task here


def test_samples_of_busy_and_idle_engines(rc, tmp_path):
    sampler = Sampler(rc)
    busy = rc[1].apply_async(work, str(tmp_path / "go"))
    waiting = rc[1].apply_async(abs, 1)
    until(lambda: Sampler(rc).sample()[1].line == "step 2")
    first = sampler.sample()
    assert [sample.engine for sample in first] == list(range(N))
    assert first[1].state == "running" and first[1].task == "apply" and first[1].queue == 1
    assert first[1].place.startswith("time.sleep at test_top.py:")
    assert 0 < first[1].age < LIMIT and first[1].line == "step 2"
    assert first[0].state == "idle" and first[0].task == "" and first[0].cpu is None
    assert all(sample.memory > 1e6 for sample in first)
    assert all(sample.cpu is not None and sample.cpu < 2 for sample in sampler.sample())
    (tmp_path / "go").touch()
    assert waiting.get(LIMIT) == 1
    busy.get(LIMIT)


def test_a_sample_of_many_engines_costs_little(rc):
    sampler = Sampler(rc)
    sampler.sample()
    began = time.process_time()
    for _ in range(20):
        sampler.sample()
    assert (time.process_time() - began) / 20 < 0.02  # a second of samples, in the client


def test_texts():
    lost = EngineSample(3, "", "lost", "killed by signal 9")
    assert cells(lost) == ("3", "", "lost", "killed by signal 9", *[""] * 7)
    running = EngineSample(0, "a", "running", "apply", "f at s.py:1", 61, 2, 1.5, 2**30, 10**9, "GPU", "done")
    assert cells(running) == (
        *(
            "0",
            "a",
            "running",
            "apply",
            "1 min 1 s",
            "f at s.py:1",
            "2",
            "150 %",
            "1.1 GB",
            "GPU 1.0 GB",
            "done",
        ),
    )
    assert summary([lost, running]).startswith("2 engines: 1 running, 1 lost | 2 tasks wait | CPU 150 %")


@pytest.fixture
def top(cluster):
    pytest.importorskip("textual")
    terminal = pexpect.spawn(
        COMMAND[0],
        COMMAND[1:],
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "150", "LINES": "30"},
        dimensions=(30, 150),
        encoding="utf-8",
        timeout=LIMIT,
    )
    yield terminal
    terminal.close(force=True)


def press(top, key, text):
    """Press a key until a text appears: a closing screen may still take the first key."""
    for _ in range(LIMIT // 3):
        top.send(key)
        if top.expect([text, pexpect.TIMEOUT], timeout=3) == 0:
            return
    raise AssertionError(f"{text!r} did not appear")


def test_keys_in_a_terminal(top, cluster, tmp_path):
    with Client(str(cluster.connection_file)) as rc:
        busy = rc[0].apply_async(work, str(tmp_path / "never"))
        until_running(rc, [0])
        top.expect("running")
        top.expect("step 2")
        press(top, "s", "in work")  # the stack of engine 0
        top.send("s")
        press(top, "i", "interrupted")
        with pytest.raises(Exception, match="KeyboardInterrupt"):
            busy.get(LIMIT)
        press(top, "r", "Restart engine 0")
        top.send("n")
        top.send("q")
        top.expect(pexpect.EOF)
        assert rc[0].apply_sync(abs, -1) == 1


def test_without_a_terminal_the_command_says_so():
    import subprocess

    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 2 and "needs a terminal" in done.stderr
