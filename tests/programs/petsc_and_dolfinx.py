"""On a cluster of 4: a system solved by petsc4py, and Poisson's equation by dolfinx; prints ``solved``.

    python petsc_and_dolfinx.py [world]

With "world", the engines' world in C must be theirs; else, the launcher's world has the controller in it.
"""

import sys

import numpy as np

from mpidirect import Cluster
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


def main() -> None:
    """Solve both on ``comm``, and where the world is theirs, on that."""
    theirs = sys.argv[1:] == ["world"]
    if not theirs:
        MpiexecLauncher.spawns = lambda self: False
    with Cluster(n=N) as rc:
        dv = rc[:]
        dv.block = True
        assert ("engines alone, in C" in rc.facts["world"]) == theirs, rc.facts["world"]
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
    print("solved")


if __name__ == "__main__":
    main()
