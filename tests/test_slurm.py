"""Clusters that a real Slurm runs."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pexpect
import pytest

from mpidirect import Client, Cluster, errors
from mpidirect.cluster import ClusterState
from mpidirect.launchers import mpi, processes
from mpidirect.launchers.base import JobState
from mpidirect.launchers.slurm import SlurmLauncher, _understood
from mpidirect.profiles import Profile

pytestmark = pytest.mark.slurm
either_mpi = pytest.mark.openmpi_only  # what does not depend on the MPI is run with one of them

COMMAND = [sys.executable, "-m", "mpidirect"]
JOBSCRIPTS = Path(__file__).parents[1] / "jobscripts"
LIMIT = 60
SLURM = {"launcher": "slurm", "nodes": 2, "ntasks_per_node": 2}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory of profiles, and a `mpidirect` on the path."""
    for name in [name for name in os.environ if name.startswith(("MPIDIRECT_", "SLURM_", "SBATCH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1])]))
    monkeypatch.setenv("UCX_TLS", "tcp,self")  # MPICH takes the nodes of the tests for one host
    command = tmp_path / "bin" / "mpidirect"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m mpidirect "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def slurm(slurm_on_one_host, home, monkeypatch):
    """A Slurm to submit to, which has no jobs afterwards."""
    yield from entered(slurm_on_one_host, monkeypatch)


@pytest.fixture
def hosts(slurm_on_several_hosts, home, monkeypatch):
    """The same on several hosts."""
    yield from entered(slurm_on_several_hosts, monkeypatch)


def entered(slurm, monkeypatch):
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm
    left = slurm.ask("squeue", "-h", "-o", "%A").split()
    if left:
        slurm.ask("scancel", *left)
    until(lambda: not slurm.ask("squeue", "-h", "-o", "%A"))


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


def gone(slurm, cluster):
    """Nothing is left of a cluster."""
    until(lambda: not slurm.ask("squeue", "-h", "-j", cluster.job_id, "-o", "%A"))
    assert cluster.profile.record() is None and cluster.profile.clusters() == set()
    until(lambda: processes.members(cluster.cluster) == [])
    return True


# A cluster's life


def test_start_use_and_stop_from_the_command_line(slurm):
    flags = ["--launcher", "slurm", "--nodes", "2", "--ntasks-per-node", "2", "--walltime", "10m"]
    started = run("start", *flags)
    assert started.returncode == 0, started.stderr
    assert "4 engines ready" in started.stdout
    cluster = Cluster.from_profile()
    [row] = json.loads(run("status", "--json").stdout)
    assert (row["state"], row["ready"], row["job"]) == ("running", 4, cluster.job_id)
    assert row["nodes"] == "n[1-2]" and 500 < row["left"] <= 600
    assert re.search(r"ssh -N -L (\d+):[\d.]+:\1 ", row["tunnel"])
    with Client() as rc:
        assert rc[:].apply_sync(lambda: comm.allreduce(rank)) == [6, 6, 6, 6]  # noqa: F821
        assert 500 < rc.time_left <= 600
    stopped = run("stop")
    assert (stopped.returncode, stopped.stderr) == (0, ""), stopped.stderr
    assert gone(slurm, cluster)
    assert run("stop").returncode == 3


@either_mpi
def test_two_clusters_at_once_one_started_inside_the_job_of_the_other(slurm, home):
    with Cluster(profile="outer", **SLURM) as outer:
        code = """
            import os
            from mpidirect import Cluster
            inner = Cluster(profile="inner", launcher="slurm", n=1)
            inner.start().wait()
            answer = os.environ["SLURM_JOB_ID"], inner.job_id
        """
        outer[0].execute(textwrap.dedent(code), block=True)
        job, own = outer[0]["answer"]
        assert job != own
        with Client(profile="inner") as rc:
            assert rc[:].apply_sync(lambda: size) == [1]  # noqa: F821
        inner = Cluster.from_profile("inner")
        assert run("status").stdout.count(" running ") == 2
        inner.stop()
        assert gone(slurm, inner)
        assert len(outer) == 4


@either_mpi
def test_the_controller_may_have_a_task_of_its_own(slurm):
    with Cluster(controller="slot", **SLURM) as rc:
        assert len(rc) == 3


@either_mpi
def test_a_setting_that_leaves_room_for_nobody_is_told(home):
    with pytest.raises(errors.ConfigError, match="don't fit"):
        Cluster(5, **SLURM).job_script()
    with pytest.raises(errors.ConfigError, match="How many engines"):
        Cluster(launcher="slurm").job_script()
    with pytest.raises(errors.ConfigError, match="--launcher slurm"):
        Cluster(2, nodes=1).job_script()


# What is submitted


@either_mpi
def test_the_script_says_all_that_was_asked_for(home):
    settings = {
        "cpus_per_task": 3,
        "mem": "2G",
        "gpus": 1,
        "walltime": "90m",
        "partition": "short",
        "account": "physics",
        "qos": "high",
        "constraint": "fast",
        "job_name": "mine",
        "prologue": ["module load openmpi", "conda activate work"],
        "directives": ["--exclusive"],
        "without": ["--no-requeue"],
        "mpiexec": "srun --mpi=pmi2",
        "python": "/opt/its/python",
    }
    script = Cluster(**SLURM, **settings).job_script()
    directives = """
        --nodes=2 --ntasks-per-node=2 --cpus-per-task=3 --mem=2G --gpus-per-node=1 --time=1:30:00
        --partition=short --account=physics --qos=high --constraint=fast --job-name=mine --exclusive
    """
    for line in directives.split():
        assert f"#SBATCH {line}\n" in script
    assert "--no-requeue" not in script
    assert "module load openmpi\nconda activate work\n" in script
    assert "#   sbatch --parsable /" in script
    assert "srun --overcommit --mpi=pmi2 -n 5 /opt/its/python -m mpidirect.job" in script
    assert not (home / "home").exists()


@either_mpi
def test_a_template_is_filled(home):
    template = home / "template"
    template.write_text(
        "#!/bin/sh\n{directives}\necho ${HOME} {unknown} {engines}\n{environment}\n{command} --x\n"
    )
    script = Cluster(2, launcher="slurm", template=str(template)).job_script()
    assert "#SBATCH --ntasks=2\n" in script and "echo ${HOME} {unknown} 2\n" in script
    assert script.endswith(".json --x\n")
    template.write_text("nothing")
    with pytest.raises(errors.ConfigError, match="nothing would start the ranks"):
        Cluster(2, launcher="slurm", template=str(template)).job_script()


# Waiting


@either_mpi
def test_a_job_that_waits_says_why_and_is_cancelled(slurm):
    blocker = slurm.ask("sbatch", "--parsable", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 60")
    until(lambda: slurm.ask("squeue", "-h", "-j", blocker, "-o", "%T") == "RUNNING")
    started = run("start", "-n", "2", "--launcher", "slurm", "--no-wait")
    assert started.returncode == 0 and started.stdout.strip().isdigit()
    cluster = Cluster.from_profile()
    assert cluster.job_id == started.stdout.strip()
    until(lambda: "no free nodes" in cluster.look()[1] or "come first" in cluster.look()[1])
    assert cluster.state is ClusterState.PENDING
    status = run("status")
    assert status.returncode == 1 and " pending " in status.stdout
    with pytest.raises(errors.TimeoutError, match="--queue-timeout"):
        Cluster(2, profile="hasty", launcher="slurm", queue_timeout=1).start().wait()
    Cluster.from_profile("hasty").stop()
    assert run("stop").returncode == 0
    assert slurm.ask("squeue", "-h", "-o", "%A") == blocker
    slurm.ask("scancel", blocker)


@either_mpi
def test_ctrl_c_in_the_queue_cancels_where_nobody_can_be_asked(slurm):
    blocker = slurm.ask("sbatch", "--parsable", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 60")
    command = [*COMMAND, "start", "-n", "2", "--launcher", "slurm"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert "is pending" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 130
    until(lambda: slurm.ask("squeue", "-h", "-o", "%A") == blocker)
    slurm.ask("scancel", blocker)


@either_mpi
def test_ctrl_c_in_the_queue_asks_at_a_terminal(slurm):
    blocker = slurm.ask("sbatch", "--parsable", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 60")
    words = [*COMMAND[1:], "start", "-n", "2", "--launcher", "slurm"]
    for answer, jobs in (("n", 2), ("y", 1)):
        prompt = pexpect.spawn(COMMAND[0], words, timeout=LIMIT, encoding="utf-8", dimensions=(30, 200))
        prompt.expect("is pending: (no free nodes|others come first)")
        prompt.sendintr()
        prompt.expect(r"Cancel it\?")
        prompt.sendline(answer)
        prompt.expect(pexpect.EOF)
        prompt.close()
        assert prompt.exitstatus == (0 if answer == "n" else 130)
        until(lambda jobs=jobs: len(slurm.ask("squeue", "-h", "-o", "%A").split()) == jobs)
        if answer == "n":
            assert run("stop").returncode == 0
    slurm.ask("scancel", blocker)


@either_mpi
def test_a_job_that_would_wait_for_ever_is_told_at_once(slurm):
    done = run("start", "-n", "2", "--launcher", "slurm", "--walltime", "2h")
    assert done.returncode == 1
    assert "will never start" in done.stderr and "--walltime" in done.stderr
    assert slurm.ask("squeue", "-h", "-o", "%A") == ""


@either_mpi
def test_a_refused_job_says_what_slurm_said(slurm):
    done = run("start", "-n", "2", "--launcher", "slurm", "--partition", "nowhere")
    assert done.returncode == 1 and "invalid partition" in done.stderr and "sbatch" in done.stderr
    assert Profile().record() is None


# Ends


@either_mpi
def test_a_job_that_dies_at_start_says_why(slurm, home):
    done = run("start", "-n", "2", "--launcher", "slurm", "--prologue", "echo no such module; exit 3")
    assert done.returncode == 1
    assert "no such module" in done.stderr and "exit code 3" in done.stderr
    assert Profile().record() is None


@either_mpi
def test_the_wrong_launcher_ends_with_the_remedy(slurm):
    """Each rank is alone in its world then, without an error of MPI's."""
    done = run("start", "-n", "2", "--launcher", "slurm", "--mpiexec", "srun --mpi=none")
    assert done.returncode == 1
    assert "should have 3 ranks" in done.stderr and "Remedy" in done.stderr


@either_mpi
def test_a_walltime_ends_under_a_waiting_client(slurm):
    cluster = Cluster(**SLURM, walltime="1m", walltime_warning="55s").start().wait()
    code = "import mpidirect, time; rc = mpidirect.Client(); time.sleep(15)"
    warned = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    with cluster.connect_client() as rc:
        result = rc[:].apply_async(time.sleep, 60)
        assert "the walltime ends cluster" in warned.stderr.readline()
        slurm.ask("scontrol", "update", f"jobid={cluster.job_id}", "EndTime=now")
        with pytest.raises(errors.MPIDirectError, match="walltime was over"):
            result.get(timeout=LIMIT)
    warned.kill()
    warned.communicate()
    status = run("status")
    assert status.returncode == 1 and "dead" in status.stdout and "walltime was over" in status.stdout
    assert "controller.log" in status.stdout
    assert "had ended already" in run("stop").stdout
    assert gone(slurm, cluster)


@either_mpi
def test_a_job_that_is_cancelled_from_outside(slurm):
    cluster = Cluster(2, launcher="slurm").start().wait()
    with cluster.connect_client() as rc:
        result = rc[:].apply_async(time.sleep, 60)
        slurm.ask("scancel", cluster.job_id)
        with pytest.raises(errors.MPIDirectError, match="it was cancelled"):
            result.get(timeout=LIMIT)
    assert cluster.state is ClusterState.DEAD
    cluster.stop()
    assert gone(slurm, cluster)


@either_mpi
def test_a_poll_that_fails_is_no_death(slurm, home):
    cluster = Cluster(2, launcher="slurm").start().wait()
    silent = home / "bin" / "scontrol"
    silent.write_text("#!/bin/sh\necho Unable to contact slurm controller >&2; exit 1\n")
    silent.chmod(0o755)
    blind = Cluster.from_profile()
    assert blind.state is ClusterState.UNKNOWN and "does not answer" in blind.look()[1]
    with blind.connect_client() as rc:
        assert len(rc) == 2
    silent.unlink()
    cluster.stop()
    assert gone(slurm, cluster)


# Job scripts, and a run without a person

SCRIPT = """
import os, sys, time, mpidirect
rc = mpidirect.Client()
print("ids", rc.ids, rc[:].apply_sync(lambda: comm.allreduce(1)), sys.argv[1:], flush=True)
if "wait" in sys.argv:
    time.sleep(60)
sys.exit(7)
"""


def submitted(slurm, script):
    done = subprocess.run(
        ["sbatch", "--parsable", str(script)], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_batch_script(slurm, home):
    (home / "script.py").write_text(SCRIPT)
    job = submitted(slurm, JOBSCRIPTS / "slurm-batch.sh")
    until(lambda: "JobState=FAILED" in slurm.ask("scontrol", "show", "job", job))
    assert "ExitCode=7:0" in slurm.ask("scontrol", "show", "job", job)  # the script's own
    assert "ids [0, 1, 2, 3] [4, 4, 4, 4] []" in (home / f"mpidirect-{job}.out").read_text()


@either_mpi
def test_a_run_ends_its_script_before_the_walltime(slurm, home):
    (home / "script.py").write_text(SCRIPT)
    script = home / "job.sh"
    script.write_text(
        "#!/bin/bash\n#SBATCH -n2 -t1 -o out\nexec mpidirect run --end-before 52s script.py wait\n"
    )
    job = submitted(slurm, script)
    until(lambda: "JobState=FAILED" in slurm.ask("scontrol", "show", "job", job))
    output = (home / "out").read_text()
    assert "ids [0, 1] [2, 2] ['wait']" in output and "the walltime ends in" in output
    assert "ExitCode=143:0" in slurm.ask("scontrol", "show", "job", job)  # 128 + SIGTERM


@either_mpi
def test_the_cluster_script_is_stopped_from_the_login_node(hosts, home):
    job = submitted(hosts, JOBSCRIPTS / "slurm-cluster.sh")
    until(lambda: Profile("batch").exists() and Profile("batch").record())
    cluster = Cluster.from_profile("batch")
    assert cluster.job_id == job  # the job it runs in: its processes are another host's
    with cluster.connect_client() as rc:
        assert len(rc) == 4 and 0 < rc.time_left <= 1800
    assert f" {job} " in run("status", "--profile", "batch").stdout
    assert run("stop", "--profile", "batch").returncode == 0
    until(lambda: "JobState=COMPLETED" in hosts.ask("scontrol", "show", "job", job))
    assert cluster.profile.clusters() == set()


# Several hosts


def where(view):
    return view.apply_sync(lambda: __import__("socket").gethostname())


def test_nodes_with_addresses_of_their_own(hosts):
    cluster = Cluster(**SLURM).start().wait()
    with cluster.connect_client() as rc:
        assert set(where(rc[:])) == {"n1", "n2"}
        assert rc.facts["host"] == "n1"  # beside the engines of the first node
        assert rc[:].apply_sync(lambda: comm.allreduce(rank)) == [6, 6, 6, 6]  # noqa: F821
        data = bytes(1 << 20)
        rc[:].push({"data": data}, block=True)
        assert rc[:].apply_sync(lambda: len(data)) == [1 << 20] * 4
    cluster.stop()
    assert gone(hosts, cluster)


SSH = """#!{python}
import os, re, select, socket, sys, threading
if "-N" not in sys.argv:
    os.environ["MPIDIRECT_DIR"] = "{home}"
    os.execvp("sh", ["sh", "-c", sys.argv[-1]])
def pump(a, b):
    while piece := a.recv(65536):
        b.sendall(piece)
    b.close()
for here, port, host, there in re.findall(r"([\\d.]+):(\\d+):([\\d.]+):(\\d+)", " ".join(sys.argv)):
    def serve(server=socket.create_server((here, int(port))), target=(host, int(there))):
        while True:
            inward, _ = server.accept()
            try:
                outward = socket.create_connection(target, 3)
            except OSError:
                inward.close()
                continue
            for pair in ((inward, outward), (outward, inward)):
                threading.Thread(target=pump, args=pair, daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()
threading.Event().wait()
"""


@either_mpi
def test_a_client_elsewhere_comes_through_a_tunnel(hosts, home, monkeypatch):
    ssh = home / "bin" / "ssh"
    ssh.write_text(SSH.format(python=sys.executable, home=home / "home"))
    ssh.chmod(0o755)
    cluster = Cluster(2, launcher="slurm").start().wait()
    elsewhere = str(home / "elsewhere")
    # A host without a connection file gets it through ssh too: there, the home directory is the cluster's.
    ssh.write_text(
        ssh.read_text().replace(
            "import os,", f"import os; os.environ['MPIDIRECT_DIR'] = {str(home / 'home')!r}\nimport"
        )
    )
    monkeypatch.setenv("MPIDIRECT_DIR", elsewhere)
    with Client(sshserver="me@login") as rc:
        assert all(
            address.startswith("tcp://127.0.0.1:") for address in rc._connection._dialer.info.addresses
        )
        assert rc[:].apply_sync(lambda: size) == [2, 2]  # noqa: F821
    monkeypatch.setenv("MPIDIRECT_DIR", str(home / "home"))
    ssh.write_text("#!/bin/sh\necho no route to login >&2; exit 255\n")
    with pytest.raises(errors.ConnectionFailed, match="no route to login"):
        Client(sshserver="me@login")
    cluster.stop()


def test_ranks_that_srun_starts(hosts):
    """MPICH's ranks find each other by PMI2; Open MPI 5 knows no PMI2, and each of its ranks is alone."""
    cluster = Cluster(**SLURM, mpiexec="srun --mpi=pmi2")
    if mpi.flavour(mpi.find_mpiexec()[0]).name != "mpich":
        with pytest.raises(errors.LaunchError, match="should have 5 ranks"):
            cluster.start().wait()
        cluster.stop()
        return
    with cluster as rc:
        assert set(where(rc[:])) == {"n1", "n2"}
        assert rc[:].apply_sync(lambda: comm.allreduce(rank)) == [6, 6, 6, 6]  # noqa: F821


# Slurm's words


@pytest.mark.parametrize(
    "text, state, hopeless, words",
    [
        ("JobState=PENDING Reason=Resources StartTime=Unknown", JobState.PENDING, False, "no free nodes"),
        (
            "JobState=PENDING Reason=Priority StartTime=2099-01-01T00:00:00",
            JobState.PENDING,
            False,
            "2099-01-01",
        ),
        ("JobState=PENDING Reason=QOSMaxWallDurationPerJobLimit", JobState.PENDING, True, "limit on one job"),
        ("JobState=PENDING Reason=QOSMaxJobsPerUserLimit", JobState.PENDING, False, "QOSMaxJobsPerUserLimit"),
        ("JobState=PENDING Reason=AssocMaxCpuPerJobLimit", JobState.PENDING, True, "limit on one job"),
        ("JobState=COMPLETING Reason=TimeLimit NodeList=n1", JobState.RUNNING, False, "walltime"),
        ("JobState=PREEMPTED Reason=None ExitCode=0:0", JobState.ENDED, False, "preempted"),
        ("JobState=FAILED Reason=NonZeroExitCode ExitCode=0:9", JobState.ENDED, False, "signal 9"),
        ("JobState=COMPLETED Reason=None ExitCode=0:0", JobState.ENDED, False, "by itself"),
    ],
)
@either_mpi
def test_what_slurm_says_is_understood(text, state, hopeless, words):
    status = _understood(text)
    assert (status.state, status.hopeless) == (state, hopeless) and words in status.reason


@either_mpi
def test_a_job_that_nobody_knows_has_ended(slurm):
    assert SlurmLauncher.of("99999").state().state is JobState.ENDED
