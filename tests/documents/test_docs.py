"""The examples of the documents give the results that the documents show."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from waiting import until

import mpidirect
from mpidirect import Client, Cluster
from mpidirect.cluster.state import ClusterState
from mpidirect.errors import ClusterNotFound
from tests import gallery, notebook
from tests.documents import transcripts

pytestmark = [pytest.mark.openmpi_only, pytest.mark.page]  # nothing here depends on the MPI

FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
PROGRAM = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ANY_PROGRAM = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLE = re.compile(r"…|'\w+'|SIG\w+")  # stands for other texts in messages
PAGES = ["README.md"] + [
    f"docs/{name}.md" for name in ("index", "tutorial", "collectives", "mpi", "balancing", "stuck")
]


@pytest.fixture(scope="module")
def four_engines(tmp_path_factory):
    """Start four engines that `Client()` finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPIDIRECT_DIR", str(tmp_path_factory.mktemp("profiles") / "mpidirect"))
        patch.delenv("MPIDIRECT_PROFILE", raising=False)
        with Cluster(n=4):
            yield


@pytest.fixture
def unused(four_engines, tmp_path, monkeypatch):
    """Give a page engines without names, and an empty directory."""
    monkeypatch.chdir(tmp_path)
    with Client() as rc:
        rc[:].clear(block=True)


def session(page):
    """Return the ``pycon`` examples of a page, at their lines of the page."""
    shown, kept = False, []
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            shown = line == "```pycon"
            line = ""
        kept.append(line if shown else "")
    return "\n".join(kept)


@pytest.mark.parametrize("name", PAGES)
def test_examples(unused, name, main, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)  # examples are typed at a prompt
    for file, program in PROGRAM.findall((ROOT / name).read_text()):
        (tmp_path / file).write_text(f"# {file}\n{program}")
    test = doctest.DocTestParser().get_doctest(session(ROOT / name), {}, name, name, 0)
    test.globs = main.__dict__
    assert test.examples
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append, clear_globs=False)
    test.globs["rc"].close()
    assert not result.failed, "".join(report)


@pytest.mark.parametrize("name", ["install.md", "ipyparallel.md"])
def test_programs(name, tmp_path, monkeypatch):
    """Each program of a page starts a cluster of its own."""
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "mpidirect"))
    programs = ANY_PROGRAM.findall((ROOT / "docs" / name).read_text())
    assert programs
    for program in programs:
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=tmp_path)


@pytest.mark.timeout(300)  # starts a kernel and a cluster of its own
def test_jupyter(tmp_path, monkeypatch):
    """The commands of the page install a kernel, and its cells run in a notebook."""
    for name in ("MPIDIRECT_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    page = ROOT / "docs" / "jupyter.md"
    (install,) = re.findall(r"^\$ mpidirect (kernel install .*)", page.read_text(), re.MULTILINE)
    subprocess.run([sys.executable, "-m", "mpidirect", *install.split()], check=True, timeout=60)
    session = list(transcripts.cells(page))
    run = notebook.executed(notebook.new([cell.source for cell in session]), "mpidirect-mpi")
    for cell, shown in zip(session, notebook.results(run), strict=True):
        assert transcripts.lines_by_engine(shown) == transcripts.lines_by_engine(cell.shown)
    until(lambda: has_ended("mpi"))


def test_debugging(unused, prompt, typed):
    """The session of the page at an IPython prompt, with the commands for the debugger."""
    with Client() as rc:
        prompt.names["dv"] = rc[:]
        # The engine that stops first has the first prompt: all import the debugger before.
        rc[:].execute("import IPython.core.debugger, pdb", silent=False, block=True)
        for cell in transcripts.cells(ROOT / "docs" / "debugging.md"):
            typed += cell.commands
            (prompt.fails if "Error: one or more" in cell.shown else prompt)(cell.source)
            assert transcripts.agrees(prompt.shown, cell.shown), prompt.shown
            assert not typed


def has_ended(profile):
    """Whether no cluster of a profile runs."""
    try:
        return Cluster.from_profile(profile).state is ClusterState.STOPPED
    except ClusterNotFound:
        return True


def test_gpus(unused, main, monkeypatch, tmp_path):
    """Use a fake of CuPy: the test machine has no GPU."""
    fakes = str(ROOT / "tests" / "fakes")
    monkeypatch.syspath_prepend(fakes)
    monkeypatch.setitem(sys.modules, "cupy", importlib.import_module("gpu_arrays"))
    instead = "sys.modules['cupy'] = importlib.import_module('gpu_arrays')"
    with Client() as rc:
        rc[:].execute(f"import importlib, sys; sys.path.insert(0, {fakes!r}); {instead}", block=True)
    test_examples(None, "docs/gpus.md", main, monkeypatch, tmp_path)


def test_tour(four_engines):
    command = [sys.executable, str(ROOT / "docs" / "tour.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    tour = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert tour.returncode == 0, tour.stderr
    assert "[3.14159" in tour.stdout
    assert "ZeroDivisionError: division by zero" in tour.stdout


@pytest.mark.parametrize("page", gallery.pages(), ids=lambda page: page.stem)
def test_gallery(unused, page, main, tmp_path):
    gallery.run(page)
    drawn = (tmp_path / page.with_suffix(".png").name).read_bytes()
    assert drawn.startswith(b"\x89PNG") and len(drawn) < 200_000
    assert page.with_suffix(".png").exists(), "python -m tests.gallery"
    assert f"]({page.stem}.png)" in page.read_text()


@pytest.mark.timeout(300)  # starts a kernel and a cluster of its own
def test_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "mpidirect"))
    shown = notebook.read()
    run = notebook.executed(shown)
    assert notebook.results(run) == notebook.results(shown), "python -m tests.notebook"
    start = next(cell for cell in run.cells if "Cluster(n=4)" in cell.source)
    assert len(start.outputs) <= 2  # one bar, and the ids


def test_the_reference_has_all_public_names():
    reference = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.rst"))
    public = {name for name in mpidirect.__all__ if callable(getattr(mpidirect, name))}
    errors = {name for name in public if hasattr(mpidirect.errors, name)}  # one page lists the whole module
    documented = set(re.findall(r"^.. auto\w+:: (?:[\w.]+\.)?(\w+)", reference, re.MULTILINE))
    assert public - errors - documented == {"View"}  # the base of the views


def test_messages_of_the_troubleshooting_page():
    """Each message in a table of the page is a text of the code."""
    texts = {text for file in (ROOT / "mpidirect").rglob("*.py") for text in constants(file)}
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
    codes = re.findall(r"`(.*?)`", "\n".join(rows))
    pieces = [piece.strip() for code in codes for piece in EXAMPLE.split(code)]
    messages = [piece for piece in pieces if len(piece) > 15]
    assert len(messages) > 30
    assert [message for message in messages if not any(message in text for text in texts)] == []


def constants(file):
    """Yield the texts of a module; an f-string as its constant parts."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
