"""Libraries that use MPI in C, as Debian has them: Open MPI, mpi4py, petsc4py, dolfinx and h5py."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from components import absent
from conftest import PROGRAMS

import mpidirect

pytestmark = [pytest.mark.openmpi_only, pytest.mark.timeout(600)]  # Debian's Open MPI, whatever is ours

PYTHON = "/usr/bin/python3"
PACKAGES = "python3-dolfinx-real python3-petsc4py-real python3-h5py-mpi python3-mpi4py openmpi-bin"
PAGES = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def python(request):
    """A Python that sees Debian's packages, and mpidirect with what it needs beside them."""
    found = subprocess.run(
        [PYTHON, "-c", "import dolfinx, petsc4py, h5py._debian_h5py_mpi"], capture_output=True, check=False
    )
    if found.returncode != 0:
        absent(f"no dolfinx or no h5py here: apt-get install {PACKAGES}")
    home = Path(request.config.cache.mkdir("debian"))
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([PYTHON, "-m", "venv", "--system-site-packages", str(home)], check=True)
        source = str(Path(mpidirect.__file__).parent.parent)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-e", f"{source}[ipython]"], check=True, timeout=500)
    return str(python)


def run(python, tmp_path, program, *arguments):
    return subprocess.run(
        [python, str(PROGRAMS / program), *arguments],
        env={"PATH": os.defpath, "HOME": str(tmp_path), "MPIDIRECT_DIR": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("world", ["world", ""])
def test_petsc4py_and_dolfinx_solve(python, tmp_path, world):
    """In a world of the engines' own in C; and in that of the launcher, where petsc4py is given theirs."""
    done = run(python, tmp_path, "petsc_and_dolfinx.py", *([world] if world else []))
    assert done.returncode == 0 and "solved" in done.stdout, done.stdout + done.stderr


SOLVED = "0 < error < 1e-2 and sum(map(len, values)) == 81"
WRITTEN = "means == [1.5, 2.5, 3.5, 0.5] and all(dv.pull('h5py.get_config().mpi'))"


@pytest.mark.parametrize(
    "page, check, world",
    [("petsc.md", SOLVED, "world"), ("h5py.md", WRITTEN, "world"), ("h5py.md", WRITTEN, "")],
)
def test_page(python, tmp_path, page, check, world):
    """What it shows runs as it stands there, and does what it says."""
    done = run(python, tmp_path, "page.py", str(PAGES / page), check, *([world] if world else []))
    assert done.returncode == 0 and "right" in done.stdout, done.stdout + done.stderr
