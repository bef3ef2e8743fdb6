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
BACKENDS = RETURN_GENERATOR_BACKENDS = {"mpidirect": BACKENDS["mpidirect"]}
ALL_VALID_BACKENDS = PROCESS_BACKENDS = PARALLEL_BACKENDS = ["mpidirect"]
"""
DESELECTED: dict[str, str] = {}


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
