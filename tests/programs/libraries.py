"""On a cluster of 4: a system solved by petsc4py, Poisson's equation by dolfinx, and more; prints ``solved``.

    python libraries.py replaced|launcher [LIBRARY … [fft]]

The word tells ``MPI_COMM_WORLD`` in C: the engines' communicator in the place of the launcher's world, or the
launcher's world, which includes the controller. Each LIBRARY uses that world and has
a function ``total`` (total.c, total.f90). With "fft" mpi4py-fft is there.
"""

import os
import sys

import numpy as np

from mpidirect import Cluster
from mpidirect.job.variables import C_WORLD
from mpidirect.launchers.mpiexec import MpiexecLauncher

N = 4
SYSTEM = """
from petsc4py import PETSc
m = 100
A = PETSc.Mat().createAIJ([m, m], nnz=3, comm=where)
first, last = A.getOwnershipRange()
for i in range(first, last):
    A[i, i] = 2.0
    if i > 0:
        A[i, i - 1] = -1.0
    if i < m - 1:
        A[i, i + 1] = -1.0
A.assemble()
x, b = A.createVecs()
b.set(1.0)
solver = PETSc.KSP().create(where)
solver.setOperators(A)
solver.setType("cg")
solver.getPC().setType("jacobi")
solver.setTolerances(rtol=1e-10)
solver.solve(b, x)
part = x.getArray()
"""
POISSON = """
import numpy, ufl
from dolfinx import fem, mesh
from petsc4py.PETSc import ScalarType
domain = mesh.create_unit_square(where, 8, 8, mesh.CellType.quadrilateral)
V = fem.FunctionSpace(domain, ("CG", 1))
boundary = fem.Function(V)
boundary.interpolate(lambda x: 1 + x[0] ** 2 + 2 * x[1] ** 2)
domain.topology.create_connectivity(1, 2)
edge = mesh.exterior_facet_indices(domain.topology)
condition = fem.dirichletbc(boundary, fem.locate_dofs_topological(V, 1, edge))
u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
f = fem.Constant(domain, ScalarType(-6))
a, L = ufl.dot(ufl.grad(u), ufl.grad(v)) * ufl.dx, f * v * ufl.dx
solution = fem.petsc.LinearProblem(
    a, L, bcs=[condition], petsc_options={"ksp_type": "preonly", "pc_type": "lu"}
).solve()
W = fem.FunctionSpace(domain, ("CG", 2))
exact = fem.Function(W)
exact.interpolate(lambda x: 1 + x[0] ** 2 + 2 * x[1] ** 2)
local = fem.assemble_scalar(fem.form(ufl.inner(solution - exact, solution - exact) * ufl.dx))
error = numpy.sqrt(comm.allreduce(local))
"""


TOTAL = """
import ctypes
r, s = ctypes.c_int(), ctypes.c_int()
found = ctypes.CDLL({path!r}).total(ctypes.byref(r), ctypes.byref(s)), r.value, s.value
"""
TRANSFORM = """
import numpy
from mpi4py_fft import PFFT, newDistArray
fft = PFFT(where, (12, 10, 8), axes=(0, 1, 2), dtype=float)
field = newDistArray(fft, False)
field[:] = numpy.fromfunction(lambda i, j, k: numpy.sin(i) + j * k, (12, 10, 8))[field.local_slice()]
modes = fft.forward(field.copy())
wrong = numpy.abs(fft.backward(modes.copy()) - field).max()
mine = newDistArray(fft, True).local_slice()
"""


def transform(dv, where: str) -> None:
    """A field in three dimensions, there and back, as numpy does it at once."""
    field = np.fromfunction(lambda i, j, k: np.sin(i) + j * k, (12, 10, 8))
    expected = np.fft.rfftn(field) / field.size
    dv.execute(f"where = {where}")
    dv.execute(TRANSFORM)
    for mine, modes, wrong in dv.pull("(mine, modes, wrong)"):
        assert np.allclose(modes, expected[mine]) and wrong < 1e-10


def main() -> None:
    """Solve them on ``comm``, and where the world is theirs, on that."""
    kind, libraries = sys.argv[1], [word for word in sys.argv[2:] if word != "fft"]
    theirs = kind != "launcher"
    MpiexecLauncher.spawns = lambda self: False
    os.environ[C_WORLD] = kind
    with Cluster(n=N) as rc:
        dv = rc[:]
        dv.block = True
        assert ("engines alone, in C" in rc.facts["world"]) == theirs, rc.facts["world"]
        assert rc.restart() == list(range(N))
        dv.execute("from petsc4py import PETSc")
        assert dv.pull("(PETSc.COMM_WORLD.size, PETSc.COMM_WORLD.rank)") == [(N, k) for k in range(N)]
        m = 100
        matrix = 2 * np.eye(m) - np.eye(m, k=1) - np.eye(m, k=-1)
        expected = np.linalg.solve(matrix, np.ones(m))
        for where in ("comm", "MPI.COMM_WORLD", "PETSc.COMM_WORLD"):
            dv.execute(f"where = {where}")
            dv.execute(SYSTEM)
            assert np.allclose(dv.gather("part"), expected), where
        for where in ("comm", "MPI.COMM_WORLD"):
            dv.execute(f"where = {where}")
            dv.execute(POISSON)
            errors = dv.pull("error")
            assert errors == [errors[0]] * N, errors
            assert 0 < errors[0] < 1e-2, errors
        assert dv.pull("comm.Split(rank % 2).allreduce(rank)") == [2, 4, 2, 4]
        for path in libraries:
            dv.execute(TOTAL.format(path=path))
            assert dv.pull("found") == [(6, k, N) for k in range(N)], path
        if "fft" in sys.argv:
            for where in ("comm", "MPI.COMM_WORLD"):
                transform(dv, where)
    print("solved")


if __name__ == "__main__":
    main()
