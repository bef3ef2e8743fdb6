"""Libraries of Debian with its Open MPI and mpi4py: petsc4py, dolfinx, h5py, PyTorch, and others."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from components import absent
from conftest import PROGRAMS, ROOT
from schedulers.slurm import SLURM
from waiting import LIMIT, until

import mpidirect
from mpidirect import Cluster

pytestmark = [pytest.mark.proof, pytest.mark.openmpi_only, pytest.mark.timeout(600)]  # Debian's Open MPI

PYTHON = "/usr/bin/python3"
PACKAGES = (
    "python3-dolfinx-real python3-petsc4py-real python3-h5py-mpi python3-matplotlib python3-mpi4py "
    "openmpi-bin libfftw3-dev"
)
PAGES = ROOT / "docs"


@pytest.fixture(scope="module")
def python(request):
    """A Python with Debian's packages, with mpidirect and its requirements."""
    imports = "import dolfinx, petsc4py, h5py._debian_h5py_mpi, matplotlib"
    found = subprocess.run([PYTHON, "-c", imports], capture_output=True, check=False)
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


@pytest.fixture(scope="module")
def fft(python):
    """Whether mpi4py-fft is available; this builds it if possible."""
    if subprocess.run([python, "-c", "import mpi4py_fft"], capture_output=True).returncode == 0:
        return True
    install = [python, "-m", "pip", "install", "--quiet", "mpi4py-fft==2.0.6"]  # needs Debian's libfftw3-dev
    return subprocess.run(install, capture_output=True, timeout=300).returncode == 0


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Libraries that use MPI_COMM_WORLD in C and in Fortran."""
    made = []
    for compiler, source in (("mpicc", "total.c"), ("mpif90", "total.f90")):
        library = tmp_path_factory.mktemp("compiled") / "libtotal.so"
        command = [f"/usr/bin/{compiler}.openmpi", "-shared", "-fPIC", str(PROGRAMS / source), "-o", library]
        if Path(command[0]).exists():
            subprocess.run(command, check=True, env={"PATH": os.defpath})
            made.append(str(library))
    return made


def test_the_c_world_contains_the_engines_only(python, tmp_path, compiled, fft):
    """With petsc4py, dolfinx, compiled libraries and mpi4py-fft, also after a restart of all engines."""
    more = ["fft"] if fft else []
    done = run(python, tmp_path, "libraries.py", "replaced", *compiled, *more)
    assert done.returncode == 0 and "solved" in done.stdout, done.stdout + done.stderr


def test_petsc4py_gets_comm_without_a_c_world_of_the_engines(python, tmp_path):
    """Also libraries on top of petsc4py."""
    done = run(python, tmp_path, "libraries.py", "launcher")
    assert done.returncode == 0 and "solved" in done.stdout, done.stdout + done.stderr


SOLVED = "0 < error < 1e-2 and sum(map(len, values)) == 81"
WRITTEN = "means == [1.5, 2.5, 3.5, 0.5] and all(dv.pull('h5py.get_config().mpi'))"


# The processes have different data and, after a step, the same weights.
TRAINED = (
    "len(set(dv.pull('loss.item()'))) == 4 "
    "and len(set(map(str, dv.pull('[p.tolist() for p in model.parameters()]')))) == 1"
)


def test_the_c_world_on_several_hosts(python, hosts):
    """Before and after a restart of all, and after a segmentation fault of one engine, which ends all."""
    with Cluster(python=python, mpiexec="/usr/bin/mpiexec.openmpi", **SLURM) as rc:
        assert "Open MPI v4" in rc.facts["mpi"] and "in C and Fortran" in rc.facts["world"]
        for _ in range(2):
            rc[:].run(str(PROGRAMS / "cworld.py"), block=True)
            assert rc[:].pull("world.facts()").get(LIMIT) == [(k, 4, 6) for k in range(4)]
            assert set(rc[:].pull("node").get(LIMIT)) == {"n1", "n2"}
            assert rc.restart() == [0, 1, 2, 3]
        rc[3].execute("import ctypes; ctypes.string_at(0)")
        until(lambda: not rc.ids)
        rc.wait_for_engines(timeout=LIMIT)
        assert rc[:].pull("comm.allreduce(1)").get(LIMIT) == [4] * 4


def test_programs_plot_with_an_old_matplotlib(python, start):
    """Debian's matplotlib does not load the backend that displays figures, nor does it in child processes."""
    _, rc = start(1, prepared=False, python=python, mpiexec="/usr/bin/mpiexec.openmpi")
    plot = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.savefig('/dev/null', format='png')"
    rc[:].execute(plot).get(LIMIT)
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {plot!r}], check=True)"
    rc[:].execute(child).get(LIMIT)


def test_the_doctor_loads_the_libraries(python, tmp_path):
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "MPIDIRECT_DIR": str(tmp_path / "home")}
    command = [python, "-m", "mpidirect", "doctor"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "petsc4py, " in done.stdout and "load, with the MPI of mpi4py" in done.stdout, done.stdout


@pytest.mark.page
@pytest.mark.parametrize(
    ("page", "check", "world"),
    [("petsc.md", SOLVED, "world"), ("h5py.md", WRITTEN, "world"), ("h5py.md", WRITTEN, "")],
)
def test_page(python, tmp_path, page, check, world):
    """The examples of the page run unchanged, and give what the page shows."""
    done = run(python, tmp_path, "page.py", str(PAGES / page), check, *([world] if world else []))
    assert done.returncode == 0 and "right" in done.stdout, done.stdout + done.stderr


@pytest.mark.page
def test_pytorch_page(python, tmp_path):
    """With gloo, because the test machines have no GPU."""
    if subprocess.run([python, "-c", "import torch.distributed"], capture_output=True).returncode != 0:
        absent("no PyTorch here: apt-get install python3-torch")
    test_page(python, tmp_path, "pytorch.md", TRAINED, "world")
