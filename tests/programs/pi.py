"""Pi by darts: batches of random points, shared out over the ranks, their hits reduced."""

import sys

import numpy as np
from mpi4py import MPI


def hits(batch, darts):
    x, y = np.random.default_rng(batch).random((2, darts))
    return int(np.count_nonzero(x * x + y * y < 1.0))


def main(batches=16, darts=20_000):
    comm = MPI.COMM_WORLD
    mine = sum(hits(batch, darts) for batch in range(comm.rank, batches, comm.size))
    total = comm.reduce(mine, op=MPI.SUM, root=0)
    spread = comm.allreduce(mine, op=MPI.MAX) - comm.allreduce(mine, op=MPI.MIN)
    if comm.rank == 0:
        pi = 4 * total / (batches * darts)
        print(f"pi is about {pi:.6f}, the ranks differ by {spread} hits", file=sys.stdout)
        return pi
    return None


if __name__ == "__main__":
    estimate = main()
