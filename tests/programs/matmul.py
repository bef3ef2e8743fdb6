"""A matrix product: rows of A are scattered, B is broadcast, rows of the product are gathered."""

import numpy as np
from mpi4py import MPI

comm = MPI.COMM_WORLD
rank = comm.Get_rank()
size = comm.Get_size()

N = 96
a = b = product = None
if rank == 0:
    generator = np.random.default_rng(7)
    a = generator.random((N, N))
    b = generator.random((N, N))
    product = np.empty((N, N))

rows = [(k + 1) * N // size - k * N // size for k in range(size)]
counts = [r * N for r in rows]
displacements = [sum(counts[:k]) for k in range(size)]

my_a = np.empty((rows[rank], N))
comm.Scatterv([a, counts, displacements, MPI.DOUBLE], my_a, root=0)
b = comm.bcast(b, root=0)
my_product = my_a @ b
comm.Gatherv(my_product, [product, counts, displacements, MPI.DOUBLE], root=0)

trace = None
if rank == 0:
    trace = float(np.trace(product))
trace = comm.bcast(trace, root=0)
if rank == 0:
    print(f"trace of the product: {trace:.12f}")
