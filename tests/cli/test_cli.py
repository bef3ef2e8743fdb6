"""The command line and `Cluster`, with real clusters."""

import _ctypes
import asyncio
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from waiting import LIMIT, until

from mpidirect import Client, ClusterManager
from mpidirect.cli import COMMANDS, cli
from mpidirect.cluster.cluster import Cluster
from mpidirect.cluster.state import ClusterState
from mpidirect.errors import ClusterNotFound, ClusterRunning, ControllerLost, LaunchError
from mpidirect.files.private_directories import socket_directory
from mpidirect.files.profiles import Profile, home, profile_names
from mpidirect.job import processes

COMMAND = [sys.executable, "-m", "mpidirect"]


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """A directory of profiles for each test; no cluster of it remains at the end."""
    for name in [name for name in os.environ if name.startswith("MPIDIRECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("MPIDIRECT_SITE_CONFIG", str(tmp_path / "site.toml"))
    yield
    for cluster, left in processes.members_of().items():
        if any(_home(process) == str(tmp_path / "home") for process in left):
            processes.end(cluster, 0)
            shutil.rmtree(socket_directory(cluster), ignore_errors=True)


def _home(process):
    try:
        return process.environ().get("MPIDIRECT_DIR")
    except psutil.Error:  # the process has ended, perhaps another test's
        return None


def run(*words, **environment):
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


def invoke(*words):
    """Run a command in this process."""
    return CliRunner().invoke(cli, words, prog_name="mpidirect")


def fake_python(path, script):
    """A Python that runs a shell script instead of Python code: $3 is the job file."""
    file = path / "python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def cluster_of(profile=""):
    return Profile(profile).record().cluster


def nothing_left(cluster, profile=""):
    here = Profile(profile)
    assert here.clusters() == set()
    assert here.record() is None
    assert not socket_directory(cluster).exists()
    assert processes.members(cluster) == []
    return True


# A cluster's life


def test_start_use_and_stop():
    began = run("start", "-n", "2")
    assert began.returncode == 0, began.stderr
    assert re.fullmatch(
        r"2 engines ready after .* m?s\.  Connect:  import mpidirect; rc = mpidirect\.Client\(\)\n",
        began.stdout,
    )
    assert began.stderr == ""  # no terminal, no progress
    cluster = cluster_of()

    second = run("start", "-n", "2")
    assert second.returncode == 1
    assert "runs already" in second.stderr and "mpidirect stop --profile default" in second.stderr

    table = invoke("status")
    assert table.exit_code == 0
    assert re.search(r"default +running +2/2 +mpiexec", table.output)
    [row] = json.loads(invoke("status", "--json").output)
    assert (row["state"], row["ready"], row["cluster"]) == ("running", 2, cluster)
    assert re.search(rf"default +running +2 +{cluster}", invoke("list").output)

    code = "import mpidirect; print(sorted(mpidirect.Client()[:].apply_sync(lambda: 6 * 7)))"
    used = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)
    assert used.stdout == "[42, 42]\n", used.stderr

    logs = invoke("logs")
    assert logs.exit_code == 0 and "controller.log" in logs.output
    assert invoke("logs", "--engine", "1").exit_code == 0
    assert invoke("logs", "--engine", "one").exit_code == 2

    stopped = run("stop")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert nothing_left(cluster)
    assert invoke("logs").exit_code == 0  # the logs remain
    again = run("stop")
    assert again.returncode == 3 and "mpidirect start" in again.stderr
    assert invoke("status").exit_code == 3
    assert invoke("stop", "--all").exit_code == 0


@pytest.mark.openmpi_only
def test_two_profiles_run_side_by_side_and_stop_together():
    for profile in ("one", "two"):
        assert run("start", "-n", "1", "--profile", profile).returncode == 0
    clusters = {profile: cluster_of(profile) for profile in ("one", "two")}
    cleaned = run("clean").stdout
    assert all(cluster not in cleaned for cluster in clusters.values())
    assert run("status").stdout.count(" running ") == 2
    assert run("stop", "--all").stdout.count("Stopped") == 2
    assert all(nothing_left(cluster, profile) for profile, cluster in clusters.items())


@pytest.mark.mpich_proof
def test_a_client_shuts_a_cluster_down_without_traces():
    from mpidirect.client import Client

    cluster = Cluster(n=1).start().wait()
    with Client(str(cluster.connection_file)) as rc:
        rc.shutdown(hub=True, block=True)
    until(lambda: cluster.state is ClusterState.STOPPED)
    assert invoke("status").exit_code == 3
    result = invoke("stop")
    assert result.exit_code == 0 and "had ended already" in result.output
    assert nothing_left(cluster.cluster)


# Starts that fail


@pytest.mark.openmpi_only
def test_an_idle_cluster_is_stopped_and_says_why():
    cluster = Cluster(n=1, idle_timeout="2s").start()
    with cluster.connect_client() as rc:
        rc[:].apply_sync(time.sleep, 2.5)  # a running task is no idle time
        [row] = json.loads(invoke("status", "--json").output)
        assert 0 <= row["idle"] < 2  # a status query does not count as use
        until(lambda: not rc.ids)
        with pytest.raises(ControllerLost, match="nothing ran on it for 2 s"):
            rc.queue_status()
    until(lambda: cluster.state is ClusterState.STOPPED)
    shown = invoke("status")
    assert shown.exit_code == 3 and "has ended: it was stopped because nothing ran" in shown.output
    with pytest.raises(ClusterNotFound, match="nothing ran on it for 2 s"):
        Client()
    cluster.stop()
    assert nothing_left(cluster.cluster)


@pytest.mark.mpich_proof
def test_an_idle_cluster_is_saved_before_its_stop(tmp_path):
    directory = tmp_path / "idle"
    directory.write_text("a file is in the way")
    cluster = Cluster(n=2, idle_timeout="1s", idle_save=str(directory)).start()
    with cluster.connect_client() as rc:
        rc[:].push({"a": [1, 2]}, block=True)
        log = cluster.log_directory / "controller.log"
        until(lambda: "the idle cluster goes on, as its namespaces can't be saved" in log.read_text())
        assert rc[:].apply_sync(abs, -1) == [1, 1]
        directory.unlink()
        until(lambda: not rc.ids)
        with pytest.raises(ControllerLost, match=r"nothing ran .*; to continue: rc.load\('.*/idle'\)"):
            rc.queue_status()
    until(lambda: cluster.state is ClusterState.STOPPED)
    assert f"rc.load('{directory}') in another cluster" in invoke("status").output
    cluster.stop()
    with Cluster(n=3) as rc:
        assert rc.load(directory) == ["a"]
        assert rc[:].pull("a", block=True) == [[1, 2]] * 3


def test_a_job_that_dies_at_start_says_why(tmp_path):
    script = f"echo no module named nothing >&2; date +%s.%N > {tmp_path}/died; exit 7"
    done = run("start", "-n", "2", "--python", fake_python(tmp_path, script))
    assert time.time() - float((tmp_path / "died").read_text()) < 20  # less than the whole time of a start
    assert done.returncode == 1
    assert "ended before its engines answered" in done.stderr
    assert "no module named nothing" in done.stderr and "job.log" in done.stderr
    assert Profile().record() is None and Profile().clusters() == set()


def test_a_start_that_lost_a_rank_says_so(tmp_path):
    """An MPI that survives deaths would wait for the rank, because the job continues."""
    rank = "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}"
    python = fake_python(tmp_path, f'[ "{rank}" = 1 ] && sleep 1 && echo here I fall && exit 3; sleep 60')
    done = run("start", "-n", "2", "--python", python, "--timeout", "20")
    assert done.returncode == 1
    assert "here I fall" in done.stderr and "before" in done.stderr and "within" not in done.stderr


@pytest.mark.openmpi_only
def test_a_job_that_is_too_slow_is_stopped(tmp_path):
    python = fake_python(tmp_path, "echo still thinking; sleep 60")
    done = run("start", "-n", "2", "--python", python, "--timeout", "1")
    assert done.returncode == 1
    assert "not ready within 1 s" in done.stderr and "--timeout" in done.stderr
    assert "still thinking" in done.stderr
    assert Profile().record() is None and Profile().clusters() == set()


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.openmpi_only),
        pytest.param(signal.SIGHUP, marks=pytest.mark.openmpi_only),
    ],
)
def test_ctrl_c_during_a_start_leaves_nothing(tmp_path, signum):
    python = fake_python(tmp_path, "sleep 60")
    process = subprocess.Popen([*COMMAND, "start", "-n", "2", "--python", python], stderr=subprocess.PIPE)
    until(lambda: Profile().record() is not None)
    cluster = cluster_of()
    process.send_signal(signum)
    assert process.wait(LIMIT) == 130
    assert b"Stopping" in process.stderr.read()
    process.stderr.close()
    assert nothing_left(cluster)


@pytest.mark.openmpi_only
def test_a_second_ctrl_c_kills(tmp_path):
    python = fake_python(tmp_path, "trap '' TERM INT; echo ready; while :; do sleep 0.1; done")
    command = [*COMMAND, "start", "-n", "2", "--python", python, "--stop-timeout", "60"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    until(lambda: Profile().record() is not None)
    cluster = cluster_of()
    until(lambda: b"ready" in (Profile().log_directory(cluster) / "job.log").read_bytes())
    process.send_signal(signal.SIGINT)
    assert b"\n" in os.read(process.stderr.fileno(), 1000)  # it prints that it stops
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    process.stderr.close()
    assert nothing_left(cluster)


# Foreground


@pytest.mark.openmpi_only
def test_ctrl_c_stops_a_cluster_in_the_foreground():
    process = subprocess.Popen(
        [*COMMAND, "start", "-n", "1", "--foreground"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "ready after" in process.stdout.readline()
    cluster = cluster_of()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT)
    assert process.returncode == 0
    assert nothing_left(cluster)


@pytest.mark.openmpi_only
def test_a_foreground_start_ends_with_its_cluster():
    process = subprocess.Popen(
        [*COMMAND, "start", "-n", "1", "--foreground"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "ready after" in process.stdout.readline()
    cluster = cluster_of()
    assert run("stop").returncode == 0
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    assert nothing_left(cluster)


# Deaths


def test_after_the_death_of_mpiexec_the_next_start_works():
    assert run("start", "-n", "2").returncode == 0
    cluster = cluster_of()
    os.kill(Profile().record().handle["pid"], signal.SIGKILL)
    until(lambda: Cluster.from_profile().state is ClusterState.DEAD)
    status = invoke("status")
    assert status.exit_code == 1 and "mpidirect logs" in status.output
    assert run("start", "-n", "1").returncode == 0
    assert cluster_of() != cluster
    assert processes.members(cluster) == []
    assert not Profile().connection_file(cluster).exists() and not socket_directory(cluster).exists()
    assert run("stop").returncode == 0


@pytest.mark.openmpi_only
def test_clean_removes_dead_clusters_only():
    assert run("start", "-n", "1", "--profile", "dead").returncode == 0
    assert run("start", "-n", "1", "--profile", "living").returncode == 0
    dead, living = cluster_of("dead"), cluster_of("living")
    os.kill(Profile("dead").record().handle["pid"], signal.SIGKILL)
    until(lambda: Cluster.from_profile("dead").state is ClusterState.DEAD)
    done = run("clean")
    assert done.returncode == 0 and "cluster.json" in done.stdout
    assert nothing_left(dead, "dead")
    assert Cluster.from_profile("living").state is ClusterState.RUNNING
    assert socket_directory(living).exists()
    assert run("stop", "--all").returncode == 0


@pytest.mark.openmpi_only
def test_clean_removes_clusters_without_a_record():
    profile = Profile().create()
    profile.connection_file("gone").write_text("{}")
    sockets = socket_directory(f"gone-long-ago-{os.getpid()}")
    sockets.mkdir(mode=0o700)
    os.utime(sockets, (1, 1))
    shared = Path(f"/dev/shm/sm_segment.test-{os.getpid()}.0.0")
    if shared.parent.is_dir():
        shared.touch()
        os.utime(shared, (1, 1))
    assert invoke("clean").exit_code == 0
    assert not shared.parent.is_dir() or shared.exists() is (os.getuid() == 0)  # root may be several persons
    assert invoke("clean", "--force").exit_code == 0
    assert profile.clusters() == set()
    assert not sockets.exists() and not shared.exists()


@pytest.mark.openmpi_only
def test_a_cluster_of_another_host_does_not_count_as_dead():
    import msgspec

    cluster = Cluster(n=1).start()
    record = Profile().record()
    Profile().remember(msgspec.structs.replace(record, host="elsewhere"))
    assert Cluster.from_profile().state is ClusterState.UNKNOWN
    refused = run("start", "-n", "1")
    assert refused.returncode == 1 and "elsewhere" in refused.stderr and "clean --force" in refused.stderr
    assert run("stop").returncode == 1
    assert cluster.cluster not in invoke("clean").output
    Profile().remember(record)
    cluster.stop()
    assert nothing_left(cluster.cluster)


# The Python interface


@pytest.mark.openmpi_only
def test_a_with_block_stops_its_cluster():
    cluster = Cluster(n=2)
    assert cluster.state is ClusterState.STOPPED
    with cluster as rc:
        assert rc.ids == [0, 1]
        assert cluster.state is ClusterState.RUNNING
        with pytest.raises(ClusterRunning, match="mpidirect stop"):
            Cluster(n=1, cluster_id="").start()
        other = Cluster.from_profile()
        assert (other.n, other.cluster) == (2, cluster.cluster)
    assert cluster.state is ClusterState.STOPPED
    assert nothing_left(cluster.cluster)


@pytest.mark.openmpi_only
def test_a_second_cluster_has_an_id_of_its_own(capsys):
    first, second = Cluster(n=1), Cluster(n=2)
    with first, second as rc:
        assert "This process started it" in capsys.readouterr().err
        assert second.profile.name == f"default:{second.cluster_id}"
        assert (len(rc), rc.profile, rc.cluster.cluster) == (2, "default", second.cluster)
        for cluster_id, n in ((second.cluster_id, 2), (first.cluster_id, 1), (None, 1)):
            with Client(cluster_id=cluster_id) as client:
                assert len(client) == n
        assert Cluster.from_file(second.cluster_file).cluster == second.cluster
        assert Cluster.from_dict(second.to_dict()).cluster == second.cluster
        assert set(ClusterManager().load_clusters()) == {"default", second.profile.name}
        listed = json.loads(run("list", "--json").stdout)
        assert [(row["cluster"], row["engines"]) for row in listed] == [
            (first.cluster, 1),
            (second.cluster, 2),
        ]
        cleaned = run("clean").stdout
        assert first.cluster not in cleaned
        assert second.cluster not in cleaned
        done = run("stop", "--profile", second.profile.name)
        assert done.returncode == 0, done.stderr
        assert (first.state, second.state) == (ClusterState.RUNNING, ClusterState.STOPPED)
        with pytest.raises(ClusterNotFound, match="mpidirect list"):
            Client(cluster_id=second.cluster_id)
    assert nothing_left(first.cluster)
    assert nothing_left(second.cluster)


@pytest.mark.openmpi_only
def test_the_options_of_ipcluster_choose_the_cluster():
    began = run("start", "--daemonize", "--cluster-id=second", "--n=1")
    assert began.returncode == 0, began.stderr
    with Client(profile="default", cluster_id="second") as client:
        assert len(client) == 1
    assert run("status").stdout.count("default:second  running") == 1
    cluster = cluster_of("default:second")
    done = run("stop", "--cluster-id", "second", "--profile", "default")
    assert done.returncode == 0, done.stderr
    assert nothing_left(cluster, "default:second")
    refused = run("stop", "--cluster-id", "a b")
    assert refused.returncode == 2
    assert "can't be a cluster's id" in refused.stderr


@pytest.mark.openmpi_only
def test_an_async_with_block():
    cluster = Cluster(n=1)

    async def use():
        async with cluster as rc:
            return rc[:].apply_sync(lambda: 1)

    assert asyncio.run(use()) == [1]
    assert nothing_left(cluster.cluster)


@pytest.mark.openmpi_only
def test_a_detached_cluster_lives_on():
    with Cluster(n=1) as rc:
        cluster = Cluster.from_profile()
        assert len(rc) == 1
    assert cluster.state is ClusterState.STOPPED
    first = Cluster(n=1)
    with first:
        first.detach()
    again = Cluster.from_profile()
    assert again.state is ClusterState.RUNNING
    again.connect_client().close()
    again.stop()
    assert nothing_left(first.cluster)


@pytest.mark.openmpi_only
def test_a_start_that_fails_inside_a_with_block_leaves_nothing(tmp_path):
    cluster = Cluster(n=1, python=fake_python(tmp_path, "exit 5"))
    with pytest.raises(LaunchError, match="exit code 5"), cluster:
        pass
    assert nothing_left(cluster.cluster)


@pytest.mark.openmpi_only
def test_a_cluster_that_was_not_started_raises_errors():
    with pytest.raises(ClusterNotFound, match="mpidirect start"):
        Cluster.from_profile()
    with pytest.raises(LaunchError, match="not started"):
        Cluster().stop()


@pytest.mark.openmpi_only
def test_a_cluster_stops_despite_a_broken_setting():
    cluster = Cluster(n=1).start()
    Profile().config_file.write_text("n = = 1")
    assert run("start").returncode == 2
    assert run("stop").returncode == 0
    assert nothing_left(cluster.cluster)


# A run: a script with a cluster of its own


@pytest.mark.openmpi_only
def test_a_run_passes_on_output_and_exit_code(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, mpidirect\nrc = mpidirect.Client()\n"
        "print(rc[:].apply_sync(lambda: size), sys.argv[1:])\nsys.exit(5)\n"
    )
    done = run("run", "-n", "2", str(script), "-n", "7")
    assert (done.returncode, done.stdout) == (5, "[2, 2] ['-n', '7']\n"), done.stderr
    [profile] = profile_names()
    # the logs are kept, because the script has failed
    assert f"mpidirect logs --profile {profile}" in done.stderr
    assert Profile(profile).record() is None and Profile(profile).clusters() == set()
    assert profile not in invoke("list").output
    script.write_text("")
    assert run("run", "-n", "1", str(script)).returncode == 0
    assert profile_names() == [profile]
    assert run("run", "-n", "1", "--end-before", "soon", str(script)).returncode == 2
    assert run("run", "-n", "1", "--nodes", "2", str(script)).returncode == 2
    assert profile_names() == [profile]


@pytest.mark.openmpi_only
def test_a_run_that_is_ended_ends_its_script_and_its_cluster(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time, mpidirect\nrc = mpidirect.Client()\nprint(rc.facts['cluster'], flush=True)\n"
        "try:\n    time.sleep(60)\nfinally:\n    print('not told')\n"
    )
    command = [*COMMAND, "run", "-n", "1", str(script)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    cluster = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=LIMIT)
    assert process.returncode == 143 and "ending the script" in told
    assert processes.members(cluster) == [] and not socket_directory(cluster).exists()


# The commands themselves


@pytest.mark.parametrize(
    "words", [[], *([name] for name in COMMANDS), ["profile", "create"], ["profile", "show"]]
)
@pytest.mark.openmpi_only
def test_each_command_has_help(words):
    result = invoke(*words, "--help")
    assert result.exit_code == 0
    assert "Usage: mpidirect" in result.output


@pytest.mark.openmpi_only
def test_wrong_usage_is_told():
    wrong = run("strat")
    assert wrong.returncode == 2 and "Did you mean 'start'?" in wrong.stderr
    assert run("start", "-n", "many").returncode == 2
    assert run("start", "--set", "x").returncode == 2
    assert run("stop", "--profile", "a", "--all").returncode == 2
    assert run("--version").stdout.startswith("mpidirect ")


@pytest.mark.openmpi_only
def test_a_dry_run_shows_the_command_and_does_nothing():
    result = invoke("start", "-n", "3", "--set", "start_timeout=7m", "--dry-run")
    assert result.exit_code == 0
    assert "-n 2" in result.output and "spawns the 3 engines" in result.output
    assert "-m mpidirect.job" in result.output
    assert not home().exists()


@pytest.mark.openmpi_only
def test_profiles_are_created_and_shown(tmp_path, monkeypatch):
    created = invoke("profile", "create", "mpi", "-n", "8", "--start-timeout", "5m")
    assert created.exit_code == 0 and "mpidirect start --profile mpi" in created.output
    assert invoke("profile", "create", "mpi").exit_code == 2
    assert invoke("profile", "create", "mpi", "--force", "-n", "9").exit_code == 0
    assert invoke("profile", "list").output == "mpi\n"
    (tmp_path / "site.toml").write_text("port = '5000-5010'\n")
    monkeypatch.setenv("MPIDIRECT_IP", "eth0")
    shown = invoke("profile", "show", "mpi").output
    assert re.search(r"n += 9 +# .*config\.toml, line \d+", shown)
    assert re.search(r"port += 5000-5010 +# .*site\.toml, line 1", shown)
    assert re.search(r"ip += eth0 +# MPIDIRECT_IP", shown)
    assert re.search(r"keep_logs += 5 +# default", shown)
    assert (
        invoke("profile", "show", "mpj").exit_code == 3
        or "Did you mean" in run("profile", "show", "mpj").stderr
    )


@pytest.mark.openmpi_only
def test_a_mistake_in_the_settings_is_shown_with_its_line():
    Profile("mpi").create().config_file.write_text("n = 4\nlanucher = 'mpiexec'\n")
    done = run("start", "--profile", "mpi")
    assert done.returncode == 2
    assert "config.toml, line 2" in done.stderr and "did you mean 'launcher'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.openmpi_only
def test_completion_knows_commands_and_profiles():
    Profile("simulation").create()
    environment = {"_MPIDIRECT_COMPLETE": "bash_complete"}
    words = run(COMP_WORDS="mpidirect start --profile s", COMP_CWORD="3", **environment).stdout.split()
    assert words == ["plain,simulation"]
    words = run(COMP_WORDS="mpidirect st", COMP_CWORD="1", **environment).stdout.split()
    assert words == ["plain,start", "plain,stop", "plain,status"]
    for shell in ("bash", "zsh", "fish"):
        assert "_MPIDIRECT_COMPLETE" in invoke("completion", shell).output


@pytest.mark.openmpi_only
def test_the_command_line_never_loads_mpi_and_is_light():
    code = """if True:
        import sys
        from mpidirect.cli import main
        try:
            main(["list"])
        except SystemExit:
            pass
        print(sorted({"mpi4py", "rich", "psutil", "zmq", "numpy", "IPython"} & sys.modules.keys()))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_the_doctor_finds_this_machine_fit():
    done = run("doctor", "--json")
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert findings["MPI"]["verdict"] == "ok" and "belongs to it" in findings["MPI"]["found"]
    assert findings["encryption"]["verdict"] == "ok"
    assert {"threads", "fault tolerance", "network", "profiles", "temporary files"} <= findings.keys()
    assert done.returncode == 0


@pytest.mark.openmpi_only
def test_the_doctor_names_libraries_of_another_mpi(tmp_path):
    """One library does not load with this mpi4py, another one loads its own MPI."""
    other = tmp_path / "libmpi.so.40"
    shutil.copy(_ctypes.__file__, other)
    bodies = {
        "petsc4py/PETSc.py": "raise ImportError('undefined symbol: of_another_mpi')",
        "slepc4py/SLEPc.py": f"import ctypes; ctypes.CDLL({str(other)!r})",
    }
    for file, body in bodies.items():
        module = tmp_path / file
        module.parent.mkdir()
        module.with_name("__init__.py").touch()
        module.write_text(body)
    done = run("doctor", PYTHONPATH=str(tmp_path))
    assert "petsc4py.PETSc does not load: ImportError: undefined symbol: of_another_mpi" in done.stdout
    assert f"slepc4py.SLEPc does not load: it loads another MPI: {other}" in done.stdout
    assert "'uv pip install' does not" in done.stdout and done.returncode == 0


@pytest.mark.openmpi_only
def test_the_doctor_names_remedies(tmp_path):
    home().mkdir(mode=0o755)
    home().chmod(0o755)
    python = fake_python(
        tmp_path, f'exec env -u PMI_FD -u PMI_RANK -u PMI_SIZE -u PMIX_RANK {sys.executable} "$@"'
    )
    done = run("doctor", MPIDIRECT_PYTHON=python, MPIDIRECT_MPIEXEC="/no/such/mpiexec", MPIDIRECT_FOO="1")
    assert done.returncode == 1
    assert f"chmod 700 {home()}" in done.stdout
    assert "MPIDIRECT_FOO" in done.stdout
    assert "/no/such/mpiexec" in done.stdout


@pytest.mark.openmpi_only
def test_the_doctor_examines_a_directory_that_others_can_change(monkeypatch):
    home().mkdir()
    home().chmod(0o777)
    monkeypatch.setattr("mpidirect.cli.doctor.examine", lambda profile: [])
    assert invoke("doctor").exit_code == 0
    assert "can be changed by other users" in invoke("status").output


def on_terminal(*words, typed=b""):
    """Run a command at a terminal; return its exit code, and what it shows there."""
    main, worker = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *words], stdin=worker, stdout=subprocess.DEVNULL, stderr=worker, close_fds=True
    )
    os.close(worker)
    os.write(main, typed)
    shown = b""
    while select.select([main], [], [], LIMIT)[0]:
        try:
            piece = os.read(main, 10000)
        except OSError:  # Linux raises this when the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(main)
    return process.wait(LIMIT), shown


@pytest.mark.openmpi_only
def test_what_a_terminal_shows_and_asks():
    """Progress, and a question before namespaces are lost; a script is not asked."""
    code, shown = on_terminal("start", "-n", "1")
    assert code == 0 and b"waiting for the controller" in shown
    with Cluster.from_profile().connect_client() as rc:
        rc[0]["kept"] = 1
        assert on_terminal("restart", typed=b"n\n")[0] == on_terminal("resize", "2", typed=b"n\n")[0] == 1
        assert rc[0]["kept"] == 1
        assert on_terminal("restart", typed=b"y\n")[0] == 0
        assert run("resize", "2").returncode == 0
        until(lambda: rc.ids == [0, 1])
    assert run("stop").returncode == 0


@pytest.mark.openmpi_only
def test_logs_are_followed_until_the_end():
    cluster = Cluster(n=1).start().wait()
    process = subprocess.Popen([*COMMAND, "logs", "-f", "--engine", "0"], stdout=subprocess.PIPE, text=True)
    for line in ("one line\n", "another line\n"):
        with (cluster.log_directory / "engine-0.log").open("a") as log:
            log.write(line)
        until(lambda line=line: process.stdout.readline() == line)
    cluster.stop()
    process.communicate(timeout=LIMIT)
    assert process.returncode == 0


@pytest.mark.openmpi_only
def test_local_sockets_are_in_the_temporary_directory():
    assert socket_directory("x").parent == Path(tempfile.gettempdir())
