"""Plain MPI programs on the engines give the same results as in one process."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from conftest import PROGRAMS, N

from mpidirect import CompositeError

TEXTS = {
    "heat.py": "heat left in the rod: ",
    "matmul.py": "trace of the product: ",
    "pi.py": "pi is about ",
}


def alone(name: str) -> str:
    """Return the output of a program that runs as one process."""
    return subprocess.run(
        [sys.executable, str(PROGRAMS / name)], capture_output=True, text=True, timeout=60, check=True
    ).stdout


@pytest.mark.mpich_proof
@pytest.mark.parametrize("name", TEXTS)
def test_the_output_is_that_of_one_process(dview, name):
    ar = dview.run(PROGRAMS / name, block=True)
    first, *others = ar.stdout
    assert first.startswith(TEXTS[name])
    assert others == [""] * (N - 1)
    assert first.split(",")[0].strip() == alone(name).split(",")[0].strip()


def test_heat(dview):
    dview.run(PROGRAMS / "heat.py", block=True)
    cells, steps, rate = 240, 300, 0.25
    x = np.arange(cells)
    u = np.zeros(cells + 2)
    u[1:-1] = np.sin(np.pi * (x + 0.5) / cells) + (x > cells // 2)
    for _ in range(steps):
        u[1:-1] += rate * (u[:-2] - 2 * u[1:-1] + u[2:])
    np.testing.assert_allclose(dview.pull("rod", targets=0, block=True), u[1:-1], rtol=1e-12)
    assert dview.pull("rank", block=True) == [0, 1, 2, 3]


def test_matmul(dview):
    dview.run(PROGRAMS / "matmul.py", block=True)
    generator = np.random.default_rng(7)
    a, b = generator.random((2, 96, 96))
    np.testing.assert_allclose(dview.pull("product", targets=0, block=True), a @ b, rtol=1e-12)
    np.testing.assert_allclose(dview.gather("my_product", block=True), a @ b, rtol=1e-12)
    assert dview["size"] == [N] * N


def test_pi(dview):
    dview.run(PROGRAMS / "pi.py", block=True)
    estimate = dview["estimate"]
    assert estimate[0] == pytest.approx(np.pi, abs=0.01)
    assert estimate[1:] == [None] * 3


def test_programs_run_again_and_one_after_the_other(dview):
    results = [dview.run(PROGRAMS / name, block=False) for name in [*TEXTS, *TEXTS]]
    for result in results:
        result.get(30)
    assert [result.stdout[0] for result in results[:3]] == [result.stdout[0] for result in results[3:]]


def test_programs_may_end_with_sys_exit_or_finalize(dview, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from mpi4py import MPI\n"
        "def main():\n"
        "    global total\n"
        "    total = MPI.COMM_WORLD.allreduce(1)\n"
        "    MPI.Finalize()\n"
        "    return int(total != 4)\n"
        "sys.exit(main())\n"
    )
    assert dview.run(program, block=True).successful()
    dview.execute("MPI.Finalize()", block=True)
    assert dview.apply_async(lambda: comm.allreduce(total)).get(30) == [16] * N  # noqa: F821
    program.write_text("import sys; sys.exit('no such case')")
    with pytest.raises(CompositeError, match="SystemExit: no such case"):
        dview.run(program, block=True)


def test_a_program_imports_modules_of_its_directory(dview, tmp_path, monkeypatch):
    (tmp_path / "grid_of_this_test.py").write_text("cells = 12")
    (tmp_path / "program.py").write_text("import grid_of_this_test\ncells = grid_of_this_test.cells")
    monkeypatch.chdir(tmp_path)
    dview.run("program.py", block=True)
    assert dview["cells"] == [12] * N
    assert not any(dview.apply_sync(lambda place: place in __import__("sys").path, str(tmp_path)))
