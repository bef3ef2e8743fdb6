"""The examples of the documents give the results that the documents show."""

from __future__ import annotations

import doctest
import importlib
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from mpidirect import Client, Cluster

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


@pytest.fixture(scope="module")
def four_engines(tmp_path_factory):
    """Start four engines that `Client()` finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPIDIRECT_DIR", str(tmp_path_factory.mktemp("profiles") / "mpidirect"))
        patch.delenv("MPIDIRECT_PROFILE", raising=False)
        with Cluster(n=4):
            yield


def session(page):
    """Return the ``pycon`` examples of a page, at their lines of the page."""
    shown, kept = False, []
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            shown = line == "```pycon"
            line = ""
        kept.append(line if shown else "")
    return "\n".join(kept)


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md", "docs/collectives.md"])
def test_examples(four_engines, name, main, monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)  # they are typed at a prompt
    with Client() as rc:
        rc[:].clear(block=True)  # each page begins with engines that nobody has used
    test = doctest.DocTestParser().get_doctest(session(ROOT / name), {}, name, name, 0)
    test.globs = main.__dict__
    assert test.examples
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append, clear_globs=False)
    test.globs["rc"].close()
    assert not result.failed, "".join(report)


def test_gpus(four_engines, main, monkeypatch):
    """Use a fake of CuPy: the test machine has no GPU."""
    fakes = str(ROOT / "tests" / "fakes")
    monkeypatch.syspath_prepend(fakes)
    monkeypatch.setitem(sys.modules, "cupy", importlib.import_module("gpu_arrays"))
    instead = "sys.modules['cupy'] = importlib.import_module('gpu_arrays')"
    with Client() as rc:
        rc[:].execute(f"import importlib, sys; sys.path.insert(0, {fakes!r}); {instead}", block=True)
    test_examples(four_engines, "docs/gpus.md", main, monkeypatch)


def test_tour(four_engines):
    command = [sys.executable, str(ROOT / "docs" / "tour.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    tour = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert tour.returncode == 0, tour.stderr
    assert "[3.14159" in tour.stdout
    assert "ZeroDivisionError: division by zero" in tour.stdout
