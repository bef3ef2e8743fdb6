"""joblib's own tests of `joblib.Parallel` pass with engines as the workers.

These are the tests of the installed version that have a backend as a parameter. A copy of them runs in a
process of its own, with mpidirect's backend in the place of joblib's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

joblib = pytest.importorskip("joblib")

pytestmark = [pytest.mark.proof, pytest.mark.openmpi_only, pytest.mark.timeout(600)]

WITHIN = 540.0  # seconds for the suite
BEFORE = "def get_default_backend_instance():"  # the lists of backends are complete here
LISTS = """
import mpidirect
mpidirect.register_joblib_backend()
class _Backends(dict):
    def __iter__(self):
        return iter(["mpidirect"])
BACKENDS = _Backends(BACKENDS)
RETURN_GENERATOR_BACKENDS = {"mpidirect": BACKENDS["mpidirect"]}
ALL_VALID_BACKENDS = PROCESS_BACKENDS = PARALLEL_BACKENDS = ["mpidirect"]
"""
SHARED = "shares an object by multiprocessing, whose key engines do not have"
FRESH = "a process of its own, which has not registered the backend"
MAPPED = "joblib's memory maps of arguments, which engines do not use"
CLASS = "compares the backend's class with what was registered, which is a function"
DESELECTED = {
    "test_error_capture": "a KeyboardInterrupt of a task is raised as a RemoteError",
    "test_dispatch_multiprocessing": SHARED,
    "test_initializer_context": SHARED,
    "test_initializer_parallel": SHARED,
    "test_parallel_with_interactively_defined_functions": FRESH,
    "test_parallel_with_unpicklable_functions_in_args": FRESH,
    "test_auto_memmap_on_arrays_from_generator": MAPPED,
    "test_memmapping_leaks": MAPPED,
    "test_backend_context_manager": CLASS,
    "test_nested_backend_in_sequential": CLASS,
    "test_parallel_unordered_generator_returns_fastest_first[mpidirect-4]": "counts on four workers, of two",
}


def test_of_joblib_pass(tmp_path, start):
    start(2, prepared=False)
    text = (Path(joblib.__file__).parent / "test" / "test_parallel.py").read_text()
    assert BEFORE in text
    (tmp_path / "test_parallel.py").write_text(text.replace(BEFORE, LISTS + "\n\n" + BEFORE, 1))
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = thread_unsafe\n")
    options = ["-q", "-p", "no:cacheprovider", "--tb=short", "--timeout=60", f"--rootdir={tmp_path}"]
    deselected = [f"--deselect=test_parallel.py::{test}" for test in DESELECTED]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *deselected, "-k", "mpidirect", "test_parallel.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=WITHIN,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
