"""Libraries that begin in C, as a distribution has them: Debian's Open MPI, mpi4py, petsc4py and dolfinx."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import PROGRAMS

import mpidirect

pytestmark = [pytest.mark.openmpi_only, pytest.mark.timeout(600)]  # Debian's Open MPI, whatever is ours

PYTHON = "/usr/bin/python3"
PACKAGES = "python3-dolfinx-real python3-petsc4py-real python3-mpi4py openmpi-bin"


@pytest.fixture(scope="module")
def python(request):
    """A Python that sees Debian's packages, and mpidirect with what it needs beside them."""
    found = subprocess.run([PYTHON, "-c", "import dolfinx, petsc4py"], capture_output=True, check=False)
    if found.returncode != 0:
        pytest.skip(f"no dolfinx here: apt-get install {PACKAGES}")
    home = Path(request.config.cache.mkdir("debian"))
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([PYTHON, "-m", "venv", "--system-site-packages", str(home)], check=True)
        source = str(Path(mpidirect.__file__).parent.parent)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-e", source], check=True, timeout=500)
    return str(python)


@pytest.mark.parametrize("world", ["world", ""])
def test_petsc4py_and_dolfinx_solve(python, tmp_path, world):
    """In a world of the engines' own in C; and in that of the launcher, where petsc4py is given theirs."""
    done = subprocess.run(
        [python, str(PROGRAMS / "petsc_and_dolfinx.py"), *([world] if world else [])],
        env={"PATH": os.defpath, "HOME": str(tmp_path), "MPIDIRECT_DIR": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0 and "solved" in done.stdout, done.stdout + done.stderr
