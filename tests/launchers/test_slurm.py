"""Clusters in jobs of a real Slurm: start and end, on one host and on several, and the job scripts."""

import json
import os
import re
import signal
import subprocess
import textwrap

import pytest
from conftest import PROGRAMS
from schedulers.login import JOBSCRIPTS, SCRIPT, run
from schedulers.slurm import SLURM, gone
from waiting import LIMIT, until, until_assigned

from mpidirect import Client, Cluster, errors
from mpidirect.files.profiles import Profile
from mpidirect.launchers import mpi

pytestmark = pytest.mark.slurm
either_mpi = pytest.mark.openmpi_only  # tests that do not depend on the MPI run with one of them


# A cluster's life


@pytest.mark.mpich_proof
def test_start_use_and_stop_from_the_command_line(slurm):
    flags = ["--launcher", "slurm", "--nodes", "2", "--ntasks-per-node", "2", "--walltime", "10m"]
    started = run("start", *flags)
    assert started.returncode == 0, started.stderr
    assert "4 engines ready" in started.stdout
    # the nodes of the tests share this host
    assert "on 1 of the 2 hosts that were asked for" in started.stderr
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
def test_two_clusters_at_once_one_started_inside_the_job_of_the_other(slurm, login_node):
    with Cluster(profile="outer", controller="slot", **SLURM) as outer:
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
        assert len(outer) == 3  # and one task for the controller


# Job scripts, and a run without a person


def submitted(slurm, script):
    done = subprocess.run(
        ["sbatch", "--parsable", str(script)], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.mpich_proof
def test_the_batch_script(slurm, login_node):
    (login_node / "script.py").write_text(SCRIPT)
    job = submitted(slurm, JOBSCRIPTS / "slurm-batch.sh")
    until(lambda: "JobState=FAILED" in slurm.ask("scontrol", "show", "job", job))
    assert "ExitCode=7:0" in slurm.ask("scontrol", "show", "job", job)  # the script's own
    assert "ids [0, 1, 2, 3] [4, 4, 4, 4] []" in (login_node / f"mpidirect-{job}.out").read_text()


@either_mpi
def test_a_run_ends_its_script_before_the_walltime(slurm, login_node):
    (login_node / "script.py").write_text(SCRIPT)
    script = login_node / "job.sh"
    script.write_text(
        "#!/bin/bash\n#SBATCH -n2 -t1 -o out\nexec mpidirect run --end-before 40s script.py wait\n"
    )
    job = submitted(slurm, script)
    until(lambda: "JobState=FAILED" in slurm.ask("scontrol", "show", "job", job))
    output = (login_node / "out").read_text()
    assert "ids [0, 1] [2, 2] ['wait']" in output and "the walltime ends in" in output
    assert "ExitCode=143:0" in slurm.ask("scontrol", "show", "job", job)  # 128 + SIGTERM


@either_mpi
def test_the_cluster_script_is_stopped_from_the_login_node(hosts, login_node):
    job = submitted(hosts, JOBSCRIPTS / "slurm-cluster.sh")
    until(lambda: Profile("batch").exists() and Profile("batch").record())
    cluster = Cluster.from_profile("batch")
    assert cluster.job_id == job  # the enclosing job, whose processes are on another host
    with cluster.connect_client() as rc:
        assert len(rc) == 4 and 0 < rc.time_left <= 1800
    assert f" {job} " in run("status", "--profile", "batch").stdout
    assert run("stop", "--profile", "batch").returncode == 0
    until(lambda: "JobState=COMPLETED" in hosts.ask("scontrol", "show", "job", job))
    assert cluster.profile.clusters() == set()


# Several hosts


def where(view):
    return view.apply_sync(lambda: __import__("socket").gethostname())


def check_surroundings(rc):
    """Check the environment of programs on two hosts with two engines each."""
    nodes = where(rc[:])
    local = [nodes[:k].count(node) for k, node in enumerate(nodes)]
    assert rc[:].pull(["local_rank", "local_size", "node"]).get() == [
        [k, 2, node] for k, node in zip(local, nodes, strict=True)
    ]
    assert [(info["host"], info["local_rank"]) for info in rc.engines_info.values()] == [
        *zip(nodes, local, strict=True)
    ]
    for k, environment in enumerate(rc[:].apply_sync(lambda: dict(__import__("os").environ))):
        found = environment
        assert found.get("SLURM_PROCID", str(k)) == environment["RANK"] == str(k)
        assert found.get("SLURM_LOCALID", str(local[k])) == environment["LOCAL_RANK"] == str(local[k])
        assert environment["MASTER_ADDR"] == nodes[0]


def test_nodes_with_addresses_of_their_own(hosts, capfd):
    cluster = Cluster(**SLURM).start().wait()
    assert "hosts that were asked for" not in capfd.readouterr().err
    with cluster.connect_client() as rc:
        assert set(where(rc[:])) == {"n1", "n2"}
        assert rc.facts["host"] == "n1"  # with the engines of the first node
        assert rc[:].apply_sync(lambda: comm.allreduce(rank)) == [6, 6, 6, 6]  # noqa: F821
        check_surroundings(rc)
        data = bytes(1 << 20)
        rc[:].push({"data": data}, block=True)
        assert rc[:].apply_sync(lambda: len(data)) == [1 << 20] * 4
    cluster.stop()
    assert gone(hosts, cluster)


def stuck_in_c(rc):
    rc[1:].execute("world.barrier(True)").wait(0.5)


def frozen(rc):
    # a process of a namespace is also a process of this host
    os.kill(rc.engines_info[2]["pid"], signal.SIGSTOP)


def pushed(rc):
    rc[:].push({"large": bytes(200_000_000)}, block=False).wait(0.1)


def killed(rc):
    """Kill all engines at once: the controller waits for a restart."""
    for engine in rc.engines_info.values():
        os.kill(engine["pid"], signal.SIGKILL)
    until(lambda: not rc.ids)
    with pytest.raises(errors.NoEnginesRegistered, match=r"rc.restart\(\) starts new ones"):
        rc[:].apply(int)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("nodes", "troubles"),
    [
        (2, (stuck_in_c, killed)),
        pytest.param(2, (frozen, pushed), marks=pytest.mark.proof),
        pytest.param(1, (stuck_in_c, frozen, pushed, killed), marks=pytest.mark.proof),
    ],
)
def test_c_world_and_restart_on_several_hosts(hosts, nodes, troubles):
    """Also engines that hang in C. On several hosts Open MPI spawns none: a supervisor starts all anew."""
    with Cluster(launcher="slurm", nodes=nodes, ntasks_per_node=4 // nodes) as rc:
        dv, was = rc[:], where(rc[:])
        spawned = nodes == 1 or "Open MPI" not in rc.facts["mpi"]
        assert "in C and Fortran as in Python" in rc.facts["world"]
        for trouble in troubles:
            assert where(dv) == was and len(set(was)) == nodes
            dv.run(str(PROGRAMS / "cworld.py"), block=True)
            assert dv.pull("world.facts()").get(LIMIT) == [(k, 4, 6) for k in range(4)]
            trouble(rc)
            assert rc.restart() == [0, 1, 2, 3]
        if spawned:
            os.kill(rc.engines_info[1]["pid"], signal.SIGKILL)
            until(lambda: rc.ids == [0, 2, 3])
            assert rc.restart("dead") == [1] and where(dv) == was
        if nodes > 1:  # one host takes any number
            with pytest.raises(errors.MPIDirectError, match=r"room for 4 engines, .* not for 64"):
                rc.resize(64)
        assert rc.ids == [0, 1, 2, 3]
        assert rc.resize(3) == [0, 1, 2] and set(where(rc[:])) == set(was)
        assert rc[:].apply_sync(lambda: comm.allreduce(rank)) == [3, 3, 3]  # noqa: F821


@pytest.mark.mpich_proof
def test_an_mpiexec_whose_hosts_are_not_known(hosts):
    """Its arguments distribute the ranks, so nothing is spawned; a supervisor starts all anew."""
    starter = mpi.find_mpiexec()[0]
    spread = "-ppn 3" if mpi.implementation(starter).name == "mpich" else "--map-by ppr:3:node"
    with Cluster(mpiexec=f"{starter} {spread}", **SLURM) as rc:
        was = where(rc[:])
        assert rc.facts["fault_tolerance"]["restarts"] and sorted(set(was)) == ["n1", "n2"]
        assert rc.restart() == [0, 1, 2, 3] and where(rc[:]) == was


@either_mpi
def test_a_kill_leaves_nothing_on_any_host(hosts):
    cluster = Cluster(shutdown_atexit=False, **SLURM).start().wait()
    with cluster.connect_client() as rc:
        # nothing interrupts this call
        stuck = rc[:].apply_async(lambda: __import__("ctypes").PyDLL(None).sleep(60))
        until_assigned(rc)
        cluster.stop(0)
        with pytest.raises(errors.MPIDirectError):
            stuck.get(LIMIT)
    assert gone(hosts, cluster)


@pytest.mark.mpich_proof
def test_a_node_for_the_controller_alone(hosts):
    with Cluster(controller="node", **SLURM) as rc:
        assert rc.facts["host"] == "n1"
        assert sorted(where(rc[:])) == ["n2", "n2", "n3", "n3"]
        assert rc[:].apply_sync(lambda: comm.allreduce(rank)) == [6, 6, 6, 6]  # noqa: F821


@pytest.mark.mpich_proof
def test_ranks_that_srun_starts(hosts):
    """MPICH's ranks use PMI2, Open MPI's use PMIx. With PMIx, the end of one rank ends all."""
    pmi = "pmi2" if mpi.implementation(mpi.find_mpiexec()[0]).name == "mpich" else "pmix"
    with Cluster(**SLURM, mpiexec=f"srun --mpi={pmi}", controller="node") as rc:
        assert ("in C and Fortran as in Python" in rc.facts["world"]) == (pmi == "pmix")
        assert rc.facts["host"] == "n1" and set(where(rc[:])) == {"n2", "n3"}
        assert rc[:].apply_sync(lambda: comm.allreduce(rank)) == [6, 6, 6, 6]  # noqa: F821
        check_surroundings(rc)
        assert rc.restart() == [0, 1, 2, 3]
        assert rc[:].apply_sync(lambda: comm.allreduce(rank)) == [6, 6, 6, 6]  # noqa: F821
        rc[3].execute("import ctypes; ctypes.string_at(0)")
        until(lambda: 3 not in rc.ids)
        if pmi == "pmix":  # then all ranks end, and new ones follow
            rc.wait_for_engines(timeout=60)
            assert rc[:].apply_sync(lambda: comm.allreduce(rank)) == [6, 6, 6, 6]  # noqa: F821


@pytest.mark.mpich_proof
def test_a_warning_to_ranks_that_srun_starts(hosts):
    """A preemption with a grace time sends SIGTERM to all steps."""
    pmi = "pmi2" if mpi.implementation(mpi.find_mpiexec()[0]).name == "mpich" else "pmix"
    options = {"mpiexec": f"srun --mpi={pmi}", "nodes": 1, "ntasks_per_node": 2, "walltime": "10m"}
    cluster = Cluster(launcher="slurm", resume=True, shutdown_atexit=False, **options).start()
    with cluster.connect_client() as rc:
        process = rc.facts["pid"]
        rc[:].push({"n": 7}, block=True)
        hosts.ask("scancel", "--signal=TERM", cluster.job_id)
        until(lambda: rc.ids and rc.facts["pid"] != process)
        assert rc[:].pull("n", block=True) == [7, 7]
    cluster.stop()
    assert gone(hosts, cluster) and hosts.ask("squeue", "-h", "-o", "%A") == ""
