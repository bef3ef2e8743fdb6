"""Clusters in jobs of PBS: fakes of its commands run real jobs, Torque's commands use a real Slurm."""

import json
import re
import subprocess
import time

import pytest
from schedulers.faked import Scheduler
from schedulers.login import JOBSCRIPTS, SCRIPT, command, run
from waiting import LIMIT, until

from mpidirect import Client, Cluster, errors
from mpidirect.cluster.state import ClusterState
from mpidirect.files.profiles import Profile
from mpidirect.job import processes
from mpidirect.launchers.base import JobState
from mpidirect.launchers.pbs import PBSLauncher, parse_job

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def pbs(login_node, monkeypatch):
    """Fakes of PBS's commands."""
    scheduler = Scheduler("pbs", login_node).enter(monkeypatch)
    yield scheduler
    scheduler.end()


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
    assert pbs.state("0.pbs1") == "F"
    assert Profile().record() is None and processes.members(cluster.cluster) == []


def test_jobs_that_do_not_start(pbs, monkeypatch):
    never = run("start", "-n", "20", "--launcher", "pbs")
    assert never.returncode == 1
    assert "will never start" in never.stderr and "Insufficient amount of resource" in never.stderr
    refused = run("start", "-n", "2", "--launcher", "pbs", "--queue", "nowhere")
    assert refused.returncode == 1 and "Unknown queue" in refused.stderr and "170" in refused.stderr
    held = run("start", "-n", "2", "--launcher", "pbs", "--directive=-h", "--queue-timeout", "1s")
    assert held.returncode == 1 and "within 1 s: it is held; it goes on after 'qrls 1.pbs1'" in held.stderr
    assert pbs.state("1.pbs1") == "F" and Profile().record() is None
    monkeypatch.setenv("FAKE_PBS_FULL", "1")
    cluster = Cluster(2, launcher="pbs").start()
    assert cluster.state is ClusterState.PENDING and "Not Running" in cluster.look()[1]
    assert run("stop").returncode == 0
    assert pbs.state("2.pbs1") == "F"


def test_a_job_that_dies_at_start_says_why(pbs):
    done = run("start", "-n", "2", "--launcher", "pbs", "--prologue", "echo no such module; exit 3")
    assert done.returncode == 1
    assert "exit status 3" in done.stderr


def test_the_end_of_the_job_reaches_a_waiting_client(pbs):
    for word in ("walltime was over", r"deleted by me@login \(qdel\)"):
        cluster = Cluster(1, launcher="pbs", walltime="10m").start().wait()
        with cluster.connect_client() as rc:
            result = rc[:].apply_async(time.sleep, 60)
            if "qdel" in word:
                subprocess.run(["qdel", cluster.job_id], check=True, timeout=LIMIT)
            else:
                pbs.let_time_pass(cluster.job_id)
            with pytest.raises(errors.MPIDirectError, match=word):
                result.get(timeout=LIMIT)
        assert re.search(word, run("status").stdout)
        cluster.stop()


def test_the_job_scripts(pbs, login_node):
    (login_node / "script.py").write_text(SCRIPT)
    job = pbs.submit(JOBSCRIPTS / "pbs-batch.sh")
    until(lambda: pbs.state(job) == "F")
    assert "ids [0, 1, 2, 3] [4, 4, 4, 4] []" in (login_node / "mpidirect.o0").read_text()
    assert pbs.job(job)["Exit_status"] == 7
    job = pbs.submit(JOBSCRIPTS / "pbs-cluster.sh")
    until(lambda: Profile("batch").exists() and Profile("batch").record())
    with Cluster.from_profile("batch").connect_client() as rc:
        assert len(rc) == 4
    assert run("stop", "--profile", "batch").returncode == 0
    until(lambda: pbs.state(job) == "F")


def test_the_script_contains_all_settings(login_node):
    settings = {
        "nodes": 2,
        "ntasks_per_node": 4,
        "cpus_per_task": 2,
        "mem": "8gb",
        "gpus": 1,
        "walltime": "2h",
    }
    script = Cluster(launcher="pbs", queue="short", account="physics", **settings).job_script()
    select = "select=2:ncpus=8:mpiprocs=4:ompthreads=2:mem=8gb:ngpus=1"
    assert f"#PBS -l {select}\n#PBS -l place=scatter\n#PBS -l walltime=2:00:00\n" in script
    assert "#PBS -q short\n#PBS -A physics\n" in script and "exec > >(tee -a " in script
    assert "place=" not in Cluster(4, launcher="pbs").job_script()
    script = Cluster(launcher="pbs", dialect="torque", **settings).job_script()
    assert "#PBS -l nodes=2:ppn=8:gpus=1,mem=8gb\n" in script
    apart = {"launcher": "pbs", "controller": "node", "nodes": 2, "ntasks_per_node": 4}
    script = Cluster(**apart).job_script()
    select = "1:ncpus=1:mpiprocs=1+2:ncpus=4:mpiprocs=4:ompthreads=1"
    assert f"#PBS -l select={select}\n#PBS -l place=scatter\n" in script
    assert "#PBS -l nodes=1:ppn=1+2:ppn=4\n" in Cluster(**apart, dialect="torque").job_script()


@pytest.mark.parametrize(
    ("job", "found", "words"),
    [
        ({"job_state": "R", "exec_host": "a/0*8+a/1+b/0*8"}, JobState.RUNNING, ""),
        ({"job_state": "Q", "comment": "Not Running: Queue full"}, JobState.PENDING, "Queue full"),
        ({"job_state": "H"}, JobState.PENDING, "after 'qrls 7.a'"),
        ({"job_state": "F", "Exit_status": 0}, JobState.ENDED, "by itself"),
        ({"job_state": "F", "Exit_status": 271}, JobState.ENDED, "deleted"),
        ({"job_state": "F", "Exit_status": -29}, JobState.ENDED, "walltime"),
        ({"job_state": "F"}, JobState.ENDED, "before it ran"),
        (
            {"job_state": "F", "Exit_status": 0, "comment": "Job run at Mon … and terminated by me@login"},
            JobState.ENDED,
            "deleted by me@login",
        ),
        ({"job_state": "F", "Exit_status": 0, "substate": 91}, JobState.ENDED, "deleted"),
        ({"job_state": "C", "exit_status": "1"}, JobState.ENDED, "exit status 1"),
    ],
)
def test_the_output_of_qstat_is_parsed(job, found, words):
    status = parse_job(job, "7.a")
    assert status.state is found and words in status.reason
    assert status.hosts in ("", "a,b")


def test_time_left_despite_another_clock_of_the_server(login_node):
    job = {"job_state": "R", "Resource_List": {"walltime": "02:00:00"}}
    job["resources_used"] = {"walltime": "00:10:00"}
    for behind in (-3600, 3600):
        job["stime"] = time.ctime(time.time() - 660 + behind)
        assert parse_job(job, "7").left == 6600
    job["stime"] = time.ctime(time.time() - 660)
    assert 6530 < parse_job(job, "7").left <= 6540


def test_the_text_output_of_qstat_is_parsed(pbs, login_node):
    cluster = Cluster(1, launcher="pbs", job_name="a-name-that-is-so-long-that-its-line-" * 3).start()
    real = (login_node / "bin" / "qstat").read_text()
    command(login_node, "qstat", 'case "$*" in *json*) echo no such option >&2; exit 2;; esac\n' + real)
    assert PBSLauncher.of(cluster.job_id).state().state is JobState.RUNNING
    command(login_node, "qstat", "echo cannot connect to server >&2; exit 2")
    blind = PBSLauncher.of(cluster.job_id).state()
    assert blind.state is JobState.UNKNOWN and "cannot connect" in blind.reason
    command(login_node, "qstat", real)
    cluster.stop()


@pytest.mark.slurm
def test_torque_commands_on_a_real_slurm(hosts):
    """On two hosts, before and after a restart of all engines."""
    torque = {"launcher": "pbs", "dialect": "torque", "walltime": "5m", "without": ["-j", "-r"]}
    with Cluster(**torque, nodes=2, ntasks_per_node=2) as rc:
        for _ in range(2):
            assert rc[:].apply_sync(lambda: comm.allreduce(1)) == [4] * 4  # noqa: F821
            assert set(rc[:].pull("node").get(LIMIT)) == {"n1", "n2"}
            assert rc.restart() == [0, 1, 2, 3]
        cluster = Cluster.from_profile()
        assert cluster.state is ClusterState.RUNNING and re.match(r"\d+", cluster.job_id)
    assert hosts.ask("squeue", "-h", "-o", "%A") == ""
