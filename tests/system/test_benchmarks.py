"""The benchmarks run without an error; their figures on a test machine mean nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from conftest import ROOT
from waiting import until

from benchmarks import page, pool, pools, processes, report, scale, targets
from benchmarks.__main__ import main
from benchmarks.cases import cases
from benchmarks.results import Results, Row

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

NO_FLOOR = {"execute", "map", "often-30", "shared-1MB"}
HAS_IPYPARALLEL = importlib.util.find_spec("ipyparallel") is not None


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Return a directory for the benchmarks, which start their own clusters."""
    monkeypatch.setenv("MPIDIRECT_DIR", os.environ.get("MPIDIRECT_DIR", ""))
    return tmp_path


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_a_quick_run_on_two_engines(directory):
    path = directory / "results.json"
    wanted = "open,all,push,shared,scatter,gather,pull,map,execute,often,allreduce,idle-cpu"
    arguments = ["--quick", "--engines", "2", "--cases", wanted, "--limit", "240", "--json", str(path)]
    run = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert run.exit_code == 0, run.output
    rows = {row.case: row for row in Results.read(path).rows}
    for name, row in rows.items():
        assert row.value("mpidirect") is not None, (name, row.notes)
        assert name in NO_FLOOR or row.value("floor") is not None, (name, row.notes)
        if not HAS_IPYPARALLEL:
            assert row.notes["direct"] == "ipyparallel is not installed"
    assert {"all", "push-1kB", "push-1MB", "push-1MB-tcp", "gather-1MB-socket", "map"} <= set(rows)
    assert json.loads(path.read_text())["rows"][0]["medians"]["mpidirect"] > 0


def is_suspended_job(process):
    try:
        return process.status() == "stopped" and "benchmarks.with_futures" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


@pytest.mark.proof
@pytest.mark.timeout(400)
@pytest.mark.parametrize("group", [False, True], ids=["kill", "timeout"])
def test_nothing_stays_behind_after_a_signal(directory, group):
    """The job of mpi4py.futures is suspended between its calls, and runs in a session of its own."""
    command = [sys.executable, "-m", "benchmarks", "--engines", "1", "--cases", "all", "--repeat", "1000"]
    process = psutil.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL)
    family = set()

    def futures_are_suspended():
        family.update(processes.descendants(process.pid))
        return any(map(is_suspended_job, family))

    try:
        until(futures_are_suspended, 200)
        for _ in range(2):  # as `timeout` does
            (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
        process.wait(100)
        assert not psutil.wait_procs(family, 20)[1]
    finally:
        for child in {process, *family}:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def test_every_target_has_its_case():
    keys = {case.key for case in cases(minute=True)} | {"start"}
    assert set(targets.TARGETS) <= keys


def test_the_page_gets_its_figures(tmp_path, monkeypatch):
    shutil.copy(Path(page.DOCS, "benchmarks.md"), tmp_path)
    monkeypatch.setattr(page, "DOCS", tmp_path)
    samples = {"mpidirect": [0.001], "direct": [0.0141, 0.015, 0.1], "floor": [0.0008]}
    row = Row("all", "empty call on all engines", "s", 4, samples, {"broadcast": "absent"})
    results = Results({"date": "today", "cores": 2, "processor": "", "system": "x", "python": "3"}, [row])
    for _ in range(2):  # the second plot replaces the first one
        page.fill(results)
        text = (tmp_path / "benchmarks.md").read_text()
        assert text.count("| empty call on all engines | 4 | 1.00 ms | 15.0 ms |") == 1
        assert "15.0 (≥ 14) ✓" in text and "BroadcastView: absent" in text
    assert (tmp_path / "benchmarks.png").stat().st_size > 1000
    assert report.summary([row]) == (1, 1)


def test_the_table_of_pools_has_its_targets():
    ours = {"one": 0.5, "map-1": 50.0, "random": pool._perfect(4) * 1.04, "chains": 900.0}
    theirs = {"one": 3.0, "map-1": 184.0}
    table = pool.table({"mpidirect": ours, pool.FUTURES: theirs, "dask": {"chains": 9900.0}}, 4)
    assert list(table.columns[-1].cells) == [
        "6.0 × mpi4py.futures (≥ 7) ✗",
        "3.7 × mpi4py.futures (≥ 4) ✗",
        "perfect + 5 % + a round trip ✓",
        "11.0 × dask (≥ 10) ✓",
    ]


def test_a_pool_whose_worker_dies(directory):
    with pools.mpidirect_pool(2) as found:
        times = pool.measured(found, 1, ["death"])
    assert list(times) == ["death"]


@pytest.mark.proof
def test_the_controller_scales_in_simulation():
    costs = [
        *scale.measure(16, repeat=1),
        *scale.measure(64, repeat=1),
        scale.standing(16),
        scale.standing(64),
    ]
    for action in {cost.action for cost in costs}:
        small, large = (cost.memory for cost in costs if cost.action == action)
        assert large <= 6 * small + 100_000, action  # four times as many engines
    assert scale.client(16).time > 0
