/* The sum of all ranks of MPI_COMM_WORLD, after a barrier; also this rank and their number. */
#include <mpi.h>

int total(int *rank, int *size)
{
    int sum = -1;
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, size);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Allreduce(rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    return sum;
}
