"""The environment of programs on engines: names, environment variables, GPUs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from waiting import until

from mpidirect.engine import core_binding
from mpidirect.engine import environment as surroundings
from mpidirect.engine.environment import EnginePlace

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def environments(view):
    """Return the environment of each engine."""
    return view.apply_sync(lambda: dict(__import__("os").environ))


def ranks(environment):
    return tuple(environment[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))


def test_names_of_the_place(dview):
    host = socket.gethostname()
    names = ["local_rank", "local_size", "node"]
    assert dview.pull(names, block=True) == [[k, 4, host] for k in range(4)]
    assert dview.keys() == []
    dview["node"] = "mine"
    assert dview.keys() == ["node"]  # the name is the user's now,
    dview.clear(block=True)
    assert dview.pull("node", block=True) == [host] * 4  # until the update


def test_the_environment(dview):
    found = environments(dview)
    assert [[env[name] for name in VARIABLES[:4]] for env in found] == [[str(k), "4"] * 2 for k in range(4)]
    assert {env["MASTER_ADDR"] for env in found} == {"127.0.0.1"}
    (port,) = {env["MASTER_PORT"] for env in found}
    assert 1024 <= int(port) < 65536
    launchers = ("OMPI_", "PMIX_", "PMI_", "MV2_", "PALS_", "HYDRA_")
    assert not [name for env in found for name in env if name.startswith(launchers)]


def test_the_engines_info_of_clients(rc):
    info = rc.engines_info
    pids = rc[:].apply_sync(os.getpid)
    for engine in range(4):
        told = info[engine]
        assert (told["host"], told["local_rank"]) == (socket.gethostname(), engine)
        assert (told["pid"], type(told["device"])) == (pids[engine], str)


def bound_to_cores(rc):
    """Each engine is bound to a core, with all its threads; the controller is not bound."""
    allowed = sorted(os.sched_getaffinity(0))
    found = rc[:].apply_sync(
        lambda: [os.sched_getaffinity(int(thread.name)) for thread in Path("/proc/self/task").iterdir()]
    )
    for k, threads in enumerate(found):
        assert threads == [{allowed[k % len(allowed)]}] * len(threads)
    assert os.sched_getaffinity(rc.facts["pid"]) == set(allowed)


@pytest.mark.mpich_proof
def test_after_a_death_and_a_replacement(start, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    _, rc = start(3, bind="core")
    bound_to_cores(rc)
    if not rc.facts["fault_tolerance"]["replaces"]:
        pytest.skip("engines can't be replaced with this MPI")
    with pytest.raises(Exception, match="died"):
        rc[1].apply_sync(os.kill, rc[1].apply_sync(os.getpid), 9)
    until(lambda: rc.ids == [0, 2])
    found = environments(rc[[0, 2]])
    assert [ranks(env) for env in found] == [("0", "2", "0"), ("1", "2", "1")]
    assert rc[[0, 2]].pull("local_rank", block=True) == [0, 1]
    until(lambda: rc.engines_info[2]["local_rank"] == 1)  # the report arrives a moment later
    rc.restart([1])
    bound_to_cores(rc)
    found = environments(rc[:])
    assert [ranks(env) for env in found] == [(str(k), "3", str(k)) for k in range(3)]
    assert len({env["MASTER_PORT"] for env in found}) == 1
    assert rc[:].pull("local_rank", block=True) == [0, 1, 2]
    told = [(info["local_rank"], info["device"]) for info in rc.engines_info.values()]
    assert told == [(k, "CUDA 3") for k in range(3)]  # chosen before, so not changed


# -- without a cluster ---------------------------------------------------------------------------------

PLACES = [EnginePlace("a", 1000), EnginePlace("b", 2000), EnginePlace("a", 3000), EnginePlace("b", 4000)]


def entered(places, rank, **environment):
    names = surroundings.enter(places, rank, environment)
    return names, environment


def test_several_hosts():
    names, environment = entered(PLACES, 3)
    assert names == {"rank": 3, "size": 4, "local_rank": 1, "local_size": 2, "node": "b"}
    assert [environment[name] for name in VARIABLES] == ["3", "4", "1", "2", "a", "1000"]


def test_variables_that_are_already_set():
    slurm = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "5", "SLURM_JOB_ID": "7"}
    slurm |= {"SLURM_NTASKS_PER_NODE": "1", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
    _, environment = entered(PLACES, 3, RANK="17", MASTER_ADDR="10.0.0.1", MASTER_PORT="29500", **slurm)
    assert environment["RANK"] == environment["SLURM_PROCID"] == "3"
    assert (environment["SLURM_LOCALID"], environment["SLURM_NTASKS"], environment["SLURM_JOB_ID"]) == (
        "1",
        "4",
        "7",
    )
    assert environment["SLURM_NTASKS_PER_NODE"] == "2"
    assert "SLURM_STEP_TASKS_PER_NODE" not in environment
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("10.0.0.1", "29500")
    assert "SLURM_PROCID" not in entered(PLACES, 0)[1]


@pytest.fixture
def machine(tmp_path):
    """A file system with the device files of GPUs."""

    def make(nvidia=0, amd=0, intel=0):
        for k in range(nvidia):
            (tmp_path / "dev").mkdir(exist_ok=True)
            (tmp_path / f"dev/nvidia{k}").touch()
            (tmp_path / "dev/nvidiactl").touch()
        for k, vendor in enumerate(["0x1002"] * amd + ["0x8086"] * intel):
            node = f"renderD{128 + k}"
            (tmp_path / "dev/dri").mkdir(parents=True, exist_ok=True)
            (tmp_path / "dev/dri" / node).touch()
            (tmp_path / "sys/class/drm" / node / "device").mkdir(parents=True)
            (tmp_path / "sys/class/drm" / node / "device/vendor").write_text(vendor + "\n")
        return tmp_path

    return make


def bound(root, local_size, **environment):
    """Return the environment of each engine of a host."""
    engines = [dict(environment) for _ in range(local_size)]
    for k, engine in enumerate(engines):
        surroundings.bind(k, local_size, engine, root)
    return engines


def test_each_engine_has_its_gpu(machine):
    root = machine(nvidia=2)
    assert bound(root, 2) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    assert [engine["CUDA_VISIBLE_DEVICES"] for engine in bound(root, 3)] == ["0", "1", "0"]
    assert bound(root, 1) == [{"CUDA_VISIBLE_DEVICES": "0,1"}]
    assert surroundings.device(bound(root, 2)[1], root) == "CUDA 1"
    assert surroundings.device({}, root) == "CUDA 0,1"


def test_gpus_of_other_makers(machine):
    root = machine(amd=2, intel=1)
    assert bound(root, 2)[1] == {"ROCR_VISIBLE_DEVICES": "1", "ZE_AFFINITY_MASK": "0"}
    assert surroundings.device(bound(root, 2)[1], root) == "ROCm 1; Level Zero 0"


def test_existing_bindings_stay(machine):
    root = machine(nvidia=4, amd=2)
    before = {"CUDA_VISIBLE_DEVICES": "3", "HIP_VISIBLE_DEVICES": "1"}
    assert bound(root, 2, **before) == [before] * 2
    assert surroundings.device(before, root) == "CUDA 3; ROCm 1"
    assert bound(machine(), 1, CUDA_VISIBLE_DEVICES="") == [
        {"CUDA_VISIBLE_DEVICES": "", "ROCR_VISIBLE_DEVICES": "0,1"}
    ]


def test_cores_and_sockets(tmp_path):
    """Two sockets of two cores with two threads each, as the kernel shows them; one core is unusable."""
    for cpu in range(8):
        directory = tmp_path / "cpu" / f"cpu{cpu}"
        for name, value in (("physical_package_id", cpu // 2 % 2), ("core_id", cpu % 2)):
            (directory / "topology").mkdir(parents=True, exist_ok=True)
            (directory / "topology" / name).write_text(f"{value}\n")
        (directory / f"node{cpu // 2 % 2}").mkdir()
    found = {
        how: core_binding.units(how, set(range(8)) - {1, 5}, tmp_path) for how in ("core", "socket", "numa")
    }
    assert found["core"] == [{0, 4}, {2, 6}, {3, 7}]
    assert found["socket"] == found["numa"] == [{0, 4}, {2, 3, 6, 7}]
    assert core_binding.units("hwthread", {3, 5}, tmp_path) == [{3}, {5}]
    assert core_binding.units("socket", {3, 5}, tmp_path / "nowhere") == [{3}, {5}]


def test_without_a_gpu_nothing_is_set(machine):
    assert bound(machine(), 2) == [{}, {}]
    assert surroundings.device({}, machine()) == ""
