"""cloudpickle's own tests pass with the pickles of mpidirect.

The tests come from the last release whose source archive on PyPI has them, and are downloaded at first use.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree
from pathlib import Path

import pickles_as_cloudpickle
import pytest

from tests.source_archive import fetch

pytestmark = [pytest.mark.proof, pytest.mark.openmpi_only, pytest.mark.timeout(600)]  # the same with any MPI

ARCHIVE = "cloudpickle==2.2.1 --hash=sha256:d89684b8de9e34a2a43b3460fbca07d09d6e25ce858df4d5a44240403b6178f5"

INAPPLICABLE = {
    "test_interactive_remote_function_calls": "its worker is a fork of the prompt: it has names of its own",
    "test_interactive_remote_function_calls_no_side_effect": "data of the prompt is not sent along",
    "test_interactively_defined_global_variable": "the globals are those of the engine",
    "test_out_of_band_buffers": "large buffers are frames, no callback is asked",
}


@pytest.fixture(scope="module")
def suite(request):
    """The directory with the tests, in which mpidirect's pickles replace cloudpickle."""
    home = Path(request.config.cache.mkdir("cloudpickle"))
    archive = fetch(ARCHIVE, home)
    shutil.rmtree(home / "suite", ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(home / "unpacked", [m for m in tar.getmembers() if "/tests/" in m.name])
    (home / "suite").mkdir()
    shutil.move(home / "unpacked" / "cloudpickle-2.2.1" / "tests", home / "suite" / "tests")
    shutil.copy(pickles_as_cloudpickle.__file__, home / "suite")
    for name in ("cloudpickle_test.py", "testutils.py"):
        path = home / "suite" / "tests" / name
        text = path.read_text()
        text = re.sub(r"\bfrom cloudpickle(\.\w+)? import", "from pickles_as_cloudpickle import", text)
        text = re.sub(
            r"^(\s*import (?:\w+, )*)cloudpickle\b",
            r"\1pickles_as_cloudpickle as cloudpickle",
            text,
            flags=re.M,
        )
        path.write_text(text)
    return home / "suite"


def test_of_cloudpickle_pass(suite):
    report = suite / "report.xml"
    testpkg = suite / "tests" / "cloudpickle_testpkg"
    done = subprocess.run(
        [
            *[sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-c", "/dev/null"],
            *["--rootdir", str(suite), "--junitxml", str(report), "-W", "ignore"],
            *["tests/cloudpickle_test.py", "-k", "not Protocol2CloudPickleTest"],
        ],
        cwd=suite,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{suite}:{testpkg}", "HOME": str(suite)},
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert report.exists(), done.stdout + done.stderr
    failed, ran = {}, set()
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        name = case.get("name")
        ran.add(name)
        for outcome in [*case.findall("failure"), *case.findall("error")]:
            failed[name] = outcome.get("message", "")
    unexpected = {name: text for name, text in failed.items() if name not in INAPPLICABLE}
    assert not unexpected, "\n".join(f"{name}: {text[:300]}" for name, text in unexpected.items())
    assert not set(INAPPLICABLE) - set(failed), "these pass, or are no longer there"
    assert len(ran) > 120
