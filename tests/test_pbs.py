"""Clusters that PBS runs: fakes of its commands that run the jobs for real, and Torque's on a real Slurm."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import schedulers.pbs
from schedulers.pbs import state

from mpidirect import Client, Cluster, errors
from mpidirect.cluster import ClusterState
from mpidirect.launchers import processes
from mpidirect.launchers.base import JobState
from mpidirect.launchers.pbs import PBSLauncher, _understood
from mpidirect.profiles import Profile

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

COMMAND = [sys.executable, "-m", "mpidirect"]
HERE = Path(__file__).parent
JOBSCRIPTS = HERE.parent / "jobscripts"
LIMIT = 60


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory of profiles, and a `mpidirect` on the path."""
    for name in [name for name in os.environ if name.startswith(("MPIDIRECT_", "PBS_", "SLURM_"))]:
        monkeypatch.delenv(name)
    command(tmp_path / "bin" / "mpidirect", f'exec {sys.executable} -m mpidirect "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(HERE.parent))
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pbs(home, monkeypatch):
    """PBS's commands, faked."""
    jobs = schedulers.pbs.install(home, monkeypatch)
    yield jobs
    schedulers.pbs.end(jobs)


def command(path, line):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def until(condition, limit=LIMIT):
    deadline = time.monotonic() + limit
    while not (found := condition()):
        assert time.monotonic() < deadline, "this did not come true"
        time.sleep(0.05)
    return found


def run(*words, **environment):
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("history", ["1", "0"])
def test_start_use_and_stop(pbs, monkeypatch, history):
    monkeypatch.setenv("FAKE_PBS_HISTORY", history)
    started = run("start", "-n", "2", "--launcher", "pbs", "--walltime", "10m")
    assert started.returncode == 0, started.stderr
    cluster = Cluster.from_profile()
    assert cluster.job_id == "0.pbs1"
    [row] = json.loads(run("status", "--json").stdout)
    assert (row["state"], row["ready"], row["job"], row["nodes"]) == ("running", 2, "0.pbs1", "pbs1")
    assert 500 < row["left"] <= 600
    with Client() as rc:
        assert rc[:].apply_sync(lambda: comm.allreduce(1)) == [2, 2]  # noqa: F821
        assert 500 < rc.time_left <= 600
    stopped = run("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert state(pbs / "0.pbs1") == "F"
    assert Profile().record() is None and processes.members(cluster.cluster) == []


def test_jobs_that_do_not_start(pbs, monkeypatch):
    never = run("start", "-n", "20", "--launcher", "pbs")
    assert never.returncode == 1
    assert "will never start" in never.stderr and "Insufficient amount of resource" in never.stderr
    refused = run("start", "-n", "2", "--launcher", "pbs", "--queue", "nowhere")
    assert refused.returncode == 1 and "Unknown queue" in refused.stderr and "170" in refused.stderr
    monkeypatch.setenv("FAKE_PBS_FULL", "1")
    cluster = Cluster(2, launcher="pbs").start()
    assert cluster.state is ClusterState.PENDING and "Not Running" in cluster.look()[1]
    assert run("stop").returncode == 0
    assert state(pbs / "1.pbs1") == "F"


def test_a_job_that_dies_at_start_says_why(pbs):
    done = run("start", "-n", "2", "--launcher", "pbs", "--prologue", "echo no such module; exit 3")
    assert done.returncode == 1
    assert "exit status 3" in done.stderr


def test_ends_under_a_waiting_client(pbs):
    for walltime, word in (("8s", "walltime was over"), ("10m", "qdel")):
        cluster = Cluster(1, launcher="pbs", walltime=walltime).start().wait()
        with cluster.connect_client() as rc:
            result = rc[:].apply_async(time.sleep, 60)
            if word == "qdel":
                subprocess.run(["qdel", cluster.job_id], check=True, timeout=LIMIT)
            with pytest.raises(errors.MPIDirectError, match=word):
                result.get(timeout=LIMIT)
        assert word in run("status").stdout
        cluster.stop()


def test_the_job_scripts(pbs, home):
    (home / "script.py").write_text(
        "import mpidirect, sys\nrc = mpidirect.Client()\nprint('ids', rc.ids, flush=True)\nsys.exit(7)\n"
    )
    subprocess.run(["qsub", str(JOBSCRIPTS / "pbs-batch.sh")], check=True, timeout=LIMIT)
    until(lambda: state(pbs / "0.pbs1") == "F")
    assert "ids [0, 1, 2, 3]" in (home / "mpidirect.o0").read_text()
    assert json.loads((pbs / "0.pbs1").read_text())["Exit_status"] == 7
    subprocess.run(["qsub", str(JOBSCRIPTS / "pbs-cluster.sh")], check=True, timeout=LIMIT)
    until(lambda: Profile("batch").exists() and Profile("batch").record())
    with Cluster.from_profile("batch").connect_client() as rc:
        assert len(rc) == 4
    assert run("stop", "--profile", "batch").returncode == 0
    until(lambda: state(pbs / "1.pbs1") == "F")


def test_the_script_says_all_that_was_asked_for(home):
    settings = {
        "nodes": 2,
        "ntasks_per_node": 4,
        "cpus_per_task": 2,
        "mem": "8gb",
        "gpus": 1,
        "walltime": "2h",
    }
    script = Cluster(launcher="pbs", queue="short", account="physics", **settings).job_script()
    assert "#PBS -l select=2:ncpus=8:mpiprocs=4:mem=8gb:ngpus=1\n#PBS -l walltime=2:00:00\n" in script
    assert "#PBS -q short\n#PBS -A physics\n" in script and "exec > >(tee -a " in script
    script = Cluster(launcher="pbs", dialect="torque", **settings).job_script()
    assert "#PBS -l nodes=2:ppn=8:gpus=1,mem=8gb\n" in script


@pytest.mark.parametrize(
    "job, found, words",
    [
        ({"job_state": "R", "exec_host": "a/0*8+a/1+b/0*8"}, JobState.RUNNING, ""),
        ({"job_state": "Q", "comment": "Not Running: Queue full"}, JobState.PENDING, "Queue full"),
        ({"job_state": "H"}, JobState.PENDING, "held"),
        ({"job_state": "F", "Exit_status": 0}, JobState.ENDED, "by itself"),
        ({"job_state": "F", "Exit_status": 271}, JobState.ENDED, "deleted"),
        ({"job_state": "F", "Exit_status": -29}, JobState.ENDED, "walltime"),
        ({"job_state": "F"}, JobState.ENDED, "before it ran"),
        ({"job_state": "C", "exit_status": "1"}, JobState.ENDED, "exit status 1"),
    ],
)
def test_what_pbs_says_is_understood(job, found, words):
    status = _understood(job)
    assert status.state is found and words in status.reason
    assert status.hosts in ("", "a,b")


def test_text_is_understood_where_there_is_no_json(pbs, home):
    cluster = Cluster(1, launcher="pbs", job_name="a-name-that-is-so-long-that-its-line-" * 3).start()
    real = (home / "bin" / "qstat").read_text()
    command(home / "bin" / "qstat", 'case "$*" in *json*) echo no such option >&2; exit 2;; esac\n' + real)
    assert PBSLauncher.of(cluster.job_id).state().state is JobState.RUNNING
    command(home / "bin" / "qstat", "echo cannot connect to server >&2; exit 2")
    blind = PBSLauncher.of(cluster.job_id).state()
    assert blind.state is JobState.UNKNOWN and "cannot connect" in blind.reason
    command(home / "bin" / "qstat", real)
    cluster.stop()


@pytest.mark.slurm
def test_torque_commands_on_a_real_slurm(home, slurm_on_one_host, monkeypatch):
    for name, value in slurm_on_one_host.environment.items():
        monkeypatch.setenv(name, value)
    with Cluster(2, launcher="pbs", dialect="torque", walltime="5m", without=["-j", "-r"]) as rc:
        assert rc[:].apply_sync(lambda: comm.allreduce(1)) == [2, 2]  # noqa: F821
        cluster = Cluster.from_profile()
        assert cluster.state is ClusterState.RUNNING and re.match(r"\d+", cluster.job_id)
    assert slurm_on_one_host.ask("squeue", "-h", "-o", "%A") == ""
