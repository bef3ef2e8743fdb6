"""loky's own tests of executors pass with engines as the workers.

The tests come from the source archive on PyPI, and are downloaded at first use. A copy of them runs in a
process of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from conftest import ROOT

from tests.source_archive import fetch

pytestmark = [pytest.mark.proof, pytest.mark.openmpi_only, pytest.mark.timeout(600)]

RELEASE = "loky-3.5.5"
ARCHIVE = "loky==3.5.5 --hash=sha256:0730c7180a35972532f22fe09be600db9d69fed3552aad0410c570acbb47cf41"
WITHIN = 400.0  # seconds for the suite
PASSING = 24

WORKERS = "the executor starts and ends no processes: engines belong to the cluster"
GOES_ON = "the executor goes on when an engine dies"
OPTIONS = "an option of loky's executor, which Client.executor does not have"
DESELECTED = {
    "TestShutdown::test_interpreter_shutdown": WORKERS,
    "TestShutdown::test_processes_terminate": WORKERS,
    "TestShutdown::test_processes_terminate_on_executor_gc": WORKERS,
    "TestShutdown::test_processes_crash_handling_after_executor_gc": WORKERS,
    "TestShutdown::test_context_manager_shutdown": WORKERS,
    "TestShutdown::test_del_shutdown": WORKERS,
    "TestShutdown::test_shutdown_no_wait": WORKERS,
    "TestShutdown::test_shutdown_and_kill_workers": WORKERS,
    "TestShutdown::test_hang_issue39205": WORKERS,
    "TestShutdown::test_shutdown_deadlock_pickle": WORKERS,
    "TestShutdown::test_shutdown_with_sys_exit_at_pickle": "a SystemExit of an argument ends this process",
    "TestExecutor::test_killed_child": GOES_ON,
    "TestExecutor::test_exited_child": GOES_ON,
    "TestExecutor::test_max_workers_negative": OPTIONS,
    "TestExecutor::test_worker_timeout": OPTIONS,
    "TestExecutor::test_serialization": OPTIONS,
    "TestExecutor::test_child_env_executor": OPTIONS,
    "TestExecutor::test_viztracer_profiler": OPTIONS,
    "TestExecutor::test_viztracer_profiler_with_custom_init": OPTIONS,
    "TestExecutor::test_max_depth": "executors inside executors: an engine is no client",
    "TestExecutor::test_memory_leak_protection": "loky restarts workers whose memory grows",
    "TestExecutor::test_reference_cycle_collection": "loky's collection of garbage after each task",
    "TestExecutor::test_traceback": "the cause is a RemoteError, with the same text",
    "TestExecutor::test_no_failure_on_large_data_send": "2.2 GB, on a machine that may have less",
}


@pytest.fixture(scope="module")
def suite(request):
    """Fetch loky's source; return the folder with its package and its tests."""
    home = Path(request.config.cache.mkdir("loky"))
    archive = fetch(ARCHIVE, home)
    shutil.rmtree(home / RELEASE, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(home, [m for m in tar.getmembers() if re.match(f"{RELEASE}/(loky|tests)/", m.name)])
    shutil.copy(ROOT / "tests" / "programs" / "loky_suite.py", home / RELEASE / "tests" / "test_mpidirect.py")
    return home / RELEASE


def test_of_loky_pass(suite, tmp_path, start, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{suite}{os.pathsep}{ROOT}")  # of the engines, too
    start(2, prepared=False)
    options = ["-q", "-p", "no:cacheprovider", "--tb=short", "--timeout=60", f"--rootdir={suite}"]
    deselected = [f"--deselect=tests/test_mpidirect.py::{test}" for test in DESELECTED]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *deselected, "tests/test_mpidirect.py"],
        cwd=suite,
        capture_output=True,
        text=True,
        timeout=WITHIN,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    found = re.search(r"(\d+) passed", done.stdout)
    assert found and int(found[1]) >= PASSING, done.stdout[-2000:]
