"""A cluster continues in another job at the end of its walltime, with a real Slurm and a fake of PBS."""

import doctest
import json
import os
import re
import shlex
import signal
import sys
import time

import psutil
import pytest
from conftest import ROOT
from schedulers import ssh
from schedulers.faked import Scheduler
from schedulers.login import command, run
from schedulers.slurm import SLURM, gone
from waiting import LIMIT, until

from mpidirect import Client, Cluster, errors
from mpidirect.client.connection import next_job
from mpidirect.cluster.state import ClusterState

pytestmark = [pytest.mark.openmpi_only, pytest.mark.timeout(240)]  # several jobs, one after the other

PAGE = ROOT / "docs" / "walltime.md"


# On a laptop: a client by ssh only, before and after the next job begins.
FAR_CLIENT = """
import time, warnings
from mpidirect import Client

warnings.simplefilter("ignore")  # that the connection is down
with Client(sshserver="login") as rc:
    rc.resize(3)
    rc[:].scatter("n", [5, 6, 7], block=True)
    first = rc.facts["host"]
    print(first, rc.size, flush=True)
    while rc.facts["host"] == first or not rc.ids:
        time.sleep(0.1)
    print(rc.facts["host"], rc[:].gather("n", block=True))
"""


def of_the_page():
    """Run the examples of the page at a prompt, and return the names that they set."""
    text = "\n".join(re.findall(r"^```pycon\n(.*?)^```", PAGE.read_text(), re.M | re.S))
    test = doctest.DocTestParser().get_doctest(text, {}, "page", None, 0)
    runner = doctest.DocTestRunner()
    assert test.examples and not runner.run(test, clear_globs=False).failed
    return test.globs


# The same, where no next job begins.
WAITING_FAR_CLIENT = """
import time
from mpidirect import Client, errors
from mpidirect.client.connection import next_job

next_job.QUERY_INTERVAL_BY_SSH = 1.0
with Client(sshserver="login") as rc:
    print(rc.ids, flush=True)
    try:
        rc[:].apply_sync(time.sleep, 600)
    except errors.RemoteError:
        pass
    try:
        rc.wait_for_engines(2)
    except errors.ControllerLost as error:
        print(error)
"""


def test_the_commands_of_the_page(login_node):
    commands = re.findall(r"^\$ mpidirect (start .*)$", PAGE.read_text(), re.M)
    options = re.findall(r"`(--[a-z-]+[ =][^`]+)`", PAGE.read_text())
    assert len(commands) >= 2 and len(options) >= 6
    commands += [f"start -n 2 --resume --launcher slurm {' '.join(options)}"]
    for line in commands:
        shown = run(*shlex.split(line), "--dry-run")
        assert shown.returncode == 0, (line, shown.stderr)
    assert "#SBATCH --signal=B:USR1@120" in shown.stdout and "\nexec " in shown.stdout


def start(launcher, monkeypatch, walltime="1m", *flags, **options):
    """Start a cluster whose job ends in a minute, and that continues before."""
    monkeypatch.setenv("MPIDIRECT_WALLTIME", walltime)
    for name, value in {"resume_before": "30s", "max_resumes": "1", **options}.items():
        monkeypatch.setenv(f"MPIDIRECT_{name.upper()}", value)
    started = run("start", "-n", "2", "--nodes", "1", "--launcher", launcher, "--resume", *flags)
    assert started.returncode == 0, started.stderr
    return Cluster.from_profile()


def await_next_job(rc, process):
    """Wait until another controller process has engines; return its process number."""
    until(lambda: rc.ids and rc.facts["pid"] != process)
    return rc.facts["pid"]


@pytest.mark.page
@pytest.mark.slurm
def test_a_client_counts_over_the_end_of_its_job(slurm, monkeypatch):
    cluster, page = start("slurm", monkeypatch), of_the_page()
    count = page["count"]
    with page["rc"] as rc:
        first = rc.engines_info[0]["pid"]
        rc[:].push({"data": list(range(10))}, block=True)
        unread = rc[:].apply_async(lambda: "kept")
        assert count(lambda: rc.ids and rc.engines_info[0]["pid"] != first)  # at least one step has failed
        before = min(rc[:].pull("n", block=True))
        assert count(lambda: min(rc[:].pull("n", block=True)) > before) == []
        assert rc[1].pull("data", block=True) == list(range(10))
        assert unread.get() == ["kept", "kept"]
        assert 0 < rc.time_left <= 60
        [row] = json.loads(run("status", "--json").stdout)
        assert (row["state"], row["ready"], row["resumes"]) == ("running", 2, "1 of 1")
    cluster.stop()
    assert gone(slurm, cluster)
    assert not cluster.profile.saved_directory(cluster.cluster).exists()


@pytest.mark.slurm
def test_a_warning_signal_continues_the_cluster_and_a_cancellation_does_not(slurm, monkeypatch):
    cluster = start("slurm", monkeypatch, "10m", max_resumes="3")
    with cluster.connect_client() as rc:
        process = rc.facts["pid"]
        rc.resize(3)
        rc[:].scatter("n", [5, 6, 7], block=True)
        running = rc[:].apply_async(time.sleep, 60)
        slurm.ask("scancel", "--batch", "--signal=USR1", cluster.job_id)
        process = await_next_job(rc, process)
        with pytest.raises(errors.CompositeError, match="another job continues with the same namespaces"):
            running.get(LIMIT)
        assert rc[:].gather("n", block=True) == [5, 6, 7]
        os.kill(process, signal.SIGTERM)  # as srun does when another job replaces this one
        await_next_job(rc, process)
        assert rc[:].gather("n", block=True) == [5, 6, 7]
        [row] = json.loads(run("status", "--json").stdout)
        assert (row["ready"], row["engines"], row["resumes"]) == (3, 3, "2 of 3")
        slurm.ask("scancel", cluster.job_id)
        with pytest.raises(errors.MPIDirectError, match="cancelled"):
            rc[:].apply_async(time.sleep, 60).get(LIMIT)
    until(lambda: not slurm.ask("squeue", "-h", "-o", "%A"))
    cluster.stop()
    assert gone(slurm, cluster)


@pytest.mark.slurm
def test_the_save_follows_a_longer_walltime(slurm, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIRECTIVES", "--hold")
    cluster = start("slurm", monkeypatch, "1m", "--no-wait", resume_before="55s")
    slurm.ask("scontrol", "update", f"JobId={cluster.job_id}", "TimeLimit=9")
    slurm.ask("scontrol", "release", cluster.job_id)
    with cluster.connect_client() as rc:
        process, ready = rc.facts["pid"], rc.time_left
        # with the first walltime, the save would be due
        until(lambda: rc.time_left < min(9 * 60 - 8, ready - 3))
        assert rc.facts["pid"] == process and rc.ids
        assert "the next job waits" not in (cluster.log_directory / "controller.log").read_text()
    cluster.stop()
    assert gone(slurm, cluster)


@pytest.mark.slurm
def test_slurm_queues_the_job_again_if_it_takes_no_other(slurm, login_node, monkeypatch):
    cluster = start("slurm", monkeypatch, "10m")
    first = cluster.job_id
    command(login_node, "sbatch", 'echo "sbatch: error: no jobs from compute nodes" >&2; exit 1')
    with cluster.connect_client() as rc:
        process = rc.facts["pid"]
        rc[:].push({"n": 7}, block=True)
        slurm.ask("scancel", "--batch", "--signal=USR1", first)
        await_next_job(rc, process)
        assert rc[:].pull("n", block=True) == [7, 7]
        assert cluster.job_id == first and cluster.resumes == "1 of 1"
        log = (cluster.log_directory / "controller.log").read_text()
        assert "no jobs from compute nodes" in log
    cluster.stop()
    assert gone(slurm, cluster)


@pytest.mark.slurm
def test_a_client_and_status_learn_that_the_next_job_was_cancelled(slurm, login_node, monkeypatch):
    monkeypatch.setattr(next_job, "QUERY_INTERVAL", 1.0)
    directory = login_node / "scratch"
    cluster = start("slurm", monkeypatch, "10m", resume_dir=str(directory))
    with cluster.connect_client() as rc:
        first = cluster.job_id
        rc[:].push({"n": 7}, block=True)
        slurm.ask("scontrol", "update", "PartitionName=main", "State=DOWN")
        try:
            slurm.ask("scancel", "--batch", "--signal=USR1", first)
            until(lambda: cluster.job_id != first and cluster.state is ClusterState.PENDING)
            until(lambda: slurm.ask("squeue", "-h", "-o", "%A") == cluster.job_id)
            slurm.ask("scancel", cluster.job_id)
            with pytest.raises(errors.ControllerLost, match=rf"job {cluster.job_id}: it was cancelled"):
                rc.wait_for_engines(2, timeout=LIMIT)
        finally:
            slurm.ask("scontrol", "update", "PartitionName=main", "State=UP")
    shown = run("status")
    assert (
        shown.returncode == 1 and "It was to continue the cluster; the namespaces are saved" in shown.stdout
    )
    again = run("start", "-n", "2", "--launcher", "slurm", "--nodes", "1")
    assert again.returncode == 0 and "rc.load('" in again.stderr
    with Client() as rc:
        rc.load(re.search(rf"rc\.load\('({directory}/.*)'\)", again.stderr)[1])
        assert rc[:].pull("n", block=True) == [7, 7]
    assert run("stop").returncode == 0


@pytest.mark.slurm
@pytest.mark.parametrize("asleep", [False, pytest.param(True, marks=pytest.mark.proof)])
def test_a_laptop_follows_a_resized_cluster_to_another_host(hosts, login_node, monkeypatch, asleep):
    ssh.install(login_node, there=login_node / "home")
    monkeypatch.setenv("MPIDIRECT_WALLTIME", "10m")
    cluster = Cluster(resume=True, shutdown_atexit=False, **SLURM).start().wait()
    with monkeypatch.context() as laptop:
        laptop.setenv("MPIDIRECT_DIR", str(login_node / "laptop"))
        client = ssh.begin_on_a_laptop(sys.executable, "-c", FAR_CLIENT)
    try:
        assert client.stdout.readline() == "n1 3\n"
        hosts.ask("scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=test")
        if asleep:
            client.send_signal(signal.SIGSTOP)
            for tunnel in psutil.Process(client.pid).children():
                tunnel.kill()
        hosts.ask("scancel", "--batch", "--signal=USR1", cluster.job_id)
        if asleep:
            with cluster.connect_client() as rc:
                until(lambda: rc.ids and rc.facts["host"] == "n2")
            client.send_signal(signal.SIGCONT)
        assert client.communicate(timeout=LIMIT)[0] == "n2 [5, 6, 7]\n"
    finally:
        client.kill()
        hosts.ask("scontrol", "update", "NodeName=n1", "State=RESUME")
    cluster.stop()
    assert gone(hosts, cluster)


@pytest.mark.slurm
@pytest.mark.proof
def test_a_laptop_learns_that_the_next_job_was_cancelled(slurm, login_node, monkeypatch):
    ssh.install(login_node, there=login_node / "home")
    cluster = start("slurm", monkeypatch, "10m")
    first = cluster.job_id
    with monkeypatch.context() as laptop:
        laptop.setenv("MPIDIRECT_DIR", str(login_node / "laptop"))
        client = ssh.begin_on_a_laptop(sys.executable, "-c", WAITING_FAR_CLIENT)
    try:
        assert client.stdout.readline() == "[0, 1]\n"
        slurm.ask("scontrol", "update", "PartitionName=main", "State=DOWN")
        slurm.ask("scancel", "--batch", "--signal=USR1", first)
        until(lambda: slurm.ask("squeue", "-h", "-o", "%A") == cluster.job_id != first)
        slurm.ask("scancel", cluster.job_id)
        assert (
            f"job {cluster.job_id}, which was to continue it, has ended: it was cancelled"
            in (client.communicate(timeout=LIMIT)[0])
        )
    finally:
        client.kill()
        slurm.ask("scontrol", "update", "PartitionName=main", "State=UP")
    assert run("stop").returncode == 0 and cluster.profile.clusters() == set()


@pytest.mark.slurm
def test_torque_commands_continue_a_cluster(slurm, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIALECT", "torque")
    monkeypatch.setenv("MPIDIRECT_WITHOUT", "-j\n-r")
    cluster = start("pbs", monkeypatch, "10m")
    with cluster.connect_client() as rc:
        process, first = rc.facts["pid"], cluster.job_id
        rc[:].push({"n": 7}, block=True)
        slurm.ask("scancel", "--batch", "--signal=USR1", re.match(r"\d+", first)[0])
        await_next_job(rc, process)
        assert rc[:].pull("n", block=True) == [7, 7] and cluster.job_id != first
    cluster.stop()
    assert slurm.ask("squeue", "-h", "-o", "%A") == ""


def test_pbs_continues_a_cluster(login_node, monkeypatch):
    scheduler = Scheduler("pbs", login_node).enter(monkeypatch)
    try:
        cluster = start("pbs", monkeypatch)
        with cluster.connect_client() as rc:
            first = rc.engines_info[0]["pid"]
            rc[:].push({"n": 7}, block=True)
            until(lambda: cluster.job_id == "1.pbs1")
            assert scheduler.job("1.pbs1")["depend"] == "afterany:0.pbs1@pbs1"
            until(lambda: rc.ids and rc.engines_info[0]["pid"] != first)
            assert rc[:].pull("n", block=True) == [7, 7]
        assert run("stop").returncode == 0
        assert cluster.profile.clusters() == set()
    finally:
        scheduler.end()
